"""What is raised when the kernel, the host or a container's state says no: class, built-in base, errno, path, text; and through pickle.

Neighbours: tests/unit/test_errors.py (the classes by themselves), test_run.py (arguments that make no sense).
"""

from __future__ import annotations

import asyncio
import errno
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import pyrt
from helpers.bundles import Bundle
from helpers.hosts import cgroup_mounts


def same(error: BaseException) -> bool:
    """Whether pickle brings back the same error, text and attributes included."""
    again = pickle.loads(pickle.dumps(error))
    return type(again) is type(error) and str(again) == str(error) and again.__dict__.keys() == error.__dict__.keys()


# The program


def test_a_missing_program_is_file_not_found_with_its_name_and_a_hint() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        pyrt.run(["no-such-program"])
    error = caught.value
    assert isinstance(error, pyrt.MissingExecutable)
    assert isinstance(error, pyrt.ExecutableError)
    assert (error.errno, error.filename, error.path) == (errno.ENOENT, "no-such-program", "no-such-program")
    assert str(error).startswith(
        'exec: "no-such-program": executable file not found in $PATH; the host view shows /usr and the Python in use'
    )
    assert same(error)


def test_a_program_that_the_host_has_elsewhere_is_named_with_the_way_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").write_text("#!/bin/sh\n")
    (tmp_path / "mine").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(pyrt.MissingExecutable) as caught:
        pyrt.run(["mine"])
    assert caught.value.hint == f"the host has it in {tmp_path}, which the host view does not show: HostView(show=['{tmp_path}']) does"
    view = pyrt.HostView(show=[tmp_path])
    with pytest.raises(pyrt.MissingExecutable, match="not in the container's PATH: give its whole path"):
        pyrt.run(["mine"], host_view=view)
    assert pyrt.run([tmp_path / "mine"], host_view=view).returncode == 0


@pytest.mark.parametrize("init", [True, False])
def test_a_program_whose_interpreter_is_missing_is_a_missing_one(rootfs: Path, init: bool) -> None:
    (rootfs / "script").write_text("#!/no/such/interpreter\n")
    (rootfs / "script").chmod(0o755)
    with pytest.raises(pyrt.MissingExecutable) as caught:
        pyrt.run(["/script"], rootfs=rootfs, init=init)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOENT, "/script")
    assert caught.value.hint == "it is there, but not the interpreter that it names"


@pytest.mark.parametrize("init", [True, False])
def test_a_program_that_is_not_executable_is_permission_denied(rootfs: Path, init: bool) -> None:
    (rootfs / "script").write_text("#!/bin/sh\n")
    with pytest.raises(PermissionError) as caught:
        pyrt.run(["/script"], rootfs=rootfs, init=init)
    assert isinstance(caught.value, pyrt.ForbiddenExecutable)
    assert (caught.value.errno, caught.value.filename) == (errno.EACCES, "/script")
    assert str(caught.value) == 'exec: "/script": permission denied'
    assert same(caught.value)


def test_a_directory_is_no_program(rootfs: Path) -> None:
    with pytest.raises(pyrt.ForbiddenExecutable) as caught:
        pyrt.run(["/etc"], rootfs=rootfs)
    assert (caught.value.errno, caught.value.filename) == (errno.EISDIR, "/etc")


@pytest.mark.parametrize("init", [True, False])
def test_a_file_in_no_format_of_programs_is_an_executable_error(rootfs: Path, init: bool) -> None:
    (rootfs / "data").write_bytes(b"\0\1\2\3")
    (rootfs / "data").chmod(0o755)
    with pytest.raises(pyrt.ExecutableError, match="exec format error") as caught:
        pyrt.run(["/data"], rootfs=rootfs, init=init)
    assert (caught.value.errno, caught.value.path) == (errno.ENOEXEC, "/data")


# Containers


def test_a_container_that_is_not_there_is_a_lookup_error(runtime: pyrt.Runtime) -> None:
    with pytest.raises(LookupError, match="container does not exist: nobody") as caught:
        runtime.get("nobody")
    assert isinstance(caught.value, pyrt.NotFound)
    assert same(caught.value)


def test_an_id_in_use_is_already_exists(running: pyrt.Container, runtime: pyrt.Runtime, bundle: Bundle) -> None:
    with pytest.raises(pyrt.AlreadyExists, match="container with given ID already exists: running"):
        runtime.create(running.id, bundle=bundle.path)


def test_a_verb_in_the_wrong_state_names_both_states(running: pyrt.Container) -> None:
    with pytest.raises(pyrt.InvalidState, match=f"cannot start container {running.id}: it is running, not created"):
        running.start()
    with pytest.raises(
        pyrt.InvalidState, match=f"cannot delete container {running.id}: it is running, not created or stopped; kill it first"
    ):
        running.delete()


@pytest.mark.parametrize("id", ["", ".", "..", "a/b", "a b", "ä", "x" * 201, "a\0b", "a\n"])
def test_an_id_that_could_be_a_path_is_a_value_error(runtime: pyrt.Runtime, bundle: Bundle, id: str) -> None:
    with pytest.raises(ValueError, match="invalid container id") as caught:
        runtime.create(id, bundle=bundle.path)
    assert isinstance(caught.value, pyrt.SpecError)


def test_a_wrong_value_in_config_json_is_named_by_its_place(runtime: pyrt.Runtime, bundle: Bundle) -> None:
    bundle.linux["namespaces"].append({"type": "nonsense"})
    bundle.write()
    with pytest.raises(pyrt.SpecError, match=r"^config.json: linux\.namespaces\[\d\]\.?t?y?p?e?: .*nonsense") as caught:
        runtime.create("wrong", bundle=bundle.path)
    assert caught.value.json_path is not None
    assert same(caught.value)


def test_a_config_that_is_no_json_is_named_by_line_and_column(runtime: pyrt.Runtime, bundle: Bundle) -> None:
    (bundle.path / "config.json").write_text('{\n  "ociVersion": }')
    with pytest.raises(pyrt.SpecError, match="line 2 column 17") as caught:
        runtime.create("wrong", bundle=bundle.path)
    assert isinstance(caught.value, ValueError)


def test_a_missing_config_is_named(runtime: pyrt.Runtime, tmp_path: Path) -> None:
    with pytest.raises(pyrt.Error) as caught:
        runtime.create("wrong", bundle=tmp_path)
    assert (caught.value.errno, caught.value.path) == (errno.ENOENT, f"{tmp_path}/config.json")
    for words in ("is a directory", "not a directory", "permission denied"):
        assert words not in str(caught.value), "engines match these"


def test_a_spec_from_a_directory_without_one_is_named_in_no_other_errno_s_words(tmp_path: Path) -> None:
    with pytest.raises(pyrt.NotFound) as caught:
        pyrt.Spec.from_file(tmp_path)
    assert (caught.value.errno, caught.value.path) == (errno.ENOENT, f"{tmp_path}/config.json")
    assert "is a directory" not in str(caught.value)


# The host


def test_a_cgroup_in_use_is_already_exists_with_its_directory() -> None:
    with pyrt.Cgroup.create("test-exists") as group, pytest.raises(pyrt.AlreadyExists) as caught:
        pyrt.Cgroup.create("test-exists")
    assert caught.value.path in [f"{root}{group.path}" for root in cgroup_mounts().roots]
    assert "already exists" in str(caught.value)


def test_what_the_kernel_refuses_is_named_with_errno_and_path(rootfs: Path) -> None:
    with pytest.raises(pyrt.Error) as caught:
        pyrt.run(["true"], rootfs=rootfs, mounts=[pyrt.Mount("/mnt", source="/no/such/source")])
    assert caught.value.errno == errno.ENOENT
    assert str(caught.value) == "bind mount /no/such/source on /mnt: no such file or directory (ENOENT)"
    assert same(caught.value)


def test_a_file_system_that_the_kernel_lacks_is_named(rootfs: Path) -> None:
    with pytest.raises(pyrt.Error, match=r"nonsensefs.*ENODEV") as caught:
        pyrt.run(["true"], rootfs=rootfs, mounts=[pyrt.Mount("/mnt", source="none", type="nonsensefs")])
    assert caught.value.errno == errno.ENODEV


def test_an_overlay_of_nothing_is_named() -> None:
    with pytest.raises(pyrt.Error) as caught:
        pyrt.Overlay(lower=["/no/such/lower"])
    assert caught.value.errno == errno.ENOENT
    assert "/no/such/lower" in str(caught.value)


# Through other machinery


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        ("pyrt.run(['sleep', '1000'], timeout=0.1)", subprocess.TimeoutExpired),
        ("pyrt.run(['sh', '-c', 'echo out; exit 3'], check=True, capture_output=True)", subprocess.CalledProcessError),
        ("pyrt.run(['no-such-program'])", FileNotFoundError),
        ("pyrt.Spec({'ociVersion': 1}).check()", ValueError),
    ],
    ids=["timeout", "failed", "missing", "spec"],
)
def test_exceptions_cross_to_another_process(act: str, expected: type[Exception]) -> None:
    script = f"import pickle, sys, pyrt\ntry:\n    {act}\nexcept pyrt.Error as error:\n    sys.stdout.buffer.write(pickle.dumps(error))"
    error = pickle.loads(subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=True).stdout)
    assert isinstance(error, expected)
    assert isinstance(error, pyrt.Error)
    if isinstance(error, (pyrt.ContainerTimeout, pyrt.ContainerFailed)):
        assert error.result.cause in (pyrt.Cause.TIMEOUT, pyrt.Cause.EXITED)
        assert error.result.usage.max_rss_bytes > 0


def test_run_in_an_event_loop_s_thread_raises_there() -> None:
    async def main() -> int:
        with pytest.raises(pyrt.MissingExecutable):
            await asyncio.to_thread(pyrt.run, ["no-such-program"])
        return (await asyncio.to_thread(pyrt.run, ["true"])).returncode

    assert asyncio.run(main()) == 0
