"""Overlay: directories laid over each other, in a mount that only this process's descriptor names (overlayfs, kernel documentation).

No mount appears on the host, and none is left when the process ends. A container takes one as `run(rootfs=overlay)`.
"""

import os

from pyrt import _native, defaults
from pyrt.limits import size_bytes
from pyrt.ownership import Owned
from pyrt.paths import absolute

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyrt.layer import Changes
    from pyrt.options import OnProgress


class OverlayPath:
    """The merged directory as an os.PathLike, valid in this process while its Overlay lives."""

    __slots__ = ("_overlay",)

    copy_on_write = True
    """A container needs no further layer over it."""

    def __init__(self, overlay: "Overlay") -> None:
        self._overlay = overlay

    def __fspath__(self) -> str:
        return self._overlay.__fspath__()

    def __truediv__(self, name: str) -> str:
        """The path of something below it."""
        return os.path.join(self, name)

    def __str__(self) -> str:
        return self.__fspath__()

    def __repr__(self) -> str:
        return f"OverlayPath({self._overlay!r})"


class Overlay(Owned):
    """An overlay mount. Leaving `with`, or `close()`, unmounts it.

    lower: directories, the first on top, none of which is changed. upper: a directory that keeps the changes, in `upper/` with `work/`
    beside it; None throws them away. size: how much may be changed then, in bytes or as "1G"; 1 GiB unless said.
    Raises HostError without the right to mount, NotFound for a directory that is not there, ValueError for size beside upper.
    """

    __slots__ = ("_fd", "_layer", "lower", "path", "upper")

    copy_on_write = True

    def __init__(
        self,
        lower: "Sequence[str | os.PathLike[str]]",
        upper: str | os.PathLike[str] | None = None,
        *,
        size: int | str | None = None,
    ) -> None:
        super().__init__()
        if isinstance(lower, (str, os.PathLike)):
            raise TypeError("lower is a list of directories, not one path")
        if not lower:
            raise ValueError("lower is empty")
        if upper is not None and size is not None:
            raise ValueError("size= is of changes that are thrown away: it does not go with upper=")
        self.lower = tuple(absolute(directory) for directory in lower)
        self.upper = None if upper is None else absolute(upper)
        limit = None if upper is not None else size_bytes(defaults.UPPER_SIZE if size is None else size)
        self._fd, self._layer = _native.overlay_mount(self.lower, upper_dir=self.upper, size=limit)
        self.path = OverlayPath(self)
        self._own()

    def fileno(self) -> int:
        """The descriptor of the mount's root."""
        self._check()
        return self._fd

    def changes(self) -> "Changes":
        """What is in the upper layer and not in lower, by absolute path below the root."""
        from pyrt.layer import changes_of

        self._check()
        return changes_of(self._layer)

    def commit(self, directory: str | os.PathLike[str], *, on_progress: "OnProgress | None" = None) -> None:
        """Write the changes to a new directory, or an empty one, which can be a layer of `lower`.

        on_progress: as for `Popen.copy_in`. Raises Error, and then leaves nothing.
        """
        self._check()
        self._layer.commit(os.fspath(directory), on_progress=on_progress)

    def __fspath__(self) -> str:
        return f"/proc/self/fd/{self.fileno()}"

    def _end(self) -> None:
        self._layer.close()
        # The last descriptor of a detached mount unmounts it.
        os.close(self._fd)

    _abandon = _end

    def __repr__(self) -> str:
        return f"Overlay(lower={list(self.lower)!r}, upper={self.upper!r})"
