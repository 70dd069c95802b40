"""/proc/PID/mountinfo (proc_pid_mountinfo(5)), as the kernel shows it inside a container or on the host."""

from __future__ import annotations

from dataclasses import dataclass

MOUNTINFO = "/proc/self/mountinfo"
PROPAGATIONS = ("shared", "master", "propagate_from", "unbindable")


@dataclass(frozen=True)
class Mount:
    """One line. point: where. root: what of the file system is there. options: of this mount. super_options: of its file system.

    propagation: "shared", "slave" (master:N), "shared slave", "unbindable" or "private".
    """

    point: str
    root: str
    options: frozenset[str]
    propagation: str
    kind: str
    source: str
    super_options: frozenset[str]


def parse(text: str) -> list[Mount]:
    """All mounts, in the kernel's order: what was mounted later over the same point comes later."""
    return [_line(line) for line in text.splitlines()]


def at(text: str, point: str) -> Mount:
    """The topmost mount at a point. Raises KeyError, naming the points that there are."""
    mounts = [mount for mount in parse(text) if mount.point == point]
    if not mounts:
        raise KeyError(f"nothing is mounted on {point}, only on {' '.join(mount.point for mount in parse(text))}")
    return mounts[-1]


def _line(line: str) -> Mount:
    before, _, after = line.partition(" - ")
    fields, (kind, source, super_options) = before.split(), after.split()
    tags = [tag.partition(":")[0] for tag in fields[6:]]
    names = [{"master": "slave"}.get(tag, tag) for tag in tags if tag in PROPAGATIONS and tag != "propagate_from"]
    return Mount(
        point=fields[4],
        root=fields[3],
        options=frozenset(fields[5].split(",")),
        propagation=" ".join(names) or "private",
        kind=kind,
        source=source,
        super_options=frozenset(super_options.split(",")),
    )
