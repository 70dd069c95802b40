"""`linux.resources` of a config.json (runtime-spec, config-linux.md, "Control groups"). Units are the spec's."""

from __future__ import annotations

from pyrt.oci.fields import Section, flag, names, number, one, one_by_name, several, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrt.oci.annotations import ByName, Flag, Names, Number, One, Several, Text

__all__ = [
    "CPU",
    "BlockIO",
    "DeviceCgroup",
    "HugepageLimit",
    "InterfacePriority",
    "Memory",
    "Network",
    "Pids",
    "Rdma",
    "Resources",
    "ThrottleDevice",
    "WeightDevice",
]


class DeviceCgroup(Section):
    """Which device may be used. type: a, c, u, b or p; access: letters of r, w, m. Without numbers: all of the type."""

    allow: Flag = flag()
    type: Text = text()
    major: Number = number()
    minor: Number = number()
    access: Text = text()


class Memory(Section):
    """Limits in bytes; -1 is none. swap: memory and swap together."""

    limit: Number = number()
    reservation: Number = number()
    swap: Number = number()
    kernel: Number = number()
    kernel_tcp: Number = number("kernelTCP")
    swappiness: Number = number()
    disable_oom_killer: Flag = flag("disableOOMKiller")
    use_hierarchy: Flag = flag()
    check_before_update: Flag = flag()


class CPU(Section):
    """Time in microseconds; cpus and mems: lists such as 0-3,7."""

    shares: Number = number()
    quota: Number = number()
    burst: Number = number()
    period: Number = number()
    realtime_runtime: Number = number()
    realtime_period: Number = number()
    cpus: Text = text()
    mems: Text = text()
    idle: Number = number()


class Pids(Section):
    """Processes and threads; -1: no limit."""

    limit: Number = number()


class WeightDevice(Section):
    """The weight of one block device."""

    major: Number = number()
    minor: Number = number()
    weight: Number = number()
    leaf_weight: Number = number()


class ThrottleDevice(Section):
    """The rate of one block device, in bytes or operations a second."""

    major: Number = number()
    minor: Number = number()
    rate: Number = number()


class BlockIO(Section):
    """Block devices."""

    weight: Number = number()
    leaf_weight: Number = number()
    weight_device: Several[WeightDevice] = several(WeightDevice)
    throttle_read_bps_device: Several[ThrottleDevice] = several(ThrottleDevice)
    throttle_write_bps_device: Several[ThrottleDevice] = several(ThrottleDevice)
    throttle_read_iops_device: Several[ThrottleDevice] = several(ThrottleDevice, "throttleReadIOPSDevice")
    throttle_write_iops_device: Several[ThrottleDevice] = several(ThrottleDevice, "throttleWriteIOPSDevice")


class HugepageLimit(Section):
    """A limit in bytes for pages of a size such as 2MB."""

    page_size: Text = text()
    limit: Number = number()


class InterfacePriority(Section):
    """The priority of traffic on a network interface."""

    name: Text = text()
    priority: Number = number()


class Network(Section):
    """net_cls and net_prio of cgroup v1."""

    class_id: Number = number("classID")
    priorities: Several[InterfacePriority] = several(InterfacePriority)


class Rdma(Section):
    """Limits of one RDMA device."""

    hca_handles: Number = number()
    hca_objects: Number = number()


class Resources(Section):
    """The limits of the container. unified: files of cgroup v2 by name."""

    devices: Several[DeviceCgroup] = several(DeviceCgroup)
    memory: One[Memory] = one(Memory)
    cpu: One[CPU] = one(CPU)
    pids: One[Pids] = one(Pids)
    block_io: One[BlockIO] = one(BlockIO, "blockIO")
    hugepage_limits: Several[HugepageLimit] = several(HugepageLimit)
    network: One[Network] = one(Network)
    rdma: ByName[Rdma] = one_by_name(Rdma)
    unified: Names = names()
