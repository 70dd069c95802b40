"""What exists before and after a test: processes, mounts, cgroups, threads and descriptors.

Looked at from outside pyrt, in /proc and in the cgroup file systems, so that pyrt cannot be wrong about itself here.
"""

from __future__ import annotations

import gc
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from helpers.hosts import cgroup_mounts

FOREIGN = "process_api"
"""Cgroups of the machine's own supervisor: not looked at, never touched."""
SETTLE_SECONDS = 30.0
"""How long the kernel, and whoever reaps orphans here (some look every two seconds), may take to let go of a process that was killed."""
POLL_SECONDS = 0.02
SHARED_HOST = bool(os.environ.get("PYRT_TESTS_SHARED_HOST"))
"""Others make containers here at the same time: look only at what is certainly this process's own."""


@dataclass(frozen=True)
class Snapshot:
    """Everything that a container could leave behind, each as a line for a person."""

    processes: dict[int, str]
    mounts: frozenset[str]
    cgroups: frozenset[Path]
    threads: frozenset[str]
    descriptors: frozenset[str]

    @classmethod
    def take(cls) -> Snapshot:
        return cls(processes(), mounts(), cgroups(), threads(), descriptors())

    def added(self, before: Snapshot) -> list[str]:
        """What is here and was not there before."""
        return [
            *(f"process {pid}: {what}" for pid, what in self.processes.items() if pid not in before.processes),
            *(f"mount {mount}" for mount in sorted(self.mounts - before.mounts)),
            *(f"cgroup {path}" for path in sorted(self.cgroups - before.cgroups)),
            *(f"thread {name}" for name in sorted(self.threads - before.threads)),
            *(f"descriptor {name}" for name in sorted(self.descriptors - before.descriptors)),
        ]


def settled(before: Snapshot) -> tuple[Snapshot, list[str]]:
    """The state once nothing more goes away, and what of it was not there before."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        now = Snapshot.take()
        left = now.added(before)
        if not left or time.monotonic() > deadline:
            return now, left
        # What only a reference cycle (an exception's traceback) holds is not left behind.
        gc.collect()
        time.sleep(POLL_SECONDS)


def end_children(before: Snapshot, now: Snapshot) -> None:
    """End the children that a failed test left, so that they do not outlive the run. Cgroups stay: who knows whose they are."""
    left = {pid for pid in now.processes.keys() - before.processes.keys() if parent(pid) == os.getpid()}
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    # Never one after the other: the PID 1 of a namespace ends only when all others in it are reaped.
    deadline = time.monotonic() + SETTLE_SECONDS
    while left and time.monotonic() < deadline:
        left = {pid for pid in left if os.waitpid(pid, os.WNOHANG) == (0, 0)}
        time.sleep(POLL_SECONDS)


def parent(pid: int) -> int | None:
    """From /proc/PID/stat, the second field after the name in brackets (proc(5)); None when it has gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None


def processes() -> dict[int, str]:
    """Children of this process, and whatever is in a pid namespace other than ours."""
    own = os.stat("/proc/self/ns/pid").st_ino
    found = {}
    for pid in (int(entry) for entry in os.listdir("/proc") if entry.isdigit()):
        if parent(pid) == os.getpid() or (not SHARED_HOST and pid_namespace(pid) not in (own, None)):
            try:
                words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                found[pid] = words or Path(f"/proc/{pid}/comm").read_text().strip()
            except (FileNotFoundError, ProcessLookupError):
                continue  # ended meanwhile
    return found


def pid_namespace(pid: int) -> int | None:
    """Inode of its pid namespace; None for a zombie, which has none, and for what is none of our business."""
    try:
        return os.stat(f"/proc/{pid}/ns/pid").st_ino
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        return None


def mounts() -> frozenset[str]:
    """Root, mount point, type and source of each mount in this namespace."""
    found = set()
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split()
        found.add(f"{fields[4]} ({' '.join(after.split()[:2])}, root {fields[3]})")
    return frozenset(found)


def mounts_about(directory: Path) -> frozenset[str]:
    """The mounts of this namespace; on a shared host those that name the directory, since others come and go."""
    return frozenset(mount for mount in mounts() if not SHARED_HOST or str(directory) in mount)


def cgroups() -> frozenset[Path]:
    """Directories of all hierarchies, but for their roots and FOREIGN."""
    found: set[Path] = set()
    if SHARED_HOST:
        return frozenset()
    for root in cgroup_mounts().roots:
        for directory, names, _ in os.walk(root):
            if Path(directory) == root:
                names[:] = [name for name in names if name != FOREIGN]
            found |= {Path(directory, name) for name in names}
    return frozenset(found)


def threads() -> frozenset[str]:
    return frozenset(os.listdir("/proc/self/task"))


def descriptors() -> frozenset[str]:
    """Number and target of each open descriptor of this process."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{name} -> {os.readlink(f'/proc/self/fd/{name}')}")
        except FileNotFoundError:
            continue  # the directory that was just listed
    return frozenset(found)
