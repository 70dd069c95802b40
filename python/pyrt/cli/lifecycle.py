"""The verbs that make a container: create and run, in the engine's form (a bundle and an id).

Here is what an engine hands over beside the bundle: descriptors, the console socket, the files it wants written.

Neighbours: ``Runtime.create`` does the work and undoes it on failure; ``people`` is the form with `--`.
"""

import errno
import posix
import sys

from pyrt.errors import Error, SpecError, from_os_error
from pyrt.files import replace_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from pyrt.cli.line import Line
    from pyrt.cli.main import Globals
    from pyrt.container import Container

__all__ = ["attend", "check_open", "connect", "create", "run", "send_descriptor", "tell_warnings", "write_pid_file"]

FAILED = 1
SIGNALLED = 128
"""Added to the number of the signal that ended the container (runc, and every shell)."""
FIRST_PASSED = 3
"""The descriptor after stdio (sd_listen_fds(3))."""
_SOCKET_PATH_LIMIT = 107
"""Bytes that sockaddr_un has for a path (unix(7)), but one for its end."""


def create(line: "Line", settings: "Globals") -> int:
    _make(line, settings, start=False, attached=False)
    return 0


def run(line: "Line", settings: "Globals") -> int:
    """0 when detached, else the exit status of the container, 128 + n where signal n ended it."""
    detach = line.options.flag("detach")
    if not detach:
        from pyrt import _native

        _native.hold_signals()
    container = _make(line, settings, start=True, attached=not detach)
    if detach:
        container.wait_ready()
        return 0
    return attend(container, settings, keep=line.options.flag("keep"))


def attend(container: "Container", settings: "Globals", *, keep: bool) -> int:
    """Wait for a container in the foreground, and delete it unless keep says otherwise. Returns its exit status, 128 + n for a signal."""
    try:
        status = container.foreground()
    finally:
        if not keep:
            warned = len(container.warnings)
            container.delete(force=True)
            tell_warnings(container, settings, warned)
    if status:
        _tell_cause(container, settings)
    if status is None:
        raise Error(f"exit status of container {container.id} is unknown", hint=container.exit_unknown)
    return SIGNALLED - status if status < 0 else status


def _make(line: "Line", settings: "Globals", *, start: bool, attached: bool) -> "Container":
    options = line.options
    listening = _listen_descriptors()
    pass_fds = range(FIRST_PASSED, FIRST_PASSED + listening + options.number("preserve_fds"))
    check_open(pass_fds)
    console_socket, pidfd_socket = connect(options.text("console_socket")), connect(options.text("pidfd_socket"))
    container = settings.runtime().create(
        line.arguments[0],
        bundle=options.text("bundle") or ".",
        config=options.text("config"),
        append_env=_listen_environment(listening),
        start=start,
        attached=attached,
        console_socket=None if console_socket is None else console_socket.fileno(),
        pass_fds=pass_fds,
        pivot=not options.flag("no_pivot"),
        new_keyring=not options.flag("no_new_keyring"),
        cgroups=settings.cgroup_manager != "disabled",
        cgroup_manager="systemd" if settings.cgroup_manager == "systemd" else "cgroupfs",
        notify_socket=settings.notify_socket,
    )
    tell_warnings(container, settings)
    try:
        pid_file = options.text("pid_file")
        if pid_file is not None:
            write_pid_file(pid_file, container.init_pid)
        if pidfd_socket is not None:
            send_descriptor(pidfd_socket, container.fileno(), b"standard")
    except BaseException:
        warned = len(container.warnings)
        container.delete(force=True)
        tell_warnings(container, settings, warned)
        raise
    settings.messages.debug(f"container {container.id} has init {container.init_pid}")
    return container


def _tell_cause(container: "Container", settings: "Globals") -> None:
    """Say what the status does not show, such as a lack of memory."""
    from pyrt.causes import TOLD

    report = container.exit_report()
    if report.cause in TOLD:
        settings.messages.warning(f"container {container.id}: {report.explanation}")


def tell_warnings(container: "Container", settings: "Globals", start: int = 0) -> None:
    for warning in container.warnings[start:]:
        settings.messages.warning(warning)


def write_pid_file(path: str, pid: int) -> None:
    try:
        replace_file(path, b"%d" % pid, 0o644)
    except OSError as error:
        raise from_os_error("write pid file", error, path) from error


def check_open(descriptors: range) -> None:
    for descriptor in descriptors:
        try:
            inherited = posix.get_inheritable(descriptor)
        except OSError:
            inherited = False
        # What is closed at an exec was not there at ours: it is pyrt's own (the log), and never the container's.
        if not inherited:
            raise SpecError(f"descriptor {descriptor} is to be preserved, but is not open", errno=errno.EBADF)


def _listen_descriptors() -> int:
    """How many sockets systemd, or conmon in its place, hands to this very process (sd_listen_fds(3))."""
    count, pid = posix.environ.get(b"LISTEN_FDS", b""), posix.environ.get(b"LISTEN_PID", b"")
    if not count.isdigit() or pid != b"%d" % posix.getpid():
        return 0
    return int(count)


def _listen_environment(listening: int) -> list[str]:
    """What tells the container of the sockets. Its process is PID 1 of its own namespace, hence LISTEN_PID."""
    if not listening:
        return []
    names = posix.environ.get(b"LISTEN_FDNAMES")
    named = [] if names is None else [f"LISTEN_FDNAMES={names.decode('utf-8', 'surrogateescape')}"]
    return [f"LISTEN_FDS={listening}", "LISTEN_PID=1", *named]


def connect(path: str | None) -> "_socket.socket | None":
    """Connect to an engine's Unix socket. By `_socket` itself: socket.py imports for five milliseconds what is not needed here."""
    if path is None:
        return None
    import _socket

    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        if len(path.encode("utf-8", "surrogateescape")) <= _SOCKET_PATH_LIMIT:
            connection.connect(path)
            return connection
        # A longer path goes through a descriptor of the socket's file.
        descriptor = posix.open(path, posix.O_PATH | posix.O_CLOEXEC)
        try:
            connection.connect(f"/proc/self/fd/{descriptor}")
        finally:
            posix.close(descriptor)
    except OSError as error:
        raise from_os_error("connect to socket", error, path) from error
    return connection


def send_descriptor(connection: "_socket.socket", descriptor: int, kind: bytes) -> None:
    """kind: runc's message, which is that of its init: "standard" for the container's own, "setns" for `exec`'s."""
    import _socket

    rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, descriptor.to_bytes(4, sys.byteorder))
    try:
        connection.sendmsg([kind], [rights])
    except OSError as error:
        raise from_os_error("send pidfd", error) from error
