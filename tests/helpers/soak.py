"""Many containers, one after the other and at once, and what has grown by them: descriptors, memory, threads, cgroups, mounts,
processes, files.

Used by tests/soak (thousands of them) and tests/integration/test_growth.py (a few).
"""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pyrt
from helpers import callers, cgroups
from helpers.bundles import Bundle
from helpers.leftovers import SHARED_HOST, mounts_about
from helpers.waiting import SOON, until

AT_ONCE = 5
"""Lives that are handed to each thread together."""
MEMORY_GROWTH = 4 << 20
"""Bytes that the allocator may keep, however many containers there were: a leak of 2 KiB for each of 2,000 is more."""


@dataclass(frozen=True)
class Standing:
    """What this process and its state directory hold."""

    descriptors: int
    threads: int
    children: int
    mounts: frozenset[str]
    cgroups: int
    files: int
    temporary: frozenset[str]
    resident: int
    anonymous: int
    """Bytes of proc(5)'s Pss_Anon: the share in the files that are mapped depends on who else runs."""

    def counts(self) -> dict[str, object]:
        """All but the memory."""
        fields = ("descriptors", "threads", "children", "mounts", "cgroups", "files", "temporary")
        return {name: getattr(self, name) for name in fields}

    @classmethod
    def now(cls, root: Path) -> Standing:
        own = "/proc/self"
        rollup = Path(f"{own}/smaps_rollup").read_text().splitlines()
        return cls(
            descriptors=len(os.listdir(f"{own}/fd")),
            threads=len(os.listdir(f"{own}/task")),
            children=sum(len(file.read_text().split()) for file in Path(f"{own}/task").glob("*/children")),
            mounts=mounts_about(root.parent),
            # Those of `Runtime` and those of `run`.
            cgroups=len(cgroups.matching(f"pyrt-*-{os.getpid()}-*")),
            files=len(list(root.iterdir())) if root.exists() else 0,
            temporary=frozenset(name for name in os.listdir("/tmp") if "pyrt" in name and not SHARED_HOST),
            resident=int(Path(f"{own}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
            anonymous=next(int(line.split()[1]) << 10 for line in rollup if line.startswith("Pss_Anon:")),
        )


def soak(runtime: pyrt.Runtime, bundle: Bundle, rootfs: Path, containers: int, parallel: int) -> tuple[Standing, Standing]:
    """Lead so many lives, so many at a time, each fourth by `pyrt.run`; and what there was after the first few, and at the end."""
    marker, prefix = callers.new_marker(), f"soak-{os.getpid()}"
    bundle.shell(f"exit 3 # {marker}")

    def life(number: int) -> None:
        if number % 4 == 0:
            assert pyrt.run(["sh", "-c", f"exit 4 # {marker}"], rootfs=rootfs, memory="64M", timeout=SOON).returncode == 4
            return
        container = runtime.create(f"{prefix}-{number}", bundle=bundle.path)
        if number % 4 == 1:
            # Ended before it ran.
            container.delete(force=True)
            return
        container.start()
        if number % 4 == 2:
            assert container.wait(SOON) == 3
            container.delete()
        else:
            container.delete(force=True)

    standings = lead(life, Path(runtime.root), containers, parallel)
    until(lambda: not callers.marked(marker), "all processes end")
    return standings


def library(runtime: pyrt.Runtime, rootfs: Path, containers: int, parallel: int) -> tuple[Standing, Standing]:
    """So many containers of `pyrt.run`, so many at a time, each fifth with one of the library's other ways beside it. As `soak`."""
    marker = callers.new_marker()
    words = ["sh", "-c", f"mkdir /tmp/made; echo out; exit 4 # {marker}"]

    async def in_a_loop() -> int:
        return (await pyrt.aio.run(words, rootfs=rootfs, stdout=pyrt.PIPE)).returncode

    def beside() -> int:
        with pyrt.Popen(words, rootfs=rootfs, stdout=pyrt.PIPE, keep_changes=True) as box:
            assert box.communicate(timeout=SOON) == (b"out\n", None)
            assert box.changes().added == ["/tmp/made"]
            return box.wait()

    def dropped() -> int:
        # Ended by its handle while it sleeps.
        with pyrt.Popen(["sleep", "1000"], rootfs=rootfs, stdout=pyrt.PIPE):
            return 4

    def decided() -> int:
        calls = {name: lambda call: call.error(errno.EXDEV) for name in ("mkdir", "mkdirat")}
        return pyrt.run(words, rootfs=rootfs, on_syscall=calls, capture_output=True, timeout=SOON).returncode

    with pyrt.Pool(2, rootfs=rootfs) as pool:

        def pooled() -> int:
            return pool.run(words, stdout=pyrt.PIPE, timeout=SOON).returncode

        ways = (beside, lambda: asyncio.run(in_a_loop()), pooled, decided, dropped)

        def life(number: int) -> None:
            done = pyrt.run(words, rootfs=rootfs, memory="64M", stdout=pyrt.PIPE, timeout=SOON)
            assert (done.returncode, done.stdout) == (4, b"out\n")
            if number % 5 == 0:
                assert ways[number // 5 % len(ways)]() == 4

        def full() -> None:
            assert pool.wait_ready(SOON)

        standings = lead(life, Path(runtime.root), containers, parallel, full)
    until(lambda: not callers.marked(marker), "all processes end")
    return standings


def lead(
    life: Callable[[int], None], root: Path, lives: int, parallel: int, settle: Callable[[], None] = lambda: None
) -> tuple[Standing, Standing]:
    """So many lives, so many at a time; what there was after the first few, and at the end, each time when `settle` has returned."""
    # What is made once for each thread and process is there before the first look.
    with ThreadPoolExecutor(parallel) as pool:

        def several(number: int) -> Standing:
            # Not all at once: what the pool keeps of those that wait for their turn would be counted too.
            for first in range(0, number, parallel * AT_ONCE):
                list(pool.map(life, range(first, min(number, first + parallel * AT_ONCE))))
            settle()
            gc.collect()
            return standing_still(root)

        return several(parallel * AT_ONCE), several(lives)


def standing_still(root: Path) -> Standing:
    """What there is when nothing more goes away: the helper threads of `aio` end in their own time, the last of a thread after Python's."""
    until(lambda: not any(thread.name.startswith("pyrt.aio") for thread in threading.enumerate()), "the helper threads end")
    before = Standing.now(root)
    while True:
        time.sleep(0.1)
        now = Standing.now(root)
        if now.counts() == before.counts():
            return now
        before = now


def check(before: Standing, after: Standing) -> None:
    """Nothing has grown but, a little, the memory."""
    for grown in (after.resident - before.resident, after.anonymous - before.anonymous):
        assert grown < MEMORY_GROWTH, f"{grown} bytes"
    assert after.counts() == before.counts()
    assert after.files == 0
