"""helpers.leftovers: what the nothing_left fixture can see. A watch that sees nothing would pass every test."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import pytest

from helpers import leftovers
from helpers.hosts import cgroup_mounts, missing
from helpers.waiting import until


def test_a_child_that_runs_is_seen() -> None:
    before = leftovers.Snapshot.take()
    with subprocess.Popen(["sleep", "1000"]) as child:
        line = f"process {child.pid}: sleep 1000"
        # Popen returns when an execve has closed its descriptors, and its arguments are there a little later.
        until(lambda: line in leftovers.Snapshot.take().added(before), "it is seen")
        child.kill()
    assert line not in leftovers.Snapshot.take().added(before)


def test_a_child_that_nobody_waited_for_is_seen() -> None:
    before = leftovers.Snapshot.take()
    child = os.posix_spawn("/bin/true", ["true"], {})
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert any(line.startswith(f"process {child}: ") for line in leftovers.Snapshot.take().added(before))
    os.waitpid(child, 0)


def test_an_open_descriptor_is_seen() -> None:
    before = leftovers.Snapshot.take()
    with Path("/dev/null").open() as file:
        assert f"descriptor {file.fileno()} -> /dev/null" in leftovers.Snapshot.take().added(before)


def test_a_thread_is_seen() -> None:
    before = leftovers.Snapshot.take()
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    assert f"thread {thread.native_id}" in leftovers.Snapshot.take().added(before)
    end.set()
    thread.join()


def test_children_of_a_failed_test_are_ended() -> None:
    before = leftovers.Snapshot.take()
    child = os.posix_spawn("/bin/sleep", ["sleep", "1000"], {})
    leftovers.end_children(before, leftovers.Snapshot.take())
    with pytest.raises(ChildProcessError):
        os.waitpid(child, 0)


@pytest.mark.skipif(leftovers.SHARED_HOST or bool(missing("root", "mounts")), reason="this host is shared, or lacks: root, mounts")
def test_a_cgroup_is_seen() -> None:
    before = leftovers.Snapshot.take()
    outer = cgroup_mounts().roots[-1] / f"pyrt-leftover-{os.getpid()}"
    (outer / "inner").mkdir(parents=True)
    left = leftovers.Snapshot.take().added(before)
    (outer / "inner").rmdir()
    outer.rmdir()
    assert {f"cgroup {outer}", f"cgroup {outer / 'inner'}"} <= set(left)
