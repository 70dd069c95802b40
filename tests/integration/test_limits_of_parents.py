"""Limits that a cgroup above stands against, controllers that were not given down, and what is left when a limit is refused.

Neighbours: test_limits_refused.py (limits that cannot be anywhere), test_cgroup_delegation.py (whose a cgroup is).
"""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import pyrt
from helpers import cgroups, hosts
from helpers.bundles import Bundle
from helpers.commands import PYRT, Command
from helpers.hosts import requires
from helpers.waiting import until
from pyrt import _native

MEBIBYTE = 1 << 20
PURE = hosts.has("pure cgroup v2")
NAME = f"pyrt-cgroups-parent-{os.getpid()}"


@pytest.fixture
def first_cpu() -> Iterator[pyrt.Cgroup]:
    """A cgroup that may use CPU 0 alone."""
    with pyrt.Cgroup.create(f"/{NAME}", pyrt.Limits(cpuset=[0])) as group:
        yield group


@requires("cpuset controller", "two processors")
@pytest.mark.parametrize("verb", ["create", "run"])
def test_a_cpu_outside_the_parent_s_is_refused_with_file_and_value(
    command: Command, bundle: Bundle, first_cpu: pyrt.Cgroup, verb: str
) -> None:
    bundle.linux.update(cgroupsPath=f"{first_cpu.path}/inner", resources={"cpu": {"cpus": "1"}})
    done = command(verb, "--bundle", bundle.args("true").path, f"cgroups-cpuset-{os.getpid()}")
    directory = cgroups.directory(f"{first_cpu.path}/inner", "cpuset")
    assert done.status == 1
    assert f'write "1" to {directory}/cpuset.cpus' in done.stderr.replace("to: ", "to ")
    assert "outside the parent cgroup's" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not cgroups.exists(f"{first_cpu.path}/inner")


@requires("cpuset controller", "two processors")
def test_an_update_to_a_cpu_outside_the_parent_s_changes_nothing(first_cpu: pyrt.Cgroup) -> None:
    inner = _native.Cgroup.create(f"{first_cpu.path}/inner", {"cpu": {"cpus": "0"}})
    with pytest.raises(pyrt.Error, match="outside the parent cgroup's"):
        inner.update({"cpu": {"cpus": "1"}})
    assert (cgroups.directory(f"{first_cpu.path}/inner", "cpuset") / "cpuset.cpus").read_text() == "0\n"
    inner.remove()


@requires("cpuset controller", "two processors")
def test_a_cpuset_that_is_not_named_is_the_parent_s(command: Command, bundle: Bundle, first_cpu: pyrt.Cgroup) -> None:
    bundle.linux["cgroupsPath"] = f"{first_cpu.path}/inner"
    done = command("run", "--bundle", bundle.shell("grep Cpus_allowed_list /proc/self/status").path, f"cgroups-inherit-{os.getpid()}").ok()
    assert done.stdout.split()[-1] == "0"


@requires("memory controller")
def test_what_a_refused_limit_of_a_nested_cgroup_made_on_the_way_is_gone(command: Command, bundle: Bundle) -> None:
    bundle.linux.update(cgroupsPath=f"/{NAME}/b/c", resources={"memory": {"limit": 64 * MEBIBYTE}, "cpu": {"cpus": "4000"}})
    done = command("create", "--bundle", bundle.args("true").path, f"cgroups-nested-{os.getpid()}")
    assert done.status == 1
    assert "/cpuset.cpus" in done.stderr
    assert not cgroups.exists(f"/{NAME}")


@requires("cgroup v1", "memory controller", "swap accounting")
def test_a_limit_below_what_is_in_use_is_refused_by_v1_itself(runtime: pyrt.Runtime, bundle: Bundle) -> None:
    bundle.linux["resources"] = {"memory": {"limit": 64 * MEBIBYTE, "swap": 64 * MEBIBYTE}}
    hold = f"x=$(head -c {8 * MEBIBYTE} /dev/zero | tr '\\0' a); echo > held; sleep 1000; echo $x"
    os.mkfifo(bundle.rootfs / "held")
    bundle.spec["root"]["readonly"] = False
    container = runtime.create(f"cgroups-in-use-{os.getpid()}", bundle=bundle.shell(hold).path)
    container.start()
    (bundle.rootfs / "held").read_text()
    with pytest.raises(pyrt.Error) as failure:
        container.update({"memory": {"limit": 2 * MEBIBYTE}})
    assert failure.value.errno == errno.EBUSY
    assert f'write "{2 * MEBIBYTE}" to ' in str(failure.value)
    assert "/memory.limit_in_bytes: " in str(failure.value)
    assert "more than that is in use and cannot be reclaimed" in str(failure.value)
    memory = container.stats().memory
    container.delete(force=True)
    assert memory is not None
    assert memory.limit_bytes == 64 * MEBIBYTE


@pytest.fixture
def undelegated() -> Iterator[Path]:
    """A cgroup2 directory that was given no controllers."""
    mount = hosts.cgroup_mounts().cgroup2
    assert mount is not None
    directory = mount / NAME / "inner"
    directory.mkdir(parents=True)
    yield directory
    until(lambda: "populated 0" in (directory / "cgroup.events").read_text(), f"the end of what is in {directory}")
    directory.rmdir()
    directory.parent.rmdir()


AS_ROOT_OF_IT = """
echo $$ > "$1/cgroup.procs" && shift && exec unshare --cgroup --mount sh -c 'umount -l "$0" && mount -t cgroup2 none "$0" && "$@"' "$@"
"""
"""Run a command, after two directories: a cgroup2 one, and where the command sees that as the whole of cgroup2."""


@requires("pure cgroup v2", "unshare", "memory controller")
def test_a_controller_that_was_not_delegated_is_named(command: Command, bundle: Bundle, undelegated: Path) -> None:
    mount = hosts.cgroup_mounts().cgroup2
    bundle.linux["resources"] = {"memory": {"limit": 64 * MEBIBYTE}}
    words = [str(PYRT), "--root", str(command.root), "run", "--bundle", str(bundle.args("true").path), f"cgroups-without-{os.getpid()}"]
    line = ["sh", "-c", AS_ROOT_OF_IT, "sh", str(undelegated), str(mount), *words]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "limit linux.resources.memory.limit: no memory cgroup controller on this host" in done.stderr
    assert "leave the limit out, or delegate the controller; available here: no controllers" in done.stderr
    assert list(undelegated.glob("*/")) == []


# net_cls, net_prio and hugetlb as v1, mounted for one test

WITH_V1 = 'mkdir /tmp/{0} && mount -t cgroup -o {0} none /tmp/{0} && trap "umount /tmp/{0}; rmdir /tmp/{0}" EXIT && "$@"'


def with_v1(hierarchy: str, command: Command, bundle: Bundle) -> str:
    """What the container says that is made where cgroup2 has the other controllers and v1 this."""
    words = [str(PYRT), "--root", str(command.root), "run", "--bundle", str(bundle.write()), f"cgroups-v1-{os.getpid()}"]
    line = ["unshare", "--mount", "sh", "-c", WITH_V1.format(hierarchy), "sh", *words]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if "mount:" in done.stderr:
        pytest.skip(f"this kernel mounts no v1 hierarchy with {hierarchy}: {done.stderr}")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@requires("pure cgroup v2", "unshare")
def test_class_and_priorities_of_packets_are_v1_s_where_that_is_mounted(command: Command, bundle: Bundle) -> None:
    bundle.linux["resources"] = {"network": {"classID": 0x100001, "priorities": [{"name": "lo", "priority": 3}]}, "pids": {"limit": 50}}
    bundle.shell("cd /sys/fs/cgroup; cat net_cls/net_cls.classid net_prio/net_prio.ifpriomap unified/pids.max")
    assert with_v1("net_cls,net_prio", command, bundle).split() == [str(0x100001), "lo", "3", "50"]


@pytest.fixture
def hugetlb_free() -> Iterator[None]:
    """cgroup2 does not use the controller, so that v1 can have it."""
    mount = hosts.cgroup_mounts().cgroup2
    assert mount is not None
    (mount / "cgroup.subtree_control").write_text("-hugetlb")
    yield
    (mount / "cgroup.subtree_control").write_text("+hugetlb")


@requires("pure cgroup v2", "unshare", "hugetlb controller of cgroup2")
def test_huge_pages_are_limited_by_v1_where_that_is_mounted(command: Command, bundle: Bundle, hugetlb_free: None) -> None:
    bundle.linux["resources"] = {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MEBIBYTE}]}
    bundle.shell("cd /sys/fs/cgroup/hugetlb; cat hugetlb.2MB.limit_in_bytes hugetlb.2MB.rsvd.limit_in_bytes")
    assert with_v1("hugetlb", command, bundle).split() == [str(4 * MEBIBYTE)] * 2
