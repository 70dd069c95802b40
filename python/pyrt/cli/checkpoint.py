"""`pyrt checkpoint` and `pyrt restore`: a container as files and back, by CRIU. runc's flags.

Neighbours: ``Container.checkpoint``, ``Runtime.restore``; lifecycle.py has what `restore` shares with `run`.
"""

from pyrt.checkpoints import CheckpointOptions, CommonOptions, RestoreOptions
from pyrt.cli.lifecycle import attend, connect, tell_warnings, write_pid_file
from pyrt.errors import HostError, SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    from pyrt.cli.line import Line, Values
    from pyrt.cli.main import Globals

__all__ = ["checkpoint", "restore"]

_IMAGES = "checkpoint"
"""Where images are unless --image-path says so, below the current directory (runc)."""
_COMMON: "tuple[Literal['tcp_established', 'ext_unix_sk', 'shell_job', 'file_locks', 'lazy_pages', 'auto_dedup'], ...]" = (
    "tcp_established",
    "ext_unix_sk",
    "shell_job",
    "file_locks",
    "lazy_pages",
    "auto_dedup",
)
_PORT_LIMIT = 65535


def checkpoint(line: "Line", settings: "Globals") -> int:
    options = line.options
    wanted: CheckpointOptions = {
        **_common(options),
        "parent_path": options.text("parent_path"),
        "leave_running": options.flag("leave_running"),
        "pre_dump": options.flag("pre_dump"),
        "tcp_skip_in_flight": options.flag("tcp_skip_in_flight"),
        "link_remap": options.flag("link_remap"),
        "page_server": _page_server(options.text("page_server")),
        "status_fd": _status_fd(options.text("status_fd")),
    }
    container = settings.container(line.arguments[0])
    container.checkpoint(options.text("image_path") or _IMAGES, **wanted)
    tell_warnings(container, settings)
    return 0


def restore(line: "Line", settings: "Globals") -> int:
    """As `run`: 0 when detached, else the exit status of the container."""
    options = line.options
    if settings.cgroup_manager == "systemd":
        raise HostError("restore cannot have systemd make the cgroup", hint="use --cgroup-manager cgroupfs")
    detach = options.flag("detach")
    if not detach:
        from pyrt import _native

        _native.hold_signals()
    wanted: RestoreOptions = {
        **_common(options),
        "tcp_close": options.flag("tcp_close"),
        "lsm_profile": options.text("lsm_profile"),
        "lsm_mount_context": options.text("lsm_mount_context"),
    }
    console_socket = connect(options.text("console_socket"))
    container = settings.runtime().restore(
        line.arguments[0],
        options.text("image_path") or _IMAGES,
        bundle=options.text("bundle") or ".",
        attached=not detach,
        console_socket=None if console_socket is None else console_socket.fileno(),
        cgroups=settings.cgroup_manager != "disabled",
        **wanted,
    )
    tell_warnings(container, settings)
    try:
        pid_file = options.text("pid_file")
        if pid_file is not None:
            write_pid_file(pid_file, container.init_pid)
    except BaseException:
        container.delete(force=True)
        raise
    return 0 if detach else attend(container, settings, keep=False)


def _common(options: "Values") -> CommonOptions:
    mode: Any = options.text("manage_cgroups_mode")
    common: CommonOptions = {"work_path": options.text("work_path"), "empty_ns": options.texts("empty_ns")}
    if mode is not None:
        common["manage_cgroups_mode"] = mode
    for name in _COMMON:
        common[name] = options.flag(name)
    return common


def _page_server(text: str | None) -> tuple[str, int] | None:
    if text is None:
        return None
    address, _, port = text.rpartition(":")
    if not address or not (port.isascii() and port.isdigit() and 0 < int(port) <= _PORT_LIMIT):
        raise SpecError(f"--page-server takes ADDRESS:PORT, not {text!r}")
    # An address of IPv6 stands in brackets.
    return address.removeprefix("[").removesuffix("]"), int(port)


def _status_fd(text: str | None) -> int | None:
    if text is None or text == "-1":
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise SpecError(f"--status-fd takes a number, not {text!r}")
    from pyrt.cli.lifecycle import check_open

    check_open(range(int(text), int(text) + 1))
    return int(text)
