"""`pyrt run [options] -- CMD ARG...`: a command in a container of its own, for people. `--` chooses this form and nothing else does.

The options are ``people_table``, which makes the parser and the help. `configuration` and `process.Launch` are the library's own, so the
defaults are too. Exit codes are docker's: 125 pyrt failed, 126 cannot be executed, 127 not found, 128+n signal n, 124 --timeout.
"""

import os

from pyrt import _native
from pyrt.cli.people_table import OPTIONS, Option
from pyrt.configuration import configure
from pyrt.errors import Error, ExecutableError, MissingExecutable
from pyrt.launch import Launch
from pyrt.stdio import Stdio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyrt.cli.main import Globals
    from pyrt.options import ContainerOptions

__all__ = ["main", "page"]

TIMED_OUT = 124
FAILED = 125
CANNOT_EXECUTE = 126
NOT_FOUND = 127
SIGNALED = 128


class UsageError(Exception):
    """The command line is wrong; says how."""


_BY_NAME = {name: option for option in OPTIONS for name in option.names}


def main(words: list[str], settings: "Globals") -> int:
    """Run what stands after `pyrt run`. Returns the exit status."""
    messages = settings.messages
    try:
        said, command = _read(words)
        if "help" in said:
            messages.output(page())
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
        _native.Container(settings.root, name)  # refuses what is no id
    options = _options(said, terminal)
    if settings.cgroup_manager == "systemd":
        options["cgroup_manager"] = "systemd"
    plan = (configuration := configure(command, options, id=name, terminal=terminal)).plan()
    _native.hold_signals()
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


def page() -> str:
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
