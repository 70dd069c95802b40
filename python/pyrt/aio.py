"""pyrt.aio: `run` and processes with streams for asyncio, with the names and meaning of asyncio's own; no thread for any container.

The arguments and results are those of `pyrt.run` and `pyrt.Popen`: `communication` reads them, `exchange` holds what passes. Neighbour:
aio_running.py, where the event loop watches a container and ends it. asyncio only: under anyio that is its asyncio backend.
"""

import asyncio
import os

from pyrt.aio_running import Running
from pyrt.communication import Communication
from pyrt.configuration import configure
from pyrt.exchange import CHUNK, Exchange
from pyrt.process import command_words, launch_container
from pyrt.stdio import Stdio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import IO, Any, Literal, overload

    from typing_extensions import Self, Unpack

    from pyrt import _native
    from pyrt.causes import Cause
    from pyrt.completed import CompletedProcess
    from pyrt.exchange import Bounds
    from pyrt.launch import Launch
    from pyrt.layer import Changes, Layer
    from pyrt.limits import Usage
    from pyrt.options import ContainerOptions, OnProgress, StrPath
    from pyrt.stdio import File
else:

    def overload(function):
        return function


__all__ = ["Process", "create_subprocess_exec", "create_subprocess_shell", "run"]

STREAM_LIMIT = 1 << 16
"""asyncio's own: bytes that a stream holds before it stops reading."""


@overload
async def run(
    args: "Sequence[StrPath] | StrPath | None" = None,
    *,
    stdin: "File" = None,
    input: str | None = None,
    stdout: "File" = None,
    stderr: "File" = None,
    capture_output: bool = False,
    text: "Literal[True]",
    encoding: str | None = None,
    errors: str | None = None,
    universal_newlines: bool | None = None,
    timeout: float | None = None,
    check: bool = False,
    **options: "Unpack[ContainerOptions]",
) -> "CompletedProcess[str]": ...
@overload
async def run(  # noqa: F811 - an overload
    args: "Sequence[StrPath] | StrPath | None" = None,
    *,
    stdin: "File" = None,
    input: str | None = None,
    stdout: "File" = None,
    stderr: "File" = None,
    capture_output: bool = False,
    text: bool | None = None,
    encoding: str,
    errors: str | None = None,
    universal_newlines: bool | None = None,
    timeout: float | None = None,
    check: bool = False,
    **options: "Unpack[ContainerOptions]",
) -> "CompletedProcess[str]": ...
@overload
async def run(  # noqa: F811 - an overload
    args: "Sequence[StrPath] | StrPath | None" = None,
    *,
    stdin: "File" = None,
    input: str | None = None,
    stdout: "File" = None,
    stderr: "File" = None,
    capture_output: bool = False,
    text: bool | None = None,
    encoding: str | None = None,
    errors: str,
    universal_newlines: bool | None = None,
    timeout: float | None = None,
    check: bool = False,
    **options: "Unpack[ContainerOptions]",
) -> "CompletedProcess[str]": ...
@overload
async def run(  # noqa: F811 - an overload
    args: "Sequence[StrPath] | StrPath | None" = None,
    *,
    stdin: "File" = None,
    input: str | None = None,
    stdout: "File" = None,
    stderr: "File" = None,
    capture_output: bool = False,
    text: bool | None = None,
    encoding: str | None = None,
    errors: str | None = None,
    universal_newlines: "Literal[True]",
    timeout: float | None = None,
    check: bool = False,
    **options: "Unpack[ContainerOptions]",
) -> "CompletedProcess[str]": ...
@overload
async def run(  # noqa: F811 - an overload
    args: "Sequence[StrPath] | StrPath | None" = None,
    *,
    stdin: "File" = None,
    input: bytes | None = None,
    stdout: "File" = None,
    stderr: "File" = None,
    capture_output: bool = False,
    text: "Literal[False] | None" = None,
    encoding: None = None,
    errors: None = None,
    universal_newlines: "Literal[False] | None" = None,
    timeout: float | None = None,
    check: bool = False,
    **options: "Unpack[ContainerOptions]",
) -> "CompletedProcess[bytes]": ...


async def run(  # noqa: F811 - the overloads are above
    args: "Sequence[StrPath] | StrPath | None" = None,
    *,
    stdin: "File" = None,
    input: str | bytes | None = None,
    stdout: "File" = None,
    stderr: "File" = None,
    capture_output: bool = False,
    text: bool | None = None,
    encoding: str | None = None,
    errors: str | None = None,
    universal_newlines: bool | None = None,
    timeout: float | None = None,
    check: bool = False,
    **options: "Unpack[ContainerOptions]",
) -> "CompletedProcess[Any]":
    """As `pyrt.run`, without blocking the event loop. A cancellation ends everything inside, and is raised when all is gone."""
    communication = Communication(
        stdin=stdin,
        input=input,
        stdout=stdout,
        stderr=stderr,
        capture_output=capture_output,
        text=text,
        encoding=encoding,
        errors=errors,
        universal_newlines=universal_newlines,
        timeout=timeout,
        check=check,
    )
    configuration = configure(command_words(args), options, function="aio.run")
    words = configuration.config["process"]["args"]
    return await carry_out(communication, words, configuration.bounds, lambda: launch_container(configuration, communication.stdio))


async def carry_out(
    communication: Communication, words: list[str], bounds: "Bounds", launch: "Callable[[], Launch]"
) -> "CompletedProcess[Any]":
    """What `run` and `Pool.aio.run` share: launch in a helper thread, feed what was launched, and wait for it."""

    def exchange_of(launch: "Launch") -> Exchange:
        return communication.exchange(launch.stdio, bounds, filtered=launch.filtered)

    running = await Running.start(launch, exchange_of)
    exchange, warnings = running.exchange, running.launch.warnings
    pipes = running.launch.stdio.stdout, running.launch.stdio.stderr
    try:
        running.serve()
        returncode = await asyncio.shield(running.ended)
    except BaseException:
        await running.finish()
        raise
    assert running.usage is not None, "it is known when the container has ended"
    output = exchange.output(pipes[0]), exchange.output(pipes[1])
    return communication.completed(words, returncode, exchange, output, running.usage, warnings, running.changes)


async def create_subprocess_exec(
    program: "StrPath",
    *args: "StrPath",
    stdin: "File" = None,
    stdout: "File" = None,
    stderr: "File" = None,
    limit: int = STREAM_LIMIT,
    **options: "Unpack[ContainerOptions]",
) -> "Process":
    """Start a command in a container, as asyncio.create_subprocess_exec does. limit: of each stream's buffer, in bytes.

    Raises what `pyrt.run` raises where no container could be made; cancelled, it leaves nothing.
    """
    return await _create((program, *args), stdin, stdout, stderr, limit, options)


async def create_subprocess_shell(
    cmd: "StrPath",
    *,
    stdin: "File" = None,
    stdout: "File" = None,
    stderr: "File" = None,
    limit: int = STREAM_LIMIT,
    **options: "Unpack[ContainerOptions]",
) -> "Process":
    """As `create_subprocess_exec`, with a line for the /bin/sh of the container."""
    return await _create((cmd,), stdin, stdout, stderr, limit, {**options, "shell": True})


async def _create(
    args: "Sequence[StrPath]", stdin: "File", stdout: "File", stderr: "File", limit: int, options: "ContainerOptions"
) -> "Process":
    configuration = configure(command_words(args), options, function="aio.create_subprocess_exec")
    words = configuration.config["process"]["args"]
    return await start_process(
        words, configuration.bounds, lambda: launch_container(configuration, lambda: Stdio(stdin, stdout, stderr)), limit
    )


async def start_process(words: list[str], bounds: "Bounds", launch: "Callable[[], Launch]", limit: int) -> "Process":
    """What `create_subprocess_exec` shares with a pool's and a running container's: launch in a helper thread, and connect the streams."""
    if not isinstance(limit, int):
        raise TypeError(f"limit is {type(limit).__name__}, not an int")

    def exchange_of(launch: "Launch") -> Exchange:
        exchange = Exchange(bounds=bounds)
        exchange.filtered = launch.filtered
        return exchange

    process = Process(await Running.start(launch, exchange_of), words)
    try:
        await process._connect(limit)
    except BaseException:
        await process.aclose()
        raise
    return process


class Process:
    """A command in a container of its own, as asyncio.subprocess.Process: its streams are of bytes, and one task reads each.

    args: the command. pid: of the container's init in the caller's pid namespace. stdin: a StreamWriter, stdout, stderr: StreamReaders,
    where PIPE was asked for, else None.

    Unlike asyncio: leaving `async with` ends everything inside at once; so does dropping the handle, with a ResourceWarning; `kill` ends
    everything inside; cpu_time= is kept by the loop, max_output= is of what communicate reads.
    """

    __slots__ = ("_begun", "_layer", "_owner", "_running", "args", "pid", "stderr", "stdin", "stdout")

    def __init__(self, running: Running, args: list[str]) -> None:
        self._running = running
        self._owner = os.getpid()
        self._begun = False
        # Kept when the container has ended, until this is closed.
        self._layer, running.launch.layer = running.launch.layer, None
        self.args = args
        self.pid = running.launch.process.pid
        self.stdin: asyncio.StreamWriter | None = None
        self.stdout: asyncio.StreamReader | None = None
        self.stderr: asyncio.StreamReader | None = None

    async def _connect(self, limit: int) -> None:
        """Streams for the pipes, which are the loop's from now on."""
        loop, stdio = self._running.loop, self._running.launch.stdio
        if stdio.stdin is not None:
            writing, stdio.stdin = open(stdio.stdin, "wb", 0), None  # noqa: SIM115 - the transport closes it
            transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, writing)
            self.stdin = asyncio.StreamWriter(transport, protocol, None, loop)
        stdout, stdio.stdout = stdio.stdout, None
        stderr, stdio.stderr = stdio.stderr, None
        files = [None if descriptor is None else open(descriptor, "rb", 0) for descriptor in (stdout, stderr)]  # noqa: SIM115 - as above
        self.stdout, self.stderr = [None if file is None else await self._reader(file, limit) for file in files]

    async def _reader(self, file: "IO[bytes]", limit: int) -> asyncio.StreamReader:
        reader = asyncio.StreamReader(limit, self._running.loop)
        await self._running.loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
        return reader

    @property
    def returncode(self) -> int | None:
        """None until everything inside has ended, then as subprocess has it."""
        ended = self._running.ended
        return ended.result() if ended.done() and not ended.cancelled() and ended.exception() is None else None

    @property
    def cause(self) -> "Cause | None":
        """Why it ended, None before."""
        if self.returncode is None or self._running.usage is None:
            return None
        from pyrt.causes import Cause

        return Cause[self._running.exchange.cause(self.returncode, self._running.usage)]

    @property
    def explanation(self) -> str | None:
        """The cause in words, with its figures; None before the end."""
        cause = self.cause
        if cause is None or self.returncode is None or self._running.usage is None:
            return None
        from pyrt.causes import explain

        return explain(cause, self.returncode, self._running.usage)

    @property
    def truncated(self) -> bool:
        """Whether communicate read more than max_output keeps."""
        return self._running.exchange.truncated

    @property
    def warnings(self) -> list[str]:
        """What of the configuration could not be followed, and poststop hooks that failed."""
        return self._running.launch.warnings

    def usage(self) -> "Usage":
        """What the container has used so far; the whole once it has ended."""
        return self._running.usage or self._running.launch.usage()

    async def wait(self) -> int:
        """Wait until everything inside has ended. Returns the return code. A cancellation changes nothing for the container."""
        return await asyncio.shield(self._running.ended)

    async def communicate(self, input: bytes | None = None) -> "tuple[bytes | None, bytes | None]":
        """Write input, read stdout and stderr to their end, wait. Returns both, None where there is no pipe.

        Cancelled, as by asyncio.wait_for, the command runs on, and another call goes on without loss.
        """
        exchange = self._running.exchange
        streams = {number: stream for number, stream in ((1, self.stdout), (2, self.stderr)) if stream is not None}
        if not self._begun:
            if input is not None and self.stdin is None:
                raise ValueError("input= is written to stdin, which is not a PIPE")
            exchange.begin(stdin=0 if input else None, data=bytes(input or b""), outputs=streams)
            self._begun = True
        elif input:
            raise ValueError("Cannot send input after starting communication")
        reading = [self._read(number, streams[number]) for number, _ in exchange.wants() if number in streams]
        await asyncio.gather(self._write(), *reading)
        await self.wait()
        return exchange.output(1 if self.stdout else None), exchange.output(2 if self.stderr else None)

    async def _read(self, number: int, stream: asyncio.StreamReader) -> None:
        while self._running.exchange.feed(number, await stream.read(CHUNK)):
            if self._running.exchange.ended_by is not None:
                self._running.end()

    async def _write(self) -> None:
        if self.stdin is None or self.stdin.is_closing():
            return
        exchange = self._running.exchange
        try:
            while data := exchange.outgoing():
                self.stdin.write(bytes(data))
                exchange.sent(len(data))
                await self.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            # Nobody reads it any more: forgotten, as subprocess does.
            exchange.refused()
        self.stdin.close()

    async def changes(self) -> "Changes":
        """As `Popen.changes`; this, and the three below, in a thread of the loop's."""
        return await asyncio.to_thread(self._kept_layer().changes)

    async def commit(self, directory: "StrPath", *, on_progress: "OnProgress | None" = None) -> None:
        """As `Popen.commit`. on_progress is called in the thread that writes, not in the loop's: `call_soon_threadsafe` leads back."""
        await asyncio.to_thread(self._kept_layer().commit, directory, on_progress=on_progress)

    async def copy_in(
        self,
        source: "StrPath",
        target: "StrPath",
        *,
        max_size: "int | str | None" = None,
        on_progress: "OnProgress | None" = None,
    ) -> list[str]:
        """As `Popen.copy_in`; on_progress as for `commit`."""
        from pyrt.layer import copy_in

        return await asyncio.to_thread(copy_in, self._open_root(), source, target, max_size, on_progress)

    async def copy_out(
        self,
        source: "StrPath",
        target: "StrPath",
        *,
        max_size: "int | str | None" = None,
        on_progress: "OnProgress | None" = None,
    ) -> list[str]:
        """As `Popen.copy_out`; on_progress as for `commit`."""
        from pyrt.layer import copy_out

        return await asyncio.to_thread(copy_out, self._open_root(), source, target, max_size, on_progress)

    def _kept_layer(self) -> "Layer":
        from pyrt.layer import kept

        return kept(self._layer)

    def _open_root(self) -> "_native.Root":
        from pyrt.layer import root_of

        return root_of(self._layer, None if self._running.ended.done() else self._running.launch)

    def send_signal(self, signal: "int | str") -> None:
        """Send a signal (number or name) to the command. Does nothing once it has ended."""
        from pyrt.signals import number

        wanted = number(signal)
        if not self._running.ended.done():
            try:
                self._running.launch.process.send_signal(wanted)
            except (ProcessLookupError, ValueError):
                # It has ended, or is released, though the loop does not know yet.
                return

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(15)

    def kill(self) -> None:
        """End everything inside, also what the command started. Returns at once, as asyncio's; `wait` returns when it is gone."""
        self._running.end()

    async def aclose(self) -> None:
        """End everything inside, and return when it is gone. A second time does nothing. A cancellation meanwhile is raised after."""
        try:
            await self._running.finish()
        finally:
            if self.stdin is not None:
                self.stdin.close()
            if self._layer is not None:
                self._layer.release()

    async def __aenter__(self) -> "Self":
        return self

    async def __aexit__(self, kind: "type[BaseException] | None", error: BaseException | None, trace: "TracebackType | None") -> None:
        await self.aclose()

    def __del__(self) -> None:
        running = getattr(self, "_running", None)
        if running is None or self._owner != os.getpid() or running.ended.done():
            return
        import sys

        try:
            if not sys.is_finalizing():
                import warnings

                warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
        finally:
            running.end_from_anywhere()

    def __repr__(self) -> str:
        return f"<pyrt.aio.Process: returncode: {self.returncode} args: {self.args!r}>"
