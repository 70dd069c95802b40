"""The outer side of a terminal: a pty for a command in the foreground, and a console socket for what is detached or created.

Reads wait for what is expected and fail with what came instead; nothing here sleeps for a fixed time.
"""

from __future__ import annotations

import array
import fcntl
import os
import select
import socket
import struct
import termios
from pathlib import Path
from types import TracebackType

from helpers.waiting import SOON

WAIT_SECONDS = SOON
LFLAG = 3
"""The place of the local modes in what termios.tcgetattr returns."""


class Pty:
    """A pty whose other side, `slave`, is given to a command as its terminal."""

    def __init__(self, rows: int = 24, columns: int = 80) -> None:
        self.master, self.slave = os.openpty()
        self.resize(rows, columns)
        self.said = b""

    def __enter__(self) -> Pty:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self.master)
        os.close(self.slave)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def write(self, data: bytes) -> None:
        os.write(self.master, data)

    def until(self, wanted: bytes) -> bytes:
        """Read until that was said; everything that was said so far."""
        self.said = read_until(self.master, wanted, self.said)
        return self.said

    def until_more(self) -> bytes:
        """Read until anything more was said; everything that was said so far."""
        self.said += _read(self.master, "anything more", self.said)
        return self.said

    def is_raw(self) -> bool:
        return not termios.tcgetattr(self.slave)[LFLAG] & (termios.ECHO | termios.ICANON | termios.ISIG)


def read_until(descriptor: int, wanted: bytes, said: bytes = b"") -> bytes:
    while wanted not in said:
        said += _read(descriptor, repr(wanted), said)
    return said


def _read(descriptor: int, wanted: str, said: bytes) -> bytes:
    ready, _, _ = select.select([descriptor], [], [], WAIT_SECONDS)
    assert ready, f"never said {wanted}, only {said!r}"
    return os.read(descriptor, 4096)


class Console:
    """A console socket at `path`, as an engine listens on it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._listener.settimeout(WAIT_SECONDS)

    def __enter__(self) -> Console:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._listener.close()

    def receive(self) -> tuple[bytes, list[int]]:
        """The one message: its data and its descriptors, which the caller closes."""
        connection, _ = self._listener.accept()
        with connection:
            connection.settimeout(WAIT_SECONDS)
            fds = array.array("i")
            data, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(4 * fds.itemsize))
            for level, kind, content in ancillary:
                assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
                fds.frombytes(content)
            return data, fds.tolist()
