"""System calls that the caller decides: what a handler of `on_syscall=` gets and answers, and who asks it (seccomp_unotify(2)).

The filter stops the call and the kernel asks; `launch` serves it in its own wait, `popen` in one thread. `seccomp` makes the profile.
Imported only where there are handlers.
"""

import errno
import select

from pyrt import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from pyrt import _native
    from pyrt.launch import Launch

__all__ = ["Answer", "Service", "SystemCall", "SystemCalls"]

HANDLER_SECONDS = 1.0
"""For which the end of a container waits for a handler that is still deciding: what it raises meanwhile is raised to the caller."""

_LARGEST_ERRNO = 4095
"""MAX_ERRNO of linux/err.h."""


class Answer:
    """What comes of a call. Made by the methods of SystemCall, and returned by the handler."""

    __slots__ = ("_send", "_words")

    def __init__(self, words: str, send: "Callable[[_native.SeccompNotification], None]") -> None:
        self._words = words
        self._send = send

    def __repr__(self) -> str:
        return f"Answer({self._words})"


class SystemCall:
    """A system call that waits for the handler's answer.

    name: as in syscalls(2). architecture: by whose numbers it was made ("x86_64", "x86", "x32", "aarch64", "arm"). args: its six
    arguments as unsigned numbers; those that it does not take are rubbish. pid: of the thread that calls, as the caller of pyrt sees it.

    What the arguments point to can be changed by the container while it is read and after: decide by numbers, or do what was asked
    yourself with what was read, and answer with the result.
    """

    __slots__ = ("_notification", "architecture", "args", "name", "pid")

    def __init__(self, notification: "_native.SeccompNotification", name: str) -> None:
        self._notification = notification
        self.name = name
        self.architecture = notification.architecture
        self.args = notification.args
        self.pid = notification.pid

    def read(self, address: int, length: int) -> bytes:
        """Memory of the process that calls, length bytes. Raises OSError (EFAULT) where not all of it is there to be read, and
        ProcessLookupError where it does not wait any more."""
        data = self._read(address, length)
        if len(data) < length:
            raise self._fault(address)
        return data

    def read_string(self, address: int, limit: int = 4096) -> bytes:
        """The bytes before the next NUL. Raises as `read` does, and OSError (ENAMETOOLONG) where limit bytes have none."""
        data = self._read(address, limit)
        string, end, _ = data.partition(b"\0")
        if not end:
            raise OSError(errno.ENAMETOOLONG, f"no NUL in {limit} bytes") if len(data) == limit else self._fault(address)
        return string

    def _read(self, address: int, length: int) -> bytes:
        data = self._notification.read(address, length)
        if data is None:
            raise ProcessLookupError(errno.ESRCH, f"{self.name}: the process that called does not wait any more")
        return data

    def _fault(self, address: int) -> OSError:
        return OSError(errno.EFAULT, f"{self.name}: the memory at {address:#x} cannot be read")

    def error(self, number: int) -> Answer:
        """The call fails with this errno."""
        if not 1 <= number <= _LARGEST_ERRNO:
            raise ValueError(f"errno {number} is not between 1 and {_LARGEST_ERRNO}")
        return Answer(f"error {number}", lambda notification: notification.error(number))

    def result(self, value: int) -> Answer:
        """The call returns this, and nothing is carried out."""
        return Answer(f"result {value}", lambda notification: notification.value(value))

    def descriptor(self, fd: int, *, close_on_exec: bool = True) -> Answer:
        """The call returns a new descriptor, a copy of fd, which stays the handler's to close once it was sent: give a file that is kept
        open by whoever made the container."""
        return Answer(f"descriptor {fd}", lambda notification: notification.descriptor(fd, close_on_exec=close_on_exec))

    def proceed(self) -> Answer:
        """The kernel carries the call out as if nobody had been asked. **No decision about memory can be made like that:** what a pointer
        points to may be another thing by then, and another thread can change the arguments of a call that was looked at by their content
        (seccomp_unotify(2), "SECCOMP_USER_NOTIF_FLAG_CONTINUE")."""
        return Answer("proceed", lambda notification: notification.proceed())

    def __repr__(self) -> str:
        return f"SystemCall({self.name!r}, args={tuple(map(hex, self.args))}, pid={self.pid})"


class SystemCalls:
    """The calls of one container, and their handlers."""

    __slots__ = ("_handlers", "_listener")

    def __init__(self, listener: "_native.SeccompListener", handlers: "Mapping[str, Callable[[SystemCall], Answer]]") -> None:
        self._listener = listener
        self._handlers = handlers

    def fileno(self) -> int:
        return self._listener.fileno()

    def serve(self, events: int) -> bool:
        """Answer one call, after poll(2). Returns whether there may be more. What a handler raises is raised, and the call is EPERM."""
        if not events & select.POLLIN:
            return False
        notification = self._listener.receive()
        if notification is None:
            # Whoever called was interrupted or ended.
            return True
        name = notification.name
        handler = None if name is None else self._handlers.get(name)
        if name is None or handler is None:
            # socketcall(2) and ipc(2): what they stand for lies in memory. A program that hears ENOSYS makes the call itself.
            notification.error(errno.ENOSYS)
            return True
        try:
            answer = handler(SystemCall(notification, name))
            if not isinstance(answer, Answer):
                raise TypeError(f"the handler of {name} returned {answer!r}, which is none of the answers that SystemCall has")
            answer._send(notification)
        except BaseException as raised:
            interrupted = isinstance(raised, ProcessLookupError) and not notification.waits()
            notification.error(errno.EPERM)
            if not interrupted:
                raise
        return True

    def close(self) -> None:
        self._listener.close()


class Service:
    """The thread that answers for a container that runs beside its caller. What a handler raises ends the container, and is kept.

    The listener is the thread's, which closes it: a handler that never returns keeps both, and nobody else.
    """

    __slots__ = ("_calls", "_launch", "_thread", "raised")

    def __init__(self, launch: "Launch", calls: SystemCalls) -> None:
        import threading

        self._launch = launch
        self._calls = calls
        self.raised: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"pyrt system calls of {launch.process.pid}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        poller = select.poll()
        listener, pidfd = self._calls.fileno(), self._launch.process.fileno()
        poller.register(listener, select.POLLIN)
        poller.register(pidfd, select.POLLIN)
        try:
            while True:
                ready: dict[int, Any] = dict(poller.poll())
                if pidfd in ready or not self._calls.serve(ready.get(listener, 0)):
                    return
        except BaseException as raised:
            self.raised = raised
            try:
                self._launch.process.kill()
            except ValueError:
                # Released since, by one who did not wait for the handler.
                return
        finally:
            self._calls.close()

    def join(self) -> None:
        """Once the container has ended: wait until the thread has, but not for ever for the caller's own code."""
        self._thread.join(HANDLER_SECONDS)
        if self._thread.is_alive():
            log.warning("a handler of on_syscall has not returned %.0f s after its container's end, and is left to itself", HANDLER_SECONDS)
