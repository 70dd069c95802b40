"""Why a container ended, with figures: Container.exit_report, the explanation of a result, and what the command says of it.

Neighbours: test_run_limits.py (which Cause it is when several could be), test_cgroups.py (that limits are enforced).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

import pyrt
from helpers import cgroups, hosts
from helpers.bundles import Bundle
from helpers.commands import Command
from helpers.hosts import requires
from helpers.waiting import SOON
from pyrt import Cause

MEBIBYTE = 1 << 20
HOG = "x=0123456789abcdef; while :; do x=$x$x; done"
"""A shell that takes memory until somebody stops it."""
FORK_BOMB = "while :; do sleep 1000 & done"
OUT_OF_MEMORY = "the kernel killed it: out of memory at its limit of 32 MiB (peak "


def memory_limit(bundle: Bundle) -> Bundle:
    bundle.linux["resources"] = {"memory": {"limit": 32 * MEBIBYTE, "swap": 32 * MEBIBYTE}}
    return bundle


@pytest.fixture
def hog(runtime: pyrt.Runtime, bundle: Bundle) -> Iterator[pyrt.Container]:
    """A container that took more memory than it may, and has ended; deleted at the end."""
    container = runtime.create(f"cgroups-hog-{os.getpid()}", bundle=memory_limit(bundle).shell(HOG).path)
    container.start()
    assert container.wait(timeout=SOON) == -signal.SIGKILL
    yield container
    container.delete(force=True)


def check_out_of_memory(report: pyrt.ExitReport) -> None:
    assert (report.returncode, report.cause) == (-signal.SIGKILL, Cause.OOM)
    assert report.explanation.startswith(OUT_OF_MEMORY)
    usage = report.usage
    assert usage.memory_limit_bytes == 32 * MEBIBYTE
    assert usage.memory_peak_bytes is not None
    assert 16 * MEBIBYTE < usage.memory_peak_bytes <= 32 * MEBIBYTE
    assert usage.oom_kills == 1


@requires("memory controller", "swap accounting")
def test_a_container_that_was_killed_for_memory_says_limit_and_peak(hog: pyrt.Container) -> None:
    check_out_of_memory(hog.exit_report())


@requires("memory controller", "swap accounting")
def test_the_report_outlives_the_deletion(hog: pyrt.Container) -> None:
    hog.delete()
    report = hog.exit_report()
    check_out_of_memory(report)
    assert (report.usage.max_rss_bytes or 0) > MEBIBYTE


@requires("memory controller", "swap accounting")
def test_another_handle_reports_the_same_until_the_deletion(hog: pyrt.Container, runtime: pyrt.Runtime) -> None:
    other = runtime.get(hog.id)
    check_out_of_memory(other.exit_report())
    hog.delete()
    with pytest.raises(pyrt.NotFound):
        other.exit_report()


def test_a_container_that_runs_has_no_report(running: pyrt.Container) -> None:
    with pytest.raises(pyrt.InvalidState, match=f"cannot report the end of container {running.id}: it is running, not stopped"):
        running.exit_report()


def test_a_container_that_is_ended_by_its_deletion_was_signaled(running: pyrt.Container) -> None:
    running.delete(force=True)
    report = running.exit_report()
    assert (report.returncode, report.cause, report.explanation) == (-signal.SIGKILL, Cause.SIGNALED, "SIGKILL ended it")


def test_a_container_s_own_exit_status_is_its_report(runtime: pyrt.Runtime, bundle: Bundle) -> None:
    container = runtime.create(f"cgroups-exit-{os.getpid()}", bundle=bundle.shell("exit 7").path)
    container.start()
    container.wait(timeout=SOON)
    report = container.exit_report()
    assert (report.returncode, report.cause, report.explanation) == (7, Cause.EXITED, "it ended with exit status 7")
    assert (report.usage.cpu_usec or 0) > 0


def test_a_container_that_its_profile_ended_says_so_after_its_deletion(runtime: pyrt.Runtime, bundle: Bundle) -> None:
    rule = {"names": ["sethostname"], "action": "SCMP_ACT_KILL_PROCESS"}
    bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    container = runtime.create(f"cgroups-seccomp-{os.getpid()}", bundle=bundle.args("hostname", "new").path)
    container.start()
    container.wait(timeout=SOON)
    container.delete()
    report = container.exit_report()
    assert (report.returncode, report.cause) == (-signal.SIGSYS, Cause.SECCOMP)
    assert report.explanation == "SIGSYS ended it, for a system call that its seccomp profile forbids"


@requires("pids controller")
def test_a_fork_bomb_stops_at_its_limit_and_says_so(runtime: pyrt.Runtime, bundle: Bundle) -> None:
    bundle.linux["resources"] = {"pids": {"limit": 12}}
    container = runtime.create(f"cgroups-bomb-{os.getpid()}", bundle=bundle.shell(FORK_BOMB).path)
    container.start()
    assert container.wait(timeout=SOON) != 0
    report = container.exit_report()
    assert report.cause is Cause.PIDS
    assert (report.usage.pids_limit, report.usage.pids_peak or 12) == (12, 12)
    assert "after its limit of 12 processes and threads had refused it more" in report.explanation


@requires("memory controller")
def test_a_result_explains_a_lack_of_memory(rootfs: os.PathLike[str]) -> None:
    swap = "32M" if hosts.has("swap accounting") else None
    done = pyrt.run(["sh", "-c", HOG], rootfs=rootfs, memory="32M", memory_swap=swap)
    assert done.cause is Cause.OOM
    assert done.explanation.startswith(OUT_OF_MEMORY)
    with pytest.raises(pyrt.ContainerFailed, match="sh was ended by signal 9; the kernel killed it: out of memory at its limit of 32 MiB"):
        done.check_returncode()


@requires("memory controller")
def test_a_limit_of_a_cgroup_above_is_told_from_its_own(runtime: pyrt.Runtime, bundle: Bundle) -> None:
    with pyrt.Cgroup.create(f"/pyrt-cgroups-above-{os.getpid()}", pyrt.Limits(memory="32M")) as above:
        bundle.linux["cgroupsPath"] = f"{above.path}/inner"
        container = runtime.create(f"cgroups-above-{os.getpid()}", bundle=bundle.shell(HOG).path)
        container.start()
        container.wait(timeout=SOON)
        container.delete()
    for left in cgroups.matching(above.path.lstrip("/")):
        left.rmdir()  # above the container's own, in hierarchies that `above` did not join
    report = container.exit_report()
    assert report.cause is Cause.OOM
    assert report.explanation.startswith("the kernel killed it: out of memory at a limit of a cgroup above it, or of the whole host")
    assert report.usage.memory_limit_bytes is None
    assert report.usage.reason("memory_limit_bytes") == "it has no limit of its own"


@requires("memory controller", "swap accounting")
def test_the_command_says_why_where_the_status_does_not(command: Command, bundle: Bundle, rootfs: os.PathLike[str]) -> None:
    people = command("run", "--rootfs", rootfs, "--memory", "32M", "--", "sh", "-c", HOG)
    engine = command("run", "--bundle", memory_limit(bundle).shell(HOG).path, f"cgroups-why-{os.getpid()}")
    for done in (people, engine):
        assert done.status == 128 + signal.SIGKILL
        assert OUT_OF_MEMORY in done.stderr
        assert done.stderr.count("\n") == 1
