"""Cgroup: a cgroup that limits, counts, freezes and ends what is in it, in every hierarchy that the host has for it.

`limits` holds what goes in and comes out; the native side knows cgroup versions. A container's own cgroup is made below one
of these by `run(cgroup=...)`.
"""

import errno
import os
import threading

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

_made_above: set[str] = set()
"""Cgroups that this process made only because one below them was asked for: they go with the last one that is in them."""
_changing_above = threading.RLock()
"""Held while those above are made or removed, so that each is known to be ours or not; again by a finaliser in the same thread."""


def _renew_lock() -> None:
    # Its holder may be a thread that a forked child does not have.
    global _changing_above
    _changing_above = threading.RLock()


os.register_at_fork(after_in_child=_renew_lock)


def below_root(path: str) -> str:
    """A path below each hierarchy's root: "/jobs/7" is that, and "jobs/7" is "/pyrt-jobs/7", which is nobody else's.

    Raises ValueError for a path that is empty, or has "." or ".." in it: that could leave where it is to be.
    """
    parts = [part for part in path.split("/") if part]
    if not parts or "." in parts or ".." in parts or "\0" in path:
        raise ValueError(f"cgroup path {path!r} is empty or has '.', '..' or NUL in it")
    return f"{'/' if path.startswith('/') else f'/{_PREFIX}'}{'/'.join(parts)}"


def _above(path: str) -> list[str]:
    """The cgroups between a path and the root, the lowest first."""
    above = []
    while (path := os.path.dirname(path)) != "/":
        above.append(path)
    return above


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

        What was made above it is removed with the last cgroup that this process has in it.
        Raises AlreadyExists, ValueError for a path with "..", HostError where no controller can enforce a limit, PermissionDenied.
        """
        path = below_root(os.fspath(path))
        limits = Limits() if limits is None else limits
        host = _native.host_facts()["cgroup"]
        counted = [name for name in _COUNTED if name in host["controllers"]]
        mounts = host["mounts"].values()
        with _changing_above:
            missing = [above for above in _above(path) if not any(os.path.isdir(mount + above) for mount in mounts)]
            native = _native.Cgroup.create(path, limits.resources(), controllers=counted)
            _made_above.update(missing)
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
        mounts = [directory.removesuffix(self.path) for directory in self._native.paths.values()]
        self._native.remove()
        # Whoever keeps this object longer keeps no descriptor.
        del self._native
        with _changing_above:
            for above in _above(self.path):
                if above in _made_above:
                    # In every hierarchy, also where one is still in use: each has its own cgroups below.
                    still_there = [mount for mount in mounts if not _removed(mount + above)]
                    if not still_there:
                        _made_above.discard(above)

    def __repr__(self) -> str:
        return f"Cgroup({self.path!r}, {self.limits!r})"


def _removed(directory: str) -> bool:
    """Remove a cgroup that is empty. Whether it is gone: somebody may be in it, or have taken it away."""
    try:
        os.rmdir(directory)
    except FileNotFoundError:
        return True
    except OSError as failed:
        if failed.errno in (errno.EBUSY, errno.ENOTEMPTY):
            return False
        raise
    return True
