"""What passes between a caller and a container that runs: buffers, deadline, bounds, cause. No I/O and no clock in here.

`launch.Launch` drives one with poll(2); `aio` drives the same one from an event loop. The driver asks what it `wants`, reads and writes
those descriptors, tells what came of it, ends the container when `ended_by` says so, and asks at the end for output and cause.
"""

from select import POLLIN, POLLOUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyrt.limits import Usage

CHUNK = 1 << 16
"""Bytes read or written at once: what a pipe holds."""

SIGKILL = 9
SIGXCPU = 24
SIGSYS = 31

CPU_LOOK_LEAST_SECONDS = 0.01
"""Processor time is looked at no more often than this: so much more may be used."""


class Bounds:
    """How far a container may go before pyrt ends it, or reads on and drops the rest.

    cpu_time: seconds of processor time of everything inside. processors: how many may be used at once. max_output: bytes kept of each
    stream. kill_on_output: end it when there are more.
    """

    __slots__ = ("cpu_time", "kill_on_output", "max_output", "processors")

    def __init__(
        self,
        *,
        cpu_time: float | None = None,
        processors: float = 1,
        max_output: int | None = None,
        kill_on_output: bool = False,
    ) -> None:
        self.cpu_time = cpu_time
        self.processors = processors
        self.max_output = max_output
        self.kill_on_output = kill_on_output


UNBOUNDED = Bounds()


class Exchange:
    """One container's conversation.

    stdin: the descriptor that `data` is written to. outputs: descriptors that are read to their end. deadline: on the clock of
    the driver, in seconds; None for no end. bounds: what it is not to exceed.
    """

    __slots__ = ("_bounds", "_buffers", "_data", "_left", "_open", "_stdin", "cpu_look", "deadline", "ended_by", "filtered", "truncated")

    def __init__(
        self,
        *,
        stdin: int | None = None,
        data: bytes = b"",
        outputs: "Iterable[int]" = (),
        deadline: float | None = None,
        bounds: Bounds = UNBOUNDED,
    ) -> None:
        self._bounds = bounds
        self.deadline = deadline
        self.cpu_look: float | None = None if bounds.cpu_time is None else 0.0
        """When, on the driver's clock, `cpu_used` is to be told next; None for never."""
        self.truncated = False
        """Whether more was written than is kept."""
        self.begin(stdin=stdin, data=data, outputs=outputs)
        self.filtered = False
        """Whether the command runs under a seccomp profile, so that SIGSYS is its doing."""
        self.ended_by: str | None = None
        """The name of the Cause, where it was pyrt that ended the container."""

    def begin(self, *, stdin: int | None, data: bytes, outputs: "Iterable[int]") -> None:
        """Serve these descriptors from now on. A conversation begins once."""
        self._stdin = stdin
        self._data = memoryview(data)
        self._buffers: dict[int, list[bytes]] = {descriptor: [] for descriptor in outputs}
        self._open = list(self._buffers)
        self._left = dict.fromkeys(self._buffers, self._bounds.max_output)

    def wants(self) -> list[tuple[int, int]]:
        """Descriptors still to be served, each with POLLIN or POLLOUT."""
        wanted = [(descriptor, POLLIN) for descriptor in self._open]
        if self._stdin is not None:
            wanted.append((self._stdin, POLLOUT))
        return wanted

    def feed(self, descriptor: int, data: bytes) -> bool:
        """Take what was read; nothing is its end. Returns whether there may be more."""
        if not data:
            self._open.remove(descriptor)
            return False
        left = self._left[descriptor]
        if left is None or len(data) <= left:
            self._buffers[descriptor].append(data)
        else:
            # The rest is read and dropped: a full pipe would stop the command.
            self._buffers[descriptor].append(data[:left])
            self.truncated = True
            if self._bounds.kill_on_output and self.ended_by is None:
                self.ended_by = "OUTPUT"
        if left is not None:
            self._left[descriptor] = max(left - len(data), 0)
        return True

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

    def patience(self, now: float, deadline: float | None) -> float | None:
        """Seconds that one may wait: until that deadline, or until processor time is to be looked at. None for ever."""
        due = [time for time in (deadline, self.cpu_look) if time is not None]
        return max(min(due) - now, 0.0) if due else None

    def cpu_used(self, usec: int, now: float) -> bool:
        """Take how much processor time was used. Returns whether that is all there is: `ended_by` says so, and it is to be ended."""
        assert self._bounds.cpu_time is not None, "looked at only where it is bounded"
        left = self._bounds.cpu_time - usec / 1_000_000
        if left <= 0:
            self.cpu_look = None
            self.ended_by = self.ended_by or "CPU_TIME"
            return True
        # On all its processors it needs this long at least.
        self.cpu_look = now + max(left / self._bounds.processors, CPU_LOOK_LEAST_SECONDS)
        return False

    def expire(self) -> None:
        """The deadline has passed, and the driver ends the container."""
        self.ended_by = self.ended_by or "TIMEOUT"

    def finish(self) -> None:
        """Nothing more will be read or written."""
        self._open = []
        self._stdin = None

    def output(self, descriptor: int | None) -> bytes | None:
        """All that was read from it; None where nothing was to be read."""
        return None if descriptor is None else b"".join(self._buffers[descriptor])

    def cause(self, returncode: int, usage: "Usage") -> str:
        """The name of the Cause: first what pyrt did, then what the kernel did to the command itself, then the command."""
        cpu_time, used = self._bounds.cpu_time, usage.cpu_usec
        if cpu_time is not None and used is not None and used >= cpu_time * 1_000_000 and returncode in (-SIGKILL, -SIGXCPU):
            # The kernel's own limit, RLIMIT_CPU, which stands in while nobody looks.
            return self.ended_by or "CPU_TIME"
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
