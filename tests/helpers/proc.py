"""What proc(5) says, read from outside or printed inside: status, namespaces, capability masks."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

NAMESPACES = {
    "cgroup": "cgroup",
    "ipc": "ipc",
    "mount": "mnt",
    "network": "net",
    "pid": "pid",
    "time": "time",
    "user": "user",
    "uts": "uts",
}
"""Kinds as config.json spells them, and their files in /proc/PID/ns."""
SHOW_NAMESPACES = f"cd /proc/self/ns; for name in {' '.join(NAMESPACES.values())}; do readlink $name; done"
"""A shell script that prints what `printed_namespaces` reads."""
CAPABILITY_SETS = {"inheritable": "CapInh", "permitted": "CapPrm", "effective": "CapEff", "bounding": "CapBnd", "ambient": "CapAmb"}
"""Names in config.json, and in /proc/PID/status."""
# fmt: off
_IN_ORDER = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT",
    "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD",
    "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND",
    "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE",
)
# fmt: on
NUMBERS = {f"CAP_{name}": number for number, name in enumerate(_IN_ORDER)}
"""linux/capability.h, written down anew: the tests do not believe pyrt's own table."""


def status(text: str) -> dict[str, str]:
    """The fields of /proc/PID/status by name; lists have one space between their members."""
    return {name: " ".join(value.split()) for name, _, value in (line.partition(":") for line in text.splitlines())}


def status_of(pid: int) -> dict[str, str]:
    return status(Path(f"/proc/{pid}/status").read_text())


def namespaces_of(pid: int | str) -> dict[str, int]:
    """Inode by kind."""
    return {kind: os.stat(f"/proc/{pid}/ns/{file}").st_ino for kind, file in NAMESPACES.items()}


def printed_namespaces(text: str) -> dict[str, int]:
    """The same from what SHOW_NAMESPACES printed: lines such as "net:[4026531840]"."""
    kinds = {file: kind for kind, file in NAMESPACES.items()}
    entries = (line.partition(":") for line in text.split())
    return {kinds[file]: int(number.strip("[]")) for file, _, number in entries}


def mask(capabilities: Iterable[str]) -> str:
    """The capabilities as /proc/PID/status shows them: sixteen hexadecimal digits, bit N for number N."""
    return f"{sum(1 << NUMBERS[name] for name in capabilities):016x}"


def held() -> set[str]:
    """Capabilities that this process may use; a host's root need not have them all."""
    effective = int(status_of(os.getpid())["CapEff"], 16)
    return {name for name, number in NUMBERS.items() if effective & 1 << number}
