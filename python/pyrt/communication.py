"""Communication: what `run`'s arguments about input, output, text and time mean, and what comes of them. No I/O in here.

`process.complete` carries one out with poll(2), `aio.run` in an event loop; `exchange` holds the bytes, `completed` the result.
"""

import time

from pyrt import log
from pyrt.exchange import UNBOUNDED, Bounds, Exchange
from pyrt.stdio import PIPE, Stdio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrt.completed import CompletedProcess
    from pyrt.layer import Changes
    from pyrt.limits import Usage
    from pyrt.stdio import File

TALK = frozenset(("stdin", "input", "stdout", "stderr", "capture_output", "text", "encoding", "errors", "timeout", "check"))
"""The arguments of `exec` that are not about the command. `run` knows text by another name too: universal_newlines."""

TEXT_ENCODING = "utf-8"
"""What text is in where nobody says: the container's own LANG, not the caller's locale."""


class Communication:
    """The arguments, checked when it is made. Raises TypeError and ValueError, naming the argument."""

    __slots__ = ("_check", "_data", "_deadline", "_encoding", "_errors", "_files", "_timeout")

    def __init__(
        self,
        *,
        stdin: "File" = None,
        input: "str | bytes | None" = None,
        stdout: "File" = None,
        stderr: "File" = None,
        capture_output: bool = False,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        universal_newlines: bool | None = None,
        timeout: float | None = None,
        check: bool = False,
    ) -> None:
        self._deadline = deadline_after(timeout)
        self._timeout = timeout
        self._check = check
        self._encoding, self._errors = text_mode(text, encoding, errors, universal_newlines), errors
        if capture_output:
            if stdout is not None or stderr is not None:
                raise ValueError("capture_output=True is stdout=PIPE, stderr=PIPE: it does not go with either")
            stdout = stderr = PIPE
        self._data = b""
        if input is not None:
            if stdin is not None:
                raise ValueError("input= is written to stdin: it does not go with stdin=")
            stdin = PIPE
            self._data = input_bytes(input, self._encoding, errors or "strict")
        elif stdin == PIPE:
            raise ValueError("stdin=PIPE has nobody to write to it: use input=")
        self._files = stdin, stdout, stderr

    def stdio(self) -> Stdio:
        """The descriptors for the container, and the caller's ends; whoever asks closes them."""
        return Stdio(*self._files)

    def exchange(self, stdio: Stdio, bounds: Bounds = UNBOUNDED, *, filtered: bool) -> Exchange:
        """What is to pass through the caller's ends. filtered: whether the command runs under a seccomp profile."""
        outputs = [descriptor for descriptor in (stdio.stdout, stdio.stderr) if descriptor is not None]
        if not self._data:
            stdio.close_stdin()
        exchange = Exchange(stdin=stdio.stdin, data=self._data, outputs=outputs, deadline=self._deadline, bounds=bounds)
        exchange.filtered = filtered
        return exchange

    def completed(
        self,
        args: list[str],
        returncode: int,
        exchange: Exchange,
        output: "tuple[bytes | None, ...]",
        usage: "Usage",
        warnings: list[str],
        changes: "Changes | None" = None,
    ) -> "CompletedProcess[Any]":
        """The result. Raises ContainerTimeout where the time was up, and ContainerFailed where check was asked for; both carry it."""
        from pyrt.completed import CompletedProcess

        said: tuple[Any, ...] = output
        if self._encoding is not None:
            # A character cut in two by the end must not hide why it was ended.
            cut = exchange.ended_by is not None or exchange.truncated
            handler = self._errors or ("replace" if cut else "strict")
            said = tuple(None if part is None else decoded(part, self._encoding, handler) for part in output)
        cause = exchange.cause(returncode, usage)
        completed: CompletedProcess[Any] = CompletedProcess(
            args, returncode, *said, usage=usage, cause=cause, warnings=warnings, truncated=exchange.truncated, changes=changes
        )
        log.debug("%s: return code %d, cause %s", args[0] if args else "the command", returncode, cause)
        if exchange.ended_by == "TIMEOUT" and self._timeout is not None:
            from pyrt.errors import ContainerTimeout

            raise ContainerTimeout(completed.args, self._timeout, completed.stdout, completed.stderr, result=completed)
        if self._check:
            completed.check_returncode()
        return completed


def deadline_after(timeout: float | None) -> float | None:
    """The deadline on the monotonic clock. Raises TypeError and ValueError for what is no number of seconds."""
    if timeout is None:
        return None
    if not isinstance(timeout, (int, float)):
        raise TypeError(f"timeout is {type(timeout).__name__}, not a number of seconds")
    if timeout != timeout:
        raise ValueError("timeout is not a number")
    return time.monotonic() + timeout


def parted(arguments: "Any", talk: frozenset[str] = TALK) -> "tuple[Communication, Any]":
    """What is about input, output and time, and what is about the command. Raises what `Communication` raises."""
    about_talk = {name: value for name, value in arguments.items() if name in talk}
    return Communication(**about_talk), {name: value for name, value in arguments.items() if name not in talk}


def text_mode(text: bool | None, encoding: str | None, errors: str | None, universal_newlines: bool | None) -> str | None:
    """The encoding of a text stream, None for bytes. universal_newlines is text's other name, and may not contradict it.

    Raises LookupError for an encoding that there is not.
    """
    if text is not None and universal_newlines is not None and bool(text) is not bool(universal_newlines):
        raise ValueError("text= and universal_newlines= are the same, and contradict each other")
    if not (text or encoding or errors or universal_newlines):
        return None
    "".encode(encoding or TEXT_ENCODING)
    return encoding or TEXT_ENCODING


def input_bytes(input: "str | bytes", encoding: str | None, errors: str) -> bytes:
    """What is written to stdin. encoding None: a stream of bytes. Raises TypeError for the wrong one of the two."""
    if isinstance(input, str) is (encoding is None):
        raise TypeError(f"input is {type(input).__name__}, but {'bytes are asked for' if encoding is None else 'text is'}")
    return input.encode(encoding or TEXT_ENCODING, errors) if isinstance(input, str) else bytes(input)


def decoded(data: bytes, encoding: str, errors: str) -> str:
    """Bytes as text with universal newlines."""
    return data.decode(encoding, errors).replace("\r\n", "\n").replace("\r", "\n")
