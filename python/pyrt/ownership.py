"""Owned: the base of every public object that owns something of the kernel's: a container, a cgroup, namespaces, a mount.

Leaving `with`, or `close()`, ends what the object made. Being garbage-collected only releases what would leak, with a
ResourceWarning. After os.fork the child's copy owns nothing: it does nothing on finalising, and raises when used.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import TypeVar

    Self = TypeVar("Self", bound="Owned")


class Owned:
    """Subclasses say what `_end` ends and what `_abandon` releases, call `_own` once there is something, and `_check` on each use."""

    __slots__ = ("__weakref__", "_owner")

    # The process that may use it; None once it is closed, and until there is something to own.
    _owner: int | None
    # Whether one that is dropped is somebody's mistake.
    _warns = True

    def __init__(self) -> None:
        self._owner = None

    def _own(self) -> None:
        self._owner = os.getpid()

    def _check(self) -> None:
        """Raise InvalidState for an object that is closed, or that another process owns."""
        if self._owner == os.getpid():
            return
        from pyrt.errors import InvalidState

        if self._owner is None:
            raise InvalidState(f"{type(self).__name__} is closed")
        raise InvalidState(
            f"{type(self).__name__} belongs to process {self._owner}, not to {os.getpid()}, which was forked from it",
            hint="make it in the process that uses it",
        )

    def close(self) -> None:
        """End what it made, and release it. A second time does nothing. Raises InvalidState in a forked child."""
        if self._owner is None:
            return
        self._check()
        self._owner = None
        self._end()

    def _end(self) -> None:
        raise NotImplementedError

    def _abandon(self) -> None:
        raise NotImplementedError

    def __enter__(self: "Self") -> "Self":
        self._check()
        return self

    def __exit__(self, kind: "type[BaseException] | None", error: BaseException | None, trace: "TracebackType | None") -> None:
        # A forked child leaves the block too, and ends nothing that is not its own.
        if self._owner == os.getpid():
            self.close()

    def __del__(self) -> None:
        # Missing where __init__ did not come so far.
        owner = getattr(self, "_owner", None)
        if owner is None or owner != os.getpid():
            return
        try:
            # Nothing can be imported any more while the interpreter ends.
            if self._warns and not sys.is_finalizing():
                import warnings

                warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
        finally:
            # Also where a filter makes the warning an exception.
            self._owner = None
            self._abandon()

    def __reduce__(self) -> "tuple[object, ...]":
        raise TypeError(f"{type(self).__name__} owns what this process holds, and cannot be pickled")
