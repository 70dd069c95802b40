"""pyrt.run with limits: which Cause it names when several could be, and what the usage says.

Neighbours: test_cgroups.py (that each limit is enforced, by library and engine form), test_endings.py (timeouts).
"""

from __future__ import annotations

import signal

import pytest

import pyrt
from helpers.hosts import requires
from helpers.waiting import BY_THEN

TAKE_200M = "b = bytearray(200 << 20)\nfor i in range(0, len(b), 4096): b[i] = 1"
SPAWN_8 = "for i in 1 2 3 4 5 6 7 8; do sleep 30 & done; wait"
"""Where it may not, the shell gives up; the few that it has started live long enough for any machine."""
MEMORY = "64M"
MEMORY_BYTES = 64 << 20


@requires("memory controller")
def test_a_command_that_the_kernel_kills_for_memory_is_cause_oom() -> None:
    done = pyrt.run(["python3", "-c", TAKE_200M], memory=MEMORY, capture_output=True)
    assert (done.returncode, done.cause) == (-signal.SIGKILL, pyrt.Cause.OOM)
    assert done.usage.oom_kills is not None
    assert done.usage.oom_kills >= 1
    assert done.usage.memory_limit_bytes == MEMORY_BYTES


@requires("memory controller")
def test_a_child_that_is_killed_for_memory_is_not_the_command_s_cause() -> None:
    done = pyrt.run(["sh", "-c", f'python3 -c "{TAKE_200M}" 2>/dev/null; exit 3'], memory=MEMORY, capture_output=True)
    if done.returncode == -signal.SIGKILL:  # with memory.oom.group the kernel ends all of them
        assert done.cause is pyrt.Cause.OOM
    else:
        assert (done.returncode, done.cause) == (3, pyrt.Cause.EXITED)
    assert done.usage.oom_kills is not None
    assert done.usage.oom_kills >= 1


@requires("memory controller")
def test_sigkill_without_a_lack_of_memory_is_cause_signaled() -> None:
    done = pyrt.run(["sh", "-c", "kill -9 $$"], memory=MEMORY)
    assert (done.returncode, done.cause, done.usage.oom_kills) == (-signal.SIGKILL, pyrt.Cause.SIGNALED, 0)


@requires("pids controller")
def test_a_command_that_fails_at_the_limit_of_processes_is_cause_pids() -> None:
    done = pyrt.run(["sh", "-c", SPAWN_8], pids=4, stderr=pyrt.DEVNULL)
    assert done.returncode != 0
    assert done.cause is pyrt.Cause.PIDS
    assert done.usage.pids_limit_hits is not None
    assert done.usage.pids_limit_hits >= 1


@requires("pids controller")
def test_a_command_that_copes_with_the_limit_of_processes_has_exited() -> None:
    done = pyrt.run(["sh", "-c", f"({SPAWN_8}) 2>/dev/null; exit 0"], pids=4, capture_output=True)
    assert (done.returncode, done.cause) == (0, pyrt.Cause.EXITED)
    assert done.usage.pids_limit_hits is not None
    assert done.usage.pids_limit_hits >= 1


@requires("pids controller")
def test_a_timeout_is_the_cause_before_all_that_the_kernel_did() -> None:
    with pytest.raises(pyrt.ContainerTimeout) as caught:
        pyrt.run(["sh", "-c", f"({SPAWN_8}) 2>/dev/null; sleep 1000"], pids=4, timeout=BY_THEN)
    assert caught.value.result.cause is pyrt.Cause.TIMEOUT
    assert caught.value.result.usage.pids_limit_hits >= 1


def test_the_largest_resident_set_is_always_known() -> None:
    done = pyrt.run(["python3", "-c", "b = b'x' * (40 << 20)"])
    assert done.usage.max_rss_bytes is not None
    assert 40 << 20 <= done.usage.max_rss_bytes < 200 << 20


@requires("memory controller", "cpu controller", "pids controller")
def test_usage_counts_what_the_whole_container_did() -> None:
    done = pyrt.run(["sh", "-c", "python3 -c 'b = b\"x\" * (40 << 20)'; :"], memory="256M", cpus=1, pids=64)
    usage = done.usage
    assert usage.cpu_usec is not None
    assert usage.cpu_usec > 0
    assert usage.memory_peak_bytes is not None
    assert 40 << 20 <= usage.memory_peak_bytes <= 256 << 20
    assert usage.reason("cpu_usec") is None


def test_what_is_not_counted_says_why() -> None:
    usage = pyrt.run(["true"]).usage
    for name in usage.__slots__:
        reason = usage.reason(name)
        assert (reason is None) is (getattr(usage, name) is not None), name
    with pytest.raises(AttributeError):
        usage.reason("nonsense")


@requires("memory controller", "pids controller")
def test_limits_lie_beside_those_of_a_cgroup_above() -> None:
    with pyrt.Cgroup.create("test-above/7", pyrt.Limits(memory=MEMORY, pids=32)) as group:
        done = pyrt.run(["python3", "-c", TAKE_200M], cgroup=group, pids=16, capture_output=True)
        assert done.cause is pyrt.Cause.OOM
        assert pyrt.run(["sh", "-c", SPAWN_8], cgroup=group, pids=4, stderr=pyrt.DEVNULL).cause is pyrt.Cause.PIDS
        assert group.processes() == []


@requires("memory controller")
def test_a_limit_that_the_spec_names_stays_unless_another_is_said() -> None:
    spec = pyrt.Spec.for_run(["python3", "-c", TAKE_200M], rootfs="/", memory=MEMORY)
    assert pyrt.run(spec=spec, overlay=True, read_only=True, capture_output=True).cause is pyrt.Cause.OOM
    assert pyrt.run(spec=spec, overlay=True, read_only=True, memory="512M").returncode == 0
