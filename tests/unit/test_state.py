"""State on disk, read as hostile input: what a truncated, exchanged or malicious file of a container can do is to be refused by name.

Needs no root: state directories are the caller's. Neighbours: rust/core/src/container/tests.rs (locks, writing, removal), and
tests/integration/test_lifecycle.py (the same through a container).
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.states import state, write_state
from pyrt import Error, NotFound, SpecError, _native
from pyrt.errors import StateUnreadable

ID = "web"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The directory of a container with state in it."""
    return write_state(tmp_path, ID)


def container(directory: Path) -> _native.Container:
    return _native.Container(str(directory.parent), directory.name)


def test_what_is_written_is_read(directory: Path) -> None:
    shown = container(directory).state()
    assert list(shown) == ["ociVersion", "id", "status", "pid", "bundle", "annotations", "rootfs", "created", "owner"]
    assert (shown["id"], shown["bundle"], shown["annotations"]) == (ID, "/bundles/web", {"key": "value"})


def test_a_container_of_another_boot_is_stopped(directory: Path) -> None:
    shown = container(directory).state()
    assert (shown["status"], shown["pid"]) == ("stopped", 0)


def test_a_container_whose_creator_was_killed_before_its_process_was_made_is_stopped(tmp_path: Path) -> None:
    assert container(write_state(tmp_path, ID, init=None)).status() == "stopped"


# Hostile files


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"null", "it is not state of version 1"),
        (b"[]", "it is not state of version 1"),
        (b"{}", "it is not state of version 1"),
        (b'{"version": 2}', "it is not state of version 1"),
        (b'{"version": 1}', "missing field"),
        (b"[" * 100_000, "it is not state of version 1|not JSON"),
    ],
)
def test_a_file_that_is_no_state_is_unreadable_with_its_path_and_the_way_out(directory: Path, content: bytes, text: str) -> None:
    path = directory / "state.json"
    path.write_bytes(content)
    with pytest.raises(StateUnreadable, match=text) as caught:
        container(directory).state()
    assert str(caught.value).startswith(f"state of container {ID} is unreadable: {path}: ")
    assert caught.value.hint == "delete --force removes it"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"id": "other"}, "it belongs to another id"),
        ({"bundle": None}, "invalid type: null"),
        ({"boot_id": 1}, "invalid type: integer `1`"),
        ({"own_pid_namespace": 1}, "invalid type: integer `1`"),
        ({"has_poststart": None}, "invalid type: null"),
        ({"annotations": []}, "invalid type: sequence"),
        ({"annotations": {"key": 1}}, "invalid type: integer `1`"),
        ({"more": 1}, "unknown field `more`"),
    ],
    ids=str,
)
def test_a_value_that_pyrt_never_writes_is_refused_by_name(directory: Path, changes: dict[str, Any], text: str) -> None:
    (directory / "state.json").write_text(json.dumps(state(ID, **changes)))
    with pytest.raises(StateUnreadable, match=text):
        container(directory).state()


@pytest.mark.parametrize(
    "init", ["0 1", "1 1", "-1 1", "4194305 1", "2 -1", "2 18446744073709551616", "2", "+2 1", "02 1", "2  1", "/etc/passwd"]
)
def test_an_init_that_is_no_process_of_a_container_is_refused(tmp_path: Path, init: str) -> None:
    directory = write_state(tmp_path, ID, init=init)
    with pytest.raises(StateUnreadable, match="it is none of a container's processes"):
        container(directory).state()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(value=JSON, name=st.sampled_from(list(state(ID))))
def test_any_value_anywhere_is_read_or_refused_and_nothing_else(directory: Path, value: Any, name: str) -> None:
    (directory / "state.json").write_text(json.dumps(state(ID, **{name: value})))
    try:
        shown = container(directory).state()
    except StateUnreadable:
        return
    assert shown["status"] == "stopped"


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path), lambda path: os.symlink(path, path)])
def test_a_file_that_is_no_regular_one_is_refused_and_never_waited_for(directory: Path, make: Callable[[str], None]) -> None:
    path = directory / "state.json"
    path.unlink()
    make(str(path))
    with pytest.raises(Error) as caught:
        container(directory).state()
    assert str(path) in str(caught.value)


def test_a_file_that_is_too_large_is_not_read_whole(directory: Path) -> None:
    os.truncate(directory / "state.json", (32 << 20) + 1)
    with pytest.raises(StateUnreadable, match="it is too large"):
        container(directory).state()


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b'{"unified": 1}',
        b'{"unified": "relative"}',
        b'{"unified": "/sys/fs/cgroup/../../etc"}',
        b'{"unified": "/a\\u0000b"}',
        b"nonsense",
    ],
)
def test_cgroups_that_pyrt_never_names_are_refused_with_the_way_out_by_hand(directory: Path, content: bytes) -> None:
    (directory / "cgroup").write_bytes(content)
    with pytest.raises(StateUnreadable) as caught:
        container(directory).cgroup()
    assert caught.value.hint == "kill what is left in its cgroups, then remove them and this directory by hand"


def test_a_recorded_exit_status_that_is_none_counts_for_nothing(directory: Path) -> None:
    (directory / "exit").symlink_to("/etc/passwd")
    assert container(directory).exit_status is None
    (directory / "exit").unlink()
    (directory / "exit").symlink_to("-9")
    assert container(directory).exit_status == -9


# Ids


@pytest.mark.parametrize("id", ["a", "A-1_b+c.d", "x" * 200, "...", "-", "..a"])
def test_an_id_that_is_a_plain_name_is_taken(id: str) -> None:
    assert _native.Container("/nowhere", id).id == id


@given(st.text(max_size=5))
def test_an_id_never_leaves_its_directory(id: str) -> None:
    try:
        made = _native.Container("/root", id)
    except SpecError:
        return
    assert os.path.normpath(made.path) == f"/root/{id}"
    assert id.isascii()


def test_names_that_are_no_ids_are_not_listed(directory: Path) -> None:
    (directory.parent / "not an id").mkdir()
    (directory.parent / ("x" * 201)).mkdir()
    assert _native.container_ids(str(directory.parent)) == [ID]
    assert _native.container_ids(f"{directory.parent}/nowhere") == []


def test_a_container_that_is_gone_is_not_found(tmp_path: Path) -> None:
    missing = _native.Container(str(tmp_path), "nobody")
    asked: tuple[Callable[[], object], ...] = (
        missing.state,
        missing.status,
        missing.start,
        missing.pause,
        lambda: missing.kill(15, False),
        lambda: missing.delete(False),
    )
    for ask in asked:
        with pytest.raises(NotFound, match="container does not exist: nobody"):
            ask()
    assert not missing.exists()
    assert missing.delete(True) == []


def test_a_container_that_is_being_created_has_no_state_yet(tmp_path: Path) -> None:
    (tmp_path / ID).mkdir()
    with pytest.raises(StateUnreadable, match="nothing was written yet"):
        _native.Container(str(tmp_path), ID).state()


def test_a_removal_that_fails_still_knows_the_container_and_its_cgroups(directory: Path) -> None:
    (directory / "cgroup").write_text("{}")
    (directory / "somebody-s").mkdir()
    with pytest.raises(Error) as caught:
        container(directory).delete(True)
    assert (caught.value.errno, caught.value.path) == (errno.EISDIR, f"{directory}/somebody-s")
    assert container(directory).init() == (4711, 12345)
    assert sorted(os.listdir(directory)) == ["cgroup", "init", "somebody-s", "state.json"]


# Where


@pytest.mark.parametrize(("rootless", "expected"), [(False, "/run/pyrt"), (True, "/run/user/1/pyrt")])
def test_the_default_directory_is_root_s_or_the_user_s(monkeypatch: pytest.MonkeyPatch, rootless: bool, expected: str) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1")
    assert _native.state_root(rootless) == expected


def test_a_user_without_a_runtime_directory_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    with pytest.raises(SpecError, match="set XDG_RUNTIME_DIR, or give --root"):
        _native.state_root(True)
