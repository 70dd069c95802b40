"""ContainerExecutor: Python functions in containers of this interpreter, as a concurrent.futures.Executor.

executor_worker.py is the other end of its pipes, inside. Neighbours: popen.py makes the containers; errors are those of `run`, and
RemoteError. Threads are the standard library's, one a container.
"""

import os
import pickle
import select
import sys
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from threading import Lock, local

from pyrt.errors import ContainerFailed, ContainerTimeout, InvalidState, RemoteError
from pyrt.popen import Popen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Literal, ParamSpec, TypeVar

    from typing_extensions import Unpack

    from pyrt.options import ContainerOptions, StrPath

    Arguments = ParamSpec("Arguments")
    Result = TypeVar("Result")

__all__ = ["ContainerExecutor"]

_CHUNK = 1 << 20
_WORKER = os.path.join(os.path.dirname(__file__), "executor_worker.py")


class ContainerExecutor(Executor):
    """Runs functions in containers: `submit`, `map` and `shutdown` are those of concurrent.futures.

    max_workers: containers at once, as many as this process has processors unless said. max_calls: calls of one container, None for no end;
    one unless said, since a call can change all that later ones meet. timeout: seconds of one call. result: "pickle", or "json" for values
    that are not to be unpickled here, because whoever made them may be hostile. max_result (bytes, "1G"): of one result. python: the
    interpreter inside. options: those of `run`, limits above all; each is of one container.

    Functions and arguments are pickled, by cloudpickle where it is installed: then lambdas and the functions of __main__ too. Modules are
    imported inside, where the view shows them (HostView(show=...), here=True); sys.path is the caller's.

    A future has the exception of the call, with the traceback inside as its __cause__; RemoteError where it cannot be pickled, and always
    with result="json"; ContainerTimeout after the timeout; ContainerFailed where the container ended without a result: its memory limit,
    above all; other pyrt.Errors where none could be made. Raises TypeError and ValueError for its arguments.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        *,
        max_calls: int | None = 1,
        timeout: float | None = None,
        result: "Literal['pickle', 'json']" = "pickle",
        max_result: int | str = "1G",
        python: "StrPath | None" = None,
        **options: "Unpack[ContainerOptions]",
    ) -> None:
        from pyrt.communication import deadline_after
        from pyrt.configuration import configure
        from pyrt.limits import size_bytes

        if result not in ("pickle", "json"):
            raise ValueError(f"result is {result!r}, neither 'pickle' nor 'json'")
        for name, count in (("max_calls", max_calls), ("max_workers", max_workers)):
            if count is not None and (isinstance(count, bool) or not isinstance(count, int)):
                raise TypeError(f"{name} is {type(count).__name__}, not an int")
            if count is not None and count < 1:
                raise ValueError(f"{name} is {count}, not above 0")
        deadline_after(timeout)
        if "pass_fds" in options or options.get("init") is False:
            raise TypeError(
                "ContainerExecutor() takes neither pass_fds nor init=False: it has descriptors of its own, and ends what a call leaves"
            )
        self._command = [os.fspath(python or sys.executable), "-c", _worker_source()]
        configure(self._command, options, function="ContainerExecutor")
        self._options = options
        self._settings = _settings(result)
        self._json = result == "json"
        self._timeout = timeout
        self._max_calls = max_calls
        self._max_result = size_bytes(max_result)
        self._threads = ThreadPoolExecutor(max_workers or len(os.sched_getaffinity(0)), thread_name_prefix="pyrt.Executor")
        self._local = local()
        self._lock = Lock()
        self._idle: set[_Worker] = set()
        self._closed = False
        self._owner = os.getpid()

    def submit(self, fn: "Callable[Arguments, Result]", /, *args: "Arguments.args", **kwargs: "Arguments.kwargs") -> "Future[Result]":
        """Have ``fn(*args, **kwargs)`` called in a container. Raises RuntimeError after `shutdown`, InvalidState in a forked child."""
        if self._owner != os.getpid():
            raise InvalidState(f"ContainerExecutor belongs to process {self._owner}", hint="make it in the process that uses it")
        return self._threads.submit(self._call, fn, args, kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the containers that no call runs in, and with wait=True return when all calls have ended; their containers end with them."""
        if self._owner != os.getpid():
            return
        with self._lock:
            self._closed = True
        self._threads.shutdown(wait, cancel_futures=cancel_futures)
        with self._lock:
            idle, self._idle = self._idle, set()
        for worker in idle:
            worker.close()

    def _call(self, fn: "Callable[..., Any]", args: "tuple[Any, ...]", kwargs: "dict[str, Any]") -> "Any":
        request = _dumps((fn, args, kwargs))
        worker = self._worker()
        try:
            kind, content = worker.call(request, self._timeout, self._max_result)
        except BaseException:
            worker.close()
            raise
        self._put_back(worker)
        return self._outcome(kind, content)

    def _worker(self) -> "_Worker":
        """This thread's container, which is no longer idle."""
        worker: _Worker | None = getattr(self._local, "worker", None)
        self._local.worker = None
        if worker is not None:
            with self._lock:
                self._idle.discard(worker)
            if worker.is_alive():
                return worker
            worker.close()
        return _Worker(self._command, self._settings, self._options)

    def _put_back(self, worker: "_Worker") -> None:
        """Keep a container for this thread's next call: the same, or the next, whose interpreter starts meanwhile."""
        if self._max_calls is not None and worker.calls >= self._max_calls:
            worker.close()
            if self._closed:
                return
            try:
                worker = _Worker(self._command, self._settings, self._options)
            except Exception:
                # The next call finds out by itself, and has somebody to tell.
                return
        with self._lock:
            if not self._closed:
                self._idle.add(worker)
                self._local.worker = worker
                return
        worker.close()

    def _outcome(self, kind: bytes, content: bytes) -> "Any":
        from pyrt.executor_worker import RAISED, RETURNED, TOLD

        if kind == TOLD:
            raise _remote_error(content)
        if kind == RETURNED and self._json:
            import json

            try:
                return json.loads(content)
            except ValueError as error:
                raise RemoteError("ValueError", f"the result is no JSON: {error}", "") from None
        if kind == RETURNED:
            return pickle.loads(content)
        if kind == RAISED and not self._json:
            raised, text = pickle.loads(content)
            raise raised from RemoteError(type(raised).__qualname__, str(raised), text)
        raise RemoteError("ValueError", "the container answered what is no result", "")


class _Worker:
    """One container with an interpreter that waits for calls."""

    def __init__(self, command: list[str], settings: bytes, options: "ContainerOptions") -> None:
        self.calls = 0
        requests, self._to = os.pipe2(os.O_CLOEXEC)
        self._from, results = os.pipe2(os.O_CLOEXEC)
        # Files close their descriptors also where nobody closes this.
        self._files = open(self._to, "wb", 0), open(self._from, "rb", 0)  # noqa: SIM115 - `close` does
        try:
            os.set_blocking(self._to, False)
            os.set_blocking(self._from, False)
            wanted: Any = {**options, "pass_fds": (requests, results)}
            self._box: Popen[bytes] = Popen(command, **wanted)
        except BaseException:
            self._close_files()
            raise
        finally:
            os.close(requests)
            os.close(results)
        self._first = settings

    def is_alive(self) -> bool:
        return self._box.poll() is None

    def call(self, request: bytes, timeout: float | None, max_result: int) -> tuple[bytes, bytes]:
        """What came of one call: how it is to be read, and the bytes. Raises ContainerTimeout and ContainerFailed."""
        self.calls += 1
        deadline = None if timeout is None else time.monotonic() + timeout
        rest = memoryview(self._first + _framed(request))
        self._first = b""
        answer, length = bytearray(), None
        poller = select.poll()
        poller.register(self._from, select.POLLIN)
        poller.register(self._to, select.POLLOUT)
        while length is None or len(answer) < length:
            patience = self._box.keep_bounds(deadline)
            if deadline is not None and deadline <= time.monotonic():
                assert timeout is not None, "it is where the deadline is from"
                self._box.kill()
                raise ContainerTimeout(self._box.args[:1], timeout)
            for descriptor, _ in poller.poll(None if patience is None else int(patience * 1000) + 1):
                if descriptor == self._to:
                    rest = self._send(rest)
                    if not rest:
                        poller.unregister(self._to)
                elif not self._receive(answer):
                    raise self._failed()
            if length is None and len(answer) >= 8:
                length = 8 + int.from_bytes(answer[:8], "big")
                if not 9 <= length <= max_result + 9:
                    raise RemoteError("ValueError", f"a result of {length - 9} bytes is larger than max_result", "")
        return bytes(answer[8:9]), bytes(answer[9:length])

    def _send(self, rest: memoryview) -> memoryview:
        try:
            return rest[os.write(self._to, rest[:_CHUNK]) :]
        except BlockingIOError:
            return rest
        except BrokenPipeError:
            # It has ended: the other pipe says so too.
            return rest[:0]

    def _receive(self, answer: bytearray) -> bool:
        try:
            part = os.read(self._from, _CHUNK)
        except BlockingIOError:
            return True
        answer += part
        return bool(part)

    def _failed(self) -> ContainerFailed:
        """Why there is no result: it closed its pipe, and whatever still runs inside is ended."""
        from pyrt.completed import CompletedProcess

        try:
            returncode = self._box.wait(1.0)
        except ContainerTimeout:
            self._box.kill()
            returncode = self._box.wait()
        cause = self._box.cause
        assert cause is not None, "it has ended"
        words = self._box.args[:1]
        result: CompletedProcess[Any] = CompletedProcess(
            words, returncode, None, None, usage=self._box.usage(), cause=cause.name, warnings=self._box.warnings
        )
        return ContainerFailed(returncode, words, result=result)

    def close(self) -> None:
        """End everything inside."""
        try:
            self._box.close()
        finally:
            self._close_files()

    def _close_files(self) -> None:
        for file in self._files:
            file.close()


def _framed(content: bytes) -> bytes:
    return len(content).to_bytes(8, "big") + content


def _settings(result: str) -> bytes:
    import json

    return _framed(json.dumps({"path": sys.path, "result": result}).encode())


def _worker_source() -> str:
    with open(_WORKER, encoding="utf-8") as file:
        return file.read()


def _dumps(call: "tuple[Any, ...]") -> bytes:
    try:
        import cloudpickle
    except ImportError:
        try:
            return pickle.dumps(call)
        except Exception as error:
            raise pickle.PicklingError(f"{error}; cloudpickle pickles more: pip install 'pyrt-oci[executor]'") from error
    dumped: bytes = cloudpickle.dumps(call)
    return dumped


def _remote_error(content: bytes) -> RemoteError:
    import json

    try:
        told = json.loads(content)
        return RemoteError(str(told["type"]), str(told["message"]), str(told["traceback"]))
    except (ValueError, TypeError, LookupError):
        return RemoteError("ValueError", "the container answered what is no result", "")
