"""Containers spread over a cluster of dask.distributed, by examples/dask_cluster.py: nodes in namespaces of their own, one worker killed.

Neighbour: test_executor.py (what pickles).
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from helpers.hosts import requires

EXAMPLE = str(Path(__file__).resolve().parents[2] / "examples" / "dask_cluster.py")
JOBS = 10

MISSING = find_spec("distributed") is None


@pytest.mark.slow
@pytest.mark.skipif(MISSING, reason="distributed is not installed (pip install distributed)")
@requires("veth", "nsenter", "memory controller")
def test_the_jobs_of_a_worker_that_is_killed_are_run_by_another(tmp_path: Path) -> None:
    line = [sys.executable, EXAMPLE, "--workers", "2", "--jobs", str(JOBS)]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    killed = lines.index("killing the last worker")
    results = [line.split() for line in lines if line[0].isdigit()]
    assert sorted((int(number), int(printed)) for number, printed, _ in results) == [(number, number * number) for number in range(JOBS)]
    # What came after its death, the other did; but for what it had sent before.
    assert {node for *_, node in map(str.split, lines[killed + 5 :])} == {"worker1"}
