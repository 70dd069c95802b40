"""Waiting for what happens soon, with a deadline that only a hang reaches."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE = float(os.environ.get("PYRT_TESTS_PATIENCE", "1"))
"""How many times longer everything may take here than on a machine: an emulated one is some ten times slower."""
SOON = 60.0 * PATIENCE
"""Seconds that something which happens at once may take on a machine that is very slow or busy: only a hang takes as long."""
BY_THEN = 2.0 * PATIENCE
"""Seconds after which a launched command has done its first few things, also on a busy machine: where a timeout must come after those."""
_POLL = 0.01


def until(condition: Callable[[], bool], what: str) -> None:
    """Return when the condition holds. Raises AssertionError, saying what did not happen, after SOON."""
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline, f"not within {SOON:.0f} s: {what}"
        time.sleep(_POLL)


def runs(pid: int) -> bool:
    """Whether the process exists and is no zombie: whoever its parent is now may take its time (proc_pid_stat(5))."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False
