"""A caller of pyrt that stands still before each of its system calls that change something, and may be ended there (ptrace(2)).

No code for that is in pyrt: the kernel stops a forked child of the tests at every call, and SIGKILL at the entry of a call means that the
call is not made. So the N-th kill falls between change N - 1 and change N, whatever they are and for every N that there is.

Neighbours: callers.py (callers that are killed at some time), tests/integration/test_every_step.py.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import struct
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from pyrt import _native

# linux/ptrace.h
TRACEME, SYSCALL, DETACH, SETOPTIONS, GETEVENTMSG, GET_SYSCALL_INFO = 0, 24, 17, 0x4200, 0x4201, 0x420E
O_TRACESYSGOOD, O_TRACEFORK, O_TRACEVFORK, O_TRACECLONE, O_EXITKILL = 1, 1 << 1, 1 << 2, 1 << 3, 1 << 20
EVENT_FORK, EVENT_VFORK, EVENT_CLONE = 1, 2, 3
SYSCALL_STOP = signal.SIGTRAP | 0x80
ENTRY = 1
WALL = 0x40000000
"""__WALL of waitpid(2): also children made by clone(2) without SIGCHLD."""
INFO_SIZE = 88
"""struct ptrace_syscall_info: op, pad, arch, two pointers, then number and six arguments at an entry."""

CHANGING = """
    mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2 symlink symlinkat link linkat mknodat open openat creat truncate ftruncate
    write pwrite64 writev chmod fchmod fchmodat chown fchown fchownat setxattr fsetxattr lsetxattr
    socketpair bind connect accept accept4 sendmsg sendto sendmmsg flock fcntl memfd_create
    clone clone3 fork vfork execve execveat kill tgkill pidfd_send_signal wait4 waitid exit_group
    setns unshare mount umount2 pivot_root chroot move_mount mount_setattr bpf sethostname setdomainname setsid capset
    setresuid setresgid setgroups close_range
"""
"""What can change something that others see, and what divides a life: made, handed over, waited for, ended."""
SOMETIMES = frozenset({"open", "openat", "fcntl"})
"""Those that only count with certain arguments."""


def _numbers() -> dict[int, str]:
    found = {}
    for name in CHANGING.split():
        number = _native.seccomp_number(name)
        if number is not None and number >= 0:
            found[number] = name
    return found


NAMES = _numbers()
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_libc.ptrace.restype = ctypes.c_long


def _ptrace(request: int, pid: int, address: int = 0, data: int = 0) -> int:
    result: int = _libc.ptrace(request, pid, address, data)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"ptrace request {request}: {os.strerror(number)}")
    return result


@dataclass
class Outcome:
    """What became of the caller. step: the call at whose entry it, or its init, was ended; None where both came to their own ends.

    status: the caller's exit status, or minus the signal. steps: every counted call up to there, in order. made: processes that it made.
    """

    step: str | None
    status: int
    steps: list[str] = field(default_factory=list)
    made: list[int] = field(default_factory=list)


def run(action: Callable[[], object], kill_at: int | None = None) -> Outcome:
    """Fork, call `action` in the child, and end it with SIGKILL at the entry of its `kill_at`-th counted call (from 1).

    The child's exit status is 0, or 1 where the action raised. The processes that it makes run on, untraced.
    """
    return _Traced(action, followed=False).until(lambda traced, pid: os.kill(pid, signal.SIGKILL), kill_at)


def run_to_init_s_end(action: Callable[[], object], kill_at: int | None = None) -> Outcome:
    """The same, but what is stepped and ended is the init that the child makes, and whatever that makes: as by the OOM killer."""
    return _Traced(action, followed=True).until(lambda traced, pid: os.kill(pid, signal.SIGKILL), kill_at)


def run_to_a_standing_init(action: Callable[[], object], kill_at: int | None = None) -> Outcome:
    """The same steps of init, but the caller is ended, while init stands still there; then init goes on without it."""
    return _Traced(action, followed=True).until(lambda traced, pid: traced.end_caller(), kill_at)


class _Traced:
    """The forked caller, and with followed what it makes."""

    def __init__(self, action: Callable[[], object], *, followed: bool) -> None:
        self.followed = followed
        self.outcome = Outcome(None, 0)
        self.caller = os.fork()
        if self.caller == 0:
            _be_traced(action)
        _waited(self.caller)
        _ptrace(SETOPTIONS, self.caller, data=O_TRACESYSGOOD | O_TRACEFORK | O_TRACEVFORK | O_TRACECLONE | O_EXITKILL)
        self.stepped = {self.caller}
        """Those that go from stop to stop."""

    def until(self, end: Callable[[_Traced, int], None], kill_at: int | None) -> Outcome:
        outcome = self.outcome
        _ptrace(SYSCALL, self.caller)
        while self.caller in self.stepped:
            pid, status = os.waitpid(-1 if self.followed else self.caller, WALL)
            if not os.WIFSTOPPED(status):
                self.stepped.discard(pid)
                if pid == self.caller:
                    outcome.status = os.waitstatus_to_exitcode(status)
                continue
            stop, deliver = os.WSTOPSIG(status), 0
            if pid not in self.stepped:
                # A new one: this is its first stop, and may come before that of whoever made it.
                self.stepped.add(pid)
            elif stop == SYSCALL_STOP:
                name = _entered(pid)
                if name is not None and (pid != self.caller) == self.followed:
                    outcome.steps.append(name)
                    if len(outcome.steps) == kill_at:
                        outcome.step = name
                        end(self, pid)
            elif status >> 16 in (EVENT_FORK, EVENT_VFORK, EVENT_CLONE):
                outcome.made.append(self._made(pid))
            elif stop != signal.SIGTRAP:
                deliver = stop
            self._go_on(pid, deliver)
        self._let_go()
        return outcome

    def end_caller(self) -> None:
        os.kill(self.caller, signal.SIGKILL)
        self.stepped.discard(self.caller)
        self.outcome.status = os.waitstatus_to_exitcode(_waited(self.caller))

    def _made(self, pid: int) -> int:
        message = ctypes.c_ulong()
        _ptrace(GETEVENTMSG, pid, data=ctypes.addressof(message))
        child = int(message.value)
        if not self.followed:
            _waited(child)
            _ptrace(DETACH, child)
        return child

    def _go_on(self, pid: int, deliver: int) -> None:
        with suppress(ProcessLookupError):  # SIGKILL is on its way
            _ptrace(SYSCALL, pid, data=deliver)

    def _let_go(self) -> None:
        """Of all that is still stepped: a stop is needed for that."""
        for pid in self.stepped:
            try:
                os.kill(pid, signal.SIGSTOP)
                while os.WIFSTOPPED(status := _waited(pid)) and os.WSTOPSIG(status) != signal.SIGSTOP:
                    self._go_on(pid, 0)
                if os.WIFSTOPPED(status):
                    _ptrace(DETACH, pid)
            except (ProcessLookupError, ChildProcessError):
                continue


def _be_traced(action: Callable[[], object]) -> None:
    """In the child. Never returns: what pytest would do at its end is not the child's to do."""
    status = 1
    try:
        _ptrace(TRACEME, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        action()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _waited(pid: int) -> int:
    return os.waitpid(pid, WALL)[1]


def _entered(pid: int) -> str | None:
    """The counted call at whose entry it stands; None at an exit, and for what does not count."""
    buffer = ctypes.create_string_buffer(INFO_SIZE)
    try:
        _ptrace(GET_SYSCALL_INFO, pid, INFO_SIZE, ctypes.addressof(buffer))
    except OSError as error:
        if error.errno == errno.ESRCH:
            return None  # it is being killed
        raise
    if buffer.raw[0] != ENTRY:
        return None
    number, *arguments = struct.unpack_from("7Q", buffer.raw, 24)
    name = NAMES.get(number)
    if name in SOMETIMES and not _changes(name, arguments):
        return None
    return name


def _changes(name: str, arguments: list[int]) -> bool:
    """Whether a file is made or emptied; of fcntl(2), whether an anonymous file is sealed."""
    if name == "fcntl":
        return arguments[1] & 0xFFFFFFFF == 1033
    flags = arguments[1] if name == "open" else arguments[2]
    return bool(flags & (os.O_CREAT | os.O_TRUNC))
