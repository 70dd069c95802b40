"""Popen: a command in a container that runs beside the caller, with subprocess.Popen's names and meaning.

`process` is the same in one call, and lends its helpers; `launch` makes the container, waits for it and ends it; `exchange` holds what
`communicate` reads and writes, bounds and cause. No thread: a wait is a poll(2) on the pidfd.
"""

import os
from _thread import allocate_lock

from pyrt.communication import deadline_after, decoded, input_bytes, text_mode
from pyrt.configuration import configure
from pyrt.exchange import Exchange
from pyrt.launch import drain
from pyrt.layer import Files, kept, root_of
from pyrt.ownership import Owned
from pyrt.process import command_words, launch_container
from pyrt.stdio import Stdio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import IO, Any, Generic, Literal, TypeVar, overload

    from typing_extensions import Self, Unpack

    from pyrt import _native
    from pyrt.causes import Cause
    from pyrt.exchange import Bounds
    from pyrt.launch import Launch
    from pyrt.layer import Layer
    from pyrt.limits import Usage
    from pyrt.options import ContainerOptions, StrPath
    from pyrt.stdio import File
    from pyrt.system_calls import Service

    Output = TypeVar("Output", bytes, str)
    Result = TypeVar("Result")
else:
    from pyrt.completed import Generic, Output

    def overload(function):
        return function


__all__ = ["Popen"]


class Popen(Owned, Files, Generic[Output]):
    """A command in a container of its own; everything inside ends with this object, at the latest.

    The arguments are those of `run`, less input, capture_output, timeout and check. args: the command. pid: of the container's init in
    the caller's pid namespace. stdin, stdout, stderr: file objects where PIPE was asked for, else None (text where text, encoding or
    errors was given). returncode: None until poll, wait or communicate saw the end, then as subprocess has it. warnings: what of the
    configuration could not be followed.

    Unlike subprocess: leaving `with` ends everything inside at once instead of waiting for it; a handle that is dropped ends it too,
    with a ResourceWarning. cpu_time= holds while somebody polls, waits or communicates; besides, it is each process's RLIMIT_CPU.
    max_output= is of what communicate reads. keep_changes=True keeps its root and what it changed until `close`.
    Any thread may use it. Raises what `run` raises where no container could be made.
    """

    __slots__ = (
        "_begun",
        "_closed",
        "_encoding",
        "_errors",
        "_exchange",
        "_launch",
        "_layer",
        "_pipes",
        "_service",
        "_settled",
        "_talking",
        "_usage",
        "args",
        "pid",
        "returncode",
        "stderr",
        "stdin",
        "stdout",
    )

    stdin: "IO[Output] | None"
    stdout: "IO[Output] | None"
    stderr: "IO[Output] | None"
    _service: "Service | None"

    @overload
    def __init__(
        self: "Popen[str]",
        args: "Sequence[StrPath] | StrPath | None" = None,
        *,
        bufsize: int = -1,
        stdin: "File" = None,
        stdout: "File" = None,
        stderr: "File" = None,
        text: "Literal[True]",
        encoding: str | None = None,
        errors: str | None = None,
        universal_newlines: bool | None = None,
        **options: "Unpack[ContainerOptions]",
    ) -> None: ...

    @overload
    def __init__(  # noqa: F811 - an overload
        self: "Popen[str]",
        args: "Sequence[StrPath] | StrPath | None" = None,
        *,
        bufsize: int = -1,
        stdin: "File" = None,
        stdout: "File" = None,
        stderr: "File" = None,
        text: bool | None = None,
        encoding: str,
        errors: str | None = None,
        universal_newlines: bool | None = None,
        **options: "Unpack[ContainerOptions]",
    ) -> None: ...

    @overload
    def __init__(  # noqa: F811 - an overload
        self: "Popen[str]",
        args: "Sequence[StrPath] | StrPath | None" = None,
        *,
        bufsize: int = -1,
        stdin: "File" = None,
        stdout: "File" = None,
        stderr: "File" = None,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str,
        universal_newlines: bool | None = None,
        **options: "Unpack[ContainerOptions]",
    ) -> None: ...

    @overload
    def __init__(  # noqa: F811 - an overload
        self: "Popen[str]",
        args: "Sequence[StrPath] | StrPath | None" = None,
        *,
        bufsize: int = -1,
        stdin: "File" = None,
        stdout: "File" = None,
        stderr: "File" = None,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        universal_newlines: "Literal[True]",
        **options: "Unpack[ContainerOptions]",
    ) -> None: ...

    @overload
    def __init__(  # noqa: F811 - an overload
        self: "Popen[bytes]",
        args: "Sequence[StrPath] | StrPath | None" = None,
        *,
        bufsize: int = -1,
        stdin: "File" = None,
        stdout: "File" = None,
        stderr: "File" = None,
        text: "Literal[False] | None" = None,
        encoding: None = None,
        errors: None = None,
        universal_newlines: "Literal[False] | None" = None,
        **options: "Unpack[ContainerOptions]",
    ) -> None: ...

    def __init__(  # noqa: F811 - the overloads are above
        self,
        args: "Sequence[StrPath] | StrPath | None" = None,
        *,
        bufsize: int = -1,
        stdin: "File" = None,
        stdout: "File" = None,
        stderr: "File" = None,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        universal_newlines: bool | None = None,
        **options: "Unpack[ContainerOptions]",
    ) -> None:
        super().__init__()
        if not isinstance(bufsize, int):
            raise TypeError(f"bufsize is {type(bufsize).__name__}, not an int")
        self._encoding = text_mode(text, encoding, errors, universal_newlines)
        self._errors = errors or "strict"
        self._usage: Usage | None = None
        self._begun = self._closed = self._settled = False
        self._pipes: tuple[int | None, int | None] = (None, None)
        # Whoever holds it has the pipes of communicate, or takes the ended container apart.
        self._talking = allocate_lock()
        self._service = None
        self.returncode: int | None = None
        self.args: list[str]
        self.args, bounds, self._launch = self._start(args, options, lambda: Stdio(stdin, stdout, stderr))
        self._exchange = Exchange(bounds=bounds)
        self._exchange.filtered = self._launch.filtered
        # Kept when the container has ended, until this is closed.
        self._layer, self._launch.layer = self._launch.layer, None
        self._own()
        try:
            self.pid = self._launch.process.pid
            stdio = self._launch.stdio
            # A file closes its descriptor, also where it cannot be made: nobody else may.
            stdin, stdio.stdin = stdio.stdin, None
            self.stdin = self._file(stdin, "w", bufsize)
            stdout, stdio.stdout = stdio.stdout, None
            self.stdout = self._file(stdout, "r", bufsize)
            stderr, stdio.stderr = stdio.stderr, None
            self.stderr = self._file(stderr, "r", bufsize)
            if (calls := self._launch.calls) is not None:
                from pyrt.system_calls import Service

                self._launch.calls = None
                self._service = Service(self._launch, calls)
        except BaseException:
            self._owner = None
            self._launch.close()
            if self._layer is not None:
                self._layer.release()
            raise

    def _start(
        self, args: "Sequence[StrPath] | StrPath | None", options: "ContainerOptions", stdio: "Callable[[], Stdio]"
    ) -> "tuple[list[str], Bounds, Launch]":
        """The words of the command, how far it may go, and the container that runs it."""
        configuration = configure(command_words(args), options, function="Popen")
        return configuration.config["process"]["args"], configuration.bounds, launch_container(configuration, stdio)

    def _file(self, descriptor: int | None, mode: str, bufsize: int) -> "IO[Any] | None":
        """The caller's end of a pipe as a file that blocks, as files do."""
        if descriptor is None:
            return None
        os.set_blocking(descriptor, True)
        if self._encoding is None:
            return open(descriptor, f"{mode}b", bufsize)
        # As subprocess has it: bufsize 1 is by lines, and text cannot be unbuffered.
        file: IO[Any] = open(descriptor, mode, 1 if bufsize == 1 else -1, encoding=self._encoding, errors=self._errors)  # noqa: SIM115
        return file

    @property
    def warnings(self) -> list[str]:
        """What of the configuration could not be followed, and poststop hooks that failed."""
        return self._launch.warnings

    @property
    def cause(self) -> "Cause | None":
        """Why it ended, None until poll, wait or communicate saw the end."""
        if self.returncode is None or self._usage is None:
            return None
        from pyrt.causes import Cause

        return Cause[self._exchange.cause(self.returncode, self._usage)]

    @property
    def explanation(self) -> "str | None":
        """The cause in words, with its figures; None until the end was seen."""
        cause = self.cause
        if cause is None or self.returncode is None or self._usage is None:
            return None
        from pyrt.causes import explain

        return explain(cause, self.returncode, self._usage)

    @property
    def truncated(self) -> bool:
        """Whether communicate read more than max_output keeps."""
        return self._exchange.truncated

    def poll(self) -> int | None:
        """The return code, None while the command runs."""
        if self.returncode is None:
            self._check()
            self._wait_until(0.0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until everything inside has ended. Returns the return code. Raises ContainerTimeout after timeout seconds; it runs on."""
        deadline = deadline_after(timeout)
        if self.returncode is None:
            self._check()
            self._wait_until(deadline)
        if self.returncode is None:
            assert timeout is not None, "a wait without timeout returns a status"
            raise self._timeout(timeout)
        return self.returncode

    def communicate(self, input: "Output | None" = None, timeout: float | None = None) -> "tuple[Output | Any, Output | Any]":
        """Write input, read stdout and stderr to their end, wait. Returns both, None where there is no pipe.

        Raises ContainerTimeout after timeout seconds with what was read so far; then it runs on, and another call goes on without loss.
        A second thread waits until the first one's call is over.
        """
        deadline = deadline_after(timeout)
        if not self._talking.acquire(True, -1 if timeout is None else max(timeout, 0.0)):
            assert timeout is not None, "who waits for ever gets the lock"
            raise self._timeout(timeout)
        try:
            if not self._begun:
                if self.returncode is None:
                    self._check()
                self._begin(input)
            elif input:
                raise ValueError("Cannot send input after starting communication")
            if self.returncode is None:
                self._check()
                self._exchange.deadline = deadline
                returncode = self._launch.converse(self._exchange)
                if returncode is not None:
                    self._keep(returncode)
            else:
                drain(self._exchange)
            expired = self.returncode is None
            output = [self._output(descriptor, expired) for descriptor in self._pipes]
        finally:
            if self.returncode is not None:
                self._launch.stdio.close()
            self._talking.release()
            self._settle()
        self._raise_of_handler()
        if expired:
            assert timeout is not None, "a conversation without deadline ends with the container"
            raise self._timeout(timeout, *output)
        return output[0], output[1]

    def _begin(self, input: "str | bytes | None") -> None:
        """From now on the pipes are the exchange's: what the caller has buffered for stdin goes first."""
        if self._closed:
            from pyrt.errors import InvalidState

            raise InvalidState("Popen is closed")
        if input is not None and self.stdin is None:
            raise ValueError("input= is written to stdin, which is not a PIPE")
        data = b"" if input is None else input_bytes(input, self._encoding, self._errors)
        stdio = self._launch.stdio
        if data and self.returncode is None:
            stdio.stdin = _taken(self.stdin)
        elif self.stdin is not None:
            _close(self.stdin)
        stdio.stdout, stdio.stderr = self._pipes = _taken(self.stdout), _taken(self.stderr)
        outputs = [descriptor for descriptor in self._pipes if descriptor is not None]
        self._exchange.begin(stdin=stdio.stdin, data=data, outputs=outputs)
        self._begun = True

    def _output(self, descriptor: int | None, expired: bool) -> "Any":
        data = self._exchange.output(descriptor)
        if data is None or self._encoding is None:
            return data
        cut = expired or self._exchange.truncated or self._exchange.ended_by is not None
        return decoded(data, self._encoding, "replace" if cut else self._errors)

    def _timeout(self, timeout: float, output: "Any" = None, stderr: "Any" = None) -> Exception:
        from pyrt.errors import ContainerTimeout

        return ContainerTimeout(self.args, timeout, output, stderr)

    def _wait_until(self, deadline: float | None) -> None:
        returncode = self._unless_released(lambda: self._launch.wait(self._exchange, deadline))
        if returncode is not None:
            self._keep(returncode)
            self._settle()
            self._raise_of_handler()

    def _unless_released(self, call: "Callable[[], Result]") -> "Result | None":
        """What it returns; None where another thread saw the end meanwhile and released what the call is about."""
        try:
            return call()
        except Exception:
            if self.returncode is None:
                raise
            return None

    def _keep(self, returncode: int) -> None:
        """Keep what an ended container has to say."""
        if self.returncode is None and (usage := self._unless_released(self._launch.usage)) is not None:
            self._usage = usage
            self.returncode = returncode
            if self._service is not None:
                self._service.join()

    def _raise_of_handler(self) -> None:
        """Once: what a handler of on_syscall raised."""
        if self._service is not None and (raised := self._service.raised) is not None:
            self._service.raised = None
            raise raised

    def _settle(self) -> None:
        """Release an ended container, unless somebody talks to it: he does it when he is done."""
        if self.returncode is None or self._settled or not self._talking.acquire(False):
            return
        try:
            if not self._settled:
                self._settled = True
                self._owner = None
                drain(self._exchange)
                self._launch.finish()
        finally:
            self._talking.release()

    def usage(self) -> "Usage":
        """What the container has used so far; the whole once it has ended."""
        if self._usage is None:
            self._check()
            usage = self._unless_released(self._launch.usage)
            if usage is not None:
                return usage
        assert self._usage is not None, "it is kept before the return code"
        return self._usage

    def keep_bounds(self, deadline: float | None) -> float | None:
        """End everything inside where cpu_time= says so. Returns the seconds, until deadline at most, that one may wait; None for ever.

        For who waits for something else than the end. deadline: on the clock of time.monotonic.
        """
        patience = self._unless_released(lambda: self._launch.keep_bounds(self._exchange, deadline))
        return 0.0 if self.returncode is not None else patience

    def _open_root(self) -> "_native.Root":
        return root_of(self._layer, self._launch if self.poll() is None else None)

    def _kept_layer(self) -> "Layer":
        return kept(self._layer)

    def send_signal(self, signal: "int | str") -> None:
        """Send a signal (number or name) to the command. Does nothing once it has ended."""
        from pyrt.signals import number

        wanted = number(signal)
        if self.poll() is None:
            try:
                self._unless_released(lambda: self._launch.process.send_signal(wanted))
            except ProcessLookupError:
                # It ended after the poll.
                return

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(15)

    def kill(self) -> None:
        """End everything inside, also what the command started, and wait until it is empty. Does nothing once it has ended."""
        if self.poll() is None:
            self._unless_released(self._launch.kill)

    def close(self) -> None:
        """End everything inside, and close the pipes. A second time does nothing. Raises InvalidState in a forked child."""
        try:
            super().close()
        finally:
            self._closed = True
            self._let_go()

    def __enter__(self) -> "Self":
        if self.returncode is None:
            self._check()
        return self

    def __exit__(self, kind: "type[BaseException] | None", error: BaseException | None, trace: "TracebackType | None") -> None:
        # A forked child leaves the block too, and ends nothing that is not its own.
        if self._owner is None or self._owner == os.getpid():
            self.close()

    def _end(self) -> None:
        try:
            if self.returncode is None:
                self._unless_released(self._launch.kill)
                self._wait_until(None)
            self._settle()
        except BaseException:
            self._launch.close()
            raise

    def _abandon(self) -> None:
        # A container must not outlive its handle: nobody else could end it.
        try:
            self._end()
        finally:
            self._let_go()

    def _let_go(self) -> None:
        """Close the pipes, and what is kept of the container's changes."""
        self._close_files()
        if self._layer is not None:
            self._layer.release()

    def _close_files(self) -> None:
        for file in (self.stdin, self.stdout, self.stderr):
            if file is not None:
                _close(file)

    def __repr__(self) -> str:
        return f"<Popen: returncode: {self.returncode} args: {self.args!r}>"


def _taken(file: "IO[Any] | None") -> int | None:
    """A descriptor of one's own for what the file reads or writes, non-blocking; the file is closed."""
    if file is None or file.closed:
        return None
    descriptor = os.dup(file.fileno())
    _close(file)
    os.set_blocking(descriptor, False)
    return descriptor


def _close(file: "IO[Any]") -> None:
    """Close a pipe whose reader may be gone: what nobody reads is forgotten, as subprocess does."""
    try:
        file.close()
    except BrokenPipeError:
        return
