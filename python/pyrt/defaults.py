"""What a container is given unless somebody says otherwise: capabilities, mounts, paths, environment. Data only.

`spec.default_spec` makes `pyrt spec`'s config.json of it, `configuration` the library's. Nothing here is ever changed in
place: who edits a list makes a new one.
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OCI_VERSION = "1.3.0"
HOSTNAME = "pyrt"

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LANG = "C.UTF-8"
TERM = "xterm"

UMASK = 0o022
PIDS_LIMIT = 2048
"""Processes and threads of a container, where the host has a pids controller."""
UPPER_SIZE = 1 << 30
"""Bytes of the throw-away upper layer where no memory limit says how large it may grow; an unsized tmpfs is half the machine."""

ENGINE_CAPABILITIES = ("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")

# docker's set without CAP_MKNOD: with the `nodev` root, no device but the default ones can be made or opened.
LIBRARY_CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
)

NAMESPACES = ("pid", "network", "ipc", "uts", "mount", "cgroup")
"""Kinds, as config.json spells them, that are new for each container."""

MOUNTS: "tuple[dict[str, Any], ...]" = (
    {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
    {
        "destination": "/dev/pts",
        "type": "devpts",
        "source": "devpts",
        "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    },
    {
        "destination": "/dev/shm",
        "type": "tmpfs",
        "source": "shm",
        "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
    },
    {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
    {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
    {
        "destination": "/sys/fs/cgroup",
        "type": "cgroup",
        "source": "cgroup",
        "options": ["nosuid", "noexec", "nodev", "relatime", "ro"],
    },
)

READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

_MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)

_masked_paths: list[str] | None = None


def masked_paths() -> list[str]:
    """Paths of /proc and /sys that are hidden: docker's, with each processor's `thermal_throttle` (a side channel, moby 49560)."""
    global _masked_paths
    if _masked_paths is None:
        processors = (f"/sys/devices/system/cpu/cpu{number}/thermal_throttle" for number in range(os.cpu_count() or 1))
        _masked_paths = [*_MASKED_PATHS, *(path for path in processors if os.path.isdir(path))]
    return _masked_paths
