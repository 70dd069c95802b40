"""The verbs for watching: stats, what each container uses, and top, which of their processes are busy.

On a terminal both are one rich table that is drawn anew at each interval; elsewhere plain tables, and with --format json a line of JSON
for each container or process. `Container.stats` counts; of processes /proc tells (proc(5)).
Neighbour: ``resources`` has `events`, the same numbers in runc's layout.
"""

import os
import sys
import time

from pyrt import _native
from pyrt.cli.manage import aligned
from pyrt.cli.resources import seconds
from pyrt.errors import Error
from pyrt.limits import size_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from pyrt.cli.line import Line
    from pyrt.cli.main import Globals
    from pyrt.statistics import Pressure, Statistics

    Row = tuple[dict[str, Any], list[str]]
    """What JSON says, and the cells of a table."""
    Look = Callable[[], list[Row]]

__all__ = ["stats", "top"]

_INTERVAL = "1s"
_ABSENT = "-"
"""What a table shows where nothing counts: never 0."""
_LIVE = ("created", "running", "paused")
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def stats(line: "Line", settings: "Globals") -> int:
    """The containers named, or all that live."""
    rates = _Rates()

    def look() -> "list[Row]":
        rows: list[Row] = []
        for name, status, now in _containers(line, settings):
            usec = None if now.cpu is None else now.cpu.usage_usec
            percent = rates.percent(name, usec)
            rows.append(
                ({"id": name, "status": status, "cpu_percent": percent, **now.to_dict()}, [name, status, _percent(percent), *_cells(now)])
            )
        rates.next()
        return rows

    return _watch(line, settings, look, _COLUMNS)


def top(line: "Line", settings: "Globals") -> int:
    """Processes of the containers named, or of all that live; the busiest first."""
    rates = _Rates()

    def look() -> "list[Row]":
        rows: list[Row] = []
        for name, _ in _ids(line, settings):
            try:
                pids = settings.container(name).processes()
            except LookupError:
                continue  # deleted meanwhile
            for process in filter(None, map(_process, pids)):
                percent = rates.percent((process["pid"], process.pop("start")), process["cpu_usec"])
                used = f"{process['cpu_usec'] / 1e6:.2f}"
                cells = [
                    name,
                    str(process["pid"]),
                    _percent(percent),
                    size_text(process["rss_bytes"]),
                    used,
                    process["state"],
                    process["command"],
                ]
                rows.append(({"id": name, "cpu_percent": percent, **process}, cells))
        rates.next()
        return sorted(rows, key=lambda row: (-(row[0]["cpu_percent"] or 0.0), -row[0]["cpu_usec"]))

    return _watch(line, settings, look, ("ID", "PID", "CPU %", "RSS", "CPU SECONDS", "STATE", "COMMAND"))


class _Rates:
    """Processor time as a share of the time that passed since the look before: 100 is one processor."""

    def __init__(self) -> None:
        self._before: dict[Any, tuple[float, int]] = {}
        self._now: dict[Any, tuple[float, int]] = {}

    def percent(self, key: "Any", usec: int | None) -> float | None:
        """None at the first look."""
        if usec is None:
            return None
        now = time.monotonic()
        self._now[key] = (now, usec)
        if key not in self._before:
            return None
        then, before = self._before[key]
        return round(max(usec - before, 0) / (now - then) / 1e4, 1)

    def next(self) -> None:
        self._before, self._now = self._now, {}


def _ids(line: "Line", settings: "Globals") -> "Iterator[tuple[str, str]]":
    """Id and status. Raises NotFound for one that is named and does not exist; of the others, those that live."""
    named = line.arguments
    for name in named or _native.container_ids(settings.root):
        try:
            status = settings.container(name).status
        except LookupError:
            if named:
                raise
            continue  # deleted meanwhile
        except Error as error:
            if named:
                raise
            settings.messages.debug(str(error))
            continue
        if named or status in _LIVE:
            yield name, status


def _containers(line: "Line", settings: "Globals") -> "Iterator[tuple[str, str, Statistics]]":
    for name, status in _ids(line, settings):
        try:
            yield name, status, settings.container(name).stats()
        except Error:
            # Deleted meanwhile, or without a cgroup: nobody asked for it by name.
            if line.arguments:
                raise


def _watch(line: "Line", settings: "Globals", look: "Look", columns: tuple[str, ...]) -> int:
    """Show what `look` returns at each interval until Ctrl-C, or until all that were named have ended. With --no-stream two looks are one
    table: the share of processor time needs both."""
    interval = seconds(line.options.text("interval") or _INTERVAL)
    once = line.options.flag("no_stream")
    as_json = line.options.text("format") == "json"
    ended = _have_ended(line, settings)
    rows = look()
    if once:
        time.sleep(interval)
        rows = look()
    terminal = not (once or as_json) and bool(sys.stdout) and sys.stdout.isatty()
    if terminal:
        return _draw(rows, look, interval, columns)
    try:
        while True:
            if as_json:
                settings.messages.output("".join(f"{_native.json_dumps(said)}\n" for said, _ in rows))
            else:
                settings.messages.output(aligned([list(columns), *(cells for _, cells in rows)]))
            if once or ended:
                return 0
            time.sleep(interval)
            # Asked before the look, which is the last one then: what it shows is how they ended.
            ended = _have_ended(line, settings)
            rows = look()
    except KeyboardInterrupt:
        return 0  # the way to leave


def _have_ended(line: "Line", settings: "Globals") -> bool:
    """Whether there are containers that were named, and none of them lives."""
    return bool(line.arguments) and all(settings.container(name).status == "stopped" for name in line.arguments)


def _draw(rows: "list[Row]", look: "Look", interval: float, columns: tuple[str, ...]) -> int:
    import signal

    from rich import box
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text

    def table(rows: "list[Row]") -> Table:
        drawn = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
        for column in columns:
            drawn.add_column(column, justify="left" if column in ("ID", "STATUS", "STATE", "COMMAND") else "right", no_wrap=True)
        for _, cells in rows:
            # Text: a command line is anybody's, and no markup.
            drawn.add_row(*map(Text, cells))
        return drawn

    # Raised, so that the terminal gets back its own screen and cursor.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    live = Live(table(rows), auto_refresh=False, screen=True)
    try:
        # Not by `with`: interrupted in the first drawing, that would leave the terminal as it is.
        live.start(refresh=True)
        while True:
            time.sleep(interval)
            live.update(table(look()), refresh=True)
    except KeyboardInterrupt:
        return 0  # the way to leave
    finally:
        live.stop()


_COLUMNS = ("ID", "STATUS", "CPU %", "THROTTLED %", "MEMORY", "LIMIT", "PEAK", "OOM KILLS", "PIDS", "READ", "WRITTEN", "PRESSURE %")


def _cells(now: "Statistics") -> list[str]:
    cpu, memory, pids = now.cpu, now.memory, now.pids
    throttled = None
    if cpu is not None and cpu.periods and cpu.throttled_periods is not None:
        throttled = 100 * cpu.throttled_periods / cpu.periods
    limit = _ABSENT
    if memory is not None:
        limit = "none" if memory.limit_bytes is None else size_text(memory.limit_bytes)
    kills = None if memory is None else memory.events.get("oom_kill")
    counted = None if pids is None else pids.current
    limited = "" if pids is None or pids.limit is None else f"/{pids.limit}"
    return [
        _percent(throttled),
        _size(None if memory is None else memory.current_bytes),
        limit,
        _size(None if memory is None else memory.peak_bytes),
        _ABSENT if kills is None else str(kills),
        _ABSENT if counted is None else f"{counted}{limited}",
        _size(None if now.io is None else sum(device.read_bytes or 0 for device in now.io.values())),
        _size(None if now.io is None else sum(device.write_bytes or 0 for device in now.io.values())),
        _pressure(now.pressure),
    ]


def _pressure(pressure: "dict[str, Pressure] | None") -> str:
    """The resource that tasks waited for most in the last 10 seconds, and how much of the time."""
    waited = {name: stalls.some.avg10_percent for name, stalls in (pressure or {}).items() if stalls.some is not None}
    if not waited:
        return _ABSENT
    worst = max(waited, key=lambda name: waited[name])
    return f"{worst} {waited[worst]:.1f}" if waited[worst] else "0.0"


def _percent(value: float | None) -> str:
    return _ABSENT if value is None else f"{value:.1f}"


def _size(count: int | None) -> str:
    return _ABSENT if count is None else size_text(count)


def _process(pid: int) -> "dict[str, Any] | None":
    """From /proc/PID/stat: the name in field 2 may hold anything, so fields count from its last parenthesis. None where it has ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            name, _, rest = file.read().rpartition(b")")
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().rstrip(b"\0").replace(b"\0", b" ")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = rest.split()
    command = (words or name.partition(b"(")[2]).decode("utf-8", "replace")
    return {
        "pid": pid,
        "start": int(fields[19]),
        "state": fields[0].decode(),
        "cpu_usec": (int(fields[11]) + int(fields[12])) * 1_000_000 // _TICKS,
        "rss_bytes": int(fields[21]) * _PAGE_BYTES,
        # What a container calls itself must not move the caller's cursor.
        "command": "".join(letter if letter.isprintable() else "?" for letter in command),
    }
