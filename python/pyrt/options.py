"""ContainerOptions: the keyword arguments that `run` and all like it share, as a type. Read by type checkers and people;
nothing imports it at run time. `configuration` turns the values into a config.json, `run`'s docstring explains them.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, TypedDict

from pyrt.cgroups import Cgroup
from pyrt.mounts import Mount
from pyrt.namespaces import Namespaces
from pyrt.rlimits import Rlimit
from pyrt.spec import Spec
from pyrt.stdio import File
from pyrt.system_calls import Answer, SystemCall
from pyrt.view import HostView

StrPath = str | os.PathLike[str]
OnProgress = Callable[[int, int], object]
"""Of a copy or a commit: called with the entries and the bytes of content written so far."""


class ExecOptions(TypedDict, total=False):
    """What `Container.exec` takes beside the arguments of subprocess. Left out, or None: what config.json says."""

    cwd: StrPath | None
    env: Mapping[str, str] | None
    user: str | int | None
    group: str | int | None
    extra_groups: Iterable[str | int] | None
    umask: int | None
    capabilities: Iterable[str] | None
    no_new_privileges: bool | None
    pass_fds: Sequence[int]
    ignore_paused: bool


class _Talk(TypedDict, total=False):
    """Arguments of subprocess.run that do not say whether its streams are of text."""

    stdin: File
    stdout: File
    stderr: File
    capture_output: bool
    timeout: float | None
    check: bool


class ExecTalk(ExecOptions, _Talk, total=False):
    """The arguments of `Container.exec` without those about text."""


class ExecRun(ExecTalk, total=False):
    """The arguments of `Container.exec`."""

    input: str | bytes | None
    text: bool | None
    encoding: str | None
    errors: str | None


class ContainerOptions(TypedDict, total=False):
    """Every key may be left out; None means the same as that, unless said otherwise."""

    # process
    cwd: StrPath | None
    env: Mapping[str, str] | None
    inherit_env: Iterable[str]
    user: str | int | None
    group: str | int | None
    extra_groups: Iterable[str | int] | None
    umask: int | None
    capabilities: Iterable[str] | None
    seccomp: Mapping[str, Any] | StrPath | None
    on_syscall: Mapping[str, Callable[[SystemCall], Answer]] | None
    rlimits: Iterable[Rlimit] | Mapping[str, int | tuple[int, int]] | None
    init: bool
    shell: bool
    # root and mounts
    rootfs: StrPath | None
    bundle: StrPath | None
    spec: Spec | None
    overlay: bool | StrPath | None
    host_view: HostView | None
    here: bool
    size: int | str | None
    keep_changes: bool
    read_only: bool | None
    mounts: Iterable[Mount | str]
    tmpfs: Iterable[str] | Mapping[str, int | str | None]
    # limits
    memory: int | str | None
    memory_swap: int | str | None
    cpus: float | None
    cpu_weight: int | None
    io_weight: int | None
    cpuset: str | Iterable[int] | None
    pids: int | None
    cgroup: Cgroup | StrPath | None
    cgroup_manager: Literal["cgroupfs", "systemd"] | None
    cpu_time: float | None
    max_output: int | str | None
    max_output_action: Literal["truncate", "kill"]
    devices: Iterable[StrPath]
    # namespaces
    network: Literal["none", "host"] | Namespaces | None
    hostname: str | None
    namespaces: Namespaces | Mapping[str, str] | None
    user_namespace: bool | Literal["subids"] | Mapping[Literal["uid", "gid"], Iterable[tuple[int, int, int]]]
    # descriptors
    pass_fds: Sequence[int]


class PoolCommand(TypedDict, total=False):
    """What a call of a Pool says of its command. Left out, or None: as the pool has it."""

    cwd: StrPath | None
    env: Mapping[str, str] | None
    shell: bool
    pass_fds: Sequence[int]
    max_output: int | str | None
    max_output_action: Literal["truncate", "kill"]


class PoolTalk(PoolCommand, _Talk, total=False):
    """The arguments of `Pool.run` without those about text."""


class PoolRun(PoolTalk, total=False):
    """The arguments of `Pool.run`: those of its command, and subprocess.run's about input, output and time."""

    input: str | bytes | None
    text: bool | None
    encoding: str | None
    errors: str | None
    universal_newlines: bool | None
