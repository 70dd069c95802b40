"""Why a container ended, and what is said of it. A module of its own, since `enum` costs more to import than a launch takes.

`exchange` decides; `report` has it together with what was used.
"""

from enum import Enum
from signal import Signals

from pyrt.limits import size_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrt.limits import Usage

_CHARGED_AHEAD_BYTES = 1 << 20
"""The kernel charges memory to a cgroup in batches, one for each processor; more than this it does not keep for a few of them."""


class Cause(Enum):
    """What ended a container's command. First what pyrt did, then what the kernel did, then what the command did itself."""

    EXITED = "exited"
    """The command ended by itself; `returncode` is its exit code."""
    SIGNALED = "signaled"
    """A signal ended the command; `returncode` is minus its number."""
    OOM = "oom"
    """The kernel killed the command because its cgroup was out of memory."""
    PIDS = "pids"
    """The limit of processes was hit, and the command failed."""
    TIMEOUT = "timeout"
    """pyrt ended it when `timeout` had passed."""
    CPU_TIME = "cpu_time"
    """pyrt ended it when it had used its processor time."""
    OUTPUT = "output"
    """pyrt ended it when it had written more than it may."""
    SECCOMP = "seccomp"
    """The kernel killed the command for a system call that its seccomp profile forbids."""


TOLD = frozenset({Cause.OOM, Cause.PIDS, Cause.SECCOMP})
"""Causes that the return code alone does not show: the command line and ContainerFailed say them."""


def explain(cause: Cause, returncode: int, usage: "Usage") -> str:
    """The cause in words with its figures, for a person: "the kernel killed it: out of memory at its limit of 48 MiB (peak 48 MiB)"."""
    if cause is Cause.OOM:
        return f"the kernel killed it: out of memory {_memory(usage)}"
    if cause is Cause.PIDS:
        limit = "its limit" if usage.pids_limit is None else f"its limit of {usage.pids_limit}"
        return f"{_status(returncode)}, after {limit} processes and threads had refused it more ({usage.pids_limit_hits} times)"
    if cause is Cause.SECCOMP:
        return f"{_status(returncode)}, for a system call that its seccomp profile forbids"
    if cause is Cause.TIMEOUT:
        return "pyrt ended it, since its time was up"
    if cause is Cause.CPU_TIME:
        return "pyrt ended it, since it had used its processor time"
    if cause is Cause.OUTPUT:
        return "pyrt ended it, since it wrote more than it may"
    return _status(returncode)


def _memory(usage: "Usage") -> str:
    limit, peak_bytes = usage.memory_limit_bytes, usage.memory_peak_bytes
    peak = "" if peak_bytes is None else f" (peak {size_text(peak_bytes)})"
    # Linux 6.18 counts no hits on v1 where memory and swap together have the same limit: then the peak tells.
    if limit is not None and (usage.memory_limit_hits or (peak_bytes or 0) > limit - _CHARGED_AHEAD_BYTES):
        return f"at its limit of {size_text(limit)}{peak}"
    # Its own limit did not hold it back: then the kernel chose it for somebody else's.
    return f"at a limit of a cgroup above it, or of the whole host{peak}"


def _status(returncode: int) -> str:
    if returncode >= 0:
        return f"it ended with exit status {returncode}"
    try:
        return f"{Signals(-returncode).name} ended it"
    except ValueError:  # a realtime signal
        return f"signal {-returncode} ended it"
