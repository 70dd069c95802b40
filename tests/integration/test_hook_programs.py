"""Hooks: which program is executed, what it may leave and say, and what follows where one fails.

Neighbours: test_hooks.py (when and where each stage runs).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from typing import Any

import pytest

import pyrt
from helpers import engine
from helpers.commands import Command
from helpers.hooked import BEFORE, STAGES, Hooked
from helpers.waiting import runs, until

TOLD = ("prestart", "createRuntime", "createContainer", "poststart")
"""Stages whose failure repeats what the hook said: programs of the host's."""


def in_a_user_namespace(hooked: Hooked) -> None:
    hooked.bundle.linux["namespaces"].append({"type": "user"})
    hooked.bundle.linux["uidMappings"] = hooked.bundle.linux["gidMappings"] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    for path in (hooked.bundle.rootfs, *hooked.bundle.rootfs.iterdir()):
        os.chown(path, 100000, 100000)


def mount_namespace_of(container: pyrt.Container) -> str:
    return f"/proc/{container.pid}/ns/mnt"


@pytest.mark.parametrize("stage", ["createContainer", "startContainer"])
def test_the_pid_in_the_state_is_the_containers_also_in_a_given_pid_namespace(runtime: pyrt.Runtime, hooked: Hooked, stage: str) -> None:
    """Which process it is shows after the state was handed over: there it is a second clone."""
    with pyrt.Namespaces.create("pid") as made:
        namespaces = hooked.bundle.linux["namespaces"]
        next(entry for entry in namespaces if entry["type"] == "pid")["path"] = f"/proc/{os.getpid()}/fd/{made.pid.fd}"
        container = runtime.create("c", bundle=hooked.bundle.args("sleep", "1000").path)
        container.start()
        assert hooked.of(stage).state["pid"] == container.pid
        container.delete(force=True)


def test_create_container_finds_a_program_that_only_the_caller_may_reach(command: Command, hooked: Hooked) -> None:
    """Root of the user namespace is not the host's: the caller opens the program."""
    in_a_user_namespace(hooked)
    closed = hooked.directory / "closed"
    closed.mkdir(mode=0o700)
    shutil.copy("/bin/busybox", closed / "busybox")
    hooked.bundle.spec["hooks"] = {"createContainer": [{"path": str(closed / "busybox"), "args": ["false"]}]}
    assert engine.refused(engine.run(command, hooked.bundle, "true")) == (
        f"run createContainer hook 0 {closed}/busybox; it ended with status 1"
    )


def test_create_containers_script_runs_where_only_the_caller_may_reach_it(command: Command, hooked: Hooked) -> None:
    in_a_user_namespace(hooked)
    closed = hooked.directory / "closed"
    closed.mkdir(mode=0o700)
    Hooked.write(closed / "hook", "#!/bin/sh\nexit 9\n")
    hooked.bundle.spec["hooks"] = {"createContainer": [{"path": str(closed / "hook")}]}
    assert engine.refused(engine.run(command, hooked.bundle, "true")) == f"run createContainer hook 0 {closed}/hook; it ended with status 9"


def test_create_containers_path_is_the_callers_also_in_a_given_mount_namespace(
    runtime: pyrt.Runtime, running: pyrt.Container, hooked: Hooked
) -> None:
    """There the path leads elsewhere, to a program of the container that was there first."""
    trap = hooked.bundle.rootfs / "bin/trap"
    Hooked.write(trap, "#!/bin/sh\nexit 66\n")
    shutil.copy("/bin/busybox", hooked.directory / "busybox")
    host = hooked.directory / "trap"
    shutil.copy("/bin/busybox", host)
    hooked.bundle.spec["hooks"] = {"createContainer": [{"path": str(host), "args": ["sh", "-c", "exit 5"]}]}
    namespaces = hooked.bundle.linux["namespaces"]
    next(entry for entry in namespaces if entry["type"] == "mount")["path"] = mount_namespace_of(running)
    hooked.bundle.spec["mounts"] = []
    hooked.bundle.linux.pop("maskedPaths", None)
    hooked.bundle.linux.pop("readonlyPaths", None)
    with pytest.raises(pyrt.Error, match="it ended with status 5") as raised:
        runtime.create("c", bundle=hooked.bundle.args("true").path)
    assert raised.value.path == str(host)


@pytest.mark.parametrize("stage", TOLD)
def test_what_a_failing_hook_says_is_told(command: Command, hooked: Hooked, stage: str) -> None:
    path = hooked.fail(stage, "echo 'no such device'; echo 'giving up' >&2; exit 7")
    result = engine.run(command, hooked.bundle, "sleep", "1000")
    told = f"run {stage} hook 0 {path}; it ended with status 7 and said 'no such device\\ngiving up'"
    assert (engine.refused(result), result.stdout) == (told, "")


def test_control_characters_of_a_hook_reach_no_terminal(command: Command, hooked: Hooked) -> None:
    hooked.fail("createRuntime", "printf '\\033]0;owned\\007' >&2; exit 1")
    assert engine.refused(engine.run(command, hooked.bundle, "true")).endswith("said '\\u{1b}]0;owned\\u{7}'")


def test_only_the_end_of_much_that_a_hook_says_is_told(command: Command, hooked: Hooked) -> None:
    hooked.fail("createContainer", "/bin/busybox seq 1 100000; echo the reason; exit 1")
    told = engine.refused(engine.run(command, hooked.bundle, "true"))
    assert told.endswith("100000\\nthe reason'")
    assert len(told) < 2000


def test_what_a_hook_says_is_not_the_containers_output(command: Command, hooked: Hooked) -> None:
    for stage in ("prestart", "createRuntime", "createContainer", "poststart", "poststop"):
        hooked.fail(stage, "echo to stdout; echo to stderr >&2")
    result = engine.run(command, hooked.bundle, "true").ok()
    assert (result.stdout, result.stderr) == ("", "")


def test_start_container_writes_to_the_containers_output(command: Command, hooked: Hooked) -> None:
    """It is a program of the container's: no word of it gets into a message of pyrt's."""
    hooked.fail("startContainer", "echo from inside; echo words >&2; exit 7")
    result = engine.run(command, hooked.bundle, "true")
    assert (result.status, result.stdout) == (1, "from inside\n")
    assert result.stderr == "words\npyrt: run startContainer hook 0 /bin/failing; it ended with status 7\n"


@pytest.mark.parametrize("stage", ["startContainer", "poststop"])
def test_a_hook_that_reads_nothing_of_a_long_state_ends_at_its_timeout(command: Command, hooked: Hooked, stage: str) -> None:
    hooked.bundle.spec["annotations"] = {"long": "x" * (1 << 18)}
    path = hooked.fail(stage, "sleep 1000")
    hooked.bundle.spec["hooks"][stage][0]["timeout"] = 1
    result = engine.run(command, hooked.bundle, "sleep", "0")
    expected = f"run {stage} hook 0 {path}: connection timed out (ETIMEDOUT); it did not end within 1 s\n"
    assert result.stderr.endswith(expected)
    assert result.status == (0 if stage == "poststop" else 1)


def test_children_of_a_hook_that_takes_too_long_end_with_it(command: Command, hooked: Hooked) -> None:
    child = hooked.directory / "child"
    hooked.fail("createRuntime", f"sleep 1000 & echo $! > {child}; wait")
    # Until then it has started its child, also on a busy machine.
    hooked.bundle.spec["hooks"]["createRuntime"][0]["timeout"] = 3
    assert "(ETIMEDOUT)" in engine.refused(engine.run(command, hooked.bundle, "true"))
    pid = int(child.read_text())
    until(lambda: not runs(pid), "the child of the hook ends")


def test_a_timeout_that_no_clock_reaches_is_none(command: Command, hooked: Hooked) -> None:
    for stage in STAGES:
        hooked.bundle.spec["hooks"][stage][0]["timeout"] = (1 << 63) - 1
    engine.run(command, hooked.bundle, "true").ok()
    assert sorted(hooked.stages()) == sorted(STAGES)


def test_hooks_work_for_a_caller_that_ignores_sigchld(hooked: Hooked) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        hooked.fail("createRuntime", "sleep 0.1; exit 7")
        with pytest.raises(pyrt.Error) as raised:
            pyrt.run(["true"], bundle=hooked.bundle.write())
    finally:
        signal.signal(signal.SIGCHLD, before)
    # PIDFD_GET_INFO tells since Linux 6.15.
    assert raised.value.hint in (
        "it ended with status 7",
        "its exit status is unknown: the calling process ignores SIGCHLD",
    )


@pytest.mark.parametrize("stage", BEFORE)
def test_poststop_hooks_run_where_another_hook_failed(command: Command, hooked: Hooked, stage: str) -> None:
    """runtime.md, "Lifecycle": what the hooks before it have set up is undone."""
    hooked.fail(stage)
    engine.refused(engine.run(command, hooked.bundle, "true"))
    assert hooked.of("poststop").state["status"] == "stopped"
    assert hooked.stages().count("poststop") == 1


def test_poststop_hooks_run_where_the_program_is_missing(command: Command, hooked: Hooked) -> None:
    engine.refused(engine.run(command, hooked.bundle, "/no/such/program"))
    assert hooked.stages() == ["prestart", "createRuntime", "createContainer", "poststop"]


def test_poststop_hooks_do_not_run_where_no_hook_ran(command: Command, hooked: Hooked) -> None:
    hooked.bundle.spec["mounts"].append({"destination": "/mnt", "type": "bind", "source": "/no/such/source", "options": ["bind"]})
    engine.refused(engine.run(command, hooked.bundle, "true"))
    assert hooked.stages() == []


def test_a_failing_poststop_hook_after_a_failure_is_told_after_it(command: Command, hooked: Hooked) -> None:
    first, last = hooked.fail("createRuntime"), hooked.fail("poststop", "exit 8")
    assert engine.refused(engine.run(command, hooked.bundle, "true")) == (
        f"run createRuntime hook 0 {first}; it ended with status 7; run poststop hook 0 {last}; it ended with status 8"
    )


def test_the_failing_one_of_several_start_container_hooks_is_named(command: Command, hooked: Hooked) -> None:
    failing = hooked.fail("startContainer")
    hooked.bundle.spec["hooks"]["startContainer"].insert(0, hooked.entry("startContainer"))
    command("create", "--bundle", hooked.bundle.args("true").path, "c").ok()
    assert engine.refused(command("start", "c")) == f"run startContainer hook 1 {failing}; it ended with status 7"
    command("delete", "c").ok()


def test_the_failing_one_of_several_create_container_hooks_is_named(command: Command, hooked: Hooked) -> None:
    failing = hooked.fail("createContainer")
    hooked.bundle.spec["hooks"]["createContainer"].insert(0, hooked.entry("createContainer"))
    assert engine.refused(engine.run(command, hooked.bundle, "true")) == f"run createContainer hook 1 {failing}; it ended with status 7"


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"args": ["hook", "a\0b"]}, ".args[1]: contains a NUL byte"),
        ({"env": ["A=1", "B=\0"]}, ".env[1]: contains a NUL byte"),
        ({"env": ["A=1", "B"]}, ".env[1]: 'B' is not NAME=VALUE"),
        ({"env": ["=1"]}, ".env[0]: '=1' is not NAME=VALUE"),
        ({"path": "/a\0b"}, ".path: contains a NUL byte"),
        ({"path": ""}, '.path: "" is not an absolute path'),
        ({"timeout": -1}, ".timeout: must be above 0"),
        ({"timeout": "1"}, '.timeout: invalid type: string "1", expected i64'),
    ],
)
def test_a_wrong_value_of_a_hook_is_refused_by_its_place(hooked: Hooked, entry: dict[str, Any], reason: str) -> None:
    good = hooked.bundle.spec["hooks"]
    for stage in STAGES:
        wrong = {**good, stage: [good[stage][0], {"path": "/bin/true", **entry}]}
        with pytest.raises(pyrt.SpecError) as raised:
            pyrt.Spec({**hooked.bundle.spec, "hooks": wrong}).check(hooked.bundle.path)
        assert str(raised.value) == f"config.json: hooks.{stage}[1]{reason}"


def test_a_hook_without_a_path_is_refused_by_its_place(hooked: Hooked) -> None:
    hooked.bundle.spec["hooks"]["prestart"].append({"args": ["x"]})
    with pytest.raises(pyrt.SpecError, match="missing field `path`") as raised:
        pyrt.Spec(hooked.bundle.spec).check(hooked.bundle.path)
    assert raised.value.json_path == "hooks.prestart[1]"


def test_no_process_of_a_hook_is_left(hooked: Hooked) -> None:
    pyrt.run(["true"], bundle=hooked.bundle.write())
    found = subprocess.run(["pgrep", "-f", str(hooked.directory)], capture_output=True, text=True, check=False)
    assert found.stdout == ""
