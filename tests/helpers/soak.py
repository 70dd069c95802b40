"""Many containers, one after the other and at once, and what has grown by them: descriptors, memory, threads, cgroups, mounts,
processes, files.

Used by tests/soak (2,000 of them) and tests/integration/test_growth.py (a few).
"""

from __future__ import annotations

import gc
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pyrt
from helpers import callers, cgroups
from helpers.bundles import Bundle
from helpers.leftovers import mounts_about
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
    children: frozenset[int]
    mounts: frozenset[str]
    cgroups: int
    files: int
    resident: int

    @classmethod
    def now(cls, root: Path, prefix: str) -> Standing:
        own = "/proc/self"
        return cls(
            descriptors=len(os.listdir(f"{own}/fd")),
            threads=len(os.listdir(f"{own}/task")),
            children=frozenset(int(pid) for pid in Path(f"{own}/task/{os.getpid()}/children").read_text().split()),
            mounts=mounts_about(root.parent),
            cgroups=len(cgroups.matching(f"pyrt-{prefix}*")),
            files=len(list(root.iterdir())) if root.exists() else 0,
            resident=int(Path(f"{own}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
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

    # What is made once for each thread and process is there before the first look.
    with ThreadPoolExecutor(parallel) as pool:

        def lead(number: int) -> Standing:
            # Not all at once: what the pool keeps of those that wait for their turn would be counted too.
            for first in range(0, number, parallel * AT_ONCE):
                list(pool.map(life, range(first, min(number, first + parallel * AT_ONCE))))
            gc.collect()
            return Standing.now(Path(runtime.root), prefix)

        before, after = lead(parallel * AT_ONCE), lead(containers)
    until(lambda: not callers.marked(marker), "all processes end")
    return before, after


def check(before: Standing, after: Standing) -> None:
    """Nothing has grown but, a little, the memory."""
    grown = after.resident - before.resident
    assert grown < MEMORY_GROWTH, f"{grown} bytes"
    fields = ("descriptors", "threads", "children", "mounts", "cgroups", "files")
    assert {name: getattr(after, name) for name in fields} == {name: getattr(before, name) for name in fields}
    assert (after.cgroups, after.files) == (0, 0)
