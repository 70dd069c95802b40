"""A process that calls pyrt and may be killed at any moment, and which of its containers' processes still run.

The container's processes are known by a marker in their arguments; the caller gets it by its environment, so that it is not one of them.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path

from helpers.waiting import runs

VARIABLE = "PYRT_TEST_MARKER"
PREAMBLE = f"import os, sys, threading, time\nimport pyrt\nmarker = os.environ[{VARIABLE!r}]\n"


def new_marker() -> str:
    return f"marker-{secrets.token_hex(8)}"


def start(script: str, marker: str, *words: str | os.PathLike[str]) -> subprocess.Popen[str]:
    """Run Python code that finds `pyrt` imported, the marker in `marker`, and words in sys.argv; in a session of its own, stdout a pipe."""
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", PREAMBLE + script, *words],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, VARIABLE: marker},
    )


def marked(marker: str) -> list[int]:
    """Processes, zombies apart, that have the marker in their arguments."""
    found = []
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        try:
            if marker.encode() in Path(f"/proc/{pid}/cmdline").read_bytes() and runs(pid):
                found.append(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found
