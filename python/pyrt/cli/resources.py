"""The verbs on what a container may use and has used: update, ps, events.

`Container.update`, `.processes` and `.stats` do the work; here are runc's spellings of what goes in and comes out.
Neighbours: ``manage`` has the other verbs on a container that exists.
"""

import sys

from pyrt import _native
from pyrt.errors import Error, HostError, SpecError, from_os_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrt.cli.line import Line
    from pyrt.cli.main import Globals
    from pyrt.statistics import Memory, Statistics

__all__ = ["events", "ps", "seconds", "update"]

_NUMBERS = {
    "blkio_weight": ("blockIO", "weight"),
    "cpu_period": ("cpu", "period"),
    "cpu_quota": ("cpu", "quota"),
    "cpu_burst": ("cpu", "burst"),
    "cpu_share": ("cpu", "shares"),
    "cpu_rt_period": ("cpu", "realtimePeriod"),
    "cpu_rt_runtime": ("cpu", "realtimeRuntime"),
    "cpu_idle": ("cpu", "idle"),
    "pids_limit": ("pids", "limit"),
}
_TEXTS = {"cpuset_cpus": ("cpu", "cpus"), "cpuset_mems": ("cpu", "mems")}
_SIZES = {"memory": ("memory", "limit"), "memory_reservation": ("memory", "reservation"), "memory_swap": ("memory", "swap")}
_OBSOLETE = ("kernel_memory", "kernel_memory_tcp")
_RDT = ("l3_cache_schema", "mem_bw_schema")
_UNLIMITED_BYTES = (1 << 64) - 1
"""runc's number for no limit of memory."""
_NANOSECONDS = 1_000
_DURATIONS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
"""Seconds of the units of Go's time.ParseDuration."""
_INTERVAL = "5s"


def update(line: "Line", settings: "Globals") -> int:
    source = line.options.text("resources")
    if source is None:
        for name in _OBSOLETE:
            if line.options.text(name) is not None:
                settings.messages.warning(f"{_flag(name)} is ignored: Linux has no such limit any more")
    settings.container(line.arguments[0]).update(_said(line) if source is None else _read(source))
    return 0


def ps(line: "Line", settings: "Globals") -> int:
    """A table is the host's ps(1) with the options after the ID, and of its rows those of the container, as runc has it."""
    pids = settings.container(line.arguments[0]).processes()
    if line.options.text("format") == "json":
        settings.messages.output(_native.json_dumps(pids) + "\n")
        return 0
    import subprocess

    command = ["ps", *(line.arguments[1:] or ["-ef"])]
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise from_os_error("execute", error, path="ps") from error
    if done.returncode:
        raise Error(f"{' '.join(command)} failed: {done.stderr.strip()}")
    header, *rows = done.stdout.splitlines()
    if "PID" not in header.split():
        raise SpecError(f"{' '.join(command)} prints no column PID", hint="add it: -o pid,...")
    column = header.split().index("PID")
    inside = {str(pid) for pid in pids}
    settings.messages.output("".join(f"{row}\n" for row in (header, *(row for row in rows if row.split()[column] in inside))))
    return 0


def events(line: "Line", settings: "Globals") -> int:
    """With --stats once; else at each interval until it ends, and an "oom" event as soon as the kernel has to kill for memory."""
    container = settings.container(line.arguments[0])
    interval = seconds(line.options.text("interval") or _INTERVAL)
    if line.options.flag("stats"):
        if container.status == "stopped":
            raise Error(f"container {container.id} is not running")
        _print_event(settings, container.id, "stats", container.stats())
        return 0
    from pyrt.events import OutOfMemory

    for event in container.events(interval):
        if isinstance(event, OutOfMemory):
            _print_event(settings, container.id, "oom", None)
        else:
            _print_event(settings, container.id, "stats", event)
    return 0


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _said(line: "Line") -> "dict[str, Any]":
    """`linux.resources` of the flags."""
    for name in _RDT:
        if line.options.text(name) is not None:
            raise HostError(f"{_flag(name)}: pyrt does not set Intel RDT", hint="write the schema below /sys/fs/resctrl")
    resources: dict[str, Any] = {}
    for names, read in ((_NUMBERS, _number), (_TEXTS, lambda _, text: text), (_SIZES, _size)):
        for name, (part, field) in names.items():
            text = line.options.text(name)
            if text is not None:
                resources.setdefault(part, {})[field] = read(name, text)
    return resources


def _number(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise SpecError(f"{_flag(name)} takes a number, not {text!r}") from None


def _size(name: str, text: str) -> int:
    from pyrt.limits import size_bytes

    try:
        return -1 if text == "-1" else size_bytes(text)
    except ValueError as error:
        raise SpecError(f"{_flag(name)}: {error}") from None


def _read(source: str) -> "dict[str, Any]":
    """`linux.resources` from a file, or `-`, the standard input (CRI-O)."""
    try:
        if source == "-":
            data = sys.stdin.buffer.read() if sys.stdin else b""
        else:
            with open(source, "rb") as file:
                data = file.read()
    except OSError as error:
        raise from_os_error("read resources from", error, path=source) from error
    resources = _native.json_loads(data)
    if not isinstance(resources, dict):
        raise SpecError(f"resources in {source!r} are no JSON object")
    return resources


def seconds(text: str) -> float:
    """Go's durations, "1m30s", above 0. Raises SpecError."""
    total, rest = 0.0, text
    while rest:
        digits = len(rest) - len(rest.lstrip("0123456789."))
        letters = len(rest) - digits - len(rest[digits:].lstrip("nuµmsh"))
        try:
            total += float(rest[:digits]) * _DURATIONS[rest[digits : digits + letters]]
        except (KeyError, ValueError):
            raise SpecError(f"--interval takes a duration such as 5s or 500ms, not {text!r}") from None
        rest = rest[digits + letters :]
    if total <= 0:
        raise SpecError(f"--interval takes a duration above 0, not {text!r}")
    return total


def _print_event(settings: "Globals", id: str, type: str, statistics: "Statistics | None") -> None:
    event: dict[str, Any] = {"type": type, "id": id}
    if statistics is not None:
        event["data"] = _runc_layout(statistics)
    settings.messages.output(_native.json_dumps(event) + "\n")


def _runc_layout(statistics: "Statistics") -> "dict[str, Any]":
    """runc's types/events.go, which containerd and podman read: a number that nothing counts has to be 0 there. Times are nanoseconds."""
    cpu, pids = statistics.cpu, statistics.pids
    usage: dict[str, int] = {"total": 0, "kernel": 0, "user": 0}
    throttling: dict[str, int] = {}
    if cpu is not None:
        times = {"total": cpu.usage_usec, "kernel": cpu.system_usec, "user": cpu.user_usec}
        usage = {name: (time or 0) * _NANOSECONDS for name, time in times.items()}
        if cpu.periods is not None:
            throttled_usec = cpu.throttled_usec or 0
            throttling = {
                "periods": cpu.periods,
                "throttledPeriods": cpu.throttled_periods or 0,
                "throttledTime": throttled_usec * _NANOSECONDS,
            }
    return {
        "cpu": {"usage": usage, "throttling": throttling},
        "memory": {} if statistics.memory is None else _memory(statistics.memory),
        "pids": {} if pids is None else {"current": pids.current or 0, "limit": pids.limit or 0},
        "blkio": _blkio(statistics),
        "hugetlb": {
            size: {"usage": pages.current_bytes or 0, "failcnt": pages.limit_hits or 0}
            for size, pages in (statistics.hugetlb or {}).items()
        },
        "intel_rdt": {},
        "network_interfaces": None,
    }


def _memory(memory: "Memory") -> "dict[str, Any]":
    """`swap` is memory and swap together, as v1 counts and runc shows on v2 too."""
    limit = _UNLIMITED_BYTES if memory.limit_bytes is None else memory.limit_bytes
    failures = memory.events.get("max", 0)
    current = memory.current_bytes or 0
    shown: dict[str, Any] = {
        "cache": memory.stat.get("file", memory.stat.get("cache", 0)),
        "usage": {"limit": limit, "usage": current, "max": memory.peak_bytes or 0, "failcnt": failures},
        "raw": memory.stat,
    }
    if memory.swap_bytes is not None:
        both = _UNLIMITED_BYTES
        if memory.swap_limit_bytes is not None and memory.limit_bytes is not None:
            both = limit + memory.swap_limit_bytes
        shown["swap"] = {"limit": both, "usage": current + memory.swap_bytes, "failcnt": 0}
    return shown


def _blkio(statistics: "Statistics") -> "dict[str, Any]":
    shown: dict[str, list[dict[str, int | str]]] = {}
    for device, counts in (statistics.io or {}).items():
        major, _, minor = device.partition(":")
        for entries, operations in (
            ("ioServiceBytesRecursive", {"Read": counts.read_bytes, "Write": counts.write_bytes, "Discard": counts.discard_bytes}),
            ("ioServicedRecursive", {"Read": counts.reads, "Write": counts.writes, "Discard": counts.discards}),
        ):
            for operation, value in operations.items():
                if value is not None:
                    entry: dict[str, int | str] = {"major": int(major), "minor": int(minor), "op": operation, "value": value}
                    shown.setdefault(entries, []).append(entry)
    return shown
