"""What this host has, found without pyrt, and `requires`, which skips a test with the missing thing as its reason.

@requires("root", "memory controller")
def test_...
"""

from __future__ import annotations

import functools
import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids")
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
ENGINES = ("podman", "containerd", "dockerd", "conmon", "slurmctld", "slurmd", "srun", "munged", "crictl")
TOOLS = ("newuidmap", "useradd", "setpriv", "bwrap", "unshare", "nsenter", "losetup", "mkfs.ext4", "strace", "ps", "ip", "apparmor_parser")
SHELLS = ("bash", "fish", "zsh")
READERS = ("man", "mandoc")
BUS = ("dbus-daemon", "busctl")
PROGRAMS = ("crun", "debootstrap", "runc", *TOOLS, *SHELLS, *READERS, *BUS, *ENGINES)
KERNELS = ((6, 1), (6, 5), (6, 6), (6, 15))
"""Versions that brought something which pyrt uses where it can: offsets of time namespaces, idmapped tmpfs, user attributes of a tmpfs,
PIDFD_GET_INFO."""


@dataclass(frozen=True)
class CgroupMounts:
    """cgroup2: its mount point or None. v1: mount point by controller ("name=systemd" too)."""

    cgroup2: Path | None
    v1: dict[str, Path] = field(default_factory=dict)

    @property
    def mode(self) -> str:
        if self.cgroup2 is None:
            return "v1" if self.v1 else "none"
        return "hybrid" if self.v1 else "v2"

    @property
    def roots(self) -> list[Path]:
        """One directory a hierarchy."""
        return sorted({*self.v1.values(), *([self.cgroup2] if self.cgroup2 else [])})

    def controllers(self) -> set[str]:
        """Names as cgroup2 has them."""
        found = {"io" if name == "blkio" else name for name in self.v1}
        if self.cgroup2 is not None:
            found |= set((self.cgroup2 / "cgroup.controllers").read_text().split())
        return found


@functools.cache
def cgroup_mounts() -> CgroupMounts:
    """From /proc/self/mountinfo: the fifth field is the mount point; the type and, last, the options follow the dash (proc(5))."""
    cgroup2: Path | None = None
    v1: dict[str, Path] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        point, kind, options = Path(before.split()[4]), after.split()[0], after.split()[-1].split(",")
        if kind == "cgroup2" and cgroup2 is None:
            cgroup2 = point
        elif kind == "cgroup":
            v1 |= {name: point for name in options if name not in ("rw", "ro", "xattr", "clone_children")}
    return CgroupMounts(cgroup2, v1)


def controller(name: str) -> bool:
    return name in cgroup_mounts().controllers()


def program(name: str) -> bool:
    return shutil.which(name) is not None


def kernel(major: int, minor: int) -> bool:
    release = platform.release().split(".")
    return (int(release[0]), int(release[1].split("-")[0])) >= (major, minor)


def ordinary_users() -> bool:
    """Whether a user other than root can start a Python and make a user namespace here."""
    from helpers import ordinary

    if not program("setpriv") or (python := ordinary.python()) is None:
        return False
    attempt = ["setpriv", "--reuid", "700000", "--regid", "700000", "--clear-groups", "unshare", "--user", python, "-c", ""]
    return subprocess.run(attempt, capture_output=True, check=False, cwd="/").returncode == 0


def mount_works() -> bool:
    done = subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False)
    return done.returncode == 0


def veth_works() -> bool:
    line = ["unshare", "--net", "ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1"]
    return shutil.which("ip") is not None and subprocess.run(line, capture_output=True, check=False).returncode == 0


def _module(parameter: str) -> bool:
    return Path(parameter).exists() and Path(parameter).read_text().strip() == "Y"


def swap_accounting() -> bool:
    """cgroup v1 has a file for it in its root; cgroup v2 has none there, and always accounts."""
    memory = cgroup_mounts().v1.get("memory")
    return (memory / "memory.memsw.limit_in_bytes").exists() if memory else has("memory controller")


def controller_of_cgroup2(name: str) -> bool:
    """Whether cgroup2 itself has it: on hybrid hosts those that are not mounted as v1."""
    mount = cgroup_mounts().cgroup2
    return mount is not None and name in (mount / "cgroup.controllers").read_text().split()


@functools.cache
def criu_check() -> bool | None:
    """Whether criu finds all that it needs here; None without criu."""
    return subprocess.run(["criu", "check"], capture_output=True, check=False).returncode == 0 if program("criu") else None


FACTS: dict[str, Callable[[], bool]] = {
    "root": lambda: os.geteuid() == 0,
    "ordinary users": ordinary_users,
    "mounts": mount_works,
    "busybox": Path("/bin/busybox").exists,
    "two processors": lambda: len(os.sched_getaffinity(0)) > 1,
    "criu that works": lambda: criu_check() is True,
    "criu that fails its check": lambda: criu_check() is False,
    "AppArmor": lambda: _module("/sys/module/apparmor/parameters/enabled"),
    "no AppArmor": lambda: not _module("/sys/module/apparmor/parameters/enabled"),
    "no SELinux": lambda: not Path("/sys/fs/selinux/enforce").exists(),
    "veth": veth_works,
    "loop device": Path("/dev/loop-control").exists,
    "no systemd": lambda: not Path("/run/systemd/private").exists(),
    "virtual machine": Path("/run/pyrt-vm").exists,
    "cgroup2": lambda: cgroup_mounts().cgroup2 is not None,
    "cgroup v1": lambda: bool(cgroup_mounts().v1),
    "pure cgroup v2": lambda: cgroup_mounts().mode == "v2",
    "hybrid cgroups": lambda: cgroup_mounts().mode == "hybrid",
    "swap accounting": swap_accounting,
    "hugetlb controller of cgroup2": partial(controller_of_cgroup2, "hugetlb"),
    **{f"{name} controller": partial(controller, name) for name in CONTROLLERS},
    **{f"{name} namespaces": Path(f"/proc/self/ns/{name}").exists for name in NAMESPACES},
    **{name: partial(program, name) for name in PROGRAMS},
    **{f"Linux {major}.{minor}": partial(kernel, major, minor) for major, minor in KERNELS},
}


@functools.cache
def has(fact: str) -> bool:
    """Whether this host has it. Raises KeyError for a fact that FACTS does not name."""
    return FACTS[fact]()


def missing(*facts: str) -> list[str]:
    return [fact for fact in facts if not has(fact)]


def requires(*facts: str) -> pytest.MarkDecorator:
    """Skip the test where this host lacks one of the FACTS; the report names it."""
    lacking = missing(*facts)
    return pytest.mark.skipif(bool(lacking), reason=f"this host lacks: {', '.join(lacking)}")
