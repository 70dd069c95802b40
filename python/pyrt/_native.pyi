"""The compact native module: mechanism only. Names, state, lifecycle and policy live in the Python around it.

Every function raises ``pyrt.errors`` exceptions (a subclass of ``pyrt.Error``), with operation, path and errno.
Sizes are bytes, times are seconds where they are ``float`` and microseconds where the name ends in ``_usec``.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, final

__all__ = [
    "COMMIT",
    "Cgroup",
    "Container",
    "LaunchPlan",
    "Layer",
    "OCI_VERSION",
    "Process",
    "Root",
    "SeccompListener",
    "SeccompNotification",
    "SeccompProfile",
    "View",
    "__version__",
    "can_mount",
    "container_ids",
    "features",
    "hold_signals",
    "host_cgroups",
    "host_facts",
    "json_dumps",
    "json_loads",
    "namespaces_create",
    "overlay_mount",
    "plan",
    "run_hooks",
    "seccomp_compile",
    "seccomp_number",
    "signal_number",
    "state_root",
    "wait_process",
]

__version__: str
COMMIT: str | None
"""The git commit that was built, 40 hexadecimal digits; None where it was built outside a checkout."""
OCI_VERSION: str
"""The newest runtime-spec release that pyrt knows."""

def json_loads(data: bytes) -> Any:
    """Parse JSON. Raises SpecError, naming line and column."""

def json_dumps(value: Any, *, indent: bool = False) -> str:
    """Write JSON from None, bool, int, float, str, list, tuple and dict with str keys. Raises TypeError for others."""

def plan(
    config: bytes,
    *,
    bundle: str,
    id: str,
    form: Literal["engine", "library"],
    overlay: Literal["off", "discard", "keep"] = "off",
    overlay_dir: str | None = None,
    overlay_size: int | None = None,
    view: View | None = None,
    seccomp: SeccompProfile | None = None,
    cgroups: bool = True,
    cgroup_manager: Literal["cgroupfs", "systemd"] = "cgroupfs",
    pivot: bool = True,
    new_keyring: bool = True,
    preserve_fds: int = 0,
    env: Sequence[str] = ...,
    waits_for_start: bool = False,
    end_with_caller: bool = False,
    keep_changes: bool = False,
    awaits_command: bool = False,
) -> LaunchPlan:
    """Check config.json strictly and decide everything that can be decided before the container exists. Touches nothing.

    bundle is the absolute directory that relative paths start from. form "engine": init becomes the process; "library": it
    stays as PID 1 above it. overlay "discard" puts a throw-away tmpfs of overlay_size bytes over the rootfs, "keep" uses
    upper/ and work/ below overlay_dir. view replaces the rootfs, seccomp config.json's linux.seccomp. Where config.json gives
    no cgroup path it is made of id; cgroups=False joins none. cgroup_manager "systemd": systemd is asked what the plan has to know of it,
    and the launch has it make the cgroup. new_keyring=False keeps the caller's session keyring. preserve_fds: how many descriptors the program keeps. env: appended to process.env. waits_for_start: init
    waits for `start` before it executes the program. end_with_caller: everything inside ends when the calling process does (form
    "library"). keep_changes: `Process.layer` has what it changes. awaits_command:
    launched, it waits for `Process.hand_out`; process.args, env and cwd are not used. Raises SpecError (with the JSON path) and HostError.
    """

@final
class View:
    """What of the host a host view shows, by absolute path: copy-on-write (`show`), bound read-only (`read_only`), copied as far as everybody
    may read it (`copy`), as an empty directory (`empty`); and `files` with content of the caller's own. The host is read at the first use."""

    def __new__(
        cls, *, show: Sequence[str], read_only: Sequence[str], copy: Sequence[str], empty: Sequence[str], files: Mapping[str, bytes] = ...
    ) -> View: ...

@final
class SeccompProfile:
    """A `linux.seccomp`, checked and compiled, for any number of launches. Raises SpecError with the JSON path."""

    def __new__(cls, profile: Mapping[str, Any], *, answers: bool = False) -> SeccompProfile:
        """answers: the caller answers SCMP_ACT_NOTIFY itself, by what `Process.listener` returns."""

@final
class SeccompListener:
    """Of a filter whose calls the caller answers: readable while a call waits, hung up once nobody is left under the filter."""

    def fileno(self) -> int: ...
    def receive(self) -> SeccompNotification | None:
        """The next call, of a listener that is readable; None where it was given up meanwhile."""
    def close(self) -> None:
        """Calls that wait, and all later ones, fail with ENOSYS."""

@final
class SeccompNotification:
    """A call that waits for its answer: seccomp_unotify(2). An answer to one who is gone does nothing."""

    @property
    def pid(self) -> int:
        """Of the thread that calls, in this process's pid namespace."""
    @property
    def name(self) -> str | None:
        """None for socketcall(2) and ipc(2), which stand for other calls."""
    @property
    def architecture(self) -> str | None: ...
    @property
    def number(self) -> int: ...
    @property
    def args(self) -> tuple[int, int, int, int, int, int]: ...
    def waits(self) -> bool: ...
    def read(self, address: int, length: int) -> bytes | None:
        """Memory of the caller, fewer bytes where the rest cannot be read; None where it is gone."""
    def error(self, errno: int) -> None: ...
    def value(self, value: int) -> None: ...
    def proceed(self) -> None: ...
    def descriptor(self, fd: int, *, close_on_exec: bool) -> None: ...

@final
class LaunchPlan:
    """What was decided. Nothing exists yet."""

    @property
    def warnings(self) -> list[str]: ...
    @property
    def oci_version(self) -> str: ...
    @property
    def rootfs(self) -> str: ...
    @property
    def terminal(self) -> bool: ...
    @property
    def annotations(self) -> dict[str, str]: ...
    @property
    def filtered(self) -> bool:
        """The program runs under a seccomp profile."""

    @property
    def root_owner(self) -> tuple[int, int]:
        """Outside, the user and group that are 0 and 0 inside."""
    @property
    def own_pid_namespace(self) -> bool: ...
    def launch(
        self,
        *,
        stdio: tuple[int, int, int],
        console_socket: int | None = None,
        pass_fds: Sequence[int] = ...,
    ) -> Process:
        """Make a container that has no state on disk. Returns when the program was executed.

        stdio: the descriptors that become 0, 1, 2 (ignored where config.json asks for a terminal). console_socket: a connected Unix socket
        that gets the terminal. pass_fds: descriptors that the program keeps, renumbered from 3, as many as the plan's preserve_fds.
        On failure everything is undone and the error raised. Releases the GIL.
        """

@final
class Layer:
    """The upper layer of a root, by descriptors of this process: it is there until the last is closed, whatever has ended."""

    def changes(self) -> list[tuple[Literal["added", "changed", "deleted"], str]]:
        """What differs from the layers below, by absolute path, sorted."""
    def commit(self, directory: str, *, on_progress: Callable[[int, int], object] | None = None) -> None:
        """Write the changes to a new directory, or an empty one, as a layer for another overlay; whole or not at all.

        on_progress: called in this thread with entries and bytes; what it raises ends it.
        """
    def close(self) -> None: ...

@final
class Root:
    """A container's root, by a descriptor. Both copies return what was left out: devices, sockets, FIFOs, and links that lead out of what is
    copied; they raise Error (EFBIG) beyond max_size bytes, and leave nothing of a copy that fails. on_progress: as for `Layer.commit`."""

    def copy_in(
        self, source: str, target: str, *, max_size: int | None = None, on_progress: Callable[[int, int], object] | None = None
    ) -> list[str]: ...
    def copy_out(
        self, source: str, target: str, *, max_size: int | None = None, on_progress: Callable[[int, int], object] | None = None
    ) -> list[str]: ...
    def close(self) -> None: ...

@final
class Process:
    """A container's init process, named by pidfd. Only the process that launched it can wait for its exit status."""

    @property
    def pid(self) -> int: ...
    @property
    def pidfd(self) -> int: ...
    @property
    def cgroup(self) -> Cgroup | None: ...
    @property
    def max_rss_bytes(self) -> int | None:
        """Largest resident set of any process in it, known after wait."""
    def fileno(self) -> int:
        """The pidfd: readable when the container has ended."""
    def terminal(self) -> int | None:
        """The pty master, once, owned by whoever takes it; None where there is none or it went to a console socket."""
    def listener(self) -> SeccompListener | None:
        """The listener of the program's seccomp filter, once, owned by whoever takes it; None where nobody or somebody else answers."""
    def hand_out(
        self, arguments: Sequence[str], environment: Sequence[str], directory: str, *, stdio: tuple[int, int, int], pass_fds: Sequence[int] = ...
    ) -> bool:
        """Give a container that waits its command: environment as "NAME=value". Returns when the program was executed; False where the
        container had ended before. Raises what `LaunchPlan.launch` raises for a program that is missing; then it is to be killed."""
    def layer(self) -> tuple[Layer, Root] | None:
        """What it changes, and its root, once; None where keep_changes was not asked for."""
    def root(self, owner: tuple[int, int]) -> Root:
        """Its root while it lives; owner: of what is copied in. Raises Error (ESRCH) when it has ended."""
    def wait(self, timeout: float | None = None) -> int | None:
        """Wait status as subprocess has it: the exit code, or minus the signal. None when timeout seconds passed.

        Raises ProcessLookupError where somebody else took the status. Releases the GIL; Ctrl-C interrupts it.
        """
    def foreground(self, *, terminal: bool, timeout: float | None = None) -> int | None:
        """Wait as a foreground command does: signals that reach this process go to the container; with terminal, descriptor 0 is put
        into raw mode and its input, output and size are relayed. Returns as `wait`."""
    def send_signal(self, signal: int) -> None:
        """Raises ProcessLookupError when it has ended."""
    def kill(self) -> None:
        """End everything inside and wait until it is empty: cgroup.kill, or SIGKILL to PID 1 by pidfd."""
    def close(self) -> None:
        """Release the descriptors. Never ends the container."""

@final
class Container:
    """A container with state on disk, ROOT/ID. Every call reads it anew; what changes the state waits for the container's lock, without
    the GIL, and Ctrl-C interrupts that. All raise NotFound and StateUnreadable."""

    def __new__(cls, root: str, id: str) -> Container:
        """A handle; whether the container exists shows when it is used. Raises SpecError for what is no id."""
    @staticmethod
    def create(
        root: str,
        plan: LaunchPlan,
        config: bytes,
        *,
        stdio: tuple[int, int, int],
        console_socket: int | None = None,
        pass_fds: Sequence[int] = ...,
        notify_socket: str | None = None,
    ) -> Container:
        """Reserve the plan's id, and launch as `LaunchPlan.launch`. config: what the plan was made of. Returns when init waits for `start`,
        or, where the plan does not, when the program runs and poststart hooks have run. notify_socket: that of a service manager, for a
        config that mounts PATH/notify. Raises AlreadyExists too."""
    @staticmethod
    def restore(
        root: str,
        plan: LaunchPlan,
        config: bytes,
        options: dict[str, Any],
        *,
        stdio: tuple[int, int, int],
        console_socket: int | None = None,
    ) -> Container:
        """As `create`, from the images of a `checkpoint`. options: `pyrt.checkpoints.request`. Raises HostError without a criu that works."""
    def checkpoint(self, options: dict[str, Any]) -> list[str]:
        """Write its images; then it is deleted, unless options say that it goes on. Returns which poststop hooks failed. Raises
        InvalidState, and HostError without a criu that works."""
    @property
    def id(self) -> str: ...
    @property
    def path(self) -> str:
        """Its state directory."""
    @property
    def process(self) -> Process | None:
        """Its init, where this process made it and it is not deleted."""
    @property
    def exit_status(self) -> int | None:
        """What `record_exit` recorded, in whichever process."""
    def remains(self) -> tuple[dict[str, int | None], bytes] | None:
        """What it had used (`Cgroup.usage`), and its config.json, where this process made it and has deleted it."""
    def exists(self) -> bool: ...
    def status(self) -> Literal["creating", "created", "running", "paused", "stopped"]: ...
    def state(self) -> dict[str, Any]:
        """ociVersion, id, status, pid, bundle, annotations, rootfs, created, owner."""
    def init(self) -> tuple[int, int] | None:
        """PID and start time of its init, alive or not; None while it is not made."""
    def config(self) -> bytes:
        """config.json as it was at the creation."""
    def require(self, verb: str, allowed: Sequence[str], hint: str | None = None) -> None:
        """Raise InvalidState, naming both states, unless the status is one of allowed."""
    def processes(self) -> list[int]:
        """PIDs as the caller sees them, of its cgroup, or without one of its pid namespace. HostError where it has neither of its own."""
    def cgroup(self) -> Cgroup | None: ...
    def update(self, resources: Mapping[str, Any]) -> None:
        """New limits, `resources` is the spec's linux.resources; what it leaves unset stays. InvalidState when it has ended, HostError."""
    def start(self, notify_socket: str | None = None) -> None:
        """Returns when the program was executed and the poststart hooks are done; with notify_socket when it was ready, or has ended."""
    def wait_ready(self) -> None:
        """Wait until one that did not wait for `start` is ready, or has ended, where notify_socket was given. Ctrl-C interrupts it."""
    def root(self) -> Root:
        """Its root as it is now. InvalidState unless it is created, running or paused."""
    def kill(self, signal: int, all: bool) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def delete(self, force: bool) -> list[str]:
        """Returns which poststop hooks failed, and how."""
    def plan_exec(
        self, config: bytes, *, ignore_paused: bool = False, preserve_fds: int = 0, cgroups: Sequence[tuple[str, str]] = ...
    ) -> LaunchPlan:
        """Plan process of config as one more process in this container. cgroups: below its own, as (v1 controller, path), or ("", path) for
        every hierarchy; they must exist. Raises InvalidState unless it is created or running, or paused with ignore_paused."""
    def record_exit(self, status: int) -> None:
        """For `wait` in other processes, where this one made the container."""

@final
class Cgroup:
    """One cgroup in every hierarchy that it joined: cgroup2, and v1 hierarchies on hybrid hosts."""

    @staticmethod
    def create(path: str, resources: Mapping[str, Any], *, controllers: Sequence[str] = ...) -> Cgroup:
        """Make it with limits: `resources` is the spec's linux.resources. controllers: joined even where no limit asks. AlreadyExists, HostError."""
    @staticmethod
    def open(paths: Mapping[str, str]) -> Cgroup:
        """Open what `paths` named earlier; hierarchies that are gone are left out."""
    def keeping_files_open(self) -> Cgroup:
        """The same cgroup, for who reads its counters again and again: each file stays open once it was read, until this object goes."""
    @property
    def paths(self) -> dict[str, str]: ...
    def add(self, pid: int) -> None: ...
    def update(self, resources: Mapping[str, Any]) -> None: ...
    def processes(self) -> list[int]:
        """PIDs in it and below, as the caller sees them."""
    def signal(self, signal: int) -> None:
        """Send it to every process inside, by pidfd."""
    def freeze(self) -> None:
        """Returns when everything inside stands still."""
    def thaw(self) -> None: ...
    def frozen(self) -> bool: ...
    def kill(self) -> None:
        """SIGKILL to all, and wait until it is empty."""
    def usage(self) -> dict[str, int | None]:
        """cpu_usec, cpu_user_usec, cpu_system_usec, memory_bytes, memory_peak_bytes, swap_bytes, memory_limit_bytes, memory_limit_hits,
        oom_kills, pids, pids_peak, pids_limit, pids_limit_hits, io_read_bytes, io_write_bytes. None where no joined controller counts it."""
    def statistics(self) -> dict[str, Any]:
        """All that is counted: cpu, memory, pids, io, hugetlb, rdma, pressure, with the fields of `pyrt.statistics`; None where nothing counts it."""
    def oom_notifier(self) -> tuple[Literal["counters", "eventfd"], int] | None:
        """A descriptor to poll, which is the caller's to close; None where it joined no memory controller. counters: memory.events, POLLPRI when
        it changed since it was last read from its start. eventfd: POLLIN when it is out of memory, before the kill, and when it is removed."""
    def remove(self) -> None:
        """Remove it, with cgroups below it and those above that were made only for it; it must be empty of processes. Missing ones are fine."""

def state_root(rootless: bool | None = None) -> str:
    """Where containers are kept if nobody says otherwise: /run/pyrt, or without root $XDG_RUNTIME_DIR/pyrt. Raises SpecError."""

def container_ids(root: str) -> list[str]:
    """Ids of all containers below root, sorted; none where it does not exist."""

def signal_number(name: str) -> int:
    """"15", "TERM", "SIGTERM", "SIGRTMIN+3" as a number. Raises SpecError."""

def hold_signals() -> None:
    """Block this thread's signals, but for those of its own faults, until `Process.foreground` passes them on; for good. Until then one of
    HUP, INT, QUIT and TERM ends a wait for what does not answer: it raises SystemExit(128 + its number)."""

def run_hooks(config: bytes, stage: Literal["poststart", "poststop"], state: bytes) -> list[str]:
    """Run that stage's hooks with `state` on stdin. poststart raises at the first failure; poststop returns failures as warnings."""

def wait_process(pid: int, start_time: int, timeout: float | None = None) -> tuple[bool, int | None]:
    """(ended, status) of a process that need not be our child. Status as `Process.wait`; None where the kernel cannot tell."""

def namespaces_create(kinds: Sequence[str], *, uid_mappings: Sequence[tuple[int, int, int]] = ..., gid_mappings: Sequence[tuple[int, int, int]] = ...,
                      monotonic_offset: float = 0.0, boottime_offset: float = 0.0) -> tuple[dict[str, int], int | None, int | None]:
    """Make namespaces beside the caller, who stays where he is: ({kind: descriptor}, PID and pidfd of the PID 1 that holds a pid namespace)."""

def overlay_mount(lower: Sequence[str], *, upper_dir: str | None, size: int | None) -> tuple[int, Layer]:
    """A detached overlay mount's descriptor, and its upper layer. upper_dir None: thrown away, on a tmpfs of `size` bytes. HostError without the right to mount."""

def seccomp_compile(profile: Mapping[str, Any], *, architecture: str | None = None, key: int = 0) -> bytes:
    """What init would load for this `linux.seccomp`, as an array of struct sock_filter; for a kernel of another architecture ("x86_64",
    "aarch64"), where one is named. key: admits init's own last calls where the profile does not. Raises SpecError."""

def seccomp_number(name: str, *, architecture: str | None = None) -> int | None:
    """A system call's number ("x86_64", "x86", "x32", "aarch64", "arm"); None where the architecture lacks it. ValueError for a name that none has."""

def features() -> dict[str, Any]:
    """The features document of the runtime-spec (features.md, features-linux.md): what this build recognizes, and of seccomp's flags
    what the running kernel has."""

def can_mount() -> bool:
    """Whether the calling process itself may mount (CAP_SYS_ADMIN); an ordinary user may only inside, in a user namespace of his own."""

def host_cgroups() -> dict[str, Any]:
    """`host_facts`'s "cgroup" alone, for which nothing is tried out: {"mode", "mounts", "controllers"}."""

def host_facts() -> dict[str, Any]:
    """What this kernel, caller and cgroup set-up can do: {"kernel": "6.18.0", "checks": [{"name", "ok", "detail", "hint"}, ...],
    "cgroup": {"mode": "v2" | "hybrid" | "v1" | "none", "mounts": {...}, "controllers": [...]}, "capabilities": [...]}."""
