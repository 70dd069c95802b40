"""helpers.leftovers: what the nothing_left fixture can see. A watch that sees nothing would pass every test."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import pytest

from helpers import leftovers
from helpers.hosts import cgroup_mounts, missing


def test_a_child_that_runs_is_seen() -> None:
    before = leftovers.Snapshot.take()
    with subprocess.Popen(["sleep", "1000"]) as child:
        assert f"process {child.pid}: sleep 1000" in leftovers.Snapshot.take().added(before)
        child.kill()
    assert leftovers.Snapshot.take().added(before) == []


def test_a_child_that_nobody_waited_for_is_seen() -> None:
    before = leftovers.Snapshot.take()
    child = os.posix_spawn("/bin/true", ["true"], {})
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert f"process {child}: true" in leftovers.Snapshot.take().added(before)
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


@pytest.mark.skipif(bool(missing("root", "mounts")), reason="this host lacks: root, mounts")
def test_a_cgroup_is_seen_and_removed_with_what_is_inside() -> None:
    before = leftovers.Snapshot.take()
    root = cgroup_mounts().roots[-1]
    inner = root / f"pyrt-leftover-{os.getpid()}" / "inner"
    inner.mkdir(parents=True)
    now, left = leftovers.settled(before)
    assert sorted(left) == [f"cgroup {inner.parent}", f"cgroup {inner}"]
    leftovers.remove(before, now)
    assert leftovers.Snapshot.take().added(before) == []
