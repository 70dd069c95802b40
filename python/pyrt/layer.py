"""What a container changed, and copies into its root and out of it: `Changes`, and what stands behind the methods of `Popen` and `Overlay`.

The native side reads the upper layer by its descriptor, which outlives the container; all in it was written by whoever ran there.
Neighbours: launch.py gets the descriptors from init, popen.py and aio.py hand out the methods.
"""

import os

from pyrt.ownership import Owned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrt import _native
    from pyrt.launch import Launch
    from pyrt.options import OnProgress, StrPath

__all__ = ["Changes", "Layer"]


class Changes:
    """What differs from the root as the container found it: absolute paths, sorted, as the container has them.

    added: what was not there. changed: what has another content, mode or owner, or is of another kind; a file counts that was opened to be
    written. deleted: what is gone, a directory without all that was in it. Names that are not UTF-8 are as os.fsdecode has them.
    """

    __slots__ = ("added", "changed", "deleted")

    added: list[str]
    changed: list[str]
    deleted: list[str]

    def __init__(self, added: list[str], changed: list[str], deleted: list[str]) -> None:
        self.added = added
        self.changed = changed
        self.deleted = deleted

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.deleted)

    def __eq__(self, other: object) -> bool:
        mine = (self.added, self.changed, self.deleted)
        return mine == (other.added, other.changed, other.deleted) if isinstance(other, Changes) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Changes(added={self.added!r}, changed={self.changed!r}, deleted={self.deleted!r})"


def changes_of(layer: "_native.Layer") -> Changes:
    """All that differs in it."""
    by_kind: dict[str, list[str]] = {"added": [], "changed": [], "deleted": []}
    for kind, path in layer.changes():
        by_kind[kind].append(path)
    return Changes(by_kind["added"], by_kind["changed"], by_kind["deleted"])


class Layer(Owned):
    """The upper layer and the root of one container; what is in them is there until this is closed."""

    __slots__ = ("_root", "_upper")

    def __init__(self, upper: "_native.Layer", root: "_native.Root") -> None:
        super().__init__()
        self._upper = upper
        self._root = root
        self._own()

    @property
    def root(self) -> "_native.Root":
        self._check()
        return self._root

    def changes(self) -> Changes:
        self._check()
        return changes_of(self._upper)

    def commit(self, directory: "StrPath", *, on_progress: "OnProgress | None" = None) -> None:
        self._check()
        self._upper.commit(os.fspath(directory), on_progress=on_progress)

    def release(self) -> None:
        """`close`, which does nothing in a forked child."""
        self.__exit__(None, None, None)

    def _end(self) -> None:
        self._upper.close()
        self._root.close()

    _abandon = _end

    def __repr__(self) -> str:
        return "Layer()"


class Files:
    """The methods of a container's handle that are about its files. The subclass says which root and which layer there is."""

    __slots__ = ()

    def _open_root(self) -> "_native.Root":
        raise NotImplementedError

    def _kept_layer(self) -> Layer:
        raise NotImplementedError

    def changes(self) -> Changes:
        """What the container has changed so far; what lies in mounts, a tmpfs too, is not its root's. Needs keep_changes=True."""
        return self._kept_layer().changes()

    def commit(self, directory: "StrPath", *, on_progress: "OnProgress | None" = None) -> None:
        """Write the changes to a new directory, or an empty one, as a layer: `Overlay([directory, rootfs])` has both.

        It holds whiteouts and attributes as overlayfs has them, and the owners, modes and times of what is in it. Needs keep_changes=True.
        on_progress: as for `copy_in`. Raises Error, and then leaves nothing.
        """
        self._kept_layer().commit(directory, on_progress=on_progress)

    def copy_in(
        self,
        source: "StrPath",
        target: "StrPath",
        *,
        max_size: "int | str | None" = None,
        on_progress: "OnProgress | None" = None,
    ) -> list[str]:
        """Copy a file or directory of the caller's to the path target in the container.

        Directories above target are made; a file there is replaced, a directory merged. All belongs to the container's root, and no file
        keeps a set-user-ID bit. max_size (bytes, "1G"): of all content together. Returns what was left out: devices, sockets, FIFOs.
        on_progress: called in this thread with the entries done (files, directories, links; target is one) and the bytes of content written
        so far: at the beginning, at most ten times a second, and with the totals at the end. What it raises ends the copy as a
        failure does, and comes out of here. Raises Error, and ValueError for a target that is not absolute.
        """
        return copy_in(self._open_root(), source, target, max_size, on_progress)

    def copy_out(
        self,
        source: "StrPath",
        target: "StrPath",
        *,
        max_size: "int | str | None" = None,
        on_progress: "OnProgress | None" = None,
    ) -> list[str]:
        """Copy a file or directory from the path source in the container to target, which is replaced where it is a file.

        Links above source are followed as the container would, never out of its root. All that is made is the caller's own; no link in it
        leads out of it. Returns what was left out: such links, devices, sockets, FIFOs. max_size (bytes, "1G"): of all content
        together. on_progress: as for `copy_in`. Raises Error, AlreadyExists for a directory that is there; after a failure nothing is left.
        """
        return copy_out(self._open_root(), source, target, max_size, on_progress)


def kept(layer: Layer | None) -> Layer:
    """What is kept. Raises ValueError where that was not asked for."""
    if layer is None:
        raise ValueError("what it changes is not kept: ask for keep_changes=True")
    return layer


def root_of(layer: Layer | None, launch: "Launch | None") -> "_native.Root":
    """The root that is kept, or that of what runs. Raises InvalidState where it has ended."""
    if layer is not None:
        return layer.root
    if launch is not None:
        return launch.root()
    from pyrt.errors import InvalidState

    raise InvalidState("copy: the container has ended", hint="keep_changes=True keeps its root until close()")


def copy_in(
    root: "_native.Root", source: "StrPath", target: "StrPath", max_size: "int | str | None", on_progress: "OnProgress | None"
) -> list[str]:
    """As `Files.copy_in`."""
    return root.copy_in(os.fspath(source), _inside("target", target), max_size=_bytes(max_size), on_progress=on_progress)


def copy_out(
    root: "_native.Root", source: "StrPath", target: "StrPath", max_size: "int | str | None", on_progress: "OnProgress | None"
) -> list[str]:
    """As `Files.copy_out`."""
    return root.copy_out(_inside("source", source), os.path.abspath(target), max_size=_bytes(max_size), on_progress=on_progress)


def _inside(name: str, path: "StrPath") -> str:
    text = os.fspath(path)
    if not text.startswith("/"):
        raise ValueError(f"{name} is {text!r}, not an absolute path in the container")
    return text


def _bytes(size: "Any") -> "int | None":
    if size is None:
        return None
    from pyrt.limits import size_bytes

    try:
        return size_bytes(size)
    except (TypeError, ValueError) as error:
        raise type(error)(f"max_size: {error}") from None
