"""What can go wrong, as exceptions.

The tree; every class is an ``Error``, and the built-in class beside it lets code written for the standard library catch it too::

    Error                                          operation, path, errno, hint
    ├── NotFound            (LookupError)          a container, cgroup or file that pyrt manages is not there
    ├── AlreadyExists                              the id or cgroup is in use
    ├── InvalidState                               the container is in the wrong state for this
    ├── StateUnreadable                            its state on disk is damaged: only `delete --force` can go on
    ├── SpecError           (ValueError)           config.json or an argument is wrong; json_path says where
    ├── HostError           (OSError)              this kernel or host cannot do what was asked
    ├── PermissionDenied    (PermissionError)      the caller may not
    ├── ExecutableError                            the container's program cannot be executed
    │   ├── MissingExecutable    (FileNotFoundError)
    │   └── ForbiddenExecutable  (PermissionError)
    ├── RemoteError                                what a function in a container raised, in words
    ├── ContainerTimeout    (subprocess.TimeoutExpired)       both in process_errors.py, which is imported
    └── ContainerFailed     (subprocess.CalledProcessError)   when one of them is first asked for

Neighbours: the native module raises through ``from_native``; the Python layer makes its own with ``from_os_error``;
``cli/messages.py`` prints them. This module imports nothing that the bare interpreter does not have.
"""

import errno as _errno
import posix as _posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrt.process_errors import ContainerFailed as ContainerFailed
    from pyrt.process_errors import ContainerTimeout as ContainerTimeout

__all__ = [
    "AlreadyExists",
    "ContainerFailed",
    "ContainerTimeout",
    "Error",
    "ExecutableError",
    "ForbiddenExecutable",
    "HostError",
    "InvalidState",
    "MissingExecutable",
    "NotFound",
    "PermissionDenied",
    "RemoteError",
    "SpecError",
    "StateUnreadable",
    "from_native",
    "from_os_error",
]


def __getattr__(name: str) -> "Any":
    """Import the two subclasses of subprocess's exceptions when asked for: subprocess costs more than all the rest of pyrt."""
    if name in ("ContainerTimeout", "ContainerFailed"):
        from pyrt import process_errors

        return getattr(process_errors, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class Error(Exception):
    """Base of everything that pyrt raises by itself.

    operation: what was tried, in words (``mount proc``). path: on which file, directory or program. errno: what the kernel
    answered, as in the ``errno`` module. hint: what can be done about it. ``str()`` is one line of all four.
    """

    operation: str
    path: str | None
    errno: int | None
    hint: str | None
    # The native module's own wording, where the error comes from there. On the class, so that a subclass's pickle may leave it out.
    _text: str | None = None

    def __init__(self, operation: str, path: str | None = None, errno: int | None = None, hint: str | None = None) -> None:
        # OSError.__init__ would take operation and path for errno and strerror: the built-in bases are not initialised but filled in.
        self.args = (operation, path, errno, hint)
        self.operation = operation
        self.path = path
        self.errno = errno
        self.hint = hint

    def __str__(self) -> str:
        if self._text is not None:
            return self._text
        text = self.operation
        if self.path is not None:
            text += f" {self.path}"
        if self.errno is not None:
            text += f": {_words(self.errno)}"
        if self.hint is not None:
            text += f"; {self.hint}"
        return text

    def __reduce__(self) -> "tuple[Any, ...]":
        return type(self), self.args, self.__dict__.copy()


class NotFound(Error, LookupError):
    """Something that pyrt manages, a container above all, does not exist."""


class AlreadyExists(Error):
    """The id, cgroup or file is in use."""


class InvalidState(Error):
    """The container's state does not allow the operation; the text names the state it is in and the one it would have to be in."""


class StateUnreadable(Error):
    """The state of a container on disk is missing, truncated or not what pyrt writes. Only `delete --force` can go on."""


class SpecError(Error, ValueError):
    """A value in config.json, or an argument, is wrong. json_path: where in config.json (``process.args[0]``), None elsewhere."""

    json_path: str | None

    def __init__(
        self,
        operation: str,
        path: str | None = None,
        errno: int | None = None,
        hint: str | None = None,
        json_path: str | None = None,
    ) -> None:
        super().__init__(operation, path, errno, hint)
        self.args = (operation, path, errno, hint, json_path)
        self.json_path = json_path

    def __str__(self) -> str:
        text = super().__str__()
        return text if self.json_path is None or self._text is not None else f"config.json: {self.json_path}: {text}"


class _SystemError(Error, OSError):
    """Fills in OSError's strerror and filename, so that code which knows only OSError finds them."""

    def __init__(self, operation: str, path: str | None = None, errno: int | None = None, hint: str | None = None) -> None:
        super().__init__(operation, path, errno, hint)
        self.filename = path
        self.strerror = None if errno is None else _posix.strerror(errno)


class HostError(_SystemError):
    """This kernel, host or cgroup set-up lacks what was asked for."""


class PermissionDenied(_SystemError, PermissionError):
    """The caller lacks the privilege (errno EPERM or EACCES)."""


class ExecutableError(Error):
    """The container's program cannot be executed: exit status 126 in the people's form, 127 where it is missing."""


class MissingExecutable(ExecutableError, _SystemError, FileNotFoundError):
    """The program does not exist inside the container, or is not in its PATH. ``filename`` is the name that was asked for."""

    def __str__(self) -> str:
        if self._text is not None:
            return self._text
        # Engines make exit status 127 of exactly these words.
        text = f'exec: "{self.path}": executable file not found in $PATH'
        return text if self.hint is None else f"{text}; {self.hint}"


class ForbiddenExecutable(ExecutableError, _SystemError, PermissionError):
    """The program exists inside the container but may not be executed. ``filename`` is the name that was asked for."""

    def __str__(self) -> str:
        if self._text is not None:
            return self._text
        text = f'exec: "{self.path}": {_words(self.errno or _errno.EACCES)}'
        return text if self.hint is None else f"{text}; {self.hint}"


class RemoteError(Error):
    """An exception of a function that `ContainerExecutor` ran, in words: by itself where it cannot be carried back, else as its cause.

    type_name: of the exception. message: its own text. traceback: inside, as text.
    """

    type_name: str
    message: str
    traceback: str

    def __init__(self, type_name: str, message: str, traceback: str) -> None:
        super().__init__("call in a container")
        self.args = (type_name, message, traceback)
        self.type_name = type_name
        self.message = message
        self.traceback = traceback

    def __str__(self) -> str:
        said = f"{self.type_name}: {self.message}" if self.message else self.type_name
        return f"{said}\n\n{self.traceback}" if self.traceback else said


_KINDS: "dict[str, type[Error]]" = {
    "host": HostError,
    "not-found": NotFound,
    "already-exists": AlreadyExists,
    "invalid-state": InvalidState,
    "state-unreadable": StateUnreadable,
}


def from_native(
    kind: str,
    operation: str,
    path: str | None,
    errno: int | None,
    hint: str | None,
    json_path: str | None,
    message: str | None,
) -> Error:
    """Return the exception for an error of the native module.

    kind is ``Kind::name`` of rust/core/src/error.rs; message is that error's whole text, and becomes ``str()`` of the exception.
    """
    error: Error
    if kind == "spec":
        error = SpecError(operation, path, errno, hint, json_path)
    elif kind == "executable":
        error = _executable_class(errno)(operation, path, errno, hint)
    elif kind == "system":
        error = _system_class(errno)(operation, path, errno, hint)
    else:
        error = _KINDS[kind](operation, path, errno, hint)
    error._text = message
    return error


def from_os_error(operation: str, error: OSError, path: str | None = None, hint: str | None = None) -> Error:
    """Return the exception for a system call that failed in Python: PermissionDenied for EPERM and EACCES, else Error.

    path stands in where the OSError names no file.
    """
    filename = error.filename
    if isinstance(filename, bytes):
        filename = filename.decode("utf-8", "surrogateescape")
    named = path if path is not None or filename is None else str(filename)
    return _system_class(error.errno)(operation, named, error.errno, hint)


def _executable_class(errno: int | None) -> type[Error]:
    if errno in (None, _errno.ENOENT, _errno.ENOTDIR):
        return MissingExecutable
    if errno in (_errno.EACCES, _errno.EPERM, _errno.EISDIR):
        return ForbiddenExecutable
    return ExecutableError


def _system_class(errno: int | None) -> type[Error]:
    return PermissionDenied if errno in (_errno.EPERM, _errno.EACCES) else Error


def _words(errno: int) -> str:
    """errno's own words in lower case with its name: engines match the words, people look for the name."""
    return f"{_posix.strerror(errno).lower()} ({_errno.errorcode.get(errno, errno)})"
