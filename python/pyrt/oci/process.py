"""`process`, `root`, `mounts` and `hooks` of a config.json (runtime-spec, config.md). Units are the spec's."""

from __future__ import annotations

from pyrt.oci.fields import Section, flag, number, numbers, one, several, text, texts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrt.oci.annotations import Flag, Number, Numbers, One, Several, Text, Texts

__all__ = [
    "Box",
    "Capabilities",
    "ExecCPUAffinity",
    "Hook",
    "Hooks",
    "IDMapping",
    "IOPriority",
    "Mount",
    "Process",
    "Rlimit",
    "Root",
    "Scheduler",
    "User",
]


class Root(Section):
    """The root file system. path: absolute, or relative to the bundle."""

    path: Text = text()
    readonly: Flag = flag()


class Box(Section):
    """The size of a terminal, in characters."""

    height: Number = number()
    width: Number = number()


class User(Section):
    """Whom the process runs as, by numbers inside the container."""

    uid: Number = number()
    gid: Number = number()
    umask: Number = number()
    additional_gids: Numbers = numbers()
    username: Text = text()


class Capabilities(Section):
    """The five sets, of names such as CAP_KILL."""

    bounding: Texts = texts()
    effective: Texts = texts()
    permitted: Texts = texts()
    inheritable: Texts = texts()
    ambient: Texts = texts()


class Rlimit(Section):
    """A resource limit. type: such as RLIMIT_NOFILE."""

    type: Text = text()
    soft: Number = number()
    hard: Number = number()


class IOPriority(Section):
    """ioprio_set(2). class_: IOPRIO_CLASS_RT, IOPRIO_CLASS_BE or IOPRIO_CLASS_IDLE."""

    class_: Text = text("class")
    priority: Number = number()


class Scheduler(Section):
    """sched_setattr(2). runtime, deadline, period: nanoseconds."""

    policy: Text = text()
    nice: Number = number()
    priority: Number = number()
    flags: Texts = texts()
    runtime: Number = number()
    deadline: Number = number()
    period: Number = number()


class ExecCPUAffinity(Section):
    """Which processors run what `exec` starts: lists such as 0-3,7, before and after it has joined the cgroup."""

    initial: Text = text()
    final: Text = text()


class Process(Section):
    """The container's process."""

    terminal: Flag = flag()
    console_size: One[Box] = one(Box)
    user: One[User] = one(User)
    args: Texts = texts()
    command_line: Text = text()
    env: Texts = texts()
    cwd: Text = text()
    capabilities: One[Capabilities] = one(Capabilities)
    rlimits: Several[Rlimit] = several(Rlimit)
    no_new_privileges: Flag = flag()
    oom_score_adj: Number = number()
    scheduler: One[Scheduler] = one(Scheduler)
    io_priority: One[IOPriority] = one(IOPriority)
    exec_cpu_affinity: One[ExecCPUAffinity] = one(ExecCPUAffinity, "execCPUAffinity")
    apparmor_profile: Text = text()
    selinux_label: Text = text()


class IDMapping(Section):
    """A range of ids of a user namespace, and where it begins outside."""

    container_id: Number = number("containerID")
    host_id: Number = number("hostID")
    size: Number = number()


class Mount(Section):
    """A mount, in the order of the list."""

    destination: Text = text()
    type: Text = text()
    source: Text = text()
    options: Texts = texts()
    uid_mappings: Several[IDMapping] = several(IDMapping)
    gid_mappings: Several[IDMapping] = several(IDMapping)


class Hook(Section):
    """A program that is run at a moment of the container's life. timeout: seconds."""

    path: Text = text()
    args: Texts = texts()
    env: Texts = texts()
    timeout: Number = number()


class Hooks(Section):
    """The six moments (docs/hooks.md)."""

    prestart: Several[Hook] = several(Hook)
    create_runtime: Several[Hook] = several(Hook)
    create_container: Several[Hook] = several(Hook)
    start_container: Several[Hook] = several(Hook)
    poststart: Several[Hook] = several(Hook)
    poststop: Several[Hook] = several(Hook)
