"""Popen: a command in a container that runs beside the caller, with subprocess.Popen's names and meaning.

`process` is the same in one call, and lends its helpers; `launch` makes the container, waits for it and ends it; `exchange` holds what
`communicate` reads and writes. No thread: a wait is a poll(2) on the pidfd.
"""

import os
import time

from pyrt.configuration import configure
from pyrt.exchange import Exchange
from pyrt.ownership import Owned
from pyrt.process import TEXT_ENCODING, command_words, decoded, launch_container
from pyrt.stdio import Stdio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import IO, Any

    from typing_extensions import Unpack

    from pyrt.limits import Usage
    from pyrt.options import ContainerOptions, StrPath
    from pyrt.stdio import File

__all__ = ["Popen"]


class Popen(Owned):
    """A command in a container of its own; everything inside ends with this object, at the latest.

    The arguments are those of `run`, less input, capture_output, timeout and check. args: the command. pid: of the container's init in
    the caller's pid namespace. stdin, stdout, stderr: file objects where PIPE was asked for, else None (text where text, encoding or
    errors was given). returncode: None until poll, wait or communicate saw the end, then as subprocess has it. warnings: what of the
    configuration could not be followed.

    Unlike subprocess: leaving `with` ends everything inside at once instead of waiting for it; a handle that is dropped ends it too,
    with a ResourceWarning. Raises what `run` raises where no container could be made.
    """

    __slots__ = (
        "_encoding",
        "_errors",
        "_exchange",
        "_launch",
        "_usage",
        "args",
        "pid",
        "returncode",
        "stderr",
        "stdin",
        "stdout",
        "warnings",
    )

    def __init__(
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
        **options: "Unpack[ContainerOptions]",
    ) -> None:
        super().__init__()
        if not isinstance(bufsize, int):
            raise TypeError(f"bufsize is {type(bufsize).__name__}, not an int")
        self._encoding = (encoding or TEXT_ENCODING) if text or encoding or errors else None
        self._errors = errors or "strict"
        self._exchange: Exchange | None = None
        self._usage: Usage | None = None
        self.returncode: int | None = None
        configuration = configure(command_words(args), options)
        plan = configuration.plan()
        self.args: list[str] = configuration.config["process"]["args"]
        self._launch = launch_container(configuration, plan, Stdio(stdin, stdout, stderr))
        self._own()
        try:
            self.pid = self._launch.process.pid
            self.warnings = self._launch.warnings
            stdio = self._launch.stdio
            self.stdin: IO[Any] | None = self._file(stdio.stdin, "w", bufsize)
            stdio.stdin = None
            self.stdout: IO[Any] | None = self._file(stdio.stdout, "r", bufsize)
            stdio.stdout = None
            self.stderr: IO[Any] | None = self._file(stdio.stderr, "r", bufsize)
            stdio.stderr = None
        except BaseException:
            self._owner = None
            self._launch.close()
            raise

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

    def poll(self) -> int | None:
        """The return code, None while the command runs."""
        if self.returncode is None:
            self._check()
            self._ended(self._launch.process.wait(0))
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until everything inside has ended. Raises ContainerTimeout after timeout seconds, and then it runs on."""
        if self.returncode is None:
            self._check()
            self._ended(self._launch.process.wait(None if timeout is None else max(timeout, 0.0)))
        if self.returncode is None:
            assert timeout is not None, "a wait without timeout returns a status"
            raise self._timeout(timeout)
        return self.returncode

    def communicate(self, input: "str | bytes | None" = None, timeout: float | None = None) -> "tuple[Any, Any]":
        """Write input, read stdout and stderr to their end, wait. Returns both, None where there is no pipe.

        Raises ContainerTimeout after timeout seconds with what was read so far; then it runs on, and another call goes on without loss.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        if self._exchange is None:
            self._check()
            self._exchange = self._begin(input)
        elif input:
            raise ValueError("Cannot send input after starting communication")
        if self.returncode is None or (self._owner is not None and self._exchange.wants()):
            self._check()
            self._exchange.deadline = deadline
            self._ended(self._launch.converse(self._exchange))
        expired = self.returncode is None
        stdio = self._launch.stdio
        output = [self._output(descriptor, expired) for descriptor in (stdio.stdout, stdio.stderr)]
        if expired:
            assert timeout is not None, "a conversation without deadline ends with the container"
            raise self._timeout(timeout, *output)
        return output[0], output[1]

    def _begin(self, input: "str | bytes | None") -> Exchange:
        """From now on the pipes are the exchange's: what the caller has buffered for stdin goes first."""
        if input is not None and self.stdin is None:
            raise ValueError("input= is written to stdin, which is not a PIPE")
        if input is not None and isinstance(input, str) is (self._encoding is None):
            raise TypeError(f"input is {type(input).__name__}, but {'bytes are asked for' if self._encoding is None else 'text is'}")
        data = input.encode(self._encoding or TEXT_ENCODING, self._errors) if isinstance(input, str) else bytes(input or b"")
        stdio = self._launch.stdio
        if data:
            stdio.stdin = self._taken(self.stdin)
        elif self.stdin is not None:
            _close(self.stdin)
        stdio.stdout, stdio.stderr = self._taken(self.stdout), self._taken(self.stderr)
        outputs = [descriptor for descriptor in (stdio.stdout, stdio.stderr) if descriptor is not None]
        return Exchange(stdin=stdio.stdin, data=data, outputs=outputs, deadline=None)

    @staticmethod
    def _taken(file: "IO[Any] | None") -> int | None:
        if file is None or file.closed:
            return None
        descriptor = os.dup(file.fileno())
        _close(file)
        os.set_blocking(descriptor, False)
        return descriptor

    def _output(self, descriptor: int | None, expired: bool) -> "str | bytes | None":
        assert self._exchange is not None, "the output is asked for once there was a conversation"
        data = self._exchange.output(descriptor)
        if data is None or self._encoding is None:
            return data
        return decoded(data, self._encoding, "replace" if expired else self._errors)

    def _timeout(self, timeout: float, output: "Any" = None, stderr: "Any" = None) -> Exception:
        from pyrt.errors import ContainerTimeout

        return ContainerTimeout(self.args, timeout, output, stderr)

    def _ended(self, returncode: int | None) -> None:
        """Keep what an ended container has to say."""
        if returncode is not None and self.returncode is None:
            self._usage = self._launch.usage()
            self.returncode = returncode

    def usage(self) -> "Usage":
        """What the container has used so far; the whole once it has ended."""
        if self._usage is not None:
            return self._usage
        self._check()
        return self._launch.usage()

    def send_signal(self, signal: "int | str") -> None:
        """Send a signal (number or name) to the command. Does nothing once it has ended."""
        from pyrt.signals import number

        wanted = number(signal)
        if self.poll() is None:
            try:
                self._launch.process.send_signal(wanted)
            except ProcessLookupError:
                # It ended after the poll.
                return

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(15)

    def kill(self) -> None:
        """End everything inside, also what the command started, and wait until it is empty. Does nothing once it has ended."""
        if self.poll() is None:
            self._launch.kill()

    def _end(self) -> None:
        self._finish()

    # A container must not outlive its handle: nobody else could end it.
    _abandon = _end

    def _finish(self) -> None:
        try:
            if self.returncode is None:
                self._launch.kill()
                self._ended(self._launch.process.wait())
        finally:
            self._launch.close()
            for file in (self.stdin, self.stdout, self.stderr):
                if file is not None:
                    _close(file)

    def __repr__(self) -> str:
        return f"<Popen: returncode: {self.returncode} args: {self.args!r}>"


def _close(file: "IO[Any]") -> None:
    """Close a pipe whose reader may be gone: what nobody reads is forgotten, as subprocess does."""
    try:
        file.close()
    except BrokenPipeError:
        return
