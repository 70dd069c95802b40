"""Launch: a container of the calling process, from its launch to the removal of its cgroup; the handle under `run` and `pyrt run -- CMD`.

`stdio` holds the descriptors between it and the caller, `exchange` what passes through them. Here is the waiting: poll(2) on pipes and
pidfd, no thread, no signal handler, nothing at exit.
"""

import os
import select
import time

from pyrt.ownership import Owned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyrt import _native
    from pyrt.exchange import Exchange
    from pyrt.hooks import Hooks
    from pyrt.limits import Usage
    from pyrt.stdio import Stdio

_READ_BYTES = 1 << 16
"""What a pipe holds."""

_POLL_LONGEST_MILLISECONDS = (1 << 31) - 1


class Launch(Owned):
    """A container that ends with the calling process, at the latest.

    stdio's ends of the pipes are this object's from now on. `process` is the native handle. Raises what the launch raises, and then
    nothing is left. filtered: under a seccomp profile. warnings: the plan's, and failures of poststop hooks.
    """

    __slots__ = ("_cgroup", "_hooks", "_own_pid_namespace", "filtered", "process", "stdio", "warnings")

    process: "_native.Process"

    def __init__(self, plan: "_native.LaunchPlan", stdio: "Stdio", pass_fds: "Sequence[int]" = (), hooks: "Hooks | None" = None) -> None:
        super().__init__()
        self.stdio = stdio
        self.filtered = plan.filtered
        self.warnings = plan.warnings
        self._hooks = hooks
        self._own_pid_namespace = plan.own_pid_namespace
        try:
            self.process = plan.launch(stdio=stdio.inside, pass_fds=pass_fds)
            self._cgroup = self.process.cgroup
            self._own()
        except BaseException:
            stdio.close()
            raise
        finally:
            stdio.close_inside()
        if hooks is not None:
            try:
                hooks.poststart(self.process.pid)
            except BaseException:
                self.close()
                raise

    def communicate(self, exchange: "Exchange") -> int:
        """Feed the exchange until everything inside has ended or its deadline has passed, which ends it. Returns the return code."""
        returncode = self.converse(exchange)
        if returncode is None:
            exchange.expire()
            self.process.kill()
            returncode = self.process.wait()
            self._drain(exchange)
        assert returncode is not None, "a wait without timeout returns a status"
        return returncode

    def converse(self, exchange: "Exchange") -> int | None:
        """Feed the exchange until everything inside has ended: the return code; or until its deadline: None, and all goes on."""
        self._check()
        process, ended = self.process, False
        if wanted := exchange.wants():
            poller = select.poll()
            pidfd = process.fileno()
            poller.register(pidfd, select.POLLIN)
            for descriptor, events in wanted:
                poller.register(descriptor, events)
            open_descriptors = len(wanted)
            while open_descriptors and not ended:
                remaining = exchange.remaining(time.monotonic())
                if remaining == 0.0:
                    break
                for descriptor, _ in poller.poll(_milliseconds(remaining)):
                    if descriptor == pidfd:
                        ended = True
                    elif not self._serve(exchange, descriptor):
                        poller.unregister(descriptor)
                        open_descriptors -= 1
        returncode = process.wait(exchange.remaining(time.monotonic()))
        if returncode is None:
            return None
        if not self._own_pid_namespace:
            # Without a PID 1 whose end is everybody's, what the command left behind would hold the pipes open.
            process.kill()
        self._drain(exchange)
        return returncode

    def _serve(self, exchange: "Exchange", descriptor: int) -> bool:
        """Read or write once. Returns whether the descriptor is wanted further."""
        if descriptor != self.stdio.stdin:
            return exchange.feed(descriptor, os.read(descriptor, _READ_BYTES))
        try:
            more = exchange.sent(os.write(descriptor, exchange.outgoing()))
        except BrokenPipeError:
            more = exchange.refused()
        if not more:
            self.stdio.close_stdin()
        return more

    def _drain(self, exchange: "Exchange") -> None:
        """Read what the ended processes left in the pipes; that is all, even where somebody outside holds an end of one."""
        for descriptor, events in exchange.wants():
            if events == select.POLLIN:
                try:
                    while exchange.feed(descriptor, os.read(descriptor, _READ_BYTES)):
                        pass
                except BlockingIOError:
                    # Empty, and somebody outside holds the other end.
                    continue

    def usage(self) -> "Usage":
        """What it has used so far; max_rss_bytes once it has ended."""
        from pyrt.limits import Usage

        self._check()
        return Usage(self._cgroup.usage() if self._cgroup is not None else {}, self.process.max_rss_bytes)

    def kill(self) -> None:
        """End everything inside, and wait until it is empty."""
        self._check()
        self.process.kill()

    def finish(self) -> None:
        """Remove the cgroup of a container that has ended, run its poststop hooks, and close all descriptors."""
        self._check()
        self._owner = None
        try:
            if self._cgroup is not None:
                self._cgroup.remove()
            if self._hooks is not None:
                self.warnings += self._hooks.poststop()
        finally:
            self.process.close()
            self.stdio.close()

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


def _milliseconds(remaining: float | None) -> int | None:
    """poll(2)'s timeout, rounded up: a wait that ends too early would be repeated."""
    return None if remaining is None else min(int(remaining * 1000) + 1, _POLL_LONGEST_MILLISECONDS)
