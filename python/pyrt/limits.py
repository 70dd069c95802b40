"""Limits of a cgroup, as a person says them and as config.json has them (runtime-spec, config-linux.md "Control groups"),
and what a cgroup has used. `cgroups.Cgroup` takes and gives both; `configuration` writes the first into a container's config.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

_UNITS = {"": 1, "b": 1}
for _power, _letter in enumerate("kmgt", start=1):
    _UNITS |= dict.fromkeys((_letter, f"{_letter}b", f"{_letter}ib"), 1 << 10 * _power)
_LARGER_UNITS = ("KiB", "MiB", "GiB", "TiB")
_CPU_PERIOD_USEC = 100_000
_CPUS_LEAST, _CPUS_MOST = 0.01, 8_192
"""The kernel's least quota is 1 ms a period (sched/core.c), and 8,192 is the largest NR_CPUS."""
_WEIGHT_DEFAULT = 100
_WEIGHTS = range(1, 10_001)
_SHARES_DEFAULT = 1_024
_SHARES_LEAST, _SHARES_MOST = 2, 262_144
_BLKIO_WEIGHTS = range(10, 1_001)


def size_bytes(size: int | str) -> int:
    """Bytes of a size: an int, or digits with B, K, M, G or T, each 1,024 times the one before ("256M", "1.5G", "64KiB").

    Raises ValueError for anything else, and TypeError for what is neither int nor str.
    """
    if isinstance(size, bool) or not isinstance(size, (int, str)):
        raise TypeError(f"a size is an int of bytes or a str such as '256M', not {type(size).__name__}")
    if isinstance(size, int):
        if size < 0:
            raise ValueError(f"size {size} is negative")
        return size
    unit = size.strip().lower()
    digits = unit.rstrip("bkmgti")
    unit = unit[len(digits) :]
    digits = digits.rstrip()
    if unit not in _UNITS or not digits.replace(".", "", 1).isdecimal() or not digits.isascii():
        raise ValueError(f"size {size!r} is not a number with B, K, M, G or T")
    if "." in digits:
        return int(float(digits) * _UNITS[unit])
    return int(digits) * _UNITS[unit]


def size_text(count: int) -> str:
    """Bytes for a person: "48 MiB", "1.5 GiB"."""
    value, unit = float(count), "B"
    for larger in _LARGER_UNITS:
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.1f}".removesuffix(".0") + f" {unit}"


class Limits:
    """What a cgroup may use. None: no limit of its own.

    memory, memory_reservation: bytes, or a size such as "256M". memory_swap: memory and swap together, in bytes; -1 for no limit.
    cpus: processors' worth of time, 0.5 is half of one. cpu_weight, io_weight: share against siblings, 1 to 10,000, 100 is usual.
    cpuset, cpuset_mems: processors and memory nodes, "0-2,4" or their numbers. pids: processes and threads, -1 for no limit; the
    init that stays above a command is one of them.
    A limit that no controller of the host enforces is an error where the cgroup is made, never ignored.
    Raises ValueError for a value out of range.
    """

    __slots__ = ("cpu_weight", "cpus", "cpuset", "cpuset_mems", "io_weight", "memory", "memory_reservation", "memory_swap", "pids")

    def __init__(
        self,
        *,
        memory: int | str | None = None,
        memory_swap: int | str | None = None,
        memory_reservation: int | str | None = None,
        cpus: float | None = None,
        cpu_weight: int | None = None,
        cpuset: "str | Iterable[int] | None" = None,
        cpuset_mems: "str | Iterable[int] | None" = None,
        pids: int | None = None,
        io_weight: int | None = None,
    ) -> None:
        self.memory = None if memory is None else _positive_size("memory", memory)
        self.memory_swap = memory_swap if memory_swap is None or memory_swap == -1 else _positive_size("memory_swap", memory_swap)
        self.memory_reservation = None if memory_reservation is None else _positive_size("memory_reservation", memory_reservation)
        if isinstance(self.memory_swap, int) and self.memory_swap != -1:
            if self.memory is None:
                raise ValueError("memory_swap is memory and swap together: it needs memory= too")
            if self.memory_swap < self.memory:
                raise ValueError(f"memory_swap {self.memory_swap} is memory and swap together: it cannot be below memory {self.memory}")
        if cpus is not None and not _CPUS_LEAST <= cpus <= _CPUS_MOST:
            raise ValueError(f"cpus {cpus} is not from {_CPUS_LEAST}, the least that the kernel gives, to {_CPUS_MOST}")
        self.cpus = cpus
        self.cpu_weight = _weight("cpu_weight", cpu_weight)
        self.cpuset = _number_list("cpuset", cpuset)
        self.cpuset_mems = _number_list("cpuset_mems", cpuset_mems)
        if pids is not None and pids != -1 and pids < 1:
            raise ValueError(f"pids {pids} is neither 1 or more nor -1")
        self.pids = pids
        self.io_weight = _weight("io_weight", io_weight)

    def resources(self) -> "dict[str, Any]":
        """The spec's `linux.resources`. Weights are spelled as this host's cgroup version has them."""
        resources: dict[str, Any] = {}
        memory = {"limit": self.memory, "swap": self.memory_swap, "reservation": self.memory_reservation}
        cpu: dict[str, Any] = {"cpus": self.cpuset, "mems": self.cpuset_mems}
        if self.cpus is not None:
            cpu["quota"], cpu["period"] = round(self.cpus * _CPU_PERIOD_USEC), _CPU_PERIOD_USEC
        unified: dict[str, str] = {}
        if self.cpu_weight is not None or self.io_weight is not None:
            # The spec's own fields have v1's scale, and runtimes disagree on how to turn it into v2's: so v2 gets its own file's value.
            if _cgroup_version_2():
                weights = {"cpu.weight": self.cpu_weight, "io.weight": self.io_weight}
                unified = {name: str(weight) for name, weight in weights.items() if weight is not None}
            else:
                if self.cpu_weight is not None:
                    shares = self.cpu_weight * _SHARES_DEFAULT // _WEIGHT_DEFAULT
                    cpu["shares"] = min(max(shares, _SHARES_LEAST), _SHARES_MOST)
                if self.io_weight is not None:
                    resources["blockIO"] = {"weight": min(max(self.io_weight, _BLKIO_WEIGHTS[0]), _BLKIO_WEIGHTS[-1])}
        for name, group in (("memory", memory), ("cpu", cpu)):
            if said := {key: value for key, value in group.items() if value is not None}:
                resources[name] = said
        if self.pids is not None:
            resources["pids"] = {"limit": self.pids}
        if unified:
            resources["unified"] = unified
        return resources

    def merged(self, more: "Limits") -> "Limits":
        """These with `more` laid over them. Raises ValueError where they do not go together."""
        return Limits(**{**self._said(), **more._said()})

    def _said(self) -> "dict[str, Any]":
        return {name: value for name in self.__slots__ if (value := getattr(self, name)) is not None}

    def __eq__(self, other: object) -> bool:
        return self._said() == other._said() if isinstance(other, Limits) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self._said().items()))

    def __repr__(self) -> str:
        return f"Limits({', '.join(f'{name}={value!r}' for name, value in self._said().items())})"


def _positive_size(name: str, size: int | str) -> int:
    value = size_bytes(size)
    if value == 0:
        raise ValueError(f"{name} is 0")
    return value


def _weight(name: str, weight: int | None) -> int | None:
    if weight is not None and weight not in _WEIGHTS:
        raise ValueError(f"{name} {weight} is not from {_WEIGHTS[0]} to {_WEIGHTS[-1]}")
    return weight


def _number_list(name: str, numbers: "str | Iterable[int] | None") -> str | None:
    if numbers is None or isinstance(numbers, str):
        return numbers
    text = ",".join(str(number) for number in numbers)
    if not text:
        raise ValueError(f"{name} is empty")
    return text


def _cgroup_version_2() -> bool:
    from pyrt import _native

    return bool(_native.host_cgroups()["mode"] == "v2")


_CONTROLLER_OF = {
    "cpu_usec": "cpu",
    "cpu_user_usec": "cpu",
    "cpu_system_usec": "cpu",
    "memory_bytes": "memory",
    "memory_peak_bytes": "memory",
    "swap_bytes": "memory (with swap accounting)",
    "memory_limit_bytes": "memory",
    "memory_limit_hits": "memory",
    "oom_kills": "memory",
    "pids": "pids",
    "pids_peak": "pids",
    "pids_limit": "pids",
    "pids_limit_hits": "pids",
    "io_read_bytes": "io",
    "io_write_bytes": "io",
}


class Usage:
    """What a container or cgroup has used. None where no joined controller counts it; `reason` says which one is missing.

    cpu_usec, cpu_user_usec, cpu_system_usec: microseconds. memory_bytes, memory_peak_bytes, swap_bytes, memory_limit_bytes: bytes.
    memory_limit_hits: how often its own limit held memory back. oom_kills: processes that the kernel killed, for that limit or one above.
    pids, pids_peak, pids_limit: processes and threads. pids_limit_hits: forks that failed. io_read_bytes, io_write_bytes: bytes. The
    limits are None also where there is none.
    max_rss_bytes: the largest resident set of any one process in it; of a container, known once it has ended.
    """

    __slots__ = (*_CONTROLLER_OF, "max_rss_bytes")

    cpu_usec: int | None
    cpu_user_usec: int | None
    cpu_system_usec: int | None
    memory_bytes: int | None
    memory_peak_bytes: int | None
    swap_bytes: int | None
    memory_limit_bytes: int | None
    memory_limit_hits: int | None
    oom_kills: int | None
    pids: int | None
    pids_peak: int | None
    pids_limit: int | None
    pids_limit_hits: int | None
    io_read_bytes: int | None
    io_write_bytes: int | None
    max_rss_bytes: int | None

    def __init__(self, counters: "Mapping[str, int | None]", max_rss_bytes: int | None = None) -> None:
        for name in _CONTROLLER_OF:
            setattr(self, name, counters.get(name))
        self.max_rss_bytes = max_rss_bytes

    def reason(self, name: str) -> str | None:
        """Why a number is None, or None where it is not. Raises AttributeError for a name that is no counter."""
        if getattr(self, name) is not None:
            return None
        if name == "max_rss_bytes":
            return "known only of a container that has ended"
        if (name == "memory_limit_bytes" and self.memory_bytes is not None) or (name == "pids_limit" and self.pids is not None):
            return "it has no limit of its own"
        return f"no {_CONTROLLER_OF[name]} controller that was joined counts it"

    def _counters(self) -> dict[str, int | None]:
        return {name: getattr(self, name) for name in self.__slots__}

    def __eq__(self, other: object) -> bool:
        return self._counters() == other._counters() if isinstance(other, Usage) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Usage({', '.join(f'{name}={value}' for name, value in self._counters().items() if value is not None)})"
