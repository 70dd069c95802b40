"""Everything that a container or cgroup counts, at one moment: what `Container.stats` and `Cgroup.stats` return, and `pyrt stats` shows.

`limits.Usage` has the few numbers that a result carries; rust/core/src/cgroup/statistics.rs reads the files. The unit is in each name:
bytes, microseconds, percent; what has none is a count. Counters are totals since the cgroup was made, those below it included.
Sources: the kernel's cgroup-v2.rst, the documents below cgroup-v1, and accounting/psi.rst.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["Cpu", "Device", "Hugetlb", "Memory", "Pids", "Pressure", "Stall", "Statistics"]


class _Part:
    """Numbers by name; None where this kernel does not count one."""

    __slots__: tuple[str, ...] = ()

    def __init__(self, values: "Mapping[str, Any]") -> None:
        for name in self.__slots__:
            setattr(self, name, values[name])

    def to_dict(self) -> "dict[str, Any]":
        """The same as dicts and numbers, as JSON has it."""
        return {name: _plain(getattr(self, name)) for name in self.__slots__}

    def __eq__(self, other: object) -> bool:
        return self.to_dict() == other.to_dict() if isinstance(other, type(self)) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.__slots__)})"


class Cpu(_Part):
    """Processor time. periods, throttled_periods: how many of the quota's periods passed, and in how many it ran out; throttled_usec:
    how long tasks had to wait then. These three are None without the cpu controller."""

    __slots__ = ("periods", "system_usec", "throttled_periods", "throttled_usec", "usage_usec", "user_usec")
    usage_usec: int | None
    user_usec: int | None
    system_usec: int | None
    periods: int | None
    throttled_periods: int | None
    throttled_usec: int | None


class Memory(_Part):
    """Memory in use, page cache included. limit_bytes, swap_limit_bytes: None also where there is no limit.

    events: how often, by the kernel's names: low, high, max, oom, oom_kill, ... on v2; max and oom_kill on v1. stat: the rows of
    memory.stat by the kernel's names (v2: anon, file, kernel, ...; v1: cache, rss, ...), in bytes where they are sizes.
    """

    __slots__ = ("current_bytes", "events", "limit_bytes", "peak_bytes", "stat", "swap_bytes", "swap_limit_bytes")
    current_bytes: int | None
    peak_bytes: int | None
    limit_bytes: int | None
    swap_bytes: int | None
    swap_limit_bytes: int | None
    events: dict[str, int]
    stat: dict[str, int]


class Pids(_Part):
    """Processes and threads. limit: None where there is none. limit_hits: forks that failed because of it."""

    __slots__ = ("current", "limit", "limit_hits", "peak")
    current: int | None
    peak: int | None
    limit: int | None
    limit_hits: int | None


class Device(_Part):
    """What went to and from one block device: bytes, and requests."""

    __slots__ = ("discard_bytes", "discards", "read_bytes", "reads", "write_bytes", "writes")
    read_bytes: int | None
    write_bytes: int | None
    discard_bytes: int | None
    reads: int | None
    writes: int | None
    discards: int | None


class Hugetlb(_Part):
    """Huge pages of one size. limit_hits: allocations that failed because of the limit."""

    __slots__ = ("current_bytes", "limit_bytes", "limit_hits")
    current_bytes: int | None
    limit_bytes: int | None
    limit_hits: int | None


class Stall(_Part):
    """Time lost to waiting: its share of the last 10, 60 and 300 seconds in percent, and all of it."""

    __slots__ = ("avg10_percent", "avg300_percent", "avg60_percent", "total_usec")
    avg10_percent: float
    avg60_percent: float
    avg300_percent: float
    total_usec: int


class Pressure(_Part):
    """Pressure stall information of one resource. some: at least one task waited; full: all of them did."""

    __slots__ = ("full", "some")
    some: Stall | None
    full: Stall | None

    def __init__(self, values: "Mapping[str, Any]") -> None:
        self.some = None if values["some"] is None else Stall(values["some"])
        self.full = None if values["full"] is None else Stall(values["full"])


class Statistics(_Part):
    """One look. A part is None where no controller that was joined counts it, never 0; `reason` says why.

    io: by device, "major:minor". hugetlb: by page size, "2MB". rdma: by device, hca_handle and hca_object in use.
    pressure: by resource: cpu, memory, io, irq.
    """

    __slots__ = ("cpu", "hugetlb", "io", "memory", "pids", "pressure", "rdma")
    cpu: Cpu | None
    memory: Memory | None
    pids: Pids | None
    io: dict[str, Device] | None
    hugetlb: dict[str, Hugetlb] | None
    rdma: dict[str, dict[str, int]] | None
    pressure: dict[str, Pressure] | None

    def __init__(self, values: "Mapping[str, Any]") -> None:
        self.cpu = None if values["cpu"] is None else Cpu(values["cpu"])
        self.memory = None if values["memory"] is None else Memory(values["memory"])
        self.pids = None if values["pids"] is None else Pids(values["pids"])
        self.io = None if values["io"] is None else {name: Device(device) for name, device in values["io"].items()}
        self.hugetlb = None if values["hugetlb"] is None else {size: Hugetlb(pages) for size, pages in values["hugetlb"].items()}
        self.rdma = values["rdma"]
        self.pressure = None if values["pressure"] is None else {name: Pressure(stalls) for name, stalls in values["pressure"].items()}

    def reason(self, part: str) -> str | None:
        """Why a part is None, or None where it is not. Raises AttributeError for a name that is no part."""
        if getattr(self, part) is not None:
            return None
        if part == "pressure":
            return "it is in no cgroup2, or the kernel has no pressure stall information (psi=1)"
        return f"no {part} controller that was joined counts it"


def _plain(value: "Any") -> "Any":
    if isinstance(value, _Part):
        return value.to_dict()
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return value
