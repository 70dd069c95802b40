"""`pyrt run [options] -- CMD ARG...`: a command in a container of its own, for people. `--` chooses this form and nothing else does.

The options are one table, which makes the parser and the help. `configuration` and `process.Launch` are the library's own, so the defaults
are too. Exit codes are docker's: 125 pyrt failed, 126 cannot be executed, 127 not found, 128+n signal n, 124 --timeout.
"""

import os

from pyrt import signals
from pyrt.configuration import configure
from pyrt.errors import Error, ExecutableError, MissingExecutable
from pyrt.launch import Launch
from pyrt.stdio import Stdio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from pyrt.cli.main import Globals
    from pyrt.options import ContainerOptions

__all__ = ["OPTIONS", "main"]

TIMED_OUT = 124
FAILED = 125
CANNOT_EXECUTE = 126
NOT_FOUND = 127
SIGNALED = 128

_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


class UsageError(Exception):
    """The command line is wrong; says how."""


class Option:
    """An option. names: as they are typed. target: what `_options` finds it under. metavar: its value, None for a switch.

    read: turns the value's text into what the library takes; raises ValueError. many: may be said again and again.
    """

    __slots__ = ("help", "many", "metavar", "names", "read", "target")

    def __init__(
        self, names: str, target: str, metavar: str | None, help: str, *, read: "Callable[[str], Any]" = str, many: bool = False
    ) -> None:
        self.names = names.split()
        self.target = target
        self.metavar = metavar
        self.help = help
        self.read = read
        self.many = many


def _seconds(text: str) -> float:
    number = text.rstrip("smh")
    unit = text[len(number) :]
    try:
        seconds = float(number) * _SECONDS[unit]
    except (ValueError, KeyError):
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ValueError(f"{text!r} is not a number of seconds above 0, or one with s, m or h")
    return seconds


def _size(text: str) -> int:
    from pyrt.limits import size_bytes

    return size_bytes(text)


def _network(text: str) -> str:
    if text not in ("none", "host"):
        raise ValueError(f"{text!r} is neither none nor host")
    return text


OPTIONS = (
    Option("--rootfs", "rootfs", "DIR", "directory to be the root, copy-on-write (default: the host view)"),
    Option("--no-overlay", "no_overlay", None, "write to the rootfs itself"),
    Option("--here", "here", None, "show the current directory, copy-on-write, and start in it"),
    Option("--show", "show", "PATH", "show more of the host, copy-on-write", many=True),
    Option("--read-only", "read_only", None, "make the root read-only"),
    Option("--size", "size", "SIZE", "how much may be written (default: the memory limit, else 1G)", read=_size),
    Option("--mount", "mounts", "SPEC", "type=bind,src=DIR,dst=DIR[,ro] or type=tmpfs,dst=DIR[,tmpfs-size=SIZE]", many=True),
    Option("-m --memory", "memory", "SIZE", "limit of memory: bytes, or 256M, 1G", read=_size),
    Option("--cpus", "cpus", "N", "limit of processor time: 0.5 is half of one", read=float),
    Option("--pids", "pids", "N", "limit of processes and threads (default: 2048)", read=int),
    Option("--timeout", "timeout", "TIME", "end everything after so many seconds (or 5m, 1h), with status 124", read=_seconds),
    Option("--network", "network", "none|host", "network: none but loopback (default), or the host's", read=_network),
    Option("--hostname", "hostname", "NAME", "host name inside (default: --name, else pyrt)"),
    Option("-u --user", "user", "USER[:GROUP]", "run as this user, by name or number"),
    Option("-e --env", "env", "NAME[=VALUE]", "set a variable, or pass on the one that is set here", many=True),
    Option("-w --workdir", "cwd", "DIR", "directory to start in"),
    Option("--seccomp", "seccomp", "FILE", "profile in docker's format or the OCI's, or unconfined (default: docker's)"),
    Option("-t --tty", "tty", None, "with a terminal of its own"),
    Option("-i --interactive", "interactive", None, "accepted, and changes nothing: stdin is yours anyway"),
    Option("--name", "name", "NAME", "name of the container and of its cgroup"),
    Option("-h --help", "help", None, "show this and exit"),
)
_BY_NAME = {name: option for option in OPTIONS for name in option.names}


def main(words: list[str], settings: "Globals") -> int:
    """Run what stands after `pyrt run`. Returns the exit status."""
    messages = settings.messages
    try:
        said, command = _read(words)
        if "help" in said:
            messages.output(_page())
            return 0
        if not command:
            raise UsageError("there is no command after --")
        return _run(said, command, settings)
    except UsageError as error:
        messages.error(f"{error}; pyrt run --help -- shows the options")
        return FAILED
    except ExecutableError as error:
        messages.error(_hinted(error, said))
        return NOT_FOUND if isinstance(error, MissingExecutable) else CANNOT_EXECUTE
    except (Error, ValueError, OSError) as error:
        messages.error(str(error))
        return FAILED


def _run(said: "dict[str, Any]", command: list[str], settings: "Globals") -> int:
    if "rootfs" in said and (other := said.keys() & {"here", "show"}):
        raise UsageError(f"--{other.pop()} is of the host view, and --rootfs takes another root: --mount shows a directory in it")
    if "no_overlay" in said and "rootfs" not in said:
        raise UsageError("--no-overlay would write to the host itself: it goes with --rootfs")
    terminal = "tty" in said
    if terminal and not os.isatty(0):
        raise UsageError("--tty: standard input is not a terminal")
    name = said.get("name")
    if name is not None:
        from pyrt import _native

        _native.Container(settings.root, name)  # refuses what is no id
    options = _options(said, terminal)
    if settings.cgroup_manager == "systemd":
        options["cgroup_manager"] = "systemd"
    plan = (configuration := configure(command, options, id=name, terminal=terminal)).plan()
    signals.hold()
    with Launch(plan, Stdio(stdin=0), configuration.pass_fds) as launch:
        # Not before: where it fails, the reason is the one line that counts.
        for warning in plan.warnings:
            settings.messages.warning(warning)
        status = launch.process.foreground(terminal=terminal, timeout=said.get("timeout"))
        if status is None:
            return TIMED_OUT
        if status:
            _tell_cause(status, launch, settings)
        launch.finish()
    return status if status >= 0 else SIGNALED - status


def _tell_cause(status: int, launch: Launch, settings: "Globals") -> None:
    """Say what the status does not show, such as a lack of memory."""
    from pyrt.causes import TOLD, Cause, explain
    from pyrt.exchange import cause_of

    usage = launch.usage()
    cause = Cause[cause_of(status, usage, filtered=launch.filtered)]
    if cause in TOLD:
        settings.messages.warning(explain(cause, status, usage))


def _options(said: "dict[str, Any]", terminal: bool) -> "ContainerOptions":
    """What was said, as the library takes it."""
    options: ContainerOptions = {
        "rootfs": said.get("rootfs"),
        "here": "here" in said,
        "size": said.get("size"),
        "mounts": said.get("mounts", ()),
        "memory": said.get("memory"),
        "cpus": said.get("cpus"),
        "pids": said.get("pids"),
        "network": said.get("network"),
        "hostname": said.get("hostname") or said.get("name"),
        "user": said.get("user"),
        "cwd": said.get("cwd"),
    }
    if "seccomp" in said:
        options["seccomp"] = said["seccomp"]
    if "no_overlay" in said:
        options["overlay"] = False
    if "read_only" in said:
        options["read_only"] = True
    if "show" in said:
        from pyrt.view import HostView

        options["host_view"] = HostView(show=map(os.path.abspath, said["show"]))
    set_here, passed_on = {}, []
    for entry in said.get("env", ()):
        variable, equals, value = entry.partition("=")
        if equals:
            set_here[variable] = value
        else:
            passed_on.append(variable)
    if terminal:
        # What a program draws must be what this terminal understands.
        passed_on.append("TERM")
    options["env"], options["inherit_env"] = set_here, passed_on
    return options


def _read(words: "Sequence[str]") -> "tuple[dict[str, Any], list[str]]":
    """Options by target, and the command after `--`. Raises UsageError."""
    said: dict[str, Any] = {}
    end = words.index("--")
    before = iter(words[:end])
    for word in before:
        for option, value in _flags(word):
            if option.metavar is None:
                said[option.target] = True
                continue
            if value is None and (value := next(before, None)) is None:
                raise UsageError(f"{word}: there is no {option.metavar}")
            try:
                read = option.read(value)
            except ValueError as error:
                # int and float speak of literals.
                reason = f"{value!r} is not a number" if option.read in (int, float) else str(error)
                raise UsageError(f"{option.names[-1]}: {reason}") from None
            if option.many:
                said.setdefault(option.target, []).append(read)
            else:
                said[option.target] = read
    return said, list(words[end + 1 :])


def _flags(word: str) -> "list[tuple[Option, str | None]]":
    """The options of one word, `--name`, `--name=value` or joined short ones, with a value that is in the same word. Raises UsageError."""
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        option = _BY_NAME.get(name)
        if option is None:
            raise UsageError(f"unknown option {name}")
        if option.metavar is None and equals:
            raise UsageError(f"{name} takes no value")
        return [(option, value if equals else None)]
    if not word.startswith("-") or word == "-":
        raise UsageError(f"{word!r} stands before --: the command goes after it")
    flags: list[tuple[Option, str | None]] = []
    for position, letter in enumerate(word[1:], start=2):
        option = _BY_NAME.get(f"-{letter}")
        if option is None:
            raise UsageError(f"unknown option -{letter}")
        if option.metavar is not None:
            return [*flags, (option, word[position:].removeprefix("=") or None)]
        flags.append((option, None))
    return flags


def _hinted(error: ExecutableError, said: "dict[str, Any]") -> str:
    """The error with what to do about it, in the words of this command line."""
    if not isinstance(error, MissingExecutable) or error.hint is not None or "rootfs" in said:
        return str(error)
    from pyrt.view import DEFAULT, find_on_host

    directory = find_on_host(error.path or "")
    if directory is None:
        return f"{error}; the host view shows /usr and the Python in use: --show PATH adds to it, --rootfs DIR takes another root"
    if DEFAULT.shows(directory):
        return f"{error}; it is in {directory}, which is not in the container's PATH: give its whole path"
    return f"{error}; the host has it in {directory}, which is not shown: --show {directory} does"


def _page() -> str:
    shown = [(", ".join(option.names) + (f" {option.metavar}" if option.metavar else ""), option.help) for option in OPTIONS]
    width = max(len(names) for names, _ in shown)
    lines = "".join(f"  {names:<{width}}  {meaning}\n" for names, meaning in shown)
    return (
        "usage: pyrt run [options] -- CMD [ARG...]\n\n"
        "Run a command in a container of its own, that is thrown away when the command ends.\n\n"
        f"options:\n{lines}\n"
        "exit status: the command's own; 128+n when signal n ended it; 124 --timeout; 125 pyrt failed;\n"
        "126 the command cannot be executed; 127 it was not found\n"
    )
