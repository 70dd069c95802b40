"""No wait for a container is endless, or deaf to Ctrl-C: an init that stands still, zombies in a pid namespace, a hook that hangs.

Each wait that a defect would make endless is a process of its own here, with a time after which it counts as hanging: pytest-timeout
cannot end a call of the native module. Neighbours: test_every_ending.py (what is inside ends), test_contention.py (locks).
"""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

import pyrt
from helpers import callers, cgroups
from helpers.bundles import Bundle
from helpers.commands import Command
from helpers.hosts import requires
from helpers.waiting import SOON, runs, until

ID = f"waits-{os.getpid()}"

# A deletion in a process that has a child in the container's pid namespace

GUEST = """
container = pyrt.Runtime(root=sys.argv[1]).create(sys.argv[2], bundle=sys.argv[3], start=True)
given = {"pid": f"/proc/{container.pid}/ns/pid"}
guests = [pyrt.Popen(["sleep", "1000"], rootfs=sys.argv[4], namespaces=given) for _ in range(2)]
container.delete(force=True)
print("deleted", [guest.wait() for guest in guests], flush=True)
"""


def test_a_container_is_deleted_whose_pid_namespace_has_children_of_the_deleter(root_dir: Path, bundle: Bundle) -> None:
    """The kernel keeps PID 1 until they are reaped (pid_namespaces(7)), and nobody waits for them."""
    marker = callers.new_marker()
    bundle.args("sleep", "1000")
    with callers.start(GUEST, marker, root_dir, ID, bundle.path, bundle.rootfs) as caller:
        assert said(caller) == "deleted [-9, -9]\n"


def said(caller: subprocess.Popen[str]) -> str:
    """All that it says until it ends, which it must soon."""
    try:
        return caller.communicate(timeout=SOON)[0]
    except subprocess.TimeoutExpired:
        caller.kill()
        raise


# Ctrl-C while init does not answer

STANDING = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    pyrt.Runtime(root=sys.argv[1]).create(sys.argv[3], bundle=sys.argv[2])
except KeyboardInterrupt:
    print("interrupted", pyrt.Runtime(root=sys.argv[1]).list(), flush=True)
"""


def test_ctrl_c_ends_a_create_whose_init_stands_still(root_dir: Path, bundle: Bundle) -> None:
    """A hook inside stands still for ever; what it waits for is init's answer. Nothing is left."""
    marker = callers.new_marker()
    bundle.spec["hooks"] = {"createContainer": [{"path": "/bin/sh", "args": ["sh", "-c", "sleep 1000; true", marker]}]}
    bundle.write()
    with callers.start(STANDING, "none", root_dir, bundle.path, ID) as caller:
        until(lambda: bool(callers.marked(marker)), "the hook runs")
        caller.send_signal(signal.SIGINT)
        assert said(caller) == "interrupted []\n"
    until(lambda: not callers.marked(marker), "the hook ends")


def test_ctrl_c_ends_a_hook_of_the_caller_s_namespaces(root_dir: Path, bundle: Bundle) -> None:
    marker = callers.new_marker()
    # It stops itself: a sleep in it would be left on the host when it ends.
    bundle.spec["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", "kill -STOP $$; true", marker]}]}
    bundle.write()
    with callers.start(STANDING, "none", root_dir, bundle.path, ID) as caller:
        until(lambda: bool(callers.marked(marker)), "the hook runs")
        # To the caller alone, not to its process group as a terminal does.
        caller.send_signal(signal.SIGINT)
        assert said(caller) == "interrupted []\n"
    shells = [pid for pid in callers.marked(marker) if b"sh" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert shells == []


# SIGKILL of what stands still


def end(verb: str, runtime: pyrt.Runtime, running: pyrt.Container, command: Command, pid: int) -> None:
    if verb == "kill":
        command("kill", running.id, "KILL").ok()
        assert running.wait(SOON) == -signal.SIGKILL
    else:
        command("delete", "--force", running.id).ok()
        assert runtime.list() == []
    until(lambda: not runs(pid), "the init ends")


@pytest.mark.parametrize("verb", ["kill", "delete"])
def test_a_container_whose_init_is_stopped_ends(runtime: pyrt.Runtime, running: pyrt.Container, command: Command, verb: str) -> None:
    pid = running.pid
    os.kill(pid, signal.SIGSTOP)
    end(verb, runtime, running, command, pid)


@pytest.mark.parametrize("verb", ["kill", "delete"])
def test_a_paused_container_ends(runtime: pyrt.Runtime, running: pyrt.Container, command: Command, verb: str) -> None:
    pid = running.pid
    running.pause()
    end(verb, runtime, running, command, pid)


@requires("hybrid cgroups")
@pytest.mark.parametrize("verb", ["kill", "delete"])
def test_a_container_that_somebody_froze_by_the_v1_freezer_ends(
    runtime: pyrt.Runtime, running: pyrt.Container, command: Command, verb: str
) -> None:
    """pyrt freezes by cgroup2 here; the v1 freezer, which others use, lets no SIGKILL through."""
    pid = running.pid
    freezer = cgroups.directory(cgroups.of(pid)["freezer"], "freezer")
    (freezer / "freezer.state").write_text("FROZEN")
    until(lambda: (freezer / "freezer.state").read_text() == "FROZEN\n", "it is frozen")
    end(verb, runtime, running, command, pid)


@requires("cgroup2")
def test_a_container_below_a_cgroup_that_is_frozen_ends(command: Command, bundle: Bundle) -> None:
    """cgroup2 lets SIGKILL through to what is frozen, also from above."""
    outer = f"/{ID}-outer"
    bundle.linux["cgroupsPath"] = f"{outer}/inner"
    command("run", "--detach", "--bundle", bundle.args("sleep", "1000").path, ID).ok()
    directory = cgroups.directory(cgroups.of(command("state", ID).json["pid"])[cgroups.UNIFIED], cgroups.UNIFIED).parent
    (directory / "cgroup.freeze").write_text("1")
    try:
        assert command("state", ID).json["status"] in ("running", "paused")
        command("kill", ID, "KILL").ok()
        command("delete", "--force", ID).ok()
    finally:
        # It goes with the last in it.
        with suppress(FileNotFoundError):
            (directory / "cgroup.freeze").write_text("0")
    assert cgroups.matching(outer.lstrip("/")) == []
