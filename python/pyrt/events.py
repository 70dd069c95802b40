"""What happens to a container that lives: statistics at an interval, and at once that it is out of memory. `Container.events` returns it.

Waiting is poll(2) on the init's pidfd and on what the kernel notifies (rust/core/src/cgroup/oom.rs).
"""

import os
import time
from select import POLLIN, POLLPRI, poll

from pyrt.errors import InvalidState
from pyrt.statistics import Statistics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal

    from pyrt import _native

__all__ = ["OutOfMemory", "watch"]

_EVENTFD_BYTES = 8
_COUNTERS_BYTES = 4096
"""memory.events has a few short lines."""


class OutOfMemory:
    """The container reached its limit of memory, or one above it, and the kernel killed one of its processes, or is about to."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "OutOfMemory()"


class _Notifier:
    """The descriptor that the kernel wakes, and whether what it says is news."""

    __slots__ = ("_descriptor", "_group", "_kills", "_kind")

    def __init__(self, group: "_native.Cgroup") -> None:
        self._group = group
        self._kind: Literal["counters", "eventfd"] | None
        self._kind, self._descriptor = group.oom_notifier() or (None, -1)
        self._kills = self._counted() if self._kind == "counters" else 0

    def register(self, poller: "poll") -> None:
        if self._kind is not None:
            poller.register(self._descriptor, POLLPRI if self._kind == "counters" else POLLIN)

    def news(self) -> bool:
        """Whether it was out of memory since the last call."""
        if self._kind == "counters":
            before, self._kills = self._kills, self._counted()
            return self._kills > before
        try:
            return (
                self._kind is not None and bool(os.read(self._descriptor, _EVENTFD_BYTES)) and self._group.usage()["oom_kills"] is not None
            )
        except BlockingIOError:
            return False

    def _counted(self) -> int:
        """The reading is also what makes the next change wake the poll."""
        try:
            text = os.pread(self._descriptor, _COUNTERS_BYTES, 0)
        except OSError:  # ENODEV: removed meanwhile
            return self._kills
        return next((int(line.split()[1]) for line in text.splitlines() if line.startswith(b"oom_kill ")), 0)

    def close(self) -> None:
        if self._kind is not None:
            os.close(self._descriptor)


def watch(container: "_native.Container", group: "_native.Cgroup", interval: float) -> "Iterator[Statistics | OutOfMemory]":
    """For `Container.events`. Raises InvalidState when it has ended."""
    init = container.init()
    try:
        pidfd = -1 if init is None else os.pidfd_open(init[0])
    except ProcessLookupError:
        pidfd = -1
    try:
        # After the pidfd holds the number: it is the container's own process that is looked at.
        container.require("watch", ("created", "running", "paused"))
        if pidfd < 0:
            raise InvalidState("cannot watch the container: it ended meanwhile")
        notifier = _Notifier(group)
        counters = group.keeping_files_open()
        try:
            poller = poll()
            poller.register(pidfd, POLLIN)
            notifier.register(poller)
            look = time.monotonic()
            while True:
                left = look - time.monotonic()
                if left <= 0:
                    yield Statistics(counters.statistics())
                    look = time.monotonic() + interval
                    continue
                ready = dict(poller.poll(left * 1000 + 1))
                if ready and notifier.news():
                    yield OutOfMemory()
                if pidfd in ready:
                    return
        finally:
            notifier.close()
    finally:
        if pidfd >= 0:
            os.close(pidfd)
