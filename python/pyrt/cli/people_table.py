"""The options of `pyrt run [options] -- CMD ARG...`, declared once: parser, help, man page and completion read it.

Neighbours: ``people`` runs the command; table.py has the engine's verbs.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["OPTIONS", "Option"]

_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


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
