"""run: a command in a container of its own, as subprocess.run would run it.

`configuration` says what the container is to be, the native plan checks it, `launch` makes it and waits, `communication` says what
passes between it and the caller, `completed` is what comes of it.
"""

import os

from pyrt.communication import Communication
from pyrt.completed import CompletedProcess
from pyrt.configuration import configure
from pyrt.exchange import UNBOUNDED
from pyrt.launch import Launch
from pyrt.stdio import DEVNULL, PIPE, STDOUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Literal, overload

    from typing_extensions import Unpack

    from pyrt.configuration import Configuration
    from pyrt.exchange import Bounds
    from pyrt.options import ContainerOptions, StrPath
    from pyrt.stdio import File, Stdio
else:

    def overload(function):
        return function


__all__ = ["DEVNULL", "PIPE", "STDOUT", "CompletedProcess", "run"]


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
    universal_newlines: bool | None = None,
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
    universal_newlines: bool | None = None,
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
    universal_newlines: bool | None = None,
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
    errors: str | None = None,
    universal_newlines: "Literal[True]",
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
    universal_newlines: "Literal[False] | None" = None,
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
    universal_newlines: bool | None = None,
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
    them, or numbers); umask; capabilities (names; all that there are); rlimits ({"NOFILE": 1024}, or Rlimit objects); pass_fds; init
    (False: the command becomes PID 1 itself); shell (True: the container's /bin/sh -c runs args, which may be one str).

    System calls: seccomp (a profile in docker's format or the OCI's, or its file; None or "unconfined" for none; docker's profile unless
    said); on_syscall ({name: handler}: the handler gets each such call as a SystemCall, and returns what one of its methods made; what it
    raises denies the call with EPERM, ends the container, and is raised here).

    Root: rootfs (a directory, copy-on-write unless overlay=False; overlay=DIR keeps the changes there); bundle or spec (taken as they
    say, but for what is said beside them); else the host view (host_view; here=True: the current directory too, and start in it).
    size: of what may be written to it (bytes, "1G"). keep_changes (True: the result's `changes` says what it changed).
    read_only; mounts (Mount objects, or docker's "type=bind,src=...,dst=...");
    tmpfs (paths, or {path: size}).

    Limits: memory, memory_swap, cpus, cpu_weight, io_weight, cpuset, pids as `Limits` has them; cgroup: the one below which the
    container's own is made. cgroup_manager="systemd": systemd makes it, as a scope, and cgroup is a slice. cpu_time: seconds of processor
    time of everything inside, after which it is ended. max_output (bytes, "1M"): so much of each stream is kept, and the rest read and
    dropped (`truncated`); max_output_action="kill" ends it then.

    Devices and namespaces: devices (the host's, "/dev/fuse" or "/dev/fuse:/dev/inside"); network ("none", "host", or Namespaces);
    hostname; namespaces (Namespaces to join, or {"ipc": "host", "net": PATH, "time": "new"}); user_namespace (True: a new one, ids keep
    their numbers; or {"uid": [(inside, outside, count)], "gid": ...}; not with the host view).

    Raises ContainerTimeout; with check, ContainerFailed; MissingExecutable where the command is not there; SpecError, HostError and
    other pyrt.Error where no container could be made. After any of them, Ctrl-C too, nothing is left.
    """

    communication = Communication(
        stdin=stdin,
        input=input,
        stdout=stdout,
        stderr=stderr,
        capture_output=capture_output,
        text=text,
        encoding=encoding,
        errors=errors,
        universal_newlines=universal_newlines,
        timeout=timeout,
        check=check,
    )
    configuration = configure(command_words(args), options)
    launch = launch_container(configuration, communication.stdio)
    return complete(communication, configuration.config["process"]["args"], launch, bounds=configuration.bounds)


def complete(communication: Communication, args: list[str], launch: Launch, *, bounds: "Bounds" = UNBOUNDED) -> "CompletedProcess[Any]":
    """What `run` and `Container.exec` share: feed what was launched, and wait for it. The launch is this function's from now on."""
    try:
        stdio = launch.stdio
        exchange = communication.exchange(stdio, bounds, filtered=launch.filtered)
        returncode = launch.communicate(exchange)
        output = exchange.output(stdio.stdout), exchange.output(stdio.stderr)
        usage = launch.usage()
        changes = launch.changes()
        launch.finish()
    except BaseException:
        launch.close()
        raise
    return communication.completed(args, returncode, exchange, output, usage, launch.warnings, changes)


def launch_container(configuration: "Configuration", stdio: "Callable[[], Stdio]") -> Launch:
    """Plan and launch what is configured; the error for a program that is not there says where the host has it.

    stdio is called once that is planned, and what it returns is the launch's. The plan is dropped: it is larger than all else.
    """
    plan = configuration.plan()
    hooks = configuration.hooks(plan)
    try:
        launch = Launch(plan, stdio(), configuration.pass_fds, hooks, configuration.handlers)
    except FileNotFoundError as error:
        raise explained(error, configuration) from None
    require_processor_time(launch, configuration)
    return launch


def require_processor_time(launch: Launch, configuration: "Configuration") -> None:
    """Close it and raise HostError where processor time is bounded, and nobody counts it."""
    if configuration.bounds.cpu_time is not None and not launch.counts_processor_time():
        launch.close()
        from pyrt.errors import HostError

        raise HostError("limit cpu_time", hint="no cgroup here counts processor time; rlimits={'CPU': N} limits one process")


def explained(error: FileNotFoundError, configuration: "Configuration") -> FileNotFoundError:
    """The error for a program that is not there, with where the host has it, if the container has the host view."""
    from pyrt.errors import MissingExecutable

    host_view = configuration.host_view
    if host_view is None or not isinstance(error, MissingExecutable) or error.hint is not None:
        return error
    from pyrt.view import find_on_host

    directory = find_on_host(error.path or "")
    if directory is None:
        hint = "the host view shows /usr and the Python in use: HostView(show=...) adds to it, rootfs= takes another root"
    elif host_view.shows(directory):
        hint = f"it is in {directory}, which is not in the container's PATH: give its whole path"
    else:
        hint = f"the host has it in {directory}, which the host view does not show: HostView(show=[{directory!r}]) does"
    return MissingExecutable(error.operation, error.path, error.errno, hint)


def command_words(args: "Sequence[StrPath] | StrPath | None") -> list[str] | None:
    """The command as config.json has it. A single str or path is a program without arguments, as for subprocess."""
    if args is None:
        return None
    words = [os.fsdecode(word) for word in ((args,) if isinstance(args, (str, os.PathLike)) else args)]
    if not words:
        raise ValueError("args is empty")
    return words
