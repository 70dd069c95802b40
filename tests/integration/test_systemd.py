"""--systemd-cgroup and cgroup_manager="systemd": cgroups that systemd makes. With a real one, in the virtual machine.

What needs none (names, properties, annotations, D-Bus) is tested in rust/core/src/systemd/tests.rs; the refusal without systemd in
test_command_line.py.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from helpers.bundles import Bundle
from helpers.commands import Command
from helpers.hosts import requires
from helpers.systemd import Systemd, systemd
from helpers.waiting import until

if TYPE_CHECKING:
    from helpers.ordinary import Ordinary

pytestmark = requires("virtual machine", "pure cgroup v2", "busctl", "dbus-daemon")

BY_SYSTEMD = ["--systemd-cgroup"]
MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def running_systemd() -> Iterator[Systemd]:
    with systemd() as running:
        # A slice stays when what was in it has ended.
        assert running.run("systemctl", "start", "pyrt-test.slice", "x.slice").returncode == 0
        yield running


@pytest.fixture
def command(running_systemd: Systemd, root_dir: Path) -> Command:
    """The pyrt command where that systemd runs, and --systemd-cgroup is to be given."""
    return running_systemd.command(root_dir)


@pytest.fixture
def scope(running_systemd: Systemd, command: Command, bundle: Bundle) -> Iterator[Path]:
    """The cgroup of a container "one" that sleeps, in a slice in a slice; it is deleted in the end, and no scope stays."""
    bundle.linux["cgroupsPath"] = "pyrt-test.slice:pre:one"
    bundle.linux["resources"] |= {
        "memory": {"limit": 100 * MEBIBYTE, "reservation": 50 * MEBIBYTE, "swap": 130 * MEBIBYTE},
        "cpu": {"shares": 2048, "quota": 50500, "period": 100000, "cpus": "0", "mems": "0"},
        "pids": {"limit": 77},
        "blockIO": {"weight": 1000},
        "unified": {"memory.high": "90M", "memory.oom.group": "1"},
    }
    bundle.spec["annotations"] = {"org.systemd.property.TimeoutStopSec": "7", "org.systemd.property.Description": "'a b'"}
    command("run", "--detach", "--bundle", bundle.args("sleep", "1000").path, "one", global_options=BY_SYSTEMD).ok()
    yield running_systemd.cgroup / "pyrt.slice/pyrt-test.slice/pre-one.scope"
    command("delete", "--force", "one").ok()
    assert running_systemd.scopes() == []


def test_the_container_is_a_scope_and_every_limit_a_property_and_a_file(running_systemd: Systemd, scope: Path) -> None:
    files = {
        "memory.max": "104857600",
        "memory.low": "52428800",
        "memory.high": "94371840",
        "memory.swap.max": "31457280",
        "memory.oom.group": "1",
        "cpu.weight": "174",
        "cpu.max": "50500 100000",
        "cpuset.cpus": "0",
        "cpuset.mems": "0",
        "pids.max": "77",
        "io.weight": "default 10000",
    }
    assert {name: (scope / name).read_text().strip() for name in files} == files
    properties = {
        "Slice": "pyrt-test.slice",
        "ControlGroup": "/pyrt.slice/pyrt-test.slice/pre-one.scope",
        "ActiveState": "active",
        "Delegate": "yes",
        "DefaultDependencies": "no",
        "Description": "a b",
        "TimeoutStopUSec": "7s",
        "MemoryMax": "104857600",
        "MemoryLow": "52428800",
        "MemoryHigh": "94371840",
        "MemorySwapMax": "31457280",
        "CPUWeight": "174",
        "CPUQuotaPerSecUSec": "510ms",
        "CPUQuotaPeriodUSec": "100ms",
        "AllowedCPUs": "0",
        "AllowedMemoryNodes": "0",
        "TasksMax": "77",
        "IOWeight": "10000",
    }
    assert running_systemd.properties("pre-one.scope", *properties) == properties


def test_an_update_holds_when_systemd_writes_all_limits_anew(running_systemd: Systemd, command: Command, scope: Path) -> None:
    command("update", "--memory", "200M", "--memory-swap", "200M", "--cpu-quota", "30500", "--pids-limit", "-1", "one").ok()
    files = {"memory.max": "209715200", "memory.swap.max": "0", "cpu.max": "30500 100000", "pids.max": "max"}
    assert {name: (scope / name).read_text().strip() for name in files} == files
    properties = {"MemoryMax": "209715200", "MemorySwapMax": "0", "CPUQuotaPerSecUSec": "310ms", "TasksMax": "infinity"}
    assert running_systemd.properties("pre-one.scope", *properties) == properties
    assert running_systemd.run("systemctl", "daemon-reload").returncode == 0
    # The one that it keeps in whole percent is never less than it was.
    after = {**files, "cpu.max": "31000 100000"}
    assert {name: (scope / name).read_text().strip() for name in files} in (files, after)


def test_an_update_that_systemd_refuses_leaves_every_limit_as_it_was(running_systemd: Systemd, command: Command, scope: Path) -> None:
    hidden = ["sh", "-c", 'mount --bind /dev/null /run/systemd/private && mount -t tmpfs none /run/dbus && exec "$@"', "sh"]
    cut_off = Command(command.root, [*running_systemd.prefix, "unshare", "--mount", *hidden])
    done = cut_off("update", "--memory", "200M", "--memory-swap", "200M", "one")
    assert done.status == 1
    assert done.stderr.startswith("pyrt: reach systemd at /run/systemd/private: connection refused (ECONNREFUSED)")
    assert (scope / "memory.max").read_text().strip() == "104857600"
    assert (scope / "memory.swap.max").read_text().strip() == "31457280"


def test_exec_pause_stats_and_kill_act_in_the_scope(running_systemd: Systemd, command: Command, scope: Path) -> None:
    command("exec", "--detach", "one", "sleep", "1000").ok()
    assert len((scope / "cgroup.procs").read_text().split()) == 2
    command("pause", "one").ok()
    assert (scope / "cgroup.freeze").read_text() == "1\n"
    assert command("state", "one").ok().json["status"] == "paused"
    command("resume", "one").ok()
    assert command("events", "--stats", "one").ok().json["data"]["pids"]["limit"] == 77
    command("kill", "--all", "one", "KILL").ok()
    # Its PID 1 is gone by then: the scope is nobody's.
    command("delete", "--force", "one").ok()
    assert (running_systemd.scopes(), scope.exists()) == ([], False)


def test_the_same_name_is_free_at_once_and_taken_while_it_runs(
    running_systemd: Systemd, command: Command, bundle: Bundle, scope: Path
) -> None:
    other = command("create", "--bundle", bundle.path, "two", global_options=BY_SYSTEMD)
    assert other.status == 1
    assert other.stderr.startswith("pyrt: start pre-one.scope: Unit pre-one.scope ")
    assert other.stderr.endswith("; choose another linux.cgroupsPath, or delete the container that has it\n")
    assert command("state", "one").ok().json["status"] == "running"
    command("delete", "--force", "one").ok()
    command("create", "--bundle", bundle.path, "one", global_options=BY_SYSTEMD).ok()
    # Created, and not started: deleted as any other.
    command("delete", "one").ok()
    assert (running_systemd.scopes(), scope.exists()) == ([], False)


def test_without_a_cgroups_path_it_is_in_system_slice(running_systemd: Systemd, command: Command, bundle: Bundle) -> None:
    bundle.linux["namespaces"] = [entry for entry in bundle.linux["namespaces"] if entry["type"] != "cgroup"]
    bundle.args("sh", "-c", "cat /proc/self/cgroup; cat /sys/fs/cgroup/pids.max").write()
    done = command("run", "--bundle", bundle.path, "a+b", global_options=["--cgroup-manager", "systemd"]).ok()
    # "+" cannot be in a unit's name: systemd-escape(1). What no limit is set for is systemd's to decide.
    default = running_systemd.run("systemctl", "show", "--property=DefaultTasksMax", "--value").stdout
    assert done.stdout == f"0::/system.slice/pyrt-a\\x2bb.scope\n{default}"
    assert running_systemd.scopes() == []


def test_a_failed_create_leaves_no_scope(running_systemd: Systemd, command: Command, bundle: Bundle, root_dir: Path) -> None:
    missing = command("create", "--bundle", bundle.args("nosuch").path, "bad", global_options=BY_SYSTEMD)
    assert (missing.status, missing.stderr) == (1, 'pyrt: exec: "nosuch": executable file not found in $PATH\n')
    bundle.linux["resources"] |= {"unified": {"memory.max": "much"}}
    refused = command("create", "--bundle", bundle.args("true").path, "bad", global_options=BY_SYSTEMD)
    path = "/sys/fs/cgroup/system.slice/pyrt-bad.scope/memory.max"
    assert (refused.status, refused.stderr) == (1, f'pyrt: write "much" to {path}: invalid argument (EINVAL)\n')
    assert running_systemd.scopes() == []
    assert not (running_systemd.cgroup / "system.slice/pyrt-bad.scope").exists()
    assert list(root_dir.iterdir()) == []


def test_a_scope_that_the_kernel_killed_in_does_not_stay_as_failed(running_systemd: Systemd, command: Command, bundle: Bundle) -> None:
    bundle.linux["resources"] |= {"memory": {"limit": 16 * MEBIBYTE, "swap": 16 * MEBIBYTE}}
    done = command("run", "--bundle", bundle.args("dd", "if=/dev/zero", "of=/dev/null", "bs=64M").path, "hungry", global_options=BY_SYSTEMD)
    assert done.status == 137
    assert running_systemd.scopes() == []


def test_the_message_bus_does_where_systemd_s_own_socket_is_not_reached(running_systemd: Systemd, command: Command, bundle: Bundle) -> None:
    hidden = ["unshare", "--mount", "sh", "-c", 'mount --bind /dev/null /run/systemd/private && exec "$@"', "sh"]
    by_bus = Command(command.root, [*running_systemd.prefix, *hidden])
    bundle.linux["namespaces"] = [entry for entry in bundle.linux["namespaces"] if entry["type"] != "cgroup"]
    done = by_bus("run", "--bundle", bundle.args("cat", "/proc/self/cgroup").path, "bus", global_options=BY_SYSTEMD).ok()
    assert done.stdout == "0::/system.slice/pyrt-bus.scope\n"
    assert running_systemd.scopes() == []


def test_the_library_takes_a_slice_and_cleans_up_after_itself(running_systemd: Systemd, rootfs: Path) -> None:
    program = """
import os, sys, pyrt
options = {"rootfs": sys.argv[1], "cgroup_manager": "systemd", "cgroup": "x.slice", "memory": "64M"}
print(pyrt.run(["cat", "/proc/self/cgroup"], namespaces={"cgroup": "host"}, capture_output=True, text=True, **options).stdout, end="")
try:
    pyrt.run(["sleep", "1000"], timeout=0.1, **options)
except pyrt.ContainerTimeout:
    print("timeout", flush=True)
pyrt.Popen(["sleep", "1000"], **options)
os.kill(os.getpid(), 9)
"""
    done = running_systemd.run(sys.executable, "-c", program, str(rootfs))
    assert done.returncode == -signal.SIGKILL, done.stderr
    shown, timeout = done.stdout.splitlines()
    assert shown.startswith("0::/x.slice/pyrt-run-")
    assert timeout == "timeout"
    # The watcher ends what the killed caller left.
    until(lambda: running_systemd.scopes() == [], "no scope is left")


@requires("ordinary users", "useradd")
def test_an_ordinary_user_asks_his_own_systemd(running_systemd: Systemd, ordinary: Ordinary) -> None:
    code = """
process = pyrt.Popen(["sleep", "1000"], rootfs=sys.argv[1], cgroup_manager="systemd", memory="64M", pids=9)
path = open(f"/proc/{process.pid}/cgroup").read().strip().removeprefix("0::")
limits = [open(f"/sys/fs/cgroup{path}/{name}").read().strip() for name in ("memory.max", "pids.max")]
process.kill()
process.wait()
print(json.dumps([path, limits, os.path.exists(f"/sys/fs/cgroup{path}")]))
"""
    with running_systemd.of_user(ordinary) as cgroup:
        path, limits, is_left = ordinary.told(code, ordinary.rootfs(), before=running_systemd.before())
    assert path.startswith(f"{cgroup}/user.slice/pyrt-run-")
    assert path.endswith(".scope")
    assert limits == ["67108864", "9"]
    assert not is_left
