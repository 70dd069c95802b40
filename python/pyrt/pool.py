"""Pool: containers that stand and wait for a command, so that a start costs a message instead of a launch.

Each takes one command and ends with it; one thread makes the next (`stock`). What a container is (root, limits, user, namespaces, system
calls) belongs to the pool, what runs in it (command, env, cwd, stdio) to the call. Neighbours: process.py, popen.py, aio.py have the same
functions without a pool, and serve these.
"""

import os

from pyrt.communication import TALK, parted
from pyrt.ownership import Owned
from pyrt.popen import Popen
from pyrt.process import command_words, complete
from pyrt.stdio import Stdio
from pyrt.stock import Stock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, Literal, overload

    from typing_extensions import Unpack

    from pyrt.aio import Process
    from pyrt.completed import CompletedProcess
    from pyrt.exchange import Bounds
    from pyrt.launch import Launch
    from pyrt.options import ContainerOptions, PoolCommand, PoolRun, PoolTalk, StrPath
    from pyrt.stdio import File
else:

    def overload(function):
        return function


__all__ = ["Pool"]

_OF_THE_COMMAND = ("cwd", "env", "pass_fds", "shell")
_TALK = TALK | {"universal_newlines"}


class Pool(Owned):
    """count containers that wait. Leaving `with`, or `close()`, ends those that wait; what runs belongs to whoever started it.

    options: those of `run` that say what a container is, limits among them, which are of each container; env and cwd are what a command
    has unless its call says otherwise. The first containers are made while the constructor's caller goes on: `wait_ready` waits for them.

    A pool that is empty launches at once, which takes as long as `run` does. Where the thread could not make a container, the next call
    raises its error. Any thread may use a pool. Raises what `run` raises for its options, TypeError and ValueError for count.
    """

    __slots__ = ("_cwd", "_env", "_stock", "count")

    def __init__(self, count: int, /, **options: "Unpack[ContainerOptions]") -> None:
        super().__init__()
        if isinstance(count, bool) or not isinstance(count, int):
            raise TypeError(f"count is {type(count).__name__}, not an int")
        if count < 1:
            raise ValueError(f"count is {count}: a pool holds one container at least")
        refused = options.keys() & {"pass_fds", "shell"}
        if refused or options.get("init") is False:
            from pyrt.refusals import refusal

            raise refusal("Pool", refused or {"init"})
        self.count = count
        self._stock = Stock(count, options)
        process = self._stock.configuration.config["process"]
        self._env: dict[str, str] = dict(entry.partition("=")[::2] for entry in process.get("env") or ())
        self._cwd: str = process.get("cwd") or "/"
        self._own()

    @property
    def ready(self) -> int:
        """How many containers wait now."""
        return self._stock.waiting()

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Wait until all `count` containers wait. False after timeout seconds. Raises the error of one that could not be made."""
        self._check()
        return self._stock.wait(timeout)

    @overload
    def run(
        self,
        args: "Sequence[StrPath] | StrPath",
        *,
        input: str | None = None,
        text: "Literal[True]",
        encoding: str | None = None,
        errors: str | None = None,
        **arguments: "Unpack[PoolTalk]",
    ) -> "CompletedProcess[str]": ...

    @overload
    def run(  # noqa: F811 - an overload
        self,
        args: "Sequence[StrPath] | StrPath",
        *,
        input: str | None = None,
        text: bool | None = None,
        encoding: str,
        errors: str | None = None,
        **arguments: "Unpack[PoolTalk]",
    ) -> "CompletedProcess[str]": ...

    @overload
    def run(  # noqa: F811 - an overload
        self,
        args: "Sequence[StrPath] | StrPath",
        *,
        input: bytes | None = None,
        text: "Literal[False] | None" = None,
        encoding: None = None,
        errors: None = None,
        **arguments: "Unpack[PoolTalk]",
    ) -> "CompletedProcess[bytes]": ...

    @overload
    def run(self, args: "Sequence[StrPath] | StrPath", **arguments: "Unpack[PoolRun]") -> "CompletedProcess[Any]": ...  # noqa: F811 - an overload

    def run(self, args: "Sequence[StrPath] | StrPath", **arguments: "Unpack[PoolRun]") -> "CompletedProcess[Any]":  # noqa: F811 - an overload
        """As `pyrt.run`, in one of the containers that wait. Raises what that raises."""
        self._check()
        communication, command = parted(arguments, _TALK)
        words, bounds, start = self._command(args, command, "Pool.run")
        return complete(communication, words, start(communication.stdio), bounds=bounds)

    def Popen(self, args: "Sequence[StrPath] | StrPath", **arguments: "Any") -> "Popen[Any]":  # noqa: N802 - subprocess's name
        """As `pyrt.Popen`, in one of the containers that wait; the arguments are those of `run`, less what `pyrt.Popen` does not take."""
        self._check()
        return PooledPopen(self, args, **arguments)

    @property
    def aio(self) -> "PoolAio":
        """`await pool.aio.run(...)`, `await pool.aio.Popen(...)`."""
        return PoolAio(self)

    def _command(
        self, args: "Sequence[StrPath] | StrPath", command: "PoolCommand", function: str
    ) -> "tuple[list[str], Bounds, Callable[[Callable[[], Stdio]], Launch]]":
        """The words of the command, how far it may go, and what starts it."""
        words = command_words(args)
        if words is None:
            raise TypeError("args is None: a pool's containers wait for a command")
        unknown = command.keys() - {*_OF_THE_COMMAND, "max_output", "max_output_action"}
        if unknown:
            from pyrt.refusals import refusal

            raise refusal(function, unknown)
        if command.get("shell"):
            words = ["/bin/sh", "-c", *words]
        cwd = command.get("cwd")
        environment = _environment(self._env, command.get("env"))
        where = self._cwd if cwd is None else os.fspath(cwd)
        bounds = self._stock.configuration.bounds
        if "max_output" in command or "max_output_action" in command:
            from pyrt.bounds import output_bounds

            bounds = output_bounds(bounds, command)
        pass_fds = command.get("pass_fds", ())

        def start(stdio: "Callable[[], Stdio]") -> "Launch":
            return self._stock.hand_out(words, environment, where, stdio, pass_fds)

        return words, bounds, start

    def _end(self) -> None:
        self._stock.close()

    _abandon = _end

    def __repr__(self) -> str:
        return f"Pool({self.count}, ready={self.ready})"


class PooledPopen(Popen["Any"]):
    """A Popen whose container waited in a pool."""

    __slots__ = ("_pool",)

    def __init__(self, pool: Pool, args: "Sequence[StrPath] | StrPath", **arguments: "Any") -> None:
        self._pool: Pool | None = pool
        super().__init__(args, **arguments)

    def _start(
        self, args: "Sequence[StrPath] | StrPath | None", options: "Any", stdio: "Callable[[], Stdio]"
    ) -> "tuple[list[str], Bounds, Launch]":
        pool, self._pool = self._pool, None
        assert pool is not None, "it starts once"
        assert args is not None, "it is not optional"
        words, bounds, start = pool._command(args, options, "Pool.Popen")
        return words, bounds, start(stdio)


class PoolAio:
    """The pool's functions for asyncio."""

    __slots__ = ("_pool",)

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @overload
    async def run(
        self,
        args: "Sequence[StrPath] | StrPath",
        *,
        input: str | None = None,
        text: "Literal[True]",
        encoding: str | None = None,
        errors: str | None = None,
        **arguments: "Unpack[PoolTalk]",
    ) -> "CompletedProcess[str]": ...

    @overload
    async def run(  # noqa: F811 - an overload
        self,
        args: "Sequence[StrPath] | StrPath",
        *,
        input: str | None = None,
        text: bool | None = None,
        encoding: str,
        errors: str | None = None,
        **arguments: "Unpack[PoolTalk]",
    ) -> "CompletedProcess[str]": ...

    @overload
    async def run(  # noqa: F811 - an overload
        self,
        args: "Sequence[StrPath] | StrPath",
        *,
        input: bytes | None = None,
        text: "Literal[False] | None" = None,
        encoding: None = None,
        errors: None = None,
        **arguments: "Unpack[PoolTalk]",
    ) -> "CompletedProcess[bytes]": ...

    @overload
    async def run(self, args: "Sequence[StrPath] | StrPath", **arguments: "Unpack[PoolRun]") -> "CompletedProcess[Any]": ...  # noqa: F811 - an overload

    async def run(self, args: "Sequence[StrPath] | StrPath", **arguments: "Unpack[PoolRun]") -> "CompletedProcess[Any]":  # noqa: F811 - an overload
        """As `pyrt.aio.run`, in one of the pool's containers."""
        from pyrt.aio import carry_out

        self._pool._check()
        communication, command = parted(arguments, _TALK)
        words, bounds, start = self._pool._command(args, command, "Pool.aio.run")
        return await carry_out(communication, words, bounds, lambda: start(communication.stdio))

    async def Popen(  # noqa: N802 - as the pool's own
        self,
        args: "Sequence[StrPath] | StrPath",
        *,
        stdin: "File" = None,
        stdout: "File" = None,
        stderr: "File" = None,
        limit: int = 1 << 16,
        **command: "Unpack[PoolCommand]",
    ) -> "Process":
        """As `pyrt.aio.create_subprocess_exec`, in one of the pool's containers."""
        from pyrt.aio import start_process

        self._pool._check()
        words, bounds, start = self._pool._command(args, command, "Pool.aio.Popen")
        return await start_process(words, bounds, lambda: start(lambda: Stdio(stdin, stdout, stderr)), limit)


def _environment(base: "Mapping[str, str]", more: "Mapping[str, str] | None") -> list[str]:
    entries = {**base, **(more or {})}
    for name in more or ():
        if not name or "=" in name:
            raise ValueError(f"env: {name!r} cannot be the name of a variable")
    return [f"{name}={value}" for name, value in entries.items()]
