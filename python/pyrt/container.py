"""One container, from `created` to gone: what `Runtime` makes and finds, and what the verbs of the command act on.

The state on disk and the transitions between states are rust/core/src/container, which the command's quick verbs use too. Here they get
Python's types, the wait, and what a person reads.

Neighbours: runtime.py creates and lists, ``_native`` has the mechanism.
"""

import posix
import sys

from pyrt import _native
from pyrt.errors import Error, HostError, InvalidState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any, Literal, overload

    from typing_extensions import Unpack

    from pyrt.checkpoints import CheckpointOptions
    from pyrt.completed import CompletedProcess
    from pyrt.errors import ContainerTimeout
    from pyrt.events import OutOfMemory
    from pyrt.executed import ContainerAio
    from pyrt.limits import Limits
    from pyrt.options import ExecOptions, ExecTalk, OnProgress, StrPath
    from pyrt.popen import Popen
    from pyrt.report import ExitReport
    from pyrt.statistics import Statistics
    from pyrt.stdio import File

    Status = Literal["creating", "created", "running", "paused", "stopped"]
else:

    def overload(function):
        return function


__all__ = ["Container"]


class Container:
    """A container of a ``Runtime``. It outlives the calling process, and this object is but a handle: several of them do no harm.

    warnings: what could not be done as asked without being an error, in the order it happened: unknown keys in config.json,
    capabilities that the caller lacks, failures of poststop hooks.
    """

    warnings: list[str]

    def __init__(self, native: "_native.Container", *, terminal: bool = False) -> None:
        """For `Runtime`. terminal: whether config.json asks for one."""
        self._native = native
        self._process = native.process
        self._terminal = terminal
        self._exit_status: int | None = None
        self._exit_unknown: str | None = None
        self._max_rss_bytes: int | None = None
        self.warnings = []

    def __repr__(self) -> str:
        return f"<pyrt.Container {self._native.path}>"

    @property
    def id(self) -> str:
        return self._native.id

    @property
    def pid(self) -> int:
        """The init's PID as the caller sees it; 0 when stopped."""
        return int(self.state()["pid"])

    @property
    def init_pid(self) -> int:
        """The init's PID as it was recorded, whether or not it still lives; 0 while it is not made."""
        init = self._native.init()
        return 0 if init is None else init[0]

    @property
    def status(self) -> "Status":
        """creating, created, running, paused or stopped (runtime-spec, "State"; paused is runc's)."""
        return self._native.status()

    @property
    def bundle(self) -> str:
        return str(self.state()["bundle"])

    @property
    def rootfs(self) -> str:
        return str(self.state()["rootfs"])

    @property
    def annotations(self) -> dict[str, str]:
        return dict(self.state()["annotations"])

    @property
    def created(self) -> str:
        """When, as RFC 3339 in UTC."""
        return str(self.state()["created"])

    @property
    def owner(self) -> str:
        """Name of the user who created it, or the user id where it has no name."""
        return str(self.state()["owner"])

    @property
    def exit_unknown(self) -> str | None:
        """Why the last ``wait`` returned None."""
        return self._exit_unknown

    def state(self) -> "dict[str, Any]":
        """What `pyrt state` prints: the state of the runtime-spec, and runc's rootfs, created and owner.

        Raises NotFound, and StateUnreadable where the state on disk cannot be understood.
        """
        return self._native.state()

    def fileno(self) -> int:
        """The pidfd of the init: readable when the container has ended. Raises InvalidState once it is deleted, and in processes that
        did not create it."""
        process = self._process
        if process is None:
            raise InvalidState(f"no descriptor for container {self.id}: it was deleted, or another process created it")
        return process.fileno()

    def start(self, *, notify_socket: str | None = None) -> None:
        """Let the program of a created container run. Returns when it was executed and the poststart hooks are done.

        notify_socket: as for ``Runtime.create``, which was given it too; then this returns when the container said READY=1, or has ended.

        Raises InvalidState unless the status is created. A poststart hook that fails ends and deletes the container, as the
        runtime-spec's lifecycle has it.
        """
        self._native.start(notify_socket)
        say("container %s: started", self.id)

    def wait_ready(self) -> None:
        """Wait until one that was created with start and notify_socket has said READY=1, or has ended. Returns at once for others."""
        self._native.wait_ready()

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

        self._native.kill(signals.number(signal), all)
        say("container %s: sent signal %s", self.id, signal)

    def pause(self) -> None:
        """Freeze every process of it. Raises InvalidState unless it is created or running, HostError without a cgroup."""
        self._native.pause()

    def resume(self) -> None:
        """Let a paused container go on. Raises InvalidState unless it is paused."""
        self._native.resume()

    def update(self, limits: "Limits | Mapping[str, Any]") -> None:
        """Change its limits: `Limits`, or config.json's `linux.resources` as a dict. What is left unset stays as it is.

        Raises InvalidState when it has ended, HostError without a cgroup or where no controller can enforce a limit, SpecError for a value
        out of range, and Error with file and value where the kernel refuses one. Then all limits are as they were.
        """
        from pyrt.limits import Limits

        self._native.update(limits.resources() if isinstance(limits, Limits) else limits)

    def processes(self) -> list[int]:
        """PIDs of every process in it, as the caller sees them: its cgroup's, or without one its pid namespace's.

        Raises HostError where it has neither of its own.
        """
        return self._native.processes()

    def copy_in(
        self,
        source: "StrPath",
        target: "StrPath",
        *,
        max_size: "int | str | None" = None,
        on_progress: "OnProgress | None" = None,
    ) -> list[str]:
        """Copy a file or directory into it, as `Popen.copy_in`. Raises InvalidState when it has ended."""
        from pyrt.layer import copy_in

        return copy_in(self._native.root(), source, target, max_size, on_progress)

    def copy_out(
        self,
        source: "StrPath",
        target: "StrPath",
        *,
        max_size: "int | str | None" = None,
        on_progress: "OnProgress | None" = None,
    ) -> list[str]:
        """Copy a file or directory out of it, as `Popen.copy_out`. Raises InvalidState when it has ended."""
        from pyrt.layer import copy_out

        return copy_out(self._native.root(), source, target, max_size, on_progress)

    def stats(self) -> "Statistics":
        """What it counts now. Reading stops nothing. Raises HostError without a cgroup, NotFound."""
        from pyrt.statistics import Statistics

        return Statistics(self._group("read statistics of").statistics())

    def live_stats(self, interval: float = 1.0) -> "Iterator[Statistics]":
        """`stats` now and every `interval` seconds until it ends, its cgroup's files held open by descriptors meanwhile.

        Raises InvalidState at the first step when it has ended, else as `stats`.
        """
        from pyrt.statistics import Statistics

        if interval <= 0:
            raise ValueError(f"interval {interval} is not above 0 seconds")
        group = self._group("read statistics of").keeping_files_open()
        init = self._native.init()
        self._native.require("read live statistics of", ("created", "running", "paused"))
        while init is not None:
            yield Statistics(group.statistics())
            ended, _ = _native.wait_process(*init, interval)
            if ended:
                return

    def events(self, interval: float = 5.0) -> "Iterator[Statistics | OutOfMemory]":
        """`stats` now and every `interval` seconds, and an OutOfMemory at once where the kernel has to kill for memory, until it ends.

        Raises InvalidState at the first step when it has ended, else as `stats`.
        """
        from pyrt.events import watch

        if interval <= 0:
            raise ValueError(f"interval {interval} is not above 0 seconds")
        return watch(self._native, self._group("watch"), interval)

    def _group(self, purpose: str) -> "_native.Cgroup":
        self._native.state()  # NotFound comes before a missing cgroup
        group = self._native.cgroup()
        if group is None:
            raise HostError(f"cannot {purpose} container {self.id}: it has no cgroup")
        return group

    def exit_report(self) -> "ExitReport":
        """How it ended, why, and what it had used. The process that created it may ask after its deletion too; others only before.

        Raises InvalidState unless it has ended, NotFound.
        """
        from pyrt.report import ExitReport

        remains = self._native.remains()
        if remains is not None:
            counters, config = remains
            return ExitReport(self._exit_status, self._max_rss_bytes, counters, config)
        self._native.require("report the end of", ("stopped",))
        status = self.wait()
        group = self._native.cgroup()
        largest = None if self._process is None else self._process.max_rss_bytes
        return ExitReport(status, largest, {} if group is None else group.usage(), self._native.config())

    def delete(self, force: bool = False) -> None:
        """Remove its cgroups, run its poststop hooks, remove its state.

        It must be stopped, or created: then it is ended first, as runc does and the runtime-spec does not. force: whatever its state,
        also an unreadable one, and nothing happens where it does not exist. Raises InvalidState.
        """
        failures = self._native.delete(force)
        self.warnings += failures
        say("container %s: deleted", self.id, warnings=failures)
        self._release()

    def _release(self) -> None:
        """Whoever keeps this object after the deletion keeps no descriptor; the exit status stays known."""
        process = self._process
        if process is None:
            return
        try:
            status = process.wait(0)
        except ProcessLookupError:
            status = None  # somebody else in this process took it
        if status is not None:
            self._exit_status = status
        self._max_rss_bytes = process.max_rss_bytes
        self._process = None
        process.close()

    @overload
    def exec(
        self,
        args: "Sequence[StrPath] | StrPath",
        *,
        input: str | None = None,
        text: "Literal[True]",
        encoding: str | None = None,
        errors: str | None = None,
        **arguments: "Unpack[ExecTalk]",
    ) -> "CompletedProcess[str]": ...

    @overload
    def exec(  # noqa: F811 - an overload
        self,
        args: "Sequence[StrPath] | StrPath",
        *,
        input: str | None = None,
        text: bool | None = None,
        encoding: str,
        errors: str | None = None,
        **arguments: "Unpack[ExecTalk]",
    ) -> "CompletedProcess[str]": ...

    @overload
    def exec(  # noqa: F811 - an overload
        self,
        args: "Sequence[StrPath] | StrPath",
        *,
        input: bytes | None = None,
        text: "Literal[False] | None" = None,
        encoding: None = None,
        errors: None = None,
        **arguments: "Unpack[ExecTalk]",
    ) -> "CompletedProcess[bytes]": ...

    @overload
    def exec(  # noqa: F811 - an overload
        self,
        args: "Sequence[StrPath] | StrPath",
        *,
        stdin: "File" = None,
        input: str | bytes | None = None,
        stdout: "File" = None,
        stderr: "File" = None,
        capture_output: bool = False,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        timeout: float | None = None,
        check: bool = False,
        **options: "Unpack[ExecOptions]",
    ) -> "CompletedProcess[Any]": ...

    def exec(  # noqa: F811 - an overload
        self,
        args: "Sequence[StrPath] | StrPath",
        *,
        stdin: "File" = None,
        input: str | bytes | None = None,
        stdout: "File" = None,
        stderr: "File" = None,
        capture_output: bool = False,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        timeout: float | None = None,
        check: bool = False,
        **options: "Unpack[ExecOptions]",
    ) -> "CompletedProcess[Any]":
        """Run one more command in the container, wait for it, and say how it ended. The arguments are `pyrt.run`'s.

        cwd, env (added to the container's), user, group, extra_groups, umask, capabilities, no_new_privileges: where they are not
        given, what config.json says of the container's own process. pass_fds; ignore_paused: also into a paused container, where the
        command stands still until it is resumed. A timeout, like Ctrl-C, kills the command; what it left in the background lives on.

        Raises InvalidState unless the container is created or running, and all that `pyrt.run` raises.
        """
        from pyrt.execution import run

        return run(
            self._native,
            args,
            options,
            stdin=stdin,
            input=input,
            stdout=stdout,
            stderr=stderr,
            capture_output=capture_output,
            text=text,
            encoding=encoding,
            errors=errors,
            timeout=timeout,
            check=check,
        )

    def popen(self, args: "Sequence[StrPath] | StrPath", **arguments: "Any") -> "Popen[Any]":
        """One more command in the container beside the caller, as `pyrt.Popen`: its arguments are that one's about streams and text, and
        those of `exec` about the command. It ends with the caller's process or the handle, at the latest, and the container goes on.

        Raises what `exec` raises.
        """
        from pyrt.executed import ExecutedPopen

        return ExecutedPopen(self._native, args, **arguments)

    @property
    def aio(self) -> "ContainerAio":
        """`await container.aio.exec(...)`, and `await container.aio.popen(...)`, which returns a `pyrt.aio.Process`."""
        from pyrt.executed import ContainerAio

        return ContainerAio(self._native)

    def checkpoint(self, image_path: "StrPath", **options: "Unpack[CheckpointOptions]") -> None:
        """Write it to files, from which `Runtime.restore` makes it again, here or on another host. It is ended and deleted then.

        image_path: the directory of CRIU's images, made where it is missing. leave_running: it goes on, and is not deleted. pre_dump: only
        its memory is written, and it goes on; a later checkpoint with parent_path (as seen from image_path) writes what has changed.
        work_path: where CRIU's log and sockets go, else image_path. tcp_established, tcp_skip_in_flight, ext_unix_sk, shell_job,
        file_locks, link_remap, auto_dedup, empty_ns (``["network"]``) and manage_cgroups_mode (soft) are criu(8)'s. lazy_pages: memory
        stays here until it is fetched, from page_server (address and port); status_fd gets a NUL byte when it can be.

        Raises InvalidState unless it is running or paused; HostError where criu is missing, fails its own check, or cannot do what is
        asked, which also goes for containers with a copy-on-write root; Error in CRIU's words. After a failure it goes on as it was.
        """
        from pyrt.checkpoints import request

        failures = self._native.checkpoint(request(image_path, options))
        self.warnings += failures
        say("container %s: written to %s", self.id, image_path, warnings=failures)
        if not (options.get("leave_running") or options.get("pre_dump")):
            self._release()

    def _ended(self, status: int | None, timeout: float | None) -> int:
        if status is None:
            raise self._timed_out(timeout)
        self._exit_status = status
        try:
            self._native.record_exit(status)
        except Error as error:
            # That there is no room for it, for others to read, is no reason to withhold it.
            self.warnings.append(str(error))
        return status

    def _wait_as_stranger(self, timeout: float | None) -> int | None:
        """Wait for a process that need not be a child of this one, or no longer is."""
        status = self._native.exit_status
        if status is not None:
            return status
        init = self._native.init()
        if init is None:
            self._exit_unknown = "it was never made: its creator was killed"
            return None
        if self.status != "stopped":
            ended, status = _native.wait_process(*init, timeout)
            if not ended:
                raise self._timed_out(timeout)
            if status is not None:
                return self._ended(status, timeout)
        status = self._native.exit_status
        if status is None:
            self._exit_unknown = (
                "another process is its parent, and has not taken the exit status yet, or this kernel tells it to nobody else;"
                " or the host was started anew since"
            )
        return status

    def _timed_out(self, timeout: float | None) -> "ContainerTimeout":
        from pyrt.errors import ContainerTimeout

        return ContainerTimeout(self.id, 0.0 if timeout is None else timeout)


def say(message: str, *args: object, warnings: "Sequence[str]" = ()) -> None:
    """To pyrt.log, which is imported where somebody may listen: engines' verbs load as little as they can."""
    if "logging" in sys.modules or b"PYRT_LOG" in posix.environ:
        from pyrt import log

        log.debug(message, *args)
        for warning in warnings:
            log.warning("%s", warning)
