"""What passes between a caller and a container that runs: buffers, deadline, cause. No I/O and no clock in here.

`process.Launch` drives one with poll(2); an event loop drives the same one. The driver asks what it `wants`, reads and writes
those descriptors, tells what came of it, and asks at the end for output and cause.
"""

from select import POLLIN, POLLOUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyrt.limits import Usage

CHUNK = 1 << 16
"""Bytes read or written at once: what a pipe holds."""

SIGKILL = 9
SIGSYS = 31


class Exchange:
    """One container's conversation.

    stdin: the descriptor that `data` is written to. outputs: descriptors that are read to their end. deadline: on the clock of
    the driver, in seconds; None for no end.
    """

    __slots__ = ("_buffers", "_data", "_open", "_stdin", "deadline", "ended_by", "filtered")

    def __init__(self, *, stdin: int | None, data: bytes, outputs: "Iterable[int]", deadline: float | None) -> None:
        self._stdin = stdin
        self._data = memoryview(data)
        self._buffers: dict[int, list[bytes]] = {descriptor: [] for descriptor in outputs}
        self._open = list(self._buffers)
        self.deadline = deadline
        self.filtered = False
        """Whether the command runs under a seccomp profile, so that SIGSYS is its doing."""
        self.ended_by: str | None = None
        """The name of the Cause, where it was pyrt that ended the container."""

    def wants(self) -> list[tuple[int, int]]:
        """Descriptors still to be served, each with POLLIN or POLLOUT."""
        wanted = [(descriptor, POLLIN) for descriptor in self._open]
        if self._stdin is not None:
            wanted.append((self._stdin, POLLOUT))
        return wanted

    def feed(self, descriptor: int, data: bytes) -> bool:
        """Take what was read; nothing is its end. Returns whether there may be more."""
        if data:
            self._buffers[descriptor].append(data)
            return True
        self._open.remove(descriptor)
        return False

    def outgoing(self) -> memoryview:
        """What to write next to stdin."""
        return self._data[:CHUNK]

    def sent(self, count: int) -> bool:
        """So many bytes of `outgoing` were written. Returns whether there is more; if not, stdin is to be closed."""
        self._data = self._data[count:]
        if not self._data:
            self._stdin = None
        return self._stdin is not None

    def refused(self) -> bool:
        """Nobody reads stdin any more: what was to be written is forgotten, as subprocess does. Returns False: there is no more."""
        return self.sent(len(self._data))

    def remaining(self, now: float) -> float | None:
        """Seconds until the deadline, 0 when it has passed, None where there is none."""
        return None if self.deadline is None else max(self.deadline - now, 0.0)

    def expire(self) -> None:
        """The deadline has passed, and the driver ends the container."""
        self.ended_by = "TIMEOUT"

    def output(self, descriptor: int | None) -> bytes | None:
        """All that was read from it; None where nothing was to be read."""
        return None if descriptor is None else b"".join(self._buffers[descriptor])

    def cause(self, returncode: int, usage: "Usage") -> str:
        """The name of the Cause: first what pyrt did, then what the kernel did to the command itself, then the command."""
        return self.ended_by or cause_of(returncode, usage, filtered=self.filtered)


def cause_of(returncode: int, usage: "Usage", *, filtered: bool) -> str:
    """The name of the Cause of an end that pyrt did not bring about. filtered: whether it ran under a seccomp profile."""
    if returncode == -SIGKILL and usage.oom_kills:
        return "OOM"
    if returncode == -SIGSYS and filtered:
        return "SECCOMP"
    if returncode != 0 and usage.pids_limit_hits:
        return "PIDS"
    return "SIGNALED" if returncode < 0 else "EXITED"
