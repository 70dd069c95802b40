"""The whole config.json of the runtime-spec 1.3 for Linux as typed Python: `Spec.process`, `.root`, `.hooks` and `.linux` are made of it.

Each class is a view of a JSON object (fields.py): nothing is parsed twice, unknown keys stay. Attributes are the spec's names in Python's
spelling. tests/unit/test_model.py keeps them from drifting away from the spec's schema and from the Rust types.
"""

from __future__ import annotations

from pyrt.oci.fields import Items, Named, Section, names, one, several, text
from pyrt.oci.linux import (
    Device,
    IntelRdt,
    Linux,
    MemoryPolicy,
    Namespace,
    NetDevice,
    Personality,
    Seccomp,
    Syscall,
    SyscallArg,
    TimeOffset,
)
from pyrt.oci.process import (
    Box,
    Capabilities,
    ExecCPUAffinity,
    Hook,
    Hooks,
    IDMapping,
    IOPriority,
    Mount,
    Process,
    Rlimit,
    Root,
    Scheduler,
    User,
)
from pyrt.oci.resources import (
    CPU,
    BlockIO,
    DeviceCgroup,
    HugepageLimit,
    InterfacePriority,
    Memory,
    Network,
    Pids,
    Rdma,
    Resources,
    ThrottleDevice,
    WeightDevice,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrt.oci.annotations import Names, One, Several, Text

__all__ = [
    "Config",
    "Process",
    "Box",
    "User",
    "Capabilities",
    "Rlimit",
    "IOPriority",
    "Scheduler",
    "ExecCPUAffinity",
    "Root",
    "Mount",
    "IDMapping",
    "Hooks",
    "Hook",
    "Linux",
    "Namespace",
    "Device",
    "NetDevice",
    "TimeOffset",
    "Seccomp",
    "Syscall",
    "SyscallArg",
    "IntelRdt",
    "MemoryPolicy",
    "Personality",
    "Resources",
    "DeviceCgroup",
    "Memory",
    "CPU",
    "Pids",
    "BlockIO",
    "WeightDevice",
    "ThrottleDevice",
    "HugepageLimit",
    "Network",
    "InterfacePriority",
    "Rdma",
    "Section",
    "Items",
    "Named",
]


class Config(Section):
    """A config.json."""

    oci_version: Text = text()
    process: One[Process] = one(Process)
    root: One[Root] = one(Root)
    hostname: Text = text()
    domainname: Text = text()
    mounts: Several[Mount] = several(Mount)
    hooks: One[Hooks] = one(Hooks)
    annotations: Names = names()
    linux: One[Linux] = one(Linux)
