"""New namespaces: which the container has of its own, and what is set in them (names, loopback, kernel parameters, time offsets).

Neighbours: test_joining_namespaces.py (given ones), test_user_namespaces.py (mappings).
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

import pyrt
from helpers import engine
from helpers.bundles import Bundle
from helpers.commands import Command
from helpers.hosts import requires
from helpers.proc import NAMESPACES, SHOW_NAMESPACES, namespaces_of, printed_namespaces

MAPPINGS = [{"containerID": 0, "hostID": 0, "size": 65536}]


def only(bundle: Bundle, *kinds: str) -> None:
    """These namespaces are new, and nothing in the config needs another one."""
    bundle.linux["namespaces"] = [{"type": kind} for kind in kinds]
    if "uts" not in kinds:
        del bundle.spec["hostname"]


def children() -> list[str]:
    """PIDs of this process's children."""
    return [pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()]


def differing(command: Command, bundle: Bundle) -> set[str]:
    """Kinds of which the container has another one than this process."""
    inside = printed_namespaces(engine.shell(command, bundle, SHOW_NAMESPACES).ok().stdout)
    outside = namespaces_of("self")
    assert inside.keys() == outside.keys()
    return {kind for kind in NAMESPACES if inside[kind] != outside[kind]}


@pytest.mark.parametrize("kind", ["cgroup", "ipc", "network", "pid", "time", "uts"])
def test_a_namespace_that_is_asked_for_is_new_and_the_others_are_the_callers(command: Command, bundle: Bundle, kind: str) -> None:
    only(bundle, "mount", kind)
    assert differing(command, bundle) == {"mount", kind}


def test_a_mount_namespace_alone_is_enough(command: Command, bundle: Bundle) -> None:
    only(bundle, "mount")
    assert differing(command, bundle) == {"mount"}


def test_a_user_namespace_is_new_and_the_others_are_the_callers(command: Command, bundle: Bundle) -> None:
    # Nothing may be mounted anew there that shows a namespace of the host, hence pid and ipc beside it.
    only(bundle, "mount", "user", "pid", "ipc")
    bundle.linux.update(uidMappings=MAPPINGS, gidMappings=MAPPINGS)
    assert differing(command, bundle) == {"mount", "user", "pid", "ipc"}


def test_all_eight_namespaces_are_new_at_once(command: Command, bundle: Bundle) -> None:
    bundle.linux["namespaces"] += [{"type": "user"}, {"type": "time"}]
    bundle.linux.update(uidMappings=MAPPINGS, gidMappings=MAPPINGS)
    assert differing(command, bundle) == set(NAMESPACES)


def test_without_a_mount_namespace_the_container_is_refused(command: Command, bundle: Bundle) -> None:
    """Its root would be the host's."""
    bundle.without_namespace("mount")
    del bundle.linux["maskedPaths"], bundle.linux["readonlyPaths"]
    assert engine.refused(engine.run(command, bundle, "true")).startswith("config.json: linux.namespaces: ")


def test_a_namespace_of_unknown_type_is_refused_by_its_place(command: Command, bundle: Bundle) -> None:
    bundle.linux["namespaces"].append({"type": "galaxy"})
    last = len(bundle.linux["namespaces"]) - 1
    assert f"linux.namespaces[{last}].type" in engine.refused(engine.run(command, bundle, "true"))


def test_a_namespace_that_is_named_twice_is_refused(command: Command, bundle: Bundle) -> None:
    bundle.linux["namespaces"].append({"type": "pid"})
    last = len(bundle.linux["namespaces"]) - 1
    assert engine.refused(engine.run(command, bundle, "true")) == f"config.json: linux.namespaces[{last}]: pid is there twice"


def test_a_program_of_the_engine_form_is_pid_1(command: Command, bundle: Bundle) -> None:
    assert engine.shell(command, bundle, "echo $$").ok().stdout == "1\n"


def test_hostname_and_domainname_are_the_containers_own(command: Command, bundle: Bundle) -> None:
    before = os.uname()
    bundle.spec |= {"hostname": "inside", "domainname": "example.org"}
    said = engine.shell(command, bundle, "cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname").ok().stdout
    assert said.split() == ["inside", "example.org"]
    assert os.uname() == before


@pytest.mark.parametrize("name", ["hostname", "domainname"])
def test_a_host_name_without_a_uts_namespace_is_refused(command: Command, bundle: Bundle, name: str) -> None:
    only(bundle, "mount", "pid")
    bundle.spec[name] = "inside"
    assert engine.refused(engine.run(command, bundle, "true")) == (
        f"config.json: {name}: needs a uts namespace in linux.namespaces; without one the host's would change"
    )


def test_loopback_is_up_and_the_only_interface(command: Command, bundle: Bundle) -> None:
    assert engine.run(command, bundle, "ls", "/sys/class/net").ok().stdout == "lo\n"
    addresses = engine.shell(command, bundle, "ip addr show lo").ok().stdout
    assert "LOOPBACK,UP,LOWER_UP" in addresses
    assert "inet 127.0.0.1/8" in addresses


def test_a_kernel_parameter_of_a_new_namespace_is_set_there_and_not_on_the_host(command: Command, bundle: Bundle) -> None:
    parameters = {"net.ipv4.ip_default_ttl": "42", "kernel.shmmni": "123", "fs.mqueue.msg_max": "11"}
    files = ["/proc/sys/" + name.replace(".", "/") for name in parameters]
    before = [Path(file).read_text() for file in files]
    bundle.linux["sysctl"] = parameters
    assert engine.run(command, bundle, "cat", *files).ok().stdout.split() == list(parameters.values())
    assert [Path(file).read_text() for file in files] == before


def test_a_kernel_parameter_may_be_written_with_slashes(command: Command, bundle: Bundle) -> None:
    bundle.linux["sysctl"] = {"net/ipv4/conf/lo/forwarding": "1"}
    assert engine.run(command, bundle, "cat", "/proc/sys/net/ipv4/conf/lo/forwarding").ok().stdout == "1\n"


@pytest.mark.parametrize("name", ["net/ipv4/conf/eth0.1/forwarding", "net.ipv4.conf.eth0/1.forwarding"])
def test_an_interface_with_a_dot_in_its_name_keeps_it_in_a_kernel_parameter(command: Command, bundle: Bundle, name: str) -> None:
    bundle.linux["sysctl"] = {name: "1"}
    line = engine.refused(engine.run(command, bundle, "true"))
    assert line == "set kernel parameter /proc/sys/net/ipv4/conf/eth0.1/forwarding: no such file or directory (ENOENT)"


@pytest.mark.parametrize("name", ["kernel.pid_max", "vm.swappiness", "fs.file-max", "kernel.core_pattern", "kernel.msgmax.."])
def test_a_kernel_parameter_of_no_namespace_is_refused(command: Command, bundle: Bundle, name: str) -> None:
    bundle.linux["sysctl"] = {name: "1"}
    assert engine.refused(engine.run(command, bundle, "true")) == (
        f"config.json: linux.sysctl.{name}: is not of a namespace: it would change the host"
    )


@pytest.mark.parametrize(("kind", "name"), [("network", "net.ipv4.ip_default_ttl"), ("ipc", "kernel.shmmni")])
def test_a_kernel_parameter_of_the_callers_namespace_is_refused(command: Command, bundle: Bundle, kind: str, name: str) -> None:
    bundle.without_namespace(kind)
    bundle.linux["sysctl"] = {name: "1"}
    assert engine.refused(engine.run(command, bundle, "true")) == (
        f"config.json: linux.sysctl.{name}: needs its namespace in linux.namespaces: it would change the host"
    )


def test_a_kernel_parameter_cannot_climb_out_of_its_directory(command: Command, bundle: Bundle) -> None:
    bundle.linux["sysctl"] = {"net.ipv4/../../kernel/pid_max": "1"}
    assert engine.refused(engine.run(command, bundle, "true")).startswith("config.json: linux.sysctl.")


def test_a_value_that_the_kernel_refuses_names_the_parameter(command: Command, bundle: Bundle) -> None:
    bundle.linux["sysctl"] = {"net.ipv4.ip_default_ttl": "many"}
    assert engine.refused(engine.run(command, bundle, "true")) == (
        "set kernel parameter /proc/sys/net/ipv4/ip_default_ttl: invalid argument (EINVAL)"
    )


@requires("Linux 6.1")
def test_time_offsets_move_the_containers_clocks(command: Command, bundle: Bundle) -> None:
    bundle.linux["namespaces"].append({"type": "time"})
    bundle.linux["timeOffsets"] = {"monotonic": {"secs": 50_000}, "boottime": {"secs": 1_000_000, "nanosecs": 5}}
    said = engine.shell(command, bundle, "cat /proc/self/timens_offsets /proc/uptime").ok().stdout.splitlines()
    assert [line.split() for line in said[:2]] == [["monotonic", "50000", "0"], ["boottime", "1000000", "5"]]
    ahead = float(said[2].split()[0]) - time.clock_gettime(time.CLOCK_BOOTTIME)
    assert abs(ahead - 1_000_000) < 60


@pytest.mark.parametrize(
    ("offsets", "place"),
    [
        ({"realtime": {"secs": 1}}, "linux.timeOffsets.realtime: only monotonic and boottime have an offset"),
        ({"boottime": {"nanosecs": 1_000_000_000}}, "linux.timeOffsets.boottime.nanosecs: must be below 1000000000"),
    ],
)
def test_a_time_offset_that_there_is_not_is_refused(command: Command, bundle: Bundle, offsets: dict[str, Any], place: str) -> None:
    bundle.linux["namespaces"].append({"type": "time"})
    bundle.linux["timeOffsets"] = offsets
    assert engine.refused(engine.run(command, bundle, "true")) == f"config.json: {place}"


def test_time_offsets_without_a_time_namespace_are_refused(command: Command, bundle: Bundle) -> None:
    bundle.linux["timeOffsets"] = {"boottime": {"secs": 1}}
    assert engine.refused(engine.run(command, bundle, "true")).startswith("config.json: linux.timeOffsets: needs a time namespace")


def test_the_cgroup_namespace_hides_the_path_on_the_host(command: Command, bundle: Bundle) -> None:
    """Made after the container is in its cgroups: earlier, the host's path shows inside."""
    said = engine.run(command, bundle, "cat", "/proc/self/cgroup").ok().stdout
    assert said
    assert "pyrt" not in said


@pytest.mark.parametrize("kind", sorted(set(NAMESPACES) - {"user"}))
def test_namespaces_are_made_beside_the_caller(kind: str) -> None:
    before = namespaces_of("self")
    with pyrt.Namespaces.create(kind) as made:
        assert len(made) == 1
        assert made[kind].inode != before[kind]
        assert os.stat(made[kind].path).st_ino == made[kind].inode
    assert namespaces_of("self") == before


def test_a_pod_of_two_shares_its_namespaces(rootfs: Path) -> None:
    with pyrt.Namespaces.create("net", "ipc", "uts") as shared:
        # Both live at once: a number whose namespace has ended is free for another.
        pipes: dict[str, Any] = {"stdin": pyrt.PIPE, "stdout": pyrt.PIPE, "text": True}
        script = ["sh", "-c", f"{SHOW_NAMESPACES}; read line"]
        with (
            pyrt.Popen(script, rootfs=rootfs, namespaces=shared, **pipes) as one,
            pyrt.Popen(script, rootfs=rootfs, namespaces=shared, **pipes) as other,
        ):
            said = [printed_namespaces("".join(box.stdout.readline() for _ in NAMESPACES)) for box in (one, other) if box.stdout]
        assert all(each[kind] == shared[kind].inode for each in said for kind in ("network", "ipc", "uts"))
    assert said[0]["pid"] != said[1]["pid"]


def test_made_namespaces_have_their_mappings_and_offsets(rootfs: Path) -> None:
    with pyrt.Namespaces.create("user", "pid", uid_mappings=[(0, 1000, 5)], gid_mappings=[(0, 2000, 6)]) as made:
        assert made.user.inode != namespaces_of("self")["user"]
        # Who is in it tells its mappings: the PID 1 that holds the pid namespace.
        [holder] = [pid for pid in children() if os.stat(f"/proc/{pid}/ns/user").st_ino == made.user.inode]
        assert Path(f"/proc/{holder}/uid_map").read_text().split() == ["0", "1000", "5"]
        assert Path(f"/proc/{holder}/gid_map").read_text().split() == ["0", "2000", "6"]
    with pyrt.Namespaces.create("time", boottime_offset=1000.5) as made:
        done = pyrt.run(["cat", "/proc/self/timens_offsets"], rootfs=rootfs, namespaces=made, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[1].split() == ["boottime", "1000", "500000000"]
