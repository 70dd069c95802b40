"""Namespaces: namespaces that are held open by descriptors, for containers to share (namespaces(7)).

`Namespaces.create` makes them beside the caller, who stays where it is; `Namespaces.of` opens those of a process. Either is given to
`run(namespaces=...)`, which joins each one by the descriptor's path, checked for its kind by the native side.
"""

import os
import select

from pyrt import _native
from pyrt.ownership import Owned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# By the names of config.json; /proc/PID/ns spells two of them differently.
_FILES = {
    "cgroup": "cgroup",
    "ipc": "ipc",
    "mount": "mnt",
    "network": "net",
    "pid": "pid",
    "time": "time",
    "user": "user",
    "uts": "uts",
}
_KINDS = {file: kind for kind, file in _FILES.items()}


class Namespace:
    """One namespace. kind: as config.json names it. fd: its descriptor. inode: what tells it apart, as readlink(1) shows it."""

    __slots__ = ("fd", "inode", "kind")

    def __init__(self, kind: str, fd: int) -> None:
        self.kind = kind
        self.fd = fd
        self.inode = os.fstat(fd).st_ino

    @property
    def path(self) -> str:
        """A path by which this process can open it, while its owner lives."""
        return f"/proc/self/fd/{self.fd}"

    def __eq__(self, other: object) -> bool:
        return self.inode == other.inode if isinstance(other, Namespace) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.inode)

    def __repr__(self) -> str:
        return f"{_FILES[self.kind]}:[{self.inode}]"


class Namespaces(Owned):
    """Namespaces of several kinds, one of each at most. Leaving `with`, or `close()`, lets go of them, and ends a PID 1 of ours."""

    __slots__ = ("_held", "_init", "_of_process")

    def __init__(self, descriptors: "dict[str, int]", init: "tuple[int, int] | None" = None, *, of_process: bool = False) -> None:
        """Take over descriptors by kind, and the PID and pidfd of a PID 1 that keeps a pid namespace alive; `create` and `of` make them."""
        super().__init__()
        self._held = {kind: Namespace(kind, fd) for kind, fd in descriptors.items()}
        self._init = init
        self._of_process = of_process
        self._own()

    @classmethod
    def create(
        cls,
        *kinds: str,
        uid_mappings: "Sequence[tuple[int, int, int]]" = (),
        gid_mappings: "Sequence[tuple[int, int, int]]" = (),
        monotonic_offset: float = 0.0,
        boottime_offset: float = 0.0,
    ) -> "Namespaces":
        """Make new ones: "net", "ipc", "uts", "mnt", "pid", "user", "cgroup", "time", or the spec's names for them.

        uid_mappings, gid_mappings: (id inside, id outside, count), of a "user". monotonic_offset, boottime_offset: seconds, of a "time".
        A pid namespace is kept alive by a PID 1 of ours that does nothing. Raises ValueError for an unknown kind, HostError,
        PermissionDenied.
        """
        wanted = _known(kinds)
        if not wanted:
            raise ValueError("no kind of namespace is named")
        if (uid_mappings or gid_mappings) and "user" not in wanted:
            raise ValueError("mappings belong to a user namespace, which is not among the kinds")
        if (monotonic_offset or boottime_offset) and "time" not in wanted:
            raise ValueError("offsets belong to a time namespace, which is not among the kinds")
        descriptors, pid, pidfd = _native.namespaces_create(
            wanted,
            uid_mappings=uid_mappings,
            gid_mappings=gid_mappings,
            monotonic_offset=monotonic_offset,
            boottime_offset=boottime_offset,
        )
        return cls(descriptors, None if pid is None or pidfd is None else (pid, pidfd))

    @classmethod
    def of(cls, pid: int, *kinds: str) -> "Namespaces":
        """Those that a process is in, all eight or the kinds that are named. As `namespaces=` only those count that the caller is not in.

        Raises NotFound where the process has ended, PermissionDenied.
        """
        wanted = _known(kinds) or list(_FILES)
        descriptors: dict[str, int] = {}
        opened: list[int] = []
        try:
            opened.append(pidfd := os.pidfd_open(pid))
            for kind in wanted:
                descriptors[kind] = os.open(f"/proc/{pid}/ns/{_FILES[kind]}", os.O_RDONLY | os.O_CLOEXEC)
                opened.append(descriptors[kind])
            poller = select.poll()
            poller.register(pidfd, select.POLLIN)
            if poller.poll(0):
                # It ended meanwhile: what was opened may belong to another process that was given its number.
                raise ProcessLookupError
            opened.clear()
            opened.append(pidfd)
            return cls(descriptors, of_process=True)
        except (ProcessLookupError, FileNotFoundError):
            from pyrt.errors import NotFound

            raise NotFound("open the namespaces of process", str(pid), hint="it has ended") from None
        except OSError as failed:
            from pyrt.errors import from_os_error

            raise from_os_error("open the namespaces of process", failed, str(pid)) from None
        finally:
            for descriptor in opened:
                os.close(descriptor)

    def paths(self) -> dict[str, str]:
        """Kind, as config.json names it, to a path for `linux.namespaces`; what a process shares with the caller anyway is left out."""
        self._check()
        return {kind: held.path for kind, held in self._held.items() if not (self._of_process and _is_callers(held))}

    def __getitem__(self, kind: str) -> Namespace:
        self._check()
        return self._held[_KINDS.get(kind, kind)]

    def __contains__(self, kind: object) -> bool:
        return isinstance(kind, str) and _KINDS.get(kind, kind) in self._held

    def __len__(self) -> int:
        return len(self._held)

    def __getattr__(self, kind: str) -> Namespace:
        """`.net`, `.mnt`, `.ipc`, `.uts`, `.pid`, `.user`, `.cgroup`, `.time`. Raises AttributeError for one that is not held."""
        if (kind not in _KINDS and kind not in _FILES) or kind not in self:
            raise AttributeError(f"Namespaces holds no {kind!r}")
        return self[kind]

    def _end(self) -> None:
        try:
            if self._init is not None:
                import signal

                _, pidfd = self._init
                try:
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                    os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
                except (ProcessLookupError, ChildProcessError):
                    # It has ended, or whoever ignores SIGCHLD never sees it end: in both cases nothing is left of it.
                    pass
                finally:
                    os.close(pidfd)
        finally:
            for namespace in self._held.values():
                os.close(namespace.fd)

    # The namespaces live on for who is in them; only our PID 1 and the descriptors would leak.
    _abandon = _end

    def __repr__(self) -> str:
        return f"Namespaces({', '.join(map(repr, self._held.values()))})"


def _known(kinds: "Sequence[str]") -> list[str]:
    known = list(dict.fromkeys(_KINDS.get(kind, kind) for kind in kinds))
    for kind in known:
        if kind not in _FILES:
            raise ValueError(f"{kind!r} is no kind of namespace: {', '.join(_KINDS)}")
    return known


def _is_callers(namespace: Namespace) -> bool:
    return os.stat(f"/proc/self/ns/{_FILES[namespace.kind]}").st_ino == namespace.inode
