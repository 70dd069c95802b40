"""2,000 containers, 20 at a time, in one process: `./test tests/soak -s`. Not in the default paths. PYRT_SOAK_CONTAINERS: another number.

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

CONTAINERS = int(os.environ.get("PYRT_SOAK_CONTAINERS", "2000"))
PARALLEL = 20


@pytest.mark.timeout(3600)
def test_two_thousand_containers_leave_no_trace(runtime: pyrt.Runtime, bundle: Bundle, rootfs: Path) -> None:
    start = time.monotonic()
    before, after = soak.soak(runtime, bundle, rootfs, CONTAINERS, PARALLEL)
    took = time.monotonic() - start
    sys.stderr.write(
        f"\n{CONTAINERS} containers, {PARALLEL} at a time, in {took:.1f} s; resident {before.resident} -> {after.resident} bytes\n"
    )
    soak.check(before, after)
