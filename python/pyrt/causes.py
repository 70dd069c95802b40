"""Why a container ended. A module of its own, since `enum` costs more to import than a launch takes."""

from enum import Enum


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
