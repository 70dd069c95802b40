"""`linux` of a config.json but for its resources (runtime-spec, config-linux.md). Units are the spec's."""

from __future__ import annotations

from pyrt.oci.fields import Section, flag, names, number, one, one_by_name, several, text, texts
from pyrt.oci.process import IDMapping
from pyrt.oci.resources import Resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrt.oci.annotations import ByName, Flag, Names, Number, One, Several, Text, Texts

__all__ = [
    "Device",
    "IntelRdt",
    "Linux",
    "MemoryPolicy",
    "Namespace",
    "NetDevice",
    "Personality",
    "Seccomp",
    "Syscall",
    "SyscallArg",
    "TimeOffset",
]


class Namespace(Section):
    """A namespace: a new one, or where there is a path that of a file."""

    type: Text = text()
    path: Text = text()


class Device(Section):
    """A device to be made. type: c, u, b or p; file_mode: permissions as a number."""

    type: Text = text()
    path: Text = text()
    major: Number = number()
    minor: Number = number()
    file_mode: Number = number()
    uid: Number = number()
    gid: Number = number()


class NetDevice(Section):
    """A network device that moves into the container. name: its name there."""

    name: Text = text()


class SyscallArg(Section):
    """A condition on an argument, by its index from 0."""

    index: Number = number()
    value: Number = number()
    value_two: Number = number()
    op: Text = text()


class Syscall(Section):
    """What happens to system calls of these names, where all conditions hold."""

    names: Texts = texts()
    action: Text = text()
    errno_ret: Number = number()
    args: Several[SyscallArg] = several(SyscallArg)


class Seccomp(Section):
    """A profile of system calls."""

    default_action: Text = text()
    default_errno_ret: Number = number()
    architectures: Texts = texts()
    flags: Texts = texts()
    listener_path: Text = text()
    listener_metadata: Text = text()
    syscalls: Several[Syscall] = several(Syscall)


class IntelRdt(Section):
    """Cache and memory bandwidth (resctrl)."""

    clos_id: Text = text("closID")
    schemata: Texts = texts()
    l3_cache_schema: Text = text("l3CacheSchema")
    mem_bw_schema: Text = text()
    enable_monitoring: Flag = flag()


class MemoryPolicy(Section):
    """set_mempolicy(2). nodes: a list such as 0-3,7."""

    mode: Text = text()
    nodes: Text = text()
    flags: Texts = texts()


class Personality(Section):
    """personality(2)."""

    domain: Text = text()
    flags: Texts = texts()


class TimeOffset(Section):
    """How far a clock of a new time namespace is from the host's."""

    secs: Number = number()
    nanosecs: Number = number()


class Linux(Section):
    """What only Linux has."""

    namespaces: Several[Namespace] = several(Namespace)
    uid_mappings: Several[IDMapping] = several(IDMapping)
    gid_mappings: Several[IDMapping] = several(IDMapping)
    time_offsets: ByName[TimeOffset] = one_by_name(TimeOffset)
    devices: Several[Device] = several(Device)
    net_devices: ByName[NetDevice] = one_by_name(NetDevice)
    cgroups_path: Text = text()
    resources: One[Resources] = one(Resources)
    intel_rdt: One[IntelRdt] = one(IntelRdt)
    memory_policy: One[MemoryPolicy] = one(MemoryPolicy)
    sysctl: Names = names()
    seccomp: One[Seccomp] = one(Seccomp)
    rootfs_propagation: Text = text()
    masked_paths: Texts = texts()
    readonly_paths: Texts = texts()
    mount_label: Text = text()
    personality: One[Personality] = one(Personality)
