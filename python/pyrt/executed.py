"""`Container.popen` and `Container.aio`: one more process in a container that runs, beside the caller, and in an event loop.

Neighbours: execution.py plans it, popen.py and aio.py have the handles. Imported only where one is asked for.
"""

from pyrt.communication import parted
from pyrt.exchange import UNBOUNDED
from pyrt.execution import starting
from pyrt.popen import Popen
from pyrt.stdio import Stdio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Literal, overload

    from typing_extensions import Unpack

    from pyrt import _native
    from pyrt.aio import Process
    from pyrt.completed import CompletedProcess
    from pyrt.exchange import Bounds
    from pyrt.launch import Launch
    from pyrt.options import ExecOptions, ExecRun, ExecTalk, StrPath
    from pyrt.stdio import File
else:

    def overload(function):
        return function


__all__ = ["ContainerAio", "ExecutedPopen"]


class ExecutedPopen(Popen["Any"]):
    """A Popen in a container that runs. Whatever ends it ends the command alone; `usage` knows its max_rss_bytes and nothing else."""

    __slots__ = ("_container",)

    def __init__(self, container: "_native.Container", args: "Sequence[StrPath] | StrPath", **arguments: "Any") -> None:
        self._container: _native.Container | None = container
        super().__init__(args, **arguments)

    def _start(
        self, args: "Sequence[StrPath] | StrPath | None", options: "Any", stdio: "Callable[[], Stdio]"
    ) -> "tuple[list[str], Bounds, Launch]":
        container, self._container = self._container, None
        assert container is not None, "it starts once"
        assert args is not None, "it is not optional"
        words, start = starting(container, args, options, "Container.popen")
        return words, UNBOUNDED, start(stdio)


class ContainerAio:
    """The functions of a container that runs for asyncio."""

    __slots__ = ("_container",)

    def __init__(self, container: "_native.Container") -> None:
        self._container = container

    @overload
    async def exec(
        self,
        args: "Sequence[StrPath] | StrPath",
        *,
        input: str | None = None,
        text: "Literal[True]",
        encoding: str | None = None,
        errors: str | None = None,
        **arguments: "Unpack[ExecTalk]",
    ) -> "CompletedProcess[str]": ...

    @overload
    async def exec(  # noqa: F811 - an overload
        self,
        args: "Sequence[StrPath] | StrPath",
        *,
        input: str | None = None,
        text: bool | None = None,
        encoding: str,
        errors: str | None = None,
        **arguments: "Unpack[ExecTalk]",
    ) -> "CompletedProcess[str]": ...

    @overload
    async def exec(  # noqa: F811 - an overload
        self,
        args: "Sequence[StrPath] | StrPath",
        *,
        input: bytes | None = None,
        text: "Literal[False] | None" = None,
        encoding: None = None,
        errors: None = None,
        **arguments: "Unpack[ExecTalk]",
    ) -> "CompletedProcess[bytes]": ...

    @overload
    async def exec(self, args: "Sequence[StrPath] | StrPath", **arguments: "Unpack[ExecRun]") -> "CompletedProcess[Any]": ...  # noqa: F811 - an overload

    async def exec(self, args: "Sequence[StrPath] | StrPath", **arguments: "Unpack[ExecRun]") -> "CompletedProcess[Any]":  # noqa: F811 - an overload
        """As `Container.exec`, without blocking the event loop. A cancellation kills the command, and is raised when it is gone."""
        from pyrt.aio import carry_out

        communication, options = parted(arguments)
        words, start = starting(self._container, args, options, "Container.exec")
        return await carry_out(communication, words, UNBOUNDED, lambda: start(communication.stdio))

    async def popen(
        self,
        args: "Sequence[StrPath] | StrPath",
        *,
        stdin: "File" = None,
        stdout: "File" = None,
        stderr: "File" = None,
        limit: int = 1 << 16,
        **options: "Unpack[ExecOptions]",
    ) -> "Process":
        """As `pyrt.aio.create_subprocess_exec`, in this container; what ends the handle ends the command alone."""
        from pyrt.aio import start_process

        words, start = starting(self._container, args, options, "Container.aio.popen")
        return await start_process(words, UNBOUNDED, lambda: start(lambda: Stdio(stdin, stdout, stderr)), limit)
