"""CompletedProcess: what comes of a command that `run`, `aio.run` or `Container.exec` ran to its end. communication.py makes it."""

from pyrt.limits import Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Generic, TypeVar

    from pyrt.causes import Cause
    from pyrt.layer import Changes

    Output = TypeVar("Output", bytes, str)
else:
    # `typing` costs more to import than a launch takes; at run time a class that can be subscripted is all that is needed.
    class Generic:
        __slots__ = ()
        __class_getitem__ = classmethod(type(list[int]))

    Output = object

__all__ = ["CompletedProcess"]


class CompletedProcess(Generic[Output]):
    """A command that has ended, with all that was in its container.

    args: the command. returncode: its exit code, or minus the signal that ended it. stdout, stderr: what it wrote, None where that was
    not captured. usage: what the container used. cause: why it ended. warnings: what of the configuration could not be followed.
    truncated: whether it wrote more than max_output keeps. changes: of its root, None where keep_changes was not asked for.
    """

    __slots__ = ("_cause", "args", "changes", "returncode", "stderr", "stdout", "truncated", "usage", "warnings")

    args: "list[str]"
    returncode: int
    # `| Any`, as typeshed does: whoever captured need not ask whether it is None.
    stdout: "Output | Any"
    stderr: "Output | Any"
    usage: Usage
    warnings: "list[str]"
    truncated: bool
    # As of stdout: whoever asked for them need not ask whether they are None.
    changes: "Changes | Any"

    def __init__(
        self,
        args: list[str],
        returncode: int,
        stdout: "Output | None",
        stderr: "Output | None",
        *,
        usage: Usage,
        cause: str,
        warnings: list[str],
        truncated: bool = False,
        changes: "Changes | None" = None,
    ) -> None:
        self.args = args
        self.returncode = returncode
        self.stdout = stdout
        self.stderr = stderr
        self.usage = usage
        self.warnings = warnings
        self.truncated = truncated
        self.changes = changes
        self._cause = cause

    @property
    def cause(self) -> "Cause":
        """Why it ended."""
        from pyrt.causes import Cause

        return Cause[self._cause]

    @property
    def explanation(self) -> str:
        """The cause in words, with its figures: limit and peak where the kernel ended it for memory."""
        from pyrt.causes import explain

        return explain(self.cause, self.returncode, self.usage)

    def check_returncode(self) -> None:
        """Raise ContainerFailed (also a subprocess.CalledProcessError) unless the return code is 0."""
        if self.returncode:
            from pyrt.errors import ContainerFailed

            raise ContainerFailed(self.returncode, self.args, self.stdout, self.stderr, result=self)

    def _values(self) -> "tuple[Any, ...]":
        return self.args, self.returncode, self.stdout, self.stderr, self.usage, self._cause

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if isinstance(other, CompletedProcess) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        said = {"args": self.args, "returncode": self.returncode, "stdout": self.stdout, "stderr": self.stderr}
        shown = ", ".join(f"{name}={value!r}" for name, value in said.items() if value is not None)
        return f"CompletedProcess({shown}, cause={self._cause}, usage={self.usage!r})"
