"""State on disk, read as hostile input: what a truncated, exchanged or malicious file of a container can do is to be refused by name.

Needs no root: state directories are the caller's. Neighbours: tests/integration/test_lifecycle.py (the same through a container).
"""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrt import AlreadyExists, Error, NotFound, SpecError, state
from pyrt.state import Directory, State, StateUnreadable

ID = "web"


def written(**changes: Any) -> State:
    values: dict[str, Any] = {
        "id": ID,
        "status": "running",
        "oci_version": "1.3.0",
        "bundle": "/bundles/web",
        "rootfs": "/bundles/web/rootfs",
        "annotations": {"key": "value"},
        "created": "2026-11-25T00:00:00.000000000Z",
        "boot_id": "boot",
        "own_pid_namespace": True,
        "poststart": False,
        "pid": 4711,
        "start_time": 12345,
    }
    return State(**{**values, **changes})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "state"


@pytest.fixture
def directory(root: Path) -> Directory:
    """A container's directory with state in it."""
    made = Directory(str(root), ID)
    with made.create(str(root)):
        made.begin({"unified": "/sys/fs/cgroup/pyrt-web"}, b"{}", written())
    return made


def fields(kept: State) -> dict[str, Any]:
    return {name: getattr(kept, name) for name in State.__slots__}


def spoil(directory: Directory, content: bytes) -> Path:
    path = Path(directory.path, "state.json")
    path.write_bytes(content)
    return path


# Written and read


def test_what_is_written_is_read_back(directory: Directory) -> None:
    assert fields(directory.read()) == fields(written())
    assert directory.read_config() == b"{}"
    assert directory.read_cgroup_paths() == {"unified": "/sys/fs/cgroup/pyrt-web"}


def test_everything_is_the_owner_s_alone(directory: Directory, root: Path) -> None:
    before = os.umask(0)
    try:
        directory.write(written(status="stopped"))
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(directory.path).st_mode) == 0o700
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert {name: stat.S_IMODE(os.stat(f"{directory.path}/{name}").st_mode) for name in os.listdir(directory.path)} == dict.fromkeys(
        ["cgroup", "config.json", "state.json"], 0o600
    )


def test_a_write_that_was_cut_off_is_overwritten_and_never_seen(directory: Directory) -> None:
    Path(directory.path, "state.json.new").write_bytes(b"half of a fi")
    assert directory.read().status == "running"
    directory.write(written(status="stopped"))
    assert directory.read().status == "stopped"
    assert not Path(directory.path, "state.json.new").exists()


def test_a_symlink_in_the_place_of_what_is_written_is_not_followed(directory: Directory, tmp_path: Path) -> None:
    Path(directory.path, "state.json.new").symlink_to(tmp_path / "victim")
    with pytest.raises(Error) as caught:
        directory.write(written())
    assert (caught.value.errno, (tmp_path / "victim").exists()) == (errno.ELOOP, False)


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
        (b'{"version": 1}', "it lacks values, or has unknown ones"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_a_file_that_is_no_state_is_unreadable_with_its_path_and_the_way_out(directory: Directory, content: bytes, text: str) -> None:
    path = spoil(directory, content)
    with pytest.raises(StateUnreadable, match=text) as caught:
        directory.read()
    assert str(caught.value).startswith(f"state of container {ID} is unreadable: {path}: ")
    assert caught.value.hint == "delete --force removes it"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"pid": 0}, "none of a container's process"),
        ({"pid": 1}, "none of a container's process"),
        ({"pid": -1}, "none of a container's process"),
        ({"pid": 4 * 1024 * 1024 + 1}, "none of a container's process"),
        ({"pid": None}, "none of a container's process"),
        ({"start_time": None}, "none of a container's process"),
        ({"start_time": -1}, "none of a container's process"),
        ({"start_time": 1 << 63}, "none of a container's process"),
        ({"pid": "4711"}, "pid is not a number"),
        ({"pid": 4711.0}, "pid is not a number"),
        ({"pid": True}, "pid is not a number"),
        ({"exit_status": "0"}, "exit_status is not a number"),
        ({"status": "paused"}, "status is unknown"),
        ({"status": ["running"]}, "status is unknown"),
        ({"id": "other"}, "it belongs to another id"),
        ({"bundle": None}, "bundle is not a string"),
        ({"boot_id": 1}, "boot_id is not a string"),
        ({"own_pid_namespace": 1}, "own_pid_namespace is neither true nor false"),
        ({"poststart": None}, "poststart is neither true nor false"),
        ({"annotations": []}, "annotations are not strings"),
        ({"annotations": {"key": 1}}, "annotations are not strings"),
        ({"more": 1}, "it lacks values, or has unknown ones"),
    ],
    ids=str,
)
def test_a_value_that_pyrt_never_writes_is_refused_by_name(directory: Directory, changes: dict[str, Any], text: str) -> None:
    spoil(directory, json.dumps({**json.loads(written().to_json()), **changes}).encode())
    with pytest.raises(StateUnreadable, match=text):
        directory.read()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@given(value=JSON, name=st.sampled_from([*State.__slots__, "version"]))
def test_no_json_value_anywhere_gets_past_the_check_unless_it_is_what_is_written(value: Any, name: str) -> None:
    said = json.loads(written().to_json())
    said[name] = value
    if State.fault(said, ID) is None:
        kept = State.from_json(said)
        assert json.loads(kept.to_json()) == said
    assert State.fault(value, ID) is not None


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path), lambda path: os.symlink(path, path)])
def test_a_file_that_is_no_regular_one_is_refused_and_never_waited_for(directory: Directory, make: Callable[[str], None]) -> None:
    path = f"{directory.path}/state.json"
    os.unlink(path)
    make(path)
    with pytest.raises(Error):
        directory.read()


def test_a_file_that_is_too_large_is_not_read_whole(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "STATE_SIZE_LIMIT", 1000)
    spoil(directory, b" " * 1001)
    with pytest.raises(StateUnreadable, match="it is too large"):
        directory.read()


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
def test_cgroups_that_pyrt_never_names_are_refused_with_the_way_out_by_hand(directory: Directory, content: bytes) -> None:
    Path(directory.path, "cgroup").write_bytes(content)
    with pytest.raises(StateUnreadable) as caught:
        directory.read_cgroup_paths()
    assert caught.value.hint == "kill what is left in its cgroups, then remove them and this directory by hand"


# Ids


@pytest.mark.parametrize("id", ["a", "A-1_b+c.d", "x" * 200, "...", "-", "..a"])
def test_an_id_that_is_a_plain_name_is_taken(id: str) -> None:
    state.check_id(id)


@given(st.text(max_size=5))
def test_an_id_never_leaves_its_directory(id: str) -> None:
    try:
        state.check_id(id)
    except SpecError:
        return
    assert os.path.normpath(f"/root/{id}") == f"/root/{id}"
    assert id.isascii()


def test_names_that_are_no_ids_are_not_listed(directory: Directory, root: Path) -> None:
    (root / "not an id").mkdir()
    (root / ("x" * 201)).mkdir()
    assert state.ids(str(root)) == [ID]
    assert state.ids(f"{root}/nowhere") == []


# One directory, several callers


def test_an_id_in_use_is_refused(directory: Directory, root: Path) -> None:
    with pytest.raises(AlreadyExists, match=f"container with given ID already exists: {ID}"):
        Directory(str(root), ID).create(str(root))


def test_a_container_that_is_gone_is_not_found(root: Path) -> None:
    missing = Directory(str(root), "nobody")
    for ask in (missing.read, missing.lock, missing.try_lock, missing.identity, missing.owner):
        with pytest.raises(NotFound, match="container does not exist: nobody"):
            ask()
    assert not missing.exists()


def test_a_container_that_is_being_created_has_no_state_yet(root: Path) -> None:
    made = Directory(str(root), ID)
    with made.create(str(root)), pytest.raises(StateUnreadable, match="nothing was written yet"):
        made.read()


def test_the_lock_is_one_caller_s_at_a_time(directory: Directory) -> None:
    with directory.lock():
        assert directory.try_lock() is None
    lock = directory.try_lock()
    assert lock is not None
    lock.release()


def test_whoever_waited_for_the_lock_of_a_deleted_container_is_told(directory: Directory) -> None:
    seen: list[BaseException] = []

    def wait() -> None:
        try:
            directory.lock()
        except NotFound as error:
            seen.append(error)

    lock = directory.lock()
    thread = threading.Thread(target=wait)
    thread.start()
    directory.remove()
    lock.release()
    thread.join()
    assert [str(error) for error in seen] == [f"container does not exist: {ID}"]


def test_a_removal_may_be_repeated(directory: Directory) -> None:
    directory.remove()
    assert not os.path.exists(directory.path)
    directory.remove()


def test_a_removal_that_fails_still_knows_the_container_and_its_cgroups(directory: Directory) -> None:
    Path(directory.path, "somebody-s").mkdir()
    with pytest.raises(Error) as caught:
        directory.remove()
    assert (caught.value.errno, caught.value.path) == (errno.EISDIR, directory.path)
    assert directory.read_cgroup_paths() == {"unified": "/sys/fs/cgroup/pyrt-web"}
    assert directory.read().pid == 4711


# Where


@pytest.mark.parametrize(("rootless", "expected"), [(False, "/run/pyrt"), (True, "/run/user/1/pyrt")])
def test_the_default_directory_is_root_s_or_the_user_s(monkeypatch: pytest.MonkeyPatch, rootless: bool, expected: str) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1")
    assert state.default_root(rootless) == expected


def test_a_user_without_a_runtime_directory_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    with pytest.raises(SpecError, match="set XDG_RUNTIME_DIR, or give --root"):
        state.default_root(rootless=True)
