"""`pyrt exec`: one more process in a container, in the engine's form.

Neighbours: lifecycle.py has what it shares with create and run; ``pyrt.execution`` lays the command over config.json's process.
"""

from pyrt import _native
from pyrt.cli.lifecycle import FIRST_PASSED, SIGNALLED, check_open, connect, send_descriptor, write_pid_file
from pyrt.errors import Error, SpecError, from_os_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrt.cli.line import Line, Values
    from pyrt.cli.main import Globals

__all__ = ["execute"]

FAILED = 255
"""runc's status for its own failures in exec: low ones are the command's."""
_CAPABILITY_SETS = ("bounding", "effective", "permitted", "ambient")


def execute(line: "Line", settings: "Globals") -> int:
    """0 when detached, else the exit status of the command, 128 + n where signal n ended it; 255 where there is none."""
    try:
        return _execute(line, settings)
    except Error as error:
        settings.messages.error(str(error))
        return FAILED


def _execute(line: "Line", settings: "Globals") -> int:
    options = line.options
    detach, pid_file = options.flag("detach"), options.text("pid_file")
    if not detach:
        _native.hold_signals()
    pass_fds = range(FIRST_PASSED, FIRST_PASSED + options.number("preserve_fds"))
    check_open(pass_fds)
    container = _native.Container(settings.root, line.arguments[0])
    config = _native.json_loads(container.config())
    config["process"] = _process(config["process"], line.arguments[1:], options)
    terminal = config["process"].get("terminal", False)
    if terminal and detach and options.text("console_socket") is None:
        raise SpecError("cannot allocate a terminal for a detached command", hint="give --console-socket")
    plan = container.plan_exec(
        _native.json_dumps(config).encode("utf-8", "surrogateescape"),
        ignore_paused=options.flag("ignore_paused"),
        preserve_fds=len(pass_fds),
        cgroups=[_cgroup(value) for value in options.texts("cgroup")],
    )
    for warning in plan.warnings:
        settings.messages.warning(warning)
    console_socket, pidfd_socket = connect(options.text("console_socket")), connect(options.text("pidfd_socket"))
    process = plan.launch(stdio=(0, 1, 2), console_socket=None if console_socket is None else console_socket.fileno(), pass_fds=pass_fds)
    try:
        if pid_file is not None:
            write_pid_file(pid_file, process.pid)
        if pidfd_socket is not None:
            send_descriptor(pidfd_socket, process.fileno(), b"setns")
        if detach:
            return 0
        status = process.foreground(terminal=terminal and console_socket is None)
    except BaseException:
        process.kill()
        raise
    return SIGNALLED - status if status is not None and status < 0 else status or 0


def _process(process: "dict[str, Any]", command: list[str], options: "Values") -> "dict[str, Any]":
    """What the command line says, over the container's own process or that of --process."""
    from pyrt.execution import process_with

    path = options.text("process")
    if path is not None:
        return _read(path)
    if not command:
        raise SpecError("exec needs a command after ID, or --process FILE")
    env = []
    for variable in options.texts("env"):
        name, equals, value = variable.partition("=")
        if not (name and equals):
            raise SpecError(f"--env takes NAME=VALUE, not {variable!r}")
        env.append((name, value))
    process_with(process, command, terminal=options.flag("tty"), env=env)
    for option, key in (("cwd", "cwd"), ("process_label", "selinuxLabel"), ("apparmor", "apparmorProfile")):
        text = options.text(option)
        if text is not None:
            process[key] = text
    user = options.text("user")
    if user is not None:
        uid, _, gid = user.partition(":")
        process["user"]["uid"] = _id("--user", uid)
        if gid:
            process["user"]["gid"] = _id("--user", gid)
    groups = [_id("--additional-gids", part) for value in options.texts("additional_gids") for part in value.split(",")]
    if groups:
        process["user"]["additionalGids"] = [*(process["user"].get("additionalGids") or []), *groups]
    if options.flag("no_new_privs"):
        process["noNewPrivileges"] = True
    added = [name for value in options.texts("cap") for name in value.split(",")]
    if added:
        sets = process.setdefault("capabilities", {})
        for name in _CAPABILITY_SETS:
            sets[name] = [*(sets.get(name) or []), *added]
    return process


def _read(path: str) -> "dict[str, Any]":
    try:
        with open(path, "rb") as file:
            value = _native.json_loads(file.read())
    except OSError as error:
        raise from_os_error("read process", error, path) from error
    if not isinstance(value, dict):
        raise SpecError(f"{path} is not a JSON object")
    return value


def _id(flag: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 11):
        raise SpecError(f"{flag} takes numbers, not {value!r}")
    return int(value)


def _cgroup(value: str) -> tuple[str, str]:
    controller, colon, path = value.rpartition(":")
    return (controller if colon else "", path)
