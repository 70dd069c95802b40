"""The containers of a Pool that stand and wait, and the one thread that makes them.

`pool` is what people use. A waiting container is a `Launch` like any other, whose command has not come yet; this hands it one. No lock is
held while one is made: a launch takes milliseconds, a hand-out must not.
"""

import os
from collections import deque
from threading import Condition, Thread

from pyrt.configuration import configure
from pyrt.launch import Launch
from pyrt.process import explained, require_processor_time
from pyrt.stdio import DEVNULL, Stdio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyrt.configuration import Configuration
    from pyrt.options import ContainerOptions

PAUSE_SECONDS = 1.0
"""After a container could not be made, until the next is tried, unless somebody asks for one before."""

_UNUSED = ["-"]
"""The command of a plan whose command comes later."""


class Stock:
    """size containers that wait, as soon as they can be made. Raises what the configuration's errors are."""

    def __init__(self, size: int, options: "ContainerOptions") -> None:
        self._options = options
        self._given = options.get("spec") is not None or options.get("bundle") is not None
        self._size = size
        self.configuration = self._configure()
        # What is wrong with the configuration shows here, and not in the thread.
        self.configuration.plan()
        self._ready: deque[Launch] = deque()
        self._changed = Condition()
        self._failed: Exception | None = None
        self._closed = False
        self._owner = os.getpid()
        # A daemon, as far as Python is concerned: a pool that is not closed must not hold up the end of the program.
        self._thread = Thread(target=self._fill, name="pyrt.Pool", daemon=True)
        self._thread.start()

    def _configure(self) -> "Configuration":
        """A container of its own, by a new name."""
        configuration = configure(None if self._given else _UNUSED, self._options, function="Pool")
        configuration.awaits_command = True
        return configuration

    def _make(self) -> Launch:
        configuration = self._configure()
        stdio = Stdio(DEVNULL, DEVNULL, DEVNULL)
        launch = Launch(configuration.plan(), stdio, handlers=configuration.handlers)
        require_processor_time(launch, configuration)
        return launch

    def _fill(self) -> None:
        """The thread: makes what is missing, one after the other."""
        while True:
            with self._changed:
                pause = PAUSE_SECONDS if self._failed is not None else 0.0
                self._changed.wait_for(lambda: self._closed or self._failed is None, pause)
                self._changed.wait_for(lambda: self._closed or len(self._ready) < self._size)
                if self._closed:
                    return
            try:
                launch = self._make()
            except Exception as error:
                with self._changed:
                    # The next hand-out raises it.
                    self._failed = error
                    self._changed.notify_all()
                continue
            if not self._keep(launch):
                launch.close()

    def _keep(self, launch: Launch) -> bool:
        """False where the pool was closed meanwhile."""
        with self._changed:
            if self._closed:
                return False
            self._failed = None
            self._ready.append(launch)
            self._changed.notify_all()
            return True

    def wait(self, timeout: float | None) -> bool:
        """Until all are ready. False where the time was up; raises what kept the thread from making one."""
        with self._changed:
            done = self._changed.wait_for(lambda: len(self._ready) >= self._size or self._failed is not None or self._closed, timeout)
            self._raise_failure()
        return done

    def _raise_failure(self) -> None:
        failed, self._failed = self._failed, None
        if failed is not None:
            self._changed.notify_all()
            raise failed

    def waiting(self) -> int:
        with self._changed:
            return len(self._ready)

    def _take(self) -> Launch | None:
        with self._changed:
            self._raise_failure()
            return self._ready.popleft() if self._ready else None

    def _refill(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def hand_out(self, args: list[str], env: list[str], cwd: str, stdio: "Callable[[], Stdio]", pass_fds: "Sequence[int]") -> Launch:
        """A container that runs the command: one that waited, or one that is made now. Raises what `run` raises."""
        while True:
            launch = self._take()
            ready = launch is not None
            if launch is None:
                launch = self._make()
            try:
                if launch.hand_out(args, env, cwd, stdio(), pass_fds):
                    return launch
            except FileNotFoundError as error:
                raise explained(error, self.configuration) from None
            finally:
                # Also where `stdio` raised: then it is nobody's.
                if not launch.handed:
                    launch.close()
                # Not before: the thread would take the interpreter's lock from whom it is to serve.
                self._refill()
            if not ready:
                from pyrt.errors import InvalidState

                raise InvalidState("run a command: its container was ended before it began", hint="kill_all(), or a limit too small for it")

    def close(self) -> None:
        """End the thread, and all that wait. In a forked child, which has neither, nothing."""
        if self._owner != os.getpid():
            return
        with self._changed:
            self._closed = True
            waiting = list(self._ready)
            self._ready.clear()
            self._changed.notify_all()
        failed: Exception | None = None
        for launch in waiting:
            try:
                launch.close()
            except Exception as error:
                failed = failed or error
        self._thread.join()
        if failed is not None:
            raise failed
