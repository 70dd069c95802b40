"""One container, from `created` to gone: what `Runtime` makes and finds, and what the verbs of the command act on.

Every call reads the state on disk anew, so objects in several threads and processes agree. What changes the state takes the
container's lock; reading it and signalling do not, because both must work while a hook hangs.

Neighbours: state.py keeps what is known, runtime.py creates and lists, ``_native`` has the mechanism.
"""

from pyrt import _native
from pyrt.errors import Error, HostError, InvalidState, NotFound
from pyrt.state import Directory, StateUnreadable, boot_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    from pyrt.errors import ContainerTimeout
    from pyrt.state import State

    Status = Literal["creating", "created", "running", "paused", "stopped"]

__all__ = ["Container"]

SIGKILL = 9
KILL_TIMEOUT = 10.0
"""Seconds until a container that was sent SIGKILL must be gone: longer only where the kernel itself hangs."""


class Container:
    """A container of a ``Runtime``. It outlives the calling process, and this object is but a handle: several of them do no harm.

    warnings: what could not be done as asked without being an error, in the order it happened: unknown keys in config.json,
    capabilities that the caller lacks, failures of poststop hooks.
    """

    warnings: list[str]

    def __init__(self, directory: Directory, process: "_native.Process | None" = None, *, terminal: bool = False) -> None:
        """For `Runtime`. process: the init, where this process made it; terminal: whether config.json asks for one."""
        self._directory = directory
        self._process = process
        self._terminal = terminal
        self._exit_status: int | None = None
        self._exit_unknown: str | None = None
        self.warnings = []

    def __repr__(self) -> str:
        return f"<pyrt.Container {self._directory.path}>"

    @property
    def id(self) -> str:
        return self._directory.id

    @property
    def pid(self) -> int:
        """The init's PID as the caller sees it; 0 when stopped."""
        return int(self.state()["pid"])

    @property
    def init_pid(self) -> int:
        """The init's PID as it was recorded, whether or not it still lives; 0 while it is not made."""
        return self._directory.read().pid or 0

    @property
    def status(self) -> "Status":
        """creating, created, running, paused or stopped (runtime-spec, "State"; paused is runc's)."""
        return self._status(self._directory.read())

    @property
    def bundle(self) -> str:
        return self._directory.read().bundle

    @property
    def rootfs(self) -> str:
        return self._directory.read().rootfs

    @property
    def annotations(self) -> dict[str, str]:
        return self._directory.read().annotations

    @property
    def created(self) -> str:
        """When, as RFC 3339 in UTC."""
        return self._directory.read().created

    @property
    def owner(self) -> str:
        """Name of the user who created it, or the user id where it has no name."""
        return _user_name(self._directory.owner())

    @property
    def exit_unknown(self) -> str | None:
        """Why the last ``wait`` returned None."""
        return self._exit_unknown

    def state(self) -> "dict[str, Any]":
        """What `pyrt state` prints: the state of the runtime-spec, and runc's rootfs, created and owner.

        Raises NotFound, and Error where the state on disk cannot be understood.
        """
        state = self._directory.read()
        return {
            **self._oci_state(state, self._status(state)),
            "rootfs": state.rootfs,
            "created": state.created,
            "owner": self.owner,
        }

    def fileno(self) -> int:
        """The pidfd of the init: readable when the container has ended. Raises InvalidState once it is deleted, and in processes that
        did not create it."""
        process = self._process
        if process is None:
            raise InvalidState(f"no descriptor for container {self.id}: it was deleted, or another process created it")
        return process.fileno()

    def start(self) -> None:
        """Let the program of a created container run. Returns when it was executed and the poststart hooks are done.

        Raises InvalidState unless the status is created. A poststart hook that fails ends and deletes the container, as the
        runtime-spec's lifecycle has it.
        """
        with self._directory.lock():
            state = self._directory.read()
            self._require(state, "start", ("created",))
            _native.start(self._directory.start_socket)
            state.status = "running"
            self._directory.write(state)
        self._run_poststart(state)

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait until it has ended; return the exit status, or minus the signal.

        None where the kernel cannot tell (``exit_unknown`` says why): that happens only to processes that did not create it.
        timeout: seconds, after which ContainerTimeout is raised and the container goes on.
        """
        if self._exit_status is not None:
            return self._exit_status
        process = self._process
        if process is not None:
            try:
                return self._ended(process.wait(timeout), timeout)
            except ProcessLookupError:
                # Somebody else in this process took the exit status, or this is a forked child: the kernel may still tell.
                return self._wait_as_stranger(timeout)
        return self._wait_as_stranger(timeout)

    def foreground(self) -> int | None:
        """Wait as a foreground command does: signals to this process go to the container, and where config.json asks for a terminal,
        descriptor 0 is put into raw mode and relayed. Returns as ``wait``; only for the process that created the container.
        """
        if self._process is None:
            raise InvalidState(f"cannot attach to container {self.id}: another process created it")
        try:
            return self._ended(self._process.foreground(terminal=self._terminal), None)
        except ProcessLookupError:
            return self._wait_as_stranger(None)

    def kill(self, signal: str | int = "TERM", all: bool = False) -> None:
        """Send a signal to the init, or to every process of the container.

        signal: an int (``signal.Signals`` too), or a name with or without SIG. all: also where the init has ended already.
        A container without a pid namespace of its own is ended as a whole by SIGKILL. Raises InvalidState when it has ended.
        """
        from pyrt import signals

        number = signals.number(signal)
        identity = self._directory.identity()
        state = self._directory.read()
        status = self._status(state)
        if status == "creating" or (status == "stopped" and not all):
            raise self._not_running(status)
        group = self._cgroup()
        if self._directory.identity() != identity:
            # Deleted meanwhile, and created anew: the cgroup may already be the new one's.
            raise self._not_running("stopped")
        if group is not None and (all or (number == SIGKILL and not state.own_pid_namespace)):
            group.signal(number)
        else:
            self._signal_init(state, number, missing_ok=all)
        if group is not None and status == "paused" and number == SIGKILL:
            # The v1 freezer does not let even SIGKILL through.
            group.thaw()

    def pause(self) -> None:
        """Freeze every process of it. Raises InvalidState unless it is created or running, HostError without a cgroup."""
        with self._directory.lock():
            self._require(self._directory.read(), "pause", ("created", "running"))
            group = self._cgroup()
            if group is None:
                raise HostError(f"cannot pause container {self.id}: it has no cgroup")
            group.freeze()

    def resume(self) -> None:
        """Let a paused container go on. Raises InvalidState unless it is paused."""
        with self._directory.lock():
            self._require(self._directory.read(), "resume", ("paused",))
            group = self._cgroup()
            if group is not None:
                group.thaw()

    def delete(self, force: bool = False) -> None:
        """Remove its cgroups, run its poststop hooks, remove its state.

        It must be stopped, or created: then it is ended first, as runc does and the runtime-spec does not. force: whatever its state,
        also an unreadable one, and nothing happens where it does not exist. Raises InvalidState.
        """
        try:
            lock = self._directory.try_lock() if force else self._directory.lock()
            if lock is None:
                # Whoever creates or starts it hangs in a hook, or in the kernel: with nothing left inside they give up.
                self._end(self._read_or_none(), self._cgroup())
                lock = self._directory.lock()
        except NotFound:
            if force:
                return
            raise
        with lock:
            self._delete_locked(force)

    def _delete_locked(self, force: bool) -> None:
        state = self._read_or_none() if force else self._directory.read()
        if state is not None and not force:
            self._require(state, "delete", ("created", "stopped"), hint="kill it first, or use delete --force")
        group = self._cgroup()
        self._end(state, group)
        if group is not None:
            group.remove()
        if state is not None:
            self._run_poststop(state)
        self._directory.remove()
        process, self._process = self._process, None
        if process is not None:
            # Whoever keeps this object longer keeps no descriptor; the exit status was taken by `_end`.
            process.close()

    def _end(self, state: "State | None", group: "_native.Cgroup | None") -> None:
        """End everything inside and wait until it is gone. Without state only the cgroup is known."""
        alive = state is not None and self._alive(state)
        if state is not None and alive:
            self._signal_init(state, SIGKILL, missing_ok=True)
        if group is not None:
            # Also without a living init: processes may be left where it had no pid namespace of its own.
            group.kill()
        if state is not None and alive and not self._gone(state, KILL_TIMEOUT):
            raise Error(f"container {self.id} did not end within {KILL_TIMEOUT:.0f} s of SIGKILL", hint="see dmesg for a hung task")
        if self._process is not None and not alive:
            self._gone_as_parent(self._process, 0)

    def _gone(self, state: "State", timeout: float) -> bool:
        """Wait until the init has ended; whether it did in that time."""
        if self._process is not None and self._gone_as_parent(self._process, timeout):
            return True
        if state.pid is None or state.start_time is None:
            return True
        ended, _ = _native.wait_process(state.pid, state.start_time, timeout)
        return ended

    def _gone_as_parent(self, process: "_native.Process", timeout: float) -> bool:
        """Take the exit status, so that the calling process is left no zombie. False where it is not ours to take, or still runs."""
        try:
            status = process.wait(timeout)
        except ProcessLookupError:
            return False
        if status is not None:
            self._exit_status = status
        return status is not None

    def _run_poststart(self, state: "State") -> None:
        if not state.poststart:
            return
        try:
            _native.run_hooks(self._directory.read_config(), "poststart", self._hook_state(state, "running"))
        except BaseException:
            self.delete(force=True)
            raise

    def _run_poststop(self, state: "State") -> None:
        try:
            config = self._directory.read_config()
        except Error as error:
            self.warnings.append(f"poststop hooks of container {self.id} did not run: {error}")
            return
        self.warnings += _native.run_hooks(config, "poststop", self._hook_state(state, "stopped"))

    def _hook_state(self, state: "State", status: "Status") -> bytes:
        return _native.json_dumps(self._oci_state(state, status)).encode()

    def _oci_state(self, state: "State", status: "Status") -> "dict[str, Any]":
        return {
            "ociVersion": state.oci_version,
            "id": state.id,
            "status": status,
            "pid": 0 if status == "stopped" or state.pid is None else state.pid,
            "bundle": state.bundle,
            "annotations": state.annotations,
        }

    def _status(self, state: "State") -> "Status":
        if state.pid is None:
            return "creating" if state.status == "creating" and state.boot_id == boot_id() else "stopped"
        if not self._alive(state):
            return "stopped"
        group = self._cgroup()
        return "paused" if group is not None and group.frozen() else state.status

    def _alive(self, state: "State") -> bool:
        if state.pid is None or state.start_time is None or state.status == "stopped" or state.boot_id != boot_id():
            return False
        return _native.process_alive(state.pid, state.start_time)

    def _require(self, state: "State", verb: str, allowed: "tuple[Status, ...]", hint: str | None = None) -> None:
        status = self._status(state)
        if status not in allowed:
            raise InvalidState(f"cannot {verb} container {self.id}: it is {status}, not {' or '.join(allowed)}", hint=hint)

    def _read_or_none(self) -> "State | None":
        try:
            return self._directory.read()
        except StateUnreadable:
            return None

    def _cgroup(self) -> "_native.Cgroup | None":
        process = self._process
        if process is not None:
            # What the launch holds open; the file is for everybody else.
            return process.cgroup
        paths = self._directory.read_cgroup_paths()
        return _native.Cgroup.open(paths) if paths else None

    def _signal_init(self, state: "State", number: int, *, missing_ok: bool = False) -> None:
        if state.pid is None or state.start_time is None or state.boot_id != boot_id():
            return
        try:
            _native.signal_process(state.pid, state.start_time, number)
        except ProcessLookupError as error:
            if not missing_ok:
                raise self._not_running("stopped") from error

    def _not_running(self, status: "Status") -> InvalidState:
        # runc's words, which engines look for.
        return InvalidState(f"container not running: cannot signal container {self.id}, which is {status}")

    def _ended(self, status: int | None, timeout: float | None) -> int:
        if status is None:
            raise self._timed_out(timeout)
        self._exit_status = status
        self._record_exit(status)
        return status

    def _wait_as_stranger(self, timeout: float | None) -> int | None:
        """Wait for a process that need not be a child of this one, or no longer is."""
        state = self._directory.read()
        if state.exit_status is None and self._alive(state) and state.pid is not None and state.start_time is not None:
            ended, status = _native.wait_process(state.pid, state.start_time, timeout)
            if not ended:
                raise self._timed_out(timeout)
            if status is not None:
                return self._ended(status, timeout)
            state = self._directory.read()
        if state.exit_status is None:
            self._exit_unknown = self._why_unknown(state)
        return state.exit_status

    def _why_unknown(self, state: "State") -> str:
        if state.boot_id != boot_id():
            return "the host was started anew since"
        if state.pid is None:
            return "it was never made: its creator was killed"
        return "another process is its parent, and either has not taken the exit status yet, or this kernel tells it to nobody else"

    def _record_exit(self, status: int) -> None:
        """For `wait` in other processes. Best effort: who holds the lock is deleting it, and deleted containers need no record."""
        try:
            lock = self._directory.try_lock()
            if lock is None:
                return
            with lock:
                state = self._directory.read()
                state.status = "stopped"
                state.exit_status = status
                self._directory.write(state)
        except (NotFound, StateUnreadable):
            return

    def _timed_out(self, timeout: float | None) -> "ContainerTimeout":
        from pyrt.errors import ContainerTimeout

        return ContainerTimeout(self.id, 0.0 if timeout is None else timeout)


def _user_name(uid: int) -> str:
    if uid == 0:
        return "root"  # without asking the name service, which may load libraries and a network's directory
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
