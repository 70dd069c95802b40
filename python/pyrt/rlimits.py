"""Rlimit: one entry of config.json's `process.rlimits` (getrlimit(2))."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

UNLIMITED = (1 << 64) - 1
"""RLIM_INFINITY, as config.json has it."""


class Rlimit:
    """A resource limit of the process.

    type: "NOFILE" or "RLIMIT_NOFILE". soft, hard: in the unit of getrlimit(2); -1 is no limit; hard is soft unless said.
    Raises ValueError where soft is above hard.
    """

    __slots__ = ("hard", "soft", "type")

    def __init__(self, type: str, soft: int, hard: int | None = None) -> None:
        name = type.upper()
        self.type = name if name.startswith("RLIMIT_") else f"RLIMIT_{name}"
        self.soft = UNLIMITED if soft == -1 else soft
        self.hard = self.soft if hard is None else UNLIMITED if hard == -1 else hard
        if not 0 <= self.soft <= self.hard <= UNLIMITED:
            raise ValueError(f"{self.type}: soft limit {soft} is not from 0 to the hard limit {hard}")

    def to_config(self) -> "dict[str, Any]":
        """The entry as config.json has it."""
        return {"type": self.type, "soft": self.soft, "hard": self.hard}

    def __eq__(self, other: object) -> bool:
        return self.to_config() == other.to_config() if isinstance(other, Rlimit) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.type, self.soft, self.hard))

    def __repr__(self) -> str:
        return f"Rlimit({self.type!r}, {self.soft}, {self.hard})"


def rlimit_entries(rlimits: "Iterable[Rlimit] | Mapping[str, int | tuple[int, int]]") -> "list[dict[str, Any]]":
    """`process.rlimits` from Rlimit objects, or from {"NOFILE": 1024} and {"NOFILE": (1024, 4096)}."""
    if not hasattr(rlimits, "items"):
        return [rlimit.to_config() for rlimit in rlimits]
    entries = []
    for name, value in rlimits.items():
        soft, hard = value if isinstance(value, tuple) else (value, value)
        entries.append(Rlimit(name, soft, hard).to_config())
    return entries
