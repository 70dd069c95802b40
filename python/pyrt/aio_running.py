"""Running: one container in an event loop, from its launch to the removal of its cgroup; what `aio` is made of.

The loop watches pidfd and pipes; no thread belongs to a container. What blocks (a launch, the end) is done by at most two helper threads
of the process, which are there as long as any container of a loop is. `exchange` and `launch` are those of the synchronous functions.
"""

import asyncio
import os
import select
import time
from concurrent.futures import ThreadPoolExecutor
from select import POLLIN
from threading import Lock

from pyrt.launch import drain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from typing import Any

    from pyrt.exchange import Exchange
    from pyrt.launch import Launch
    from pyrt.layer import Changes
    from pyrt.limits import Usage

HELPERS = 2
"""Threads that launch and clean up. More would wait for each other: the kernel makes namespaces and cgroups under locks."""


class _Helpers:
    """The helper threads of one process; they end when the last container has."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._lock = Lock()
        self._containers = 0
        self._executor: ThreadPoolExecutor | None = None

    def enter(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._executor is None:
                self._executor = ThreadPoolExecutor(HELPERS, thread_name_prefix="pyrt.aio")
            self._containers += 1
            return self._executor

    def leave(self) -> None:
        with self._lock:
            self._containers -= 1
            if self._containers == 0 and self._executor is not None:
                self._executor.shutdown(wait=False)
                self._executor = None


_helpers = _Helpers()


def _helpers_of_this_process() -> _Helpers:
    global _helpers
    if _helpers.pid != os.getpid():
        # A fork has copied the object and not the threads.
        _helpers = _Helpers()
    return _helpers


class Running:
    """A launched container. ended: resolves to the return code when everything inside has ended and its cgroup is gone.

    usage, changes: what it has used, and changed where that is kept; known by then.

    All methods are for the loop's thread, but `end_from_anywhere`.
    """

    def __init__(self, launch: "Launch", exchange: "Exchange", helpers: _Helpers, executor: ThreadPoolExecutor) -> None:
        self.launch = launch
        self.exchange = exchange
        self.usage: Usage | None = None
        self.changes: Changes | None = None
        self.loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[int] = self.loop.create_future()
        # Somebody may never ask: that is no reason for a message about an exception that was not retrieved.
        self.ended.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        self._helpers = helpers
        self._executor = executor
        self._kill: Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._failed: BaseException | None = None
        self._pidfd = launch.process.fileno()
        self._watched: dict[int, Callable[[int], object]] = {self._pidfd: self.loop.remove_reader}
        self.loop.add_reader(self._pidfd, self._command_ended)
        if launch.calls is not None:
            listener = launch.calls.fileno()
            self.loop.add_reader(listener, self._answer, listener)
            self._watched[listener] = self.loop.remove_reader
        self._look()

    @classmethod
    async def start(cls, make: "Callable[[], Launch]", exchange: "Callable[[Launch], Exchange]") -> "Running":
        """Launch in a helper thread. Raises what `make` raises; cancelled, it leaves nothing."""
        helpers = _helpers_of_this_process()
        executor = helpers.enter()
        try:
            launch = await _launch(executor, make)
            try:
                return cls(launch, exchange(launch), helpers, executor)
            except BaseException:
                launch.close()
                raise
        except BaseException:
            helpers.leave()
            raise

    def serve(self) -> None:
        """Have the loop read and write what the exchange wants."""
        for descriptor, events in self.exchange.wants():
            if events == POLLIN:
                self.loop.add_reader(descriptor, self._serve, descriptor)
                self._watched[descriptor] = self.loop.remove_reader
            else:
                self.loop.add_writer(descriptor, self._serve, descriptor)
                self._watched[descriptor] = self.loop.remove_writer

    def end(self) -> None:
        """End everything inside. Returns at once; `ended` says when it is done."""
        if self._kill is None and not self.ended.done() and self._pidfd in self._watched:
            self._kill = self._executor.submit(self.launch.process.kill)

    def end_from_anywhere(self) -> None:
        """For a handle that is dropped, in whichever thread: by the loop, or at once where that is closed."""
        try:
            self.loop.call_soon_threadsafe(self.end)
        except RuntimeError:
            self.launch.close()
            self._helpers.leave()

    async def finish(self) -> None:
        """End everything inside, and return when it is gone. A cancellation meanwhile is raised after."""
        self.end()
        await to_its_end(self.ended)

    def _serve(self, descriptor: int) -> None:
        try:
            more = self.launch.serve(self.exchange, descriptor)
        except BlockingIOError:
            return
        except BaseException as error:
            # Here nobody would see it: whoever waits for the end does.
            self._failed = error
            more = False
            self.end()
        if self.exchange.ended_by is not None:
            self.end()
        if not more:
            self._watched.pop(descriptor)(descriptor)
            if descriptor == self.launch.stdio.stdin:
                self.launch.stdio.close_stdin()

    def _answer(self, listener: int) -> None:
        """One system call of on_syscall. The handler runs in the loop, and holds it up for as long."""
        assert self.launch.calls is not None, "watched only where there is somebody to answer"
        poller = select.poll()
        poller.register(listener, POLLIN)
        # Readable, or the last process that could ask is gone: the loop does not say which, and a read would block then.
        ready = dict(poller.poll(0)).get(listener)
        if ready is None:
            return
        try:
            more = self.launch.calls.serve(ready)
        except BaseException as error:
            self._failed = error
            more = False
            self.end()
        if not more:
            self._watched.pop(listener)(listener)

    def _look(self) -> None:
        """At the clock and the processor time; again when there may be something to see."""
        now = time.monotonic()
        if self.launch.spent(self.exchange, now):
            self.end()
        if self.exchange.remaining(now) == 0.0:
            self.exchange.expire()
            self.end()
        if self._kill is None and (patience := self.exchange.patience(now, self.exchange.deadline)) is not None:
            self._timer = self.loop.call_later(patience, self._look)

    def _command_ended(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for descriptor, forget in self._watched.items():
            forget(descriptor)
        self._watched.clear()
        job = self._executor.submit(self._conclude)
        asyncio.wrap_future(job, loop=self.loop).add_done_callback(self._concluded)

    def _conclude(self) -> int:
        """In a helper thread: what is left when the command has ended."""
        try:
            if self._kill is not None and (failed := self._kill.exception()) is not None:
                raise failed
            returncode = self.launch.wait(self.exchange, None)
            assert returncode is not None, "a wait without deadline returns a status"
            drain(self.exchange)
            self.usage = self.launch.usage()
            self.changes = self.launch.changes()
        except BaseException:
            self.launch.close()
            raise
        self.launch.finish()
        return returncode

    def _concluded(self, job: "asyncio.Future[int]") -> None:
        self._helpers.leave()
        if self.ended.done():
            return
        if job.cancelled():
            self.ended.cancel()
        elif (failed := job.exception() or self._failed) is not None:
            self.ended.set_exception(failed)
        else:
            self.ended.set_result(job.result())


async def to_its_end(future: "asyncio.Future[Any]") -> None:
    """Wait until it is done, though the task is cancelled meanwhile; that is raised after. Takes nothing from the future."""
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait((future,))
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


async def _launch(executor: ThreadPoolExecutor, make: "Callable[[], Launch]") -> "Launch":
    """A launch cannot be interrupted: one that has begun when the task is cancelled is ended after."""
    job = executor.submit(make)
    future = asyncio.wrap_future(job)
    try:
        await asyncio.wait((future,))
    except asyncio.CancelledError:
        if job.cancel():
            raise
        try:
            await to_its_end(future)
        finally:
            if not future.cancelled() and future.exception() is None:
                await to_its_end(asyncio.wrap_future(executor.submit(future.result().close)))
        raise
    return future.result()
