"""Thousands of containers in one process: `./test tests/soak -s` prints what they took. Not in the default paths.

PYRT_SOAK_CONTAINERS and PYRT_SOAK_RUNS: other numbers. Of 5,000 runs on two processors it took 23 s: 21 descriptors, 23 threads, 6 cgroups
(those of a full Pool of two) before and after, no file, and 3 MB more that the allocator keeps (of each 2,000 runs 2.0, 0.6, 0.1, 0.2 MB).

Neighbours: helpers/soak.py does it, tests/integration/test_growth.py is the short form.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

import pyrt
from helpers import soak
from helpers.bundles import Bundle
from helpers.soak import Standing

CONTAINERS = int(os.environ.get("PYRT_SOAK_CONTAINERS", "2000"))
RUNS = int(os.environ.get("PYRT_SOAK_RUNS", "5000"))
PARALLEL = 20


def tell(what: str, begun: float, before: Standing, after: Standing) -> None:
    sys.stderr.write(f"\n{what}, {PARALLEL} at a time, in {time.monotonic() - begun:.1f} s\n  before: {before}\n  after:  {after}\n")


@pytest.mark.timeout(3600)
def test_two_thousand_containers_leave_no_trace(runtime: pyrt.Runtime, bundle: Bundle, rootfs: Path) -> None:
    begun = time.monotonic()
    before, after = soak.soak(runtime, bundle, rootfs, CONTAINERS, PARALLEL)
    tell(f"{CONTAINERS} containers of Runtime and run", begun, before, after)
    soak.check(before, after)


@pytest.mark.timeout(3600)
def test_five_thousand_runs_leave_no_trace(runtime: pyrt.Runtime, rootfs: Path) -> None:
    begun = time.monotonic()
    before, after = soak.library(runtime, rootfs, RUNS, PARALLEL)
    tell(f"{RUNS} runs, each fifth with a Popen, aio.run, Pool.run or on_syscall beside it", begun, before, after)
    soak.check(before, after)
