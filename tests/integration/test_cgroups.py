"""Limits that the kernel enforces, usage that it counts, where a container's cgroup is, and Cgroup, the object without a container.

Neighbours: rust/core/tests/cgroup.rs (the crate's own tests), test_bad_input.py (limits that cannot be).
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import pyrt
from helpers import cgroups, hosts
from helpers.bundles import Bundle
from helpers.commands import PYRT, Command
from helpers.hosts import requires
from helpers.waiting import SOON, until
from pyrt import Cause

MEBIBYTE = 1 << 20
EAT = "import os\ndata = []\nwhile True: data.append(os.urandom(1 << 20))"
"""Python that takes memory until somebody stops it."""


def memory_limit(pid: int) -> str:
    return cgroups.value(pid, "memory", v1="memory.limit_in_bytes", v2="memory.max")


def pids_limit(pid: int) -> str:
    return cgroups.value(pid, "pids", v1="pids.max", v2="pids.max")


# Limits of containers


@requires("memory controller")
def test_a_memory_limit_ends_what_takes_more_and_says_so() -> None:
    done = pyrt.run(["python3", "-c", EAT], memory="48M")
    assert (done.returncode, done.cause) == (-signal.SIGKILL, Cause.OOM)
    assert done.usage.oom_kills == 1
    peak = done.usage.memory_peak_bytes
    assert peak is None or 40 * MEBIBYTE < peak <= 48 * MEBIBYTE


@requires("memory controller")
def test_what_stays_below_the_memory_limit_is_left_alone() -> None:
    done = pyrt.run(["python3", "-c", "data = bytes(range(256)) * (1 << 16)"], memory="64M")
    assert (done.returncode, done.cause, done.usage.oom_kills) == (0, Cause.EXITED, 0)


@requires("memory controller", "swap accounting")
def test_memory_and_swap_together_have_a_limit(command: Command, bundle: Bundle) -> None:
    bundle.linux["resources"] = {"memory": {"limit": 32 * MEBIBYTE, "swap": 48 * MEBIBYTE}}
    pid = running_pid(command, bundle)
    if hosts.has("pure cgroup v2"):
        assert cgroups.value(pid, "memory", v1="", v2="memory.swap.max") == str(16 * MEBIBYTE)
    else:
        assert cgroups.value(pid, "memory", v1="memory.memsw.limit_in_bytes", v2="") == str(48 * MEBIBYTE)


@requires("pids controller")
def test_a_pids_limit_refuses_forks_and_says_so() -> None:
    script = "import os, time\nfor _ in range(30):\n    if os.fork() == 0: time.sleep(100)"
    done = pyrt.run(["python3", "-c", script], pids=10, capture_output=True, text=True)
    assert (done.returncode, done.cause) == (1, Cause.PIDS)
    assert "BlockingIOError" in done.stderr
    assert (done.usage.pids_limit_hits or 0) >= 1


@requires("pids controller")
def test_the_library_s_containers_may_have_2048_processes_unless_said(runtime: pyrt.Runtime) -> None:
    container = runtime.create("default", ["sleep", "100"])
    assert pids_limit(container.pid) == "2048"
    container.delete(force=True)


@requires("pids controller")
def test_an_engine_s_bundle_gets_no_limit_that_it_does_not_name(command: Command, bundle: Bundle) -> None:
    pid = running_pid(command, bundle)
    assert pids_limit(pid) == "max"


THROTTLED = """
import glob, time
files = glob.glob("/sys/fs/cgroup/cpu.stat") + glob.glob("/sys/fs/cgroup/cpu/cpu.stat")
deadline, count = time.monotonic() + 60, 0
while not count and time.monotonic() < deadline:
    lines = dict(line.split() for line in open(files[0]))
    count = int(lines["nr_throttled"])
print(count > 0)
"""


@requires("cpu controller")
def test_a_cpu_quota_throttles() -> None:
    done = pyrt.run(["python3", "-c", THROTTLED], cpus=0.2, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("True\n", "")


@requires("cpu controller")
def test_quota_period_and_weight_are_what_was_asked_for(command: Command, bundle: Bundle) -> None:
    bundle.linux["resources"] = {"cpu": {"quota": 30_000, "period": 50_000, "shares": 2048}}
    pid = running_pid(command, bundle)
    if hosts.has("pure cgroup v2"):
        assert cgroups.value(pid, "cpu", v1="", v2="cpu.max") == "30000 50000"
        assert int(cgroups.value(pid, "cpu", v1="", v2="cpu.weight")) > 100
    else:
        files = ("cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.shares")
        assert [cgroups.value(pid, "cpu", v1=name, v2="") for name in files] == ["30000", "50000", "2048"]


@requires("cpuset controller", "two processors")
def test_a_cpuset_chooses_the_processors() -> None:
    allowed = sorted(os.sched_getaffinity(0))[-1]
    script = "import os; print(sorted(os.sched_getaffinity(0)))"
    done = pyrt.run(["python3", "-c", script], cpuset=[allowed], capture_output=True, text=True, check=True)
    assert done.stdout == f"[{allowed}]\n"


@requires("memory controller", "pids controller", "cpu controller")
def test_the_people_s_form_takes_the_same_limits(command: Command) -> None:
    done = command("run", "--memory", "48M", "--", "python3", "-c", EAT)
    assert done.status == 128 + signal.SIGKILL
    script = "import os, time\nfor _ in range(30):\n    if os.fork() == 0: time.sleep(100)"
    assert "BlockingIOError" in command("run", "--pids", "10", "--cpus", "0.5", "--", "python3", "-c", script).stderr


@requires("io controller")
def test_an_io_weight_is_written_or_refused_by_name(command: Command, bundle: Bundle) -> None:
    bundle.linux["resources"] = {"blockIO": {"weight": 500}}
    done = command("create", "--bundle", bundle.args("sleep", "100").path, "io")
    if done.status:
        assert "linux.resources.blockIO.weight" in done.stderr
        return
    pid = command("state", "io").ok().json["pid"]
    value = cgroups.value(pid, "io", v1="blkio.bfq.weight", v2="io.weight")
    assert value.split()[-1] != "100", "not the default"
    command("delete", "--force", "io").ok()


# Where it is


def running_pid(command: Command, bundle: Bundle, id: str = "limited") -> int:
    """The init of a created container of this bundle; `root_dir` deletes it."""
    command("create", "--bundle", bundle.args("sleep", "100").path, id).ok()
    return int(command("state", id).ok().json["pid"])


def test_the_default_path_is_one_cgroup_a_container_at_the_root(command: Command, bundle: Bundle) -> None:
    mine = cgroups.of(running_pid(command, bundle, "default-path"))
    joined = {name: path for name, path in mine.items() if path != cgroups.of()[name]}
    assert set(joined.values()) == {"/pyrt-default-path"}
    assert cgroups.UNIFIED in joined or not hosts.has("cgroup2")


@requires("hybrid cgroups")
def test_the_engine_s_containers_join_the_hierarchies_that_engines_read(command: Command, bundle: Bundle) -> None:
    mine = cgroups.of(running_pid(command, bundle, "joined"))
    joined = {name for name, path in mine.items() if path == "/pyrt-joined"}
    wanted = {"memory", "cpu", "cpuacct", "pids", "blkio", "cpuset", "devices", "freezer"}
    assert joined - {cgroups.UNIFIED} == wanted & hosts.cgroup_mounts().v1.keys()


def test_a_cgroups_path_of_config_json_is_honoured_and_removed(command: Command, bundle: Bundle) -> None:
    name = f"pyrt-test-{os.getpid()}"
    bundle.linux["cgroupsPath"] = f"/{name}/inner"
    mine = cgroups.of(running_pid(command, bundle))
    assert f"/{name}/inner" in mine.values()
    command("delete", "--force", "limited").ok()
    assert not cgroups.exists(f"/{name}")


@pytest.mark.parametrize("verb", ["create", "run"])
def test_a_cgroup_with_processes_in_it_is_not_taken(command: Command, bundle: Bundle, verb: str) -> None:
    with pyrt.Cgroup.create(f"/pyrt-test-{os.getpid()}") as group:
        sleeper = subprocess.Popen(["sleep", "100"])
        group.add(sleeper.pid)
        bundle.linux["cgroupsPath"] = group.path
        done = command(verb, "--bundle", bundle.args("true").path, "taken")
        assert done.status == 1
        assert "make cgroup: it already exists and is not empty:" in done.stderr
        assert str(sleeper.pid) in done.stderr
        assert group.processes() == [sleeper.pid]
    assert sleeper.wait(SOON) == -signal.SIGKILL


@requires("cgroup2")
def test_an_empty_cgroup_in_which_everything_was_killed_once_is_taken(command: Command, bundle: Bundle) -> None:
    """Who is cloned into such a one is killed at birth, by the kernel's own check against forks that race with cgroup.kill."""
    with pyrt.Cgroup.create(f"/pyrt-test-{os.getpid()}") as group:
        group.kill()
        (cgroups.directory(group.path, cgroups.UNIFIED) / "cgroup.kill").write_text("1")
        bundle.linux["cgroupsPath"] = group.path
        done = command("run", "--bundle", bundle.args("cat", "/proc/self/cgroup").path, "again").ok()
        assert "0::/\n" in done.stdout


@requires("strace")
def test_a_launch_writes_no_cgroup_procs(command: Command, bundle: Bundle, tmp_path: Path) -> None:
    # On v1 each write takes 5 to 15 ms; init enters by clone3 and by `tasks`.
    trace = tmp_path / "trace"
    words = [str(PYRT), "--root", str(command.root), "run", "--bundle", str(bundle.args("true").path), "traced"]
    line = ["strace", "-f", "-e", "trace=openat,openat2,clone3", "-o", str(trace), *words]
    subprocess.run(line, check=True, stdin=subprocess.DEVNULL, timeout=120)
    calls = trace.read_text()
    assert [call for call in calls.splitlines() if "cgroup.procs" in call and ("O_WRONLY" in call or "O_RDWR" in call)] == []
    assert ("CLONE_INTO_CGROUP" in calls) == hosts.has("cgroup2")
    assert '"tasks", O_WRONLY' in calls or not hosts.cgroup_mounts().v1


def test_no_cgroup_is_made_where_it_is_disabled(command: Command, bundle: Bundle) -> None:
    command("create", "--bundle", bundle.args("sleep", "100").path, "none", global_options=["--cgroup-manager", "disabled"]).ok()
    pid = command("state", "none").ok().json["pid"]
    assert cgroups.of(pid) == cgroups.of()
    command("delete", "--force", "none").ok()


def test_the_container_sees_its_own_cgroup_as_the_root(command: Command, bundle: Bundle) -> None:
    done = command("run", "--bundle", bundle.shell("cat /proc/self/cgroup").path, "root").ok()
    joined = [line for line in done.stdout.splitlines() if ":memory:" in line or line.startswith("0::")]
    assert joined
    assert {line.split(":", 2)[2] for line in joined} == {"/"}


@requires("memory controller")
def test_limits_too_small_for_the_init_are_reported_as_that_limit(command: Command, bundle: Bundle) -> None:
    for limit in (4 << 10, 64 << 10):
        bundle.linux["resources"] = {"memory": {"limit": limit}}
        done = command("run", "--bundle", bundle.args("true").path, "small")
        assert done.status == 1
        assert f"linux.resources.memory.limit of {limit} bytes is too small" in done.stderr
        assert done.stderr.count("\n") == 1
    assert not cgroups.exists("/pyrt-small")


@requires("pids controller")
def test_a_pids_limit_too_small_for_the_init_is_reported_as_that_limit(rootfs: Path) -> None:
    # The library's init stays above its command: that takes two.
    with pytest.raises(pyrt.Error) as failure:
        pyrt.run(["true"], rootfs=rootfs, pids=1)
    assert failure.value.errno == errno.EAGAIN
    assert "linux.resources.pids.limit" in str(failure.value)


def test_a_controller_that_the_host_lacks_is_named(command: Command, bundle: Bundle) -> None:
    bundle.linux["resources"] = {"rdma": {"mlx5_0": {"hcaHandles": 1}}}
    if (hosts.cgroup_mounts().cgroup2 and hosts.controller("rdma")) or "rdma" in hosts.cgroup_mounts().v1:
        pytest.skip("this host has the rdma controller")
    done = command("run", "--bundle", bundle.args("true").path, "lacking")
    assert done.status == 1
    assert "linux.resources.rdma" in done.stderr
    assert "rdma" in done.stderr
    assert done.stderr.count("\n") == 1
    plan_only = bundle.path / "config.json"
    with pytest.raises(pyrt.HostError, match="rdma"):
        pyrt.Spec.from_file(plan_only).check()


# Usage


@requires("memory controller", "pids controller")
def test_usage_is_plausible() -> None:
    script = "import os, time\ndata = os.urandom(32 << 20)\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass"
    usage = pyrt.run(["python3", "-c", script], memory="256M").usage
    assert usage.cpu_usec is not None
    assert 200_000 <= usage.cpu_usec < 60_000_000
    assert usage.max_rss_bytes is not None
    assert 32 * MEBIBYTE <= usage.max_rss_bytes < 256 * MEBIBYTE
    if usage.memory_peak_bytes is not None:
        assert 32 * MEBIBYTE <= usage.memory_peak_bytes <= 256 * MEBIBYTE
    assert (usage.oom_kills, usage.pids_limit_hits) == (0, 0)


def test_what_nobody_counts_is_none_with_a_reason() -> None:
    usage = pyrt.run(["true"]).usage
    lacking = [name for name in ("io_read_bytes", "memory_bytes", "pids") if getattr(usage, name) is None]
    assert all("no " in (usage.reason(name) or "") for name in lacking)
    assert usage.reason("max_rss_bytes") is None


# pyrt.Cgroup


@pytest.fixture
def group() -> Iterator[pyrt.Cgroup]:
    with pyrt.Cgroup.create(f"/pyrt-test-{os.getpid()}", pyrt.Limits(memory="64M", pids=20, cpus=0.5)) as made:
        yield made


@pytest.fixture
def sleeper(group: pyrt.Cgroup) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "100"]) as process:
        group.add(process.pid)
        yield process
        process.kill()


LIMITED = requires("memory controller", "pids controller", "cpu controller")


@LIMITED
def test_a_cgroup_object_limits_what_is_added(group: pyrt.Cgroup, sleeper: subprocess.Popen[bytes]) -> None:
    assert group.processes() == [sleeper.pid]
    assert (memory_limit(sleeper.pid), pids_limit(sleeper.pid)) == (str(64 * MEBIBYTE), "20")


@LIMITED
def test_a_cgroup_object_freezes_and_thaws(group: pyrt.Cgroup) -> None:
    busy = subprocess.Popen(["sh", "-c", "while :; do :; done"])
    group.add(busy.pid)

    def stands_still() -> bool:
        used = group.usage().cpu_usec
        time.sleep(0.05)
        return group.usage().cpu_usec == used

    group.freeze()
    frozen = [group.frozen]
    until(stands_still, "it stands still")
    group.thaw()
    frozen.append(group.frozen)
    group.kill()
    assert frozen == [True, False]
    assert busy.wait(SOON) == -signal.SIGKILL


@LIMITED
def test_a_cgroup_object_kills_all_that_is_in_it_frozen_or_not(group: pyrt.Cgroup) -> None:
    tree = subprocess.Popen(["sh", "-c", "sleep 100 & sleep 100 & echo started; wait"], stdout=subprocess.PIPE)
    assert tree.stdout is not None
    group.add(tree.pid)
    group.freeze()
    group.kill()
    assert group.processes() == []
    assert tree.wait(SOON) == -signal.SIGKILL
    tree.stdout.close()


@LIMITED
def test_a_cgroup_object_sends_a_signal_to_all(group: pyrt.Cgroup, sleeper: subprocess.Popen[bytes]) -> None:
    group.signal("USR1")
    assert sleeper.wait(SOON) == -signal.SIGUSR1


@LIMITED
def test_a_cgroup_object_counts(group: pyrt.Cgroup, sleeper: subprocess.Popen[bytes]) -> None:
    usage = group.usage()
    assert usage.pids == 1
    assert usage.memory_limit_bytes == 64 * MEBIBYTE
    assert usage.cpu_usec is not None


@LIMITED
def test_a_cgroup_object_s_limits_can_be_changed(group: pyrt.Cgroup, sleeper: subprocess.Popen[bytes]) -> None:
    group.update(pyrt.Limits(pids=30))
    assert (memory_limit(sleeper.pid), pids_limit(sleeper.pid)) == (str(64 * MEBIBYTE), "30")


def test_leaving_a_cgroup_object_ends_what_is_in_it_and_removes_it() -> None:
    with pyrt.Cgroup.create(f"/pyrt-test-{os.getpid()}/inner") as made:
        process = subprocess.Popen(["sleep", "100"])
        made.add(process.pid)
    assert process.wait(SOON) == -signal.SIGKILL
    assert not cgroups.exists(f"/pyrt-test-{os.getpid()}")


def test_a_cgroup_that_exists_is_refused(group: pyrt.Cgroup) -> None:
    with pytest.raises(pyrt.AlreadyExists, match=f"already exists: .*{group.path}"):
        pyrt.Cgroup.create(group.path)


@pytest.mark.parametrize("path", ["", "/", "..", "a/../b", "/a/./b", "a\0b"])
def test_a_cgroup_path_that_could_leave_its_place_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="cgroup path"):
        pyrt.Cgroup.create(path)


def test_a_process_that_is_gone_cannot_be_added(group: pyrt.Cgroup) -> None:
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    with pytest.raises((ProcessLookupError, pyrt.Error)) as failure:
        group.add(gone.pid)
    assert "no such process" in str(failure.value).lower()


@requires("memory controller")
def test_containers_run_inside_a_cgroup_object_and_share_its_limits() -> None:
    with pyrt.Cgroup.create(f"/pyrt-test-{os.getpid()}", pyrt.Limits(memory="48M")) as shared:
        done = pyrt.run(["python3", "-c", EAT], cgroup=shared)
        assert (done.returncode, done.cause, done.usage.oom_kills) == (-signal.SIGKILL, Cause.OOM, 1)
        assert (shared.usage().memory_peak_bytes or 0) > 40 * MEBIBYTE
