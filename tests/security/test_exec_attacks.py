"""What a container can do to whoever executes something in it: nothing (docs/architecture.md, "Two paths").

Neighbours: test_launch_attacks.py (the same for new containers), ../integration/test_exec.py.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import pyrt
from helpers import cgroups
from helpers.bundles import Bundle
from helpers.commands import Command
from helpers.hosts import requires
from helpers.waiting import SOON, until

WATCH = """
while :; do
    for process in /proc/[0-9]*; do
        case $process in /proc/1) continue;; esac
        grep -qs -e python -e _native "$process/maps" && echo "$process" >> /srv/seen
        cat "$process/environ" 2>/dev/null | grep -qs PYRT_SECRET && echo "$process" >> /srv/seen
    done
    touch /srv/round
done
"""


def test_the_watcher_inside_sees_a_caller_that_enters_the_pid_namespace(runtime: pyrt.Runtime, bundle: Bundle) -> None:
    """So that the next test can fail: what it watches for is seen when it is there."""
    bundle.spec["root"]["readonly"] = False
    for names in bundle.process["capabilities"].values():
        names.append("CAP_SYS_PTRACE")
    container = runtime.create("exec-seen", bundle=bundle.shell(WATCH).path)
    container.start()
    line = ["nsenter", "--target", str(container.pid), "--pid", "sleep", "1000"]
    with subprocess.Popen(line, env={**os.environ, "PYRT_SECRET": "1"}) as entered:
        until((bundle.rootfs / "srv/seen").exists, "the caller was seen")
        container.delete(force=True)
        entered.wait(SOON)


def test_a_process_inside_with_ptrace_never_meets_the_callers_memory(
    runtime: pyrt.Runtime, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also CVE-2016-9962: what joins holds descriptors of the host, and is closed to those inside."""
    bundle.spec["root"]["readonly"] = False
    for names in bundle.process["capabilities"].values():
        names.append("CAP_SYS_PTRACE")
    container = runtime.create("exec-watched", bundle=bundle.shell(WATCH).path)
    container.start()
    round_done = bundle.rootfs / "srv/round"
    until(round_done.exists, "the watcher inside runs")
    monkeypatch.setenv("PYRT_SECRET", "1")
    for _ in range(30):
        assert container.exec(["true"]).returncode == 0
    container.delete(force=True)
    assert not (bundle.rootfs / "srv/seen").exists()


def test_a_frozen_container_does_not_hold_the_caller(running: pyrt.Container, command: Command, tmp_path: Path) -> None:
    running.pause()
    caller = command.start("exec", "--ignore-paused", running.id, "true")
    children = Path(f"/proc/{caller.pid}/task/{caller.pid}/children")
    until(lambda: bool(children.read_text()), "something was made")
    # A thread in vfork with a frozen child of its own memory would not even die.
    caller.kill()
    assert caller.wait(SOON) == -9
    running.resume()
    assert running.exec(["true"]).returncode == 0


@requires("pure cgroup v2", "memory controller")
def test_an_out_of_memory_kill_of_the_group_spares_the_caller(runtime: pyrt.Runtime, bundle: Bundle) -> None:
    """With memory.oom.group the kernel kills everything in the cgroup: a caller whose memory were in there would die too."""
    bundle.linux["resources"] = {"memory": {"limit": 16 << 20, "swap": 16 << 20}}
    container = runtime.create("exec-oom", bundle=bundle.args("sleep", "1000").path)
    container.start()
    group = cgroups.directory(cgroups.of(container.pid)[cgroups.UNIFIED], "memory")
    (group / "memory.oom.group").write_text("1")
    done = container.exec(["sh", "-c", "head -c 64m /dev/zero | tail -c 64m >/dev/null"], timeout=60)
    assert done.returncode == -9
    assert "oom_group_kill 1" in (group / "memory.events").read_text()
    assert container.status == "stopped", "the group was killed"
    container.delete(force=True)
