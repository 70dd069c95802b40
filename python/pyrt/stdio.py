"""Stdio: the three descriptors of a container, and the caller's ends of those that are pipes. The constants are subprocess's.

A signal handler may raise after any call that Python code makes, when what a call returned is nobody's yet. So descriptors are taken and
given back within one call of the interpreter's own: `map` opens and `extend` keeps, `pop` gives and `map` closes.
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class HasFileno(Protocol):
        """An open file."""

        def fileno(self) -> int: ...

    File = int | HasFileno | None
else:
    File = object

PIPE = -1
STDOUT = -2
DEVNULL = -3


class Stdio:
    """inside: what becomes 0, 1 and 2. stdin, stdout, stderr: the caller's ends, non-blocking, None where there is no pipe.

    stdin None is /dev/null, stdout and stderr None are the caller's own. Whoever makes one closes it.
    Raises ValueError for a descriptor that is none of subprocess's constants and negative.
    """

    __slots__ = ("_opened", "_pipes", "inside", "stderr", "stdin", "stdout")

    def __init__(self, stdin: "File" = None, stdout: "File" = None, stderr: "File" = None) -> None:
        self._opened: list[int] = []
        self._pipes: list[tuple[int, int]] = []
        self.stdin: int | None = None
        self.stdout: int | None = None
        self.stderr: int | None = None
        try:
            if stdin == PIPE:
                zero, self.stdin = self._pipe(writer=True)
            else:
                zero = self._open(DEVNULL if stdin is None else stdin, os.O_RDONLY)
            if stdout == PIPE:
                one, self.stdout = self._pipe(writer=False)
            else:
                one = self._open(1 if stdout is None else stdout, os.O_WRONLY)
            if stderr == PIPE:
                two, self.stderr = self._pipe(writer=False)
            elif stderr == STDOUT:
                two = one
            else:
                two = self._open(2 if stderr is None else stderr, os.O_WRONLY)
            self.inside = (zero, one, two)
            self._pipes.clear()
        except BaseException:
            self._close_all()
            raise

    def _pipe(self, *, writer: bool) -> tuple[int, int]:
        self._pipes.extend(map(os.pipe2, (os.O_CLOEXEC,)))
        reading, writing = self._pipes[-1]
        inside, own = (reading, writing) if writer else (writing, reading)
        self._opened.append(inside)
        # Each end is an open file description of its own: the container's stays blocking.
        os.set_blocking(own, False)
        return inside, own

    def _open(self, file: "File", flags: int) -> int:
        if file == DEVNULL:
            self._opened.extend(map(os.open, (os.devnull,), (flags | os.O_CLOEXEC,)))
            return self._opened[-1]
        descriptor = file if isinstance(file, int) else file.fileno() if file is not None else -1
        if descriptor < 0:
            raise ValueError(f"{file!r} is no open file")
        return descriptor

    def close_inside(self) -> None:
        """Close what was opened for the container, which has its own copies by now."""
        try:
            any(map(os.close, iter(self._opened.pop, None)))
        except IndexError:
            return  # it is empty

    def close_stdin(self) -> None:
        """Close the caller's end of stdin, so that the container reads its end."""
        if self.stdin is not None:
            descriptor, self.stdin = self.stdin, None
            os.close(descriptor)

    def close(self) -> None:
        """Close the caller's ends."""
        self.close_stdin()
        if self.stdout is not None:
            descriptor, self.stdout = self.stdout, None
            os.close(descriptor)
        if self.stderr is not None:
            descriptor, self.stderr = self.stderr, None
            os.close(descriptor)

    def _close_all(self) -> None:
        """Close what there is, also of a pipe that was just made: each descriptor once, wherever it was noted by then."""
        noted = {*self._opened, self.stdin, self.stdout, self.stderr}
        for pipe in self._pipes:
            noted.update(pipe)
        self._opened = [descriptor for descriptor in noted if descriptor is not None]
        self._pipes = []
        self.stdin = self.stdout = self.stderr = None
        self.close_inside()

    def __del__(self) -> None:
        # A signal handler's exception may come between its making and the first look of whoever is to close it.
        try:
            self._close_all()
        except AttributeError:
            return  # it came before anything was opened
