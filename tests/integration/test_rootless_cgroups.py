"""Limits for a user other than root: through a cgroup that is delegated to him, or a clear refusal.

Neighbours: test_rootless.py; test_cgroup_delegation.py (a caller that makes room in its own cgroup, and the user inside a container).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pyrt
from helpers.hosts import cgroup_mounts, requires

if TYPE_CHECKING:
    from helpers.ordinary import Ordinary

pytestmark = requires("ordinary users")

DOORS = ("cgroup.procs", "cgroup.subtree_control", "cgroup.threads", "tasks")
NONE = "no cgroup is delegated to this user: under systemd, `systemd-run --user --scope -p Delegate=yes` starts a command in one of his own"
SAID = """
def said(call):
    try:
        call()
    except pyrt.Error as error:
        return [type(error).__name__, str(error)]
"""


class Delegated:
    """A cgroup of every hierarchy that belongs to the user. As `before` of his commands: how they come into one below it, or into it."""

    def __init__(self, group: pyrt.Cgroup, user: Ordinary) -> None:
        self.group = group
        self.directories = [Path(path) for path in group.paths.values()]
        self.unified = Path(group.paths["unified"])
        (self.unified / "caller").mkdir()
        for directory in (*self.directories, self.unified / "caller"):
            for path in (directory, *(directory / door for door in DOORS)):
                if path.exists():
                    os.chown(path, user.uid, user.gid)

    @property
    def below(self) -> str:
        return f"echo 0 > {self.unified}/caller/cgroup.procs"

    @property
    def itself(self) -> str:
        return f"echo 0 > {self.unified}/cgroup.procs"

    def made(self) -> list[str]:
        """Names of the cgroups that the user's processes made."""
        return [path.name for directory in self.directories for path in directory.iterdir() if path.is_dir() and path.name != "caller"]


@pytest.fixture
def delegated(ordinary: Ordinary) -> Iterator[Delegated]:
    with pyrt.Cgroup.create(f"rootless-{os.getpid()}", pyrt.Limits(memory="2G", pids=1000)) as group:
        yield Delegated(group, ordinary)


def test_a_limit_without_a_delegated_cgroup_is_refused(ordinary: Ordinary) -> None:
    kind, text = ordinary.told(SAID + "print(json.dumps(said(lambda: pyrt.run(['true'], memory='64M'))))")
    assert kind == "HostError"
    assert text == f"limit linux.resources.memory.limit: no memory cgroup controller for this user; {NONE}"


def test_a_cgroup_of_ones_own_without_a_delegated_one_is_refused(ordinary: Ordinary) -> None:
    kind, text = ordinary.told(SAID + "print(json.dumps(said(lambda: pyrt.Cgroup.create('mine'))))")
    assert (kind, text) == ("HostError", f"make cgroup /pyrt-mine; {NONE}")


@requires("cgroup2", "memory controller")
def test_a_limit_acts_in_the_delegated_cgroup(ordinary: Ordinary, delegated: Delegated) -> None:
    code = "done = pyrt.run([sys.executable, '-c', 'x = bytearray(200 << 20)'], memory='48M')\nprint(json.dumps(done.cause.name))"
    assert ordinary.told(code, before=delegated.below) == "OOM"
    assert delegated.made() == []


@requires("cgroup2", "memory controller", "pids controller")
def test_usage_is_counted_in_the_delegated_cgroup(ordinary: Ordinary, delegated: Delegated) -> None:
    code = "usage = pyrt.run(['true']).usage\nprint(json.dumps([usage.cpu_usec, usage.memory_peak_bytes, usage.pids_peak]))"
    assert None not in ordinary.told(code, before=delegated.below)
    assert delegated.made() == []


@requires("cgroup2")
def test_a_container_in_a_delegated_cgroup_can_be_paused(ordinary: Ordinary, delegated: Delegated) -> None:
    ordinary.rootfs()
    code = """
container = pyrt.Runtime(root="state").create("still", ["sleep", "1000"], rootfs="rootfs")
try:
    container.start()
    container.pause()
    states = [container.status]
    container.resume()
    print(json.dumps([*states, container.status, len(container.processes())]))
finally:
    container.delete(force=True)
"""
    assert ordinary.told(code, before=delegated.below) == ["paused", "running", 1]
    assert delegated.made() == []


@requires("cgroup2", "memory controller")
def test_cgroups_of_ones_own_lie_below_the_delegated_one(ordinary: Ordinary, delegated: Delegated) -> None:
    code = """
with pyrt.Cgroup.create("mine", pyrt.Limits(memory="128M")) as group:
    done = pyrt.run(["true"], cgroup=group)
    print(json.dumps([done.returncode, group.paths]))
"""
    status, paths = ordinary.told(code, before=delegated.below)
    assert status == 0
    assert {Path(path).parent for path in paths.values()} <= set(delegated.directories)
    assert delegated.made() == []


@requires("pure cgroup v2", "memory controller")
def test_a_delegated_cgroup_with_others_in_it_says_that_it_gives_nothing_down(ordinary: Ordinary, delegated: Delegated) -> None:
    code = SAID + "print(json.dumps(said(lambda: pyrt.run(['true'], memory='64M'))))"
    kind, text = ordinary.told(code, before=f"{delegated.itself}\nsleep 1000 >/dev/null 2>&1 &")
    assert kind == "HostError"
    assert text == (
        "limit linux.resources.memory.limit: no memory cgroup controller for this user; the delegated cgroup has other processes than "
        "the caller in it, and so gives no controllers down: start the caller in a cgroup below it"
    )


@pytest.mark.skipif(cgroup_mounts().mode != "hybrid", reason="this host lacks: hybrid cgroups")
def test_a_hierarchy_that_is_not_delegated_is_not_used(ordinary: Ordinary, delegated: Delegated) -> None:
    for directory in delegated.directories:
        if directory.parent.name == "memory":
            os.chown(directory, 0, 0)
    code = SAID + "print(json.dumps([said(lambda: pyrt.run(['true'], memory='64M')), pyrt.run(['true'], pids=50).returncode]))"
    refused, status = ordinary.told(code, before=delegated.below)
    assert (refused[0], status) == ("HostError", 0)
