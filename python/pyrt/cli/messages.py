"""The one door through which the command prints: data to stdout, messages to stderr and the log.

`pyrt: ...` on stderr; with --log the same in the log, as text or as runc's JSON lines, of which engines read the last with level
error. Warnings go to the log alone where there is one: stderr of create and run is the container's own.
"""

import errno
import posix
import time

from pyrt.errors import from_os_error

__all__ = ["Messages"]

STDOUT = 1
STDERR = 2


class Messages:
    """Where messages go. Writes go to the descriptors themselves, so nothing is buffered when the process ends or is replaced."""

    def __init__(self) -> None:
        self._log: int | None = None
        self._json = False
        self._debug = False

    def configure(self, *, log: str | None, json: bool, debug: bool) -> None:
        """Open the log, which may be a FIFO or /dev/stderr. Raises Error."""
        self._json = json
        self._debug = debug
        if not log:
            return
        if log == "/dev/stderr":
            # Opening it anew fails where stderr is a socket.
            self._log = STDERR
            return
        flags = posix.O_WRONLY | posix.O_APPEND | posix.O_CREAT | posix.O_CLOEXEC | posix.O_NOCTTY
        try:
            self._log = posix.open(log, flags, 0o644)
        except OSError as error:
            raise from_os_error("open log", error, log) from error

    def output(self, text: str) -> None:
        """Data, to stdout. Raises Error."""
        try:
            _write(STDOUT, text)
        except OSError as error:
            raise from_os_error("write to standard output", error) from error

    def error(self, text: str) -> None:
        """What ended the command."""
        _to_stderr(f"pyrt: {_one_line(text)}\n")
        self._to_log("error", text)

    def warning(self, text: str) -> None:
        if self._log is None:
            _to_stderr(f"pyrt: warning: {_one_line(text)}\n")
        self._to_log("warning", text)

    def debug(self, text: str) -> None:
        """What is only said with --debug."""
        if not self._debug:
            return
        if self._log is None:
            _to_stderr(f"pyrt: {_one_line(text)}\n")
        self._to_log("debug", text)

    def usage(self, text: str) -> None:
        """Lines that help after an error in the command line."""
        _to_stderr(text)

    def crash(self, error: BaseException) -> None:
        """An exception that nobody expected: in one line, and with --debug all of it."""
        if self._debug:
            import traceback

            _to_stderr("".join(traceback.format_exception(error)))
        self.error(f"internal error: {type(error).__name__}: {error}; please report it, with the output of --debug")

    def _to_log(self, level: str, text: str) -> None:
        if self._log is None:
            return
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        if self._json:
            from pyrt import _native

            entry = _native.json_dumps({"level": level, "msg": text, "time": now})
        else:
            quoted = text.replace("\\", "\\\\").replace('"', '\\"')
            entry = f'time="{now}" level={level} msg="{_one_line(quoted)}"'
        try:
            _write(self._log, f"{entry}\n")
        except OSError as error:
            _to_stderr(f"pyrt: cannot write the log: {posix.strerror(error.errno or errno.EIO).lower()}\n")


def _to_stderr(text: str) -> None:
    try:
        _write(STDERR, text)
    except OSError:
        # Nobody is left to tell; the exit status still does.
        return


def _write(descriptor: int, text: str) -> None:
    data = text.encode("utf-8", "surrogateescape")
    while data:
        data = data[posix.write(descriptor, data) :]


def _one_line(text: str) -> str:
    return text.replace("\n", "\\n").replace("\r", "\\r")
