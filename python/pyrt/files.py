"""Files by the bare system calls: what engines hand over and ask for (config.json, pid files), without importing io or pathlib.

Neighbours: runtime.py and cli/lifecycle.py use it; the state of containers is rust/core/src/container.
"""

import errno
import posix

__all__ = ["read_file", "replace_file"]

_READ_SIZE = 64 * 1024


def read_file(path: str, limit: int) -> bytes:
    """Read a regular file whole (a FIFO would wait for ever). Raises OSError, and ValueError for other files and beyond limit bytes."""
    descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK)
    try:
        kind = posix.fstat(descriptor).st_mode & 0o170000
        if kind == 0o040000:
            raise IsADirectoryError(errno.EISDIR, posix.strerror(errno.EISDIR), path)
        if kind != 0o100000:
            raise ValueError("it is no regular file")
        parts = []
        while part := posix.read(descriptor, _READ_SIZE):
            parts.append(part)
            limit -= len(part)
            if limit < 0:
                raise ValueError("it is too large")
        return b"".join(parts)
    finally:
        posix.close(descriptor)


def replace_file(path: str, data: bytes, mode: int) -> None:
    """Write a file so that readers see the old content or the new, never a part. Raises OSError."""
    temporary = f"{path}.new"
    descriptor = posix.open(temporary, posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | posix.O_CLOEXEC | posix.O_NOFOLLOW, mode)
    try:
        written = 0
        while written < len(data):
            written += posix.write(descriptor, data[written:])
    finally:
        posix.close(descriptor)
    posix.rename(temporary, path)
