"""Launch: a container of the calling process, from its launch to the removal of its cgroup; the handle under `run` and `pyrt run -- CMD`.

`stdio` holds the descriptors between it and the caller, `exchange` what passes through them. Here is the waiting: poll(2) on pipes and
pidfd, no thread, no signal handler, nothing at exit.
"""

import os
import select
import time

from pyrt import log
from pyrt.exchange import CHUNK
from pyrt.ownership import Owned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pyrt import _native
    from pyrt.exchange import Exchange
    from pyrt.hooks import Hooks
    from pyrt.layer import Changes, Layer
    from pyrt.limits import Usage
    from pyrt.stdio import Stdio
    from pyrt.system_calls import Answer, SystemCall, SystemCalls

_POLL_LONGEST_MILLISECONDS = (1 << 31) - 1

_running: "dict[_native.Process, int]" = {}
"""What was launched and is not released, with the process that launched it: a forked child has a copy of what is not its own."""


class Launch(Owned):
    """A container that ends with the calling process, at the latest.

    stdio's ends of the pipes are this object's from now on. `process` is the native handle. calls: those that the caller decides.
    filtered: under a seccomp profile. warnings: the plan's, and failures of poststop hooks. Raises what the launch raises, and then
    nothing is left.
    """

    __slots__ = (
        "_cgroup",
        "_handlers",
        "_hooks",
        "_own_pid_namespace",
        "_root_owner",
        "calls",
        "filtered",
        "handed",
        "layer",
        "process",
        "stdio",
        "warnings",
    )

    calls: "SystemCalls | None"
    process: "_native.Process"

    # It is dropped where a signal handler raises before whoever launched it has it. Handles that people have warn of themselves.
    _warns = False

    def __init__(
        self,
        plan: "_native.LaunchPlan",
        stdio: "Stdio",
        pass_fds: "Sequence[int]" = (),
        hooks: "Hooks | None" = None,
        handlers: "Mapping[str, Callable[[SystemCall], Answer]] | None" = None,
    ) -> None:
        super().__init__()
        self.stdio = stdio
        self.filtered = plan.filtered
        self.warnings = plan.warnings
        for warning in self.warnings:
            log.warning("%s", warning)
        self.calls = None
        self._handlers = handlers
        self.handed = False
        self._hooks = hooks
        self._own_pid_namespace = plan.own_pid_namespace
        self._root_owner = plan.root_owner
        self.layer: Layer | None = None
        try:
            self.process = plan.launch(stdio=stdio.inside, pass_fds=pass_fds)
            self._cgroup = self.process.cgroup
            self._own()
            log.debug("launched process %d", self.process.pid)
            _running[self.process] = os.getpid()
        except BaseException:
            stdio.close()
            raise
        finally:
            stdio.close_inside()
        if (kept := self.process.layer()) is not None:
            from pyrt import layer

            self.layer = layer.Layer(*kept)
        self._answer_calls()
        if hooks is not None:
            try:
                hooks.poststart(self.process.pid)
            except BaseException:
                self.close()
                raise

    def _answer_calls(self) -> None:
        if self._handlers and (listener := self.process.listener()) is not None:
            from pyrt.system_calls import SystemCalls

            self.calls = SystemCalls(listener, self._handlers)

    def hand_out(self, args: "Sequence[str]", env: "Sequence[str]", cwd: str, stdio: "Stdio", pass_fds: "Sequence[int]") -> bool:
        """Give a container that waits its command; stdio is this object's from now on. False where it had ended before, and was not given.

        Raises what a launch raises for a program that is missing. Whatever it was, unless it returns True all is closed.
        """
        self.stdio = stdio
        try:
            self._check()
            self.handed = self.process.hand_out(args, env, cwd, stdio=stdio.inside, pass_fds=pass_fds)
            if self.handed:
                self._answer_calls()
        except BaseException:
            self.handed = False
            raise
        finally:
            stdio.close_inside()
            if not self.handed:
                self.close()
        return self.handed

    def communicate(self, exchange: "Exchange") -> int:
        """Feed the exchange until everything inside has ended or its deadline has passed, which ends it. Returns the return code."""
        returncode = self.converse(exchange)
        if returncode is None:
            exchange.expire()
            self.process.kill()
            returncode = self.process.wait()
            drain(exchange)
        assert returncode is not None, "a wait without timeout returns a status"
        return returncode

    def converse(self, exchange: "Exchange") -> int | None:
        """Feed the exchange until everything inside has ended: the return code; or until its deadline: None, and all goes on."""
        self._check()
        calls, ended = self.calls, False
        wanted = exchange.wants()
        if wanted or calls is not None:
            poller = select.poll()
            pidfd = self.process.fileno()
            poller.register(pidfd, select.POLLIN)
            for descriptor, events in wanted:
                poller.register(descriptor, events)
            open_descriptors = len(wanted)
            listener = -1
            if calls is not None:
                listener = calls.fileno()
                poller.register(listener, select.POLLIN)
                open_descriptors += 1
            while open_descriptors and not ended:
                patience = self.keep_bounds(exchange, exchange.deadline)
                if exchange.remaining(time.monotonic()) == 0.0:
                    break
                for descriptor, ready in poller.poll(_milliseconds(patience)):
                    if descriptor == pidfd:
                        ended = True
                    elif not (calls.serve(ready) if calls is not None and descriptor == listener else self.serve(exchange, descriptor)):
                        poller.unregister(descriptor)
                        open_descriptors -= 1
                        if descriptor == self.stdio.stdin:
                            self.stdio.close_stdin()
                    if exchange.ended_by is not None and not ended:
                        self.process.kill()
        returncode = self.wait(exchange, exchange.deadline)
        if returncode is not None:
            drain(exchange)
        return returncode

    def wait(self, exchange: "Exchange", deadline: float | None) -> int | None:
        """Wait until everything inside has ended, and keep the exchange's bounds meanwhile. None where the deadline came first."""
        while True:
            returncode = self.process.wait(self.keep_bounds(exchange, deadline))
            if returncode is not None:
                self._end_leftovers()
                return returncode
            if deadline is not None and deadline <= time.monotonic():
                return None

    def _end_leftovers(self) -> None:
        """Once the command has ended: without a PID 1 whose end is everybody's, what it left would run on, and hold the pipes."""
        if not self._own_pid_namespace:
            self.process.kill()

    def keep_bounds(self, exchange: "Exchange", deadline: float | None) -> float | None:
        """End everything inside where the exchange says so. Returns the seconds that one may wait, None for ever."""
        now = time.monotonic()
        if self.spent(exchange, now):
            self.process.kill()
        return exchange.patience(now, deadline)

    def spent(self, exchange: "Exchange", now: float) -> bool:
        """Look at the processor time, where it is bounded and time to look. Returns whether all was used just now."""
        if exchange.cpu_look is None or exchange.cpu_look > now:
            return False
        assert self._cgroup is not None, "a launch without a cgroup has no bound on processor time"
        used = self._cgroup.usage()["cpu_usec"]
        assert used is not None, "a launch whose cgroup does not count has no bound on processor time"
        return exchange.cpu_used(used, now)

    def counts_processor_time(self) -> bool:
        """Whether a cgroup of its own counts what everything inside has used."""
        return self._cgroup is not None and self._cgroup.usage()["cpu_usec"] is not None

    def serve(self, exchange: "Exchange", descriptor: int) -> bool:
        """Read or write once. Returns whether the descriptor is wanted further; a stdin that is not is the driver's to close."""
        if descriptor != self.stdio.stdin:
            return exchange.feed(descriptor, os.read(descriptor, CHUNK))
        try:
            return exchange.sent(os.write(descriptor, exchange.outgoing()))
        except BrokenPipeError:
            return exchange.refused()

    def usage(self) -> "Usage":
        """What it has used so far; max_rss_bytes once it has ended."""
        from pyrt.limits import Usage

        self._check()
        return Usage(self._cgroup.usage() if self._cgroup is not None else {}, self.process.max_rss_bytes)

    def changes(self) -> "Changes | None":
        """What it has changed, where that is kept."""
        return None if self.layer is None else self.layer.changes()

    def root(self) -> "_native.Root":
        """Its root, while it runs."""
        self._check()
        return self.process.root(self._root_owner)

    def kill(self) -> None:
        """End everything inside, and wait until it is empty."""
        self._check()
        log.debug("killing process %d and all with it", self.process.pid)
        self.process.kill()

    def release(self) -> None:
        """Remove the cgroup of a container that has ended, run its poststop hooks, close all descriptors but the pipes."""
        self._check()
        self._owner = None
        try:
            if self._cgroup is not None:
                self._cgroup.remove()
            if self._hooks is not None:
                failures = self._hooks.poststop()
                for failure in failures:
                    log.warning("%s", failure)
                self.warnings += failures
        finally:
            _running.pop(self.process, None)
            log.debug("process %d is gone, and what was made for it", self.process.pid)
            self._cgroup = None
            if self.calls is not None:
                self.calls.close()
            self.process.close()

    def finish(self) -> None:
        """`release`, and close the pipes and what is kept of its changes."""
        try:
            self.release()
        finally:
            self.stdio.close()
            if self.layer is not None:
                self.layer.release()

    def _end(self) -> None:
        self._own()
        try:
            self.process.kill()
            self.process.wait()
        finally:
            self.finish()

    # A container must not outlive its handle: nobody else could end it.
    _abandon = _end

    def __repr__(self) -> str:
        return f"Launch(pid={self.process.pid})" if self._owner is not None else "Launch(ended)"


def kill_all() -> None:
    """End everything inside all containers that this process has launched and that end with it, and wait until they are empty.

    Those of `run`, `Popen` and `aio`, and what `Container.exec` started; never those of `Runtime.create`. Whoever waits for one sees it end
    by SIGKILL; handles stay usable. One that another thread is just launching is not ended. For a Ctrl-C that worker threads never see, and
    for a forked child: it has launched nothing yet. Raises HostError where one cannot be ended, when it was tried for all.
    """
    failed: Exception | None = None
    for process, owner in list(_running.items()):
        if owner != os.getpid():
            # A copy that a fork left here.
            _running.pop(process, None)
            continue
        try:
            process.kill()
        except ValueError:
            # Released since.
            continue
        except OSError as error:
            failed = failed or error
    if failed is not None:
        raise failed


def drain(exchange: "Exchange") -> None:
    """Read what the ended processes left in the pipes; that is all, even where somebody outside holds an end of one."""
    for descriptor, events in exchange.wants():
        if events == select.POLLIN:
            try:
                while exchange.feed(descriptor, os.read(descriptor, CHUNK)):
                    pass
            except BlockingIOError:
                # Empty, and somebody outside holds the other end.
                continue
    exchange.finish()


def _milliseconds(remaining: float | None) -> int | None:
    """poll(2)'s timeout, rounded up: a wait that ends too early would be repeated."""
    return None if remaining is None else min(int(remaining * 1000) + 1, _POLL_LONGEST_MILLISECONDS)
