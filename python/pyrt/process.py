"""run: a command in a container of its own, as subprocess.run would run it; and CompletedProcess, what comes of it.

`configuration` says what the container is to be, the native plan checks it, `launch` makes it and waits, `exchange` holds what passes
between it and the caller.
"""

import os
import time

from pyrt.configuration import configure
from pyrt.exchange import Exchange
from pyrt.launch import Launch
from pyrt.limits import Usage
from pyrt.stdio import DEVNULL, PIPE, STDOUT, Stdio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Generic, Literal, TypeVar, overload

    from typing_extensions import Unpack

    from pyrt import _native
    from pyrt.causes import Cause
    from pyrt.configuration import Configuration
    from pyrt.options import ContainerOptions, StrPath
    from pyrt.stdio import File

    Output = TypeVar("Output", bytes, str)
else:
    # `typing` costs more to import than a launch takes; at run time a class that can be subscripted is all that is needed.
    class Generic:
        __slots__ = ()
        __class_getitem__ = classmethod(type(list[int]))

    Output = object

    def overload(function):
        return function


__all__ = ["DEVNULL", "PIPE", "STDOUT", "CompletedProcess", "run"]

TEXT_ENCODING = "utf-8"
"""What text is in where nobody says: the container's own LANG, not the caller's locale."""


class CompletedProcess(Generic[Output]):
    """A command that has ended, with all that was in its container.

    args: the command. returncode: its exit code, or minus the signal that ended it. stdout, stderr: what it wrote, None where that was
    not captured. usage: what the container used. cause: why it ended. warnings: what of the configuration could not be followed.
    """

    __slots__ = ("_cause", "args", "returncode", "stderr", "stdout", "usage", "warnings")

    args: "list[str]"
    returncode: int
    # `| Any`, as typeshed does: whoever captured need not ask whether it is None.
    stdout: "Output | Any"
    stderr: "Output | Any"
    usage: Usage
    warnings: "list[str]"

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
    ) -> None:
        self.args = args
        self.returncode = returncode
        self.stdout = stdout
        self.stderr = stderr
        self.usage = usage
        self.warnings = warnings
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


@overload
def run(
    args: "Sequence[StrPath] | StrPath | None" = None,
    *,
    stdin: "File" = None,
    input: str | None = None,
    stdout: "File" = None,
    stderr: "File" = None,
    capture_output: bool = False,
    text: "Literal[True]",
    encoding: str | None = None,
    errors: str | None = None,
    timeout: float | None = None,
    check: bool = False,
    **options: "Unpack[ContainerOptions]",
) -> CompletedProcess[str]: ...
@overload
def run(  # noqa: F811 - an overload
    args: "Sequence[StrPath] | StrPath | None" = None,
    *,
    stdin: "File" = None,
    input: str | None = None,
    stdout: "File" = None,
    stderr: "File" = None,
    capture_output: bool = False,
    text: bool | None = None,
    encoding: str,
    errors: str | None = None,
    timeout: float | None = None,
    check: bool = False,
    **options: "Unpack[ContainerOptions]",
) -> CompletedProcess[str]: ...
@overload
def run(  # noqa: F811 - an overload
    args: "Sequence[StrPath] | StrPath | None" = None,
    *,
    stdin: "File" = None,
    input: str | None = None,
    stdout: "File" = None,
    stderr: "File" = None,
    capture_output: bool = False,
    text: bool | None = None,
    encoding: str | None = None,
    errors: str,
    timeout: float | None = None,
    check: bool = False,
    **options: "Unpack[ContainerOptions]",
) -> CompletedProcess[str]: ...
@overload
def run(  # noqa: F811 - an overload
    args: "Sequence[StrPath] | StrPath | None" = None,
    *,
    stdin: "File" = None,
    input: bytes | None = None,
    stdout: "File" = None,
    stderr: "File" = None,
    capture_output: bool = False,
    text: "Literal[False] | None" = None,
    encoding: None = None,
    errors: None = None,
    timeout: float | None = None,
    check: bool = False,
    **options: "Unpack[ContainerOptions]",
) -> CompletedProcess[bytes]: ...
def run(  # noqa: F811 - the overloads are above
    args: "Sequence[StrPath] | StrPath | None" = None,
    *,
    stdin: "File" = None,
    input: str | bytes | None = None,
    stdout: "File" = None,
    stderr: "File" = None,
    capture_output: bool = False,
    text: bool | None = None,
    encoding: str | None = None,
    errors: str | None = None,
    timeout: float | None = None,
    check: bool = False,
    **options: "Unpack[ContainerOptions]",
) -> "CompletedProcess[Any]":
    """Run a command in a new container, wait until all in it has ended, and say how it ended.

    The arguments of subprocess.run mean what they mean there, but for these: stdin is /dev/null unless said otherwise; env is added to
    a fresh environment (PATH, HOME, LANG, TERM) that has nothing of the caller's; text is UTF-8 unless encoding says otherwise;
    pass_fds arrive from descriptor 3 on, in their order; user= also gives that user's groups.

    args: the command; None for the one that spec= or bundle= names. timeout: seconds, after which everything inside is ended.

    Process: cwd; env, inherit_env (names of the caller's variables to pass on); user, group, extra_groups (names as the container has
    them, or numbers); umask; capabilities (names; all that there are); seccomp (a profile in docker's format or the OCI's, or its file;
    None or "unconfined" for none; docker's profile unless said); rlimits ({"NOFILE": 1024}, or Rlimit objects); pass_fds; init
    (False: the command becomes PID 1 itself); shell (True: the container's /bin/sh -c runs args, which may be one str).

    Root: rootfs (a directory, copy-on-write unless overlay=False; overlay=DIR keeps the changes there); bundle or spec (taken as they
    say, but for what is said beside them); else the host view (host_view; here=True: the current directory too, and start in it).
    size: of what may be written to it (bytes, "1G"). read_only; mounts (Mount objects, or docker's "type=bind,src=...,dst=...");
    tmpfs (paths, or {path: size}).

    Limits: memory, memory_swap, cpus, cpu_weight, io_weight, cpuset, pids as `Limits` has them; cgroup: the one below which the
    container's own is made.

    Namespaces: network ("none", "host", or Namespaces); hostname; namespaces (Namespaces to join, or {"ipc": "host", "net": PATH,
    "time": "new"}).

    Raises ContainerTimeout; with check, ContainerFailed; MissingExecutable where the command is not there; SpecError, HostError and
    other pyrt.Error where no container could be made. After any of them, Ctrl-C too, nothing is left.
    """

    def prepare() -> "tuple[dict[str, Any], Callable[[Stdio], Launch]]":
        configuration = configure(command_words(args), options)
        plan = configuration.plan()
        return configuration.config, lambda stdio: launch_container(configuration, plan, stdio)

    return complete(
        prepare,
        stdin=stdin,
        input=input,
        stdout=stdout,
        stderr=stderr,
        capture_output=capture_output,
        text=text,
        encoding=encoding,
        errors=errors,
        timeout=timeout,
        check=check,
    )


def complete(
    prepare: "Callable[[], tuple[dict[str, Any], Callable[[Stdio], Launch]]]",
    *,
    stdin: "File",
    input: str | bytes | None,
    stdout: "File",
    stderr: "File",
    capture_output: bool,
    text: bool | None,
    encoding: str | None,
    errors: str | None,
    timeout: float | None,
    check: bool,
) -> "CompletedProcess[Any]":
    """What `run` and `Container.exec` share: launch what `prepare` plans (config.json, and what launches it), feed it, wait for it."""
    if timeout is not None and timeout != timeout:
        raise ValueError("timeout is not a number")
    deadline = None if timeout is None else time.monotonic() + timeout
    if capture_output:
        if stdout is not None or stderr is not None:
            raise ValueError("capture_output=True is stdout=PIPE, stderr=PIPE: it does not go with either")
        stdout = stderr = PIPE
    as_text = bool(text or encoding or errors)
    data = b""
    if input is not None:
        if stdin is not None:
            raise ValueError("input= is written to stdin: it does not go with stdin=")
        stdin = PIPE
        data = input.encode(encoding or TEXT_ENCODING, errors or "strict") if isinstance(input, str) else bytes(input)
        if as_text is not isinstance(input, str):
            raise TypeError(f"input is {type(input).__name__}, but {'text is asked for' if as_text else 'bytes are, without text=True'}")
    elif stdin == PIPE:
        raise ValueError("stdin=PIPE has nobody to write to it: use input=")
    config, launch_with = prepare()
    launch = launch_with(Stdio(stdin, stdout, stderr))
    try:
        stdio = launch.stdio
        outputs = [descriptor for descriptor in (stdio.stdout, stdio.stderr) if descriptor is not None]
        if not data:
            stdio.close_stdin()
        exchange = Exchange(stdin=stdio.stdin, data=data, outputs=outputs, deadline=deadline)
        exchange.filtered = launch.filtered
        returncode = launch.communicate(exchange)
        output: list[Any] = [exchange.output(stdio.stdout), exchange.output(stdio.stderr)]
        usage = launch.usage()
        launch.finish()
    except BaseException:
        launch.close()
        raise
    expired = exchange.ended_by is not None
    if as_text:
        # A character cut in two by the end must not hide that the time was up.
        handler = errors or ("replace" if expired else "strict")
        output = [None if part is None else decoded(part, encoding or TEXT_ENCODING, handler) for part in output]
    cause = exchange.cause(returncode, usage)
    completed: CompletedProcess[Any] = CompletedProcess(
        config["process"]["args"], returncode, *output, usage=usage, cause=cause, warnings=launch.warnings
    )
    if expired and timeout is not None:
        from pyrt.errors import ContainerTimeout

        raise ContainerTimeout(completed.args, timeout, completed.stdout, completed.stderr, result=completed)
    if check:
        completed.check_returncode()
    return completed


def launch_container(configuration: "Configuration", plan: "_native.LaunchPlan", stdio: Stdio) -> Launch:
    host_view = configuration.host_view
    try:
        return Launch(plan, stdio, configuration.pass_fds, configuration.hooks(plan))
    except FileNotFoundError as error:
        from pyrt.errors import MissingExecutable

        if host_view is None or not isinstance(error, MissingExecutable) or error.hint is not None:
            raise
        from pyrt.view import find_on_host

        directory = find_on_host(error.path or "")
        if directory is None:
            hint = "the host view shows /usr and the Python in use: HostView(show=...) adds to it, rootfs= takes another root"
        elif host_view.shows(directory):
            hint = f"it is in {directory}, which is not in the container's PATH: give its whole path"
        else:
            hint = f"the host has it in {directory}, which the host view does not show: HostView(show=[{directory!r}]) does"
        raise MissingExecutable(error.operation, error.path, error.errno, hint) from None


def command_words(args: "Sequence[StrPath] | StrPath | None") -> list[str] | None:
    """The command as config.json has it. A single str or path is a program without arguments, as for subprocess."""
    if args is None:
        return None
    words = [os.fsdecode(word) for word in ((args,) if isinstance(args, (str, os.PathLike)) else args)]
    if not words:
        raise ValueError("args is empty")
    return words


def decoded(data: bytes, encoding: str, errors: str) -> str:
    return data.decode(encoding, errors).replace("\r\n", "\n").replace("\r", "\n")
