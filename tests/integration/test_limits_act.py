"""Limits at work: a busy loop that is throttled, a writer that is held to its rate, a frozen container that stands still.

Neighbours: test_exit_report.py (memory and processes), test_device_rules.py (devices), test_limits_refused.py (limits that cannot be).
"""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import pyrt
from helpers.bundles import Bundle
from helpers.hosts import requires
from helpers.waiting import until

MEBIBYTE = 1 << 20
BUSY = "while :; do :; done"


@requires("cpu controller")
def test_a_busy_loop_is_throttled_to_its_quota(runtime: pyrt.Runtime, bundle: Bundle) -> None:
    period, quota = 50_000, 10_000
    bundle.linux["resources"] = {"cpu": {"quota": quota, "period": period}}
    container = runtime.create(f"cgroups-throttled-{os.getpid()}", bundle=bundle.shell(BUSY).path)
    container.start()
    looks = (stats.cpu for stats in container.live_stats(interval=0.05))
    cpu = next(cpu for cpu in looks if cpu is not None and (cpu.throttled_periods or 0) >= 4)
    container.delete(force=True)
    assert cpu.periods is not None
    assert cpu.usage_usec is not None
    # A slice of the quota that is handed out already may overdraw it, on each processor once.
    assert cpu.usage_usec <= (cpu.periods + 2) * quota + 2 * period
    assert (cpu.throttled_usec or 0) > 0


def test_a_frozen_container_stands_still(runtime: pyrt.Runtime, bundle: Bundle) -> None:
    container = runtime.create(f"cgroups-frozen-{os.getpid()}", bundle=bundle.shell(BUSY).path)
    container.start()

    def used() -> int:
        cpu = container.stats().cpu
        assert cpu is not None
        assert cpu.usage_usec is not None
        return cpu.usage_usec

    def stands_still() -> bool:
        before = used()
        time.sleep(0.1)
        return used() == before

    container.pause()
    # The kernel calls a process frozen just before it leaves its processor, and counts that time a little later.
    until(stands_still, "it stands still")
    before = used()
    container.resume()
    until(lambda: used() != before, "it goes on")
    container.delete(force=True)


@requires("pure cgroup v2", "memory controller")
def test_with_memory_oom_group_one_hog_takes_the_whole_container_with_it(runtime: pyrt.Runtime, bundle: Bundle) -> None:
    bundle.linux["resources"] = {"memory": {"limit": 32 * MEBIBYTE, "swap": 32 * MEBIBYTE}, "unified": {"memory.oom.group": "1"}}
    hog = "x=0123456789abcdef; while :; do x=$x$x; done"
    container = runtime.create(f"cgroups-group-{os.getpid()}", bundle=bundle.shell(f"sh -c '{hog}' & wait; sleep 1000").path)
    container.start()
    assert container.wait(timeout=100) == -signal.SIGKILL
    memory = container.stats().memory
    container.delete()
    assert memory is not None
    assert memory.events["oom_group_kill"] == 1
    assert memory.events["oom_kill"] >= 2


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A block device of 8 MiB."""
    image = tmp_path / "image"
    image.write_bytes(bytes(8 * MEBIBYTE))
    device = Path(subprocess.run(["losetup", "--find", "--show", image], capture_output=True, text=True, check=True).stdout.strip())
    yield device
    subprocess.run(["losetup", "--detach", device], check=True)


@requires("io controller", "loop device", "losetup")
def test_a_writer_is_held_to_its_rate(runtime: pyrt.Runtime, bundle: Bundle, disk: Path) -> None:
    number = os.stat(disk).st_rdev
    major, minor = os.major(number), os.minor(number)
    os.mknod(bundle.rootfs / "disk", 0o600 | stat.S_IFBLK, number)
    bundle.linux["resources"] = {
        "devices": [{"allow": False, "access": "rwm"}, {"allow": True, "type": "b", "major": major, "minor": minor, "access": "rw"}],
        "blockIO": {"throttleWriteBpsDevice": [{"major": major, "minor": minor, "rate": 2 * MEBIBYTE}]},
    }
    script = "dd if=/dev/zero of=/disk bs=64k count=48 oflag=direct conv=notrunc"
    container = runtime.create(f"cgroups-writer-{os.getpid()}", bundle=bundle.shell(script).path)
    begun = time.monotonic()
    container.start()
    assert container.wait(timeout=100) == 0
    took = time.monotonic() - begun
    stats = container.stats()
    container.delete()
    assert stats.io is not None
    assert stats.io[f"{major}:{minor}"].write_bytes == 3 * MEBIBYTE
    # A bound from below: 3 MiB at 2 MiB a second, less a slice that the kernel lets through at once.
    assert took > 1.0
