"""Cgroup: a cgroup that limits, counts, freezes and ends what is in it, in every hierarchy that the host has for it.

`limits` holds what goes in and comes out; the native side knows cgroup versions. A container's own cgroup is made below one
of these by `run(cgroup=...)`.
"""

import os

from pyrt import _native
from pyrt.limits import Limits, Usage
from pyrt.ownership import Owned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrt.statistics import Statistics

_PREFIX = "pyrt-"
"""Before the first name of a relative path, as before the ids of containers: at the root, pyrt's own are known by it."""
_COUNTED = ("cpu", "memory", "pids")
"""Controllers that are joined even where no limit asks, so that usage is complete."""


def below_root(path: str) -> str:
    """A path below each hierarchy's root: "/jobs/7" is that, and "jobs/7" is "/pyrt-jobs/7", which is nobody else's.

    Raises ValueError for a path that is empty, or has "." or ".." in it: that could leave where it is to be.
    """
    parts = [part for part in path.split("/") if part]
    if not parts or "." in parts or ".." in parts or "\0" in path:
        raise ValueError(f"cgroup path {path!r} is empty or has '.', '..' or NUL in it")
    return f"{'/' if path.startswith('/') else f'/{_PREFIX}'}{'/'.join(parts)}"


class Cgroup(Owned):
    """A cgroup of the caller's making. Leaving `with`, or `close()`, ends everything in it and removes it."""

    __slots__ = ("_native", "limits", "path")

    path: str
    """Its path below each hierarchy's root."""
    limits: Limits
    """What it was last given."""

    def __init__(self, path: str, native: "_native.Cgroup", limits: Limits) -> None:
        """Take over a native cgroup; `create` makes one."""
        super().__init__()
        self.path = path
        self.limits = limits
        self._native = native
        self._own()

    @classmethod
    def create(cls, path: str | os.PathLike[str], limits: Limits | None = None) -> "Cgroup":
        """Make it with its limits, and those above it where they are missing. A relative path, "jobs/7", is "/pyrt-jobs/7".

        What was made above it goes with the last cgroup in that.
        Raises AlreadyExists, ValueError for a path with "..", HostError where no controller can enforce a limit, PermissionDenied.
        """
        path = below_root(os.fspath(path))
        limits = Limits() if limits is None else limits
        here = _native.host_cgroups()["controllers"]
        counted = [name for name in _COUNTED if name in here]
        native = _native.Cgroup.create(path, limits.resources(), controllers=counted)
        return cls(path, native, limits)

    @property
    def paths(self) -> dict[str, str]:
        """Its directory in each hierarchy: {"unified": "/sys/fs/cgroup/unified/jobs/7", "memory": ...}."""
        self._check()
        return self._native.paths

    def add(self, pid: int) -> None:
        """Move a process into it. What it starts from then on is in it too. Raises ProcessLookupError, PermissionDenied."""
        self._check()
        self._native.add(pid)

    def update(self, limits: Limits) -> None:
        """Change limits; those that are None stay as they are. Raises HostError where no controller can enforce one."""
        self._check()
        self._native.update(limits.resources())
        self.limits = self.limits.merged(limits)

    def processes(self) -> list[int]:
        """PIDs in it and in cgroups below it, as the caller sees them."""
        self._check()
        return self._native.processes()

    def usage(self) -> Usage:
        """What it, and all below it, has used; None where no controller that was joined counts it."""
        self._check()
        return Usage(self._native.usage())

    def stats(self) -> "Statistics":
        """Everything that it counts now, where `usage` has the main numbers. Reading stops nothing."""
        from pyrt.statistics import Statistics

        self._check()
        return Statistics(self._native.statistics())

    def freeze(self) -> None:
        """Stop everything in it; returns when all stands still."""
        self._check()
        self._native.freeze()

    def thaw(self) -> None:
        """Let it go on."""
        self._check()
        self._native.thaw()

    @property
    def frozen(self) -> bool:
        """Whether it stands still."""
        self._check()
        return self._native.frozen()

    def signal(self, signal: int | str) -> None:
        """Send a signal, by number or name, to every process in it."""
        from pyrt.signals import number

        self._check()
        self._native.signal(number(signal))

    def kill(self) -> None:
        """End everything in it with SIGKILL, and wait until it is empty."""
        self._check()
        self._native.kill()

    def _end(self) -> None:
        self._native.kill()
        self._remove()

    def _abandon(self) -> None:
        # What is in it may still be wanted: only leaving `with` or close() ends it.
        if not self._native.processes():
            self._remove()

    def _remove(self) -> None:
        self._native.remove()
        # Whoever keeps this object longer keeps no descriptor.
        del self._native

    def __repr__(self) -> str:
        return f"Cgroup({self.path!r}, {self.limits!r})"
