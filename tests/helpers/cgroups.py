"""Cgroup files read and processes placed from outside pyrt, on pure v2, hybrid and v1 hosts alike (cgroups(7))."""

from __future__ import annotations

from pathlib import Path

from helpers.hosts import cgroup_mounts

UNIFIED = "unified"
"""cgroup2's key in what `of` returns, and pyrt's own name for it."""


def of(pid: int | str = "self") -> dict[str, str]:
    """A process's cgroup path below each hierarchy's root, by controller, and by UNIFIED (/proc/PID/cgroup)."""
    found = {}
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for name in controllers.split(",") if controllers else [UNIFIED]:
            found[name] = path
    return found


def directory(path: str, controller: str) -> Path:
    """The directory of a cgroup path in the hierarchy that has the controller (cgroup2's names)."""
    mounts = cgroup_mounts()
    mount = mounts.v1.get({"io": "blkio"}.get(controller, controller)) or mounts.cgroup2
    assert mount is not None, f"no hierarchy has the controller {controller}"
    return mount / path.lstrip("/")


def value(pid: int, controller: str, *, v1: str, v2: str) -> str:
    """What the process's cgroup has in the file of that name, which each version calls differently."""
    mine = of(pid)
    if (name := {"io": "blkio"}.get(controller, controller)) in cgroup_mounts().v1:
        return (directory(mine[name], controller) / v1).read_text().strip()
    return (directory(mine[UNIFIED], controller) / v2).read_text().strip()


def exists(path: str) -> bool:
    """Whether any hierarchy has a cgroup of that path."""
    return any((root / path.lstrip("/")).exists() for root in cgroup_mounts().roots)


def matching(pattern: str) -> list[Path]:
    """Directories of all hierarchies whose path below the root matches the shell pattern."""
    return [path for root in cgroup_mounts().roots for path in root.glob(pattern)]
