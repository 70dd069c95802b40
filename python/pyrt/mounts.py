"""Mount: one entry of config.json's `mounts` (runtime-spec, config.md "Mounts"), also in docker's `--mount` spelling."""

import os

from pyrt.limits import size_bytes
from pyrt.paths import absolute

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


class Mount:
    """A mount inside a container.

    destination: absolute path inside. source: what is mounted; for "bind" a path of the caller's, for others the device or a name.
    type: "bind", "tmpfs", "proc", "sysfs", "devpts", "mqueue", "cgroup", or any file system of the kernel. options: as in config.json.
    Raises ValueError for a destination that is not absolute.
    """

    __slots__ = ("destination", "options", "source", "type")

    def __init__(
        self,
        destination: str | os.PathLike[str],
        *,
        source: str | os.PathLike[str] | None = None,
        type: str = "bind",
        options: "Iterable[str]" = (),
    ) -> None:
        self.destination = os.fspath(destination)
        if not self.destination.startswith("/"):
            raise ValueError(f"mount destination {self.destination!r} is not absolute")
        self.type = type
        self.source = None if source is None else os.fspath(source)
        self.options = tuple(options)
        if type == "bind" and self.source is None:
            raise ValueError(f"bind mount on {self.destination} has no source")

    @classmethod
    def bind(cls, source: str | os.PathLike[str], destination: str | os.PathLike[str], *, read_only: bool = False) -> "Mount":
        """A file or directory of the caller's, with all that is mounted below it. read_only holds for those too.

        No device below it can be opened; who wants one says so by ``options``.
        """
        options = ("rbind", "rprivate", "rnodev", "rro") if read_only else ("rbind", "rprivate", "rnodev")
        return cls(destination, source=absolute(source), options=options)

    @classmethod
    def tmpfs(cls, destination: str | os.PathLike[str], *, size: int | str | None = None, mode: int = 0o1777) -> "Mount":
        """A fresh file system in memory, size bytes large at most (counted to the container's memory)."""
        options = ["nosuid", "nodev", f"mode={mode:o}"]
        if size is not None:
            options.append(f"size={size_bytes(size)}")
        return cls(destination, source="tmpfs", type="tmpfs", options=options)

    @classmethod
    def parse(cls, text: str) -> "Mount":
        """From docker's spelling: "type=bind,src=/data,dst=/data,ro", "type=tmpfs,dst=/scratch,tmpfs-size=64M".

        Raises ValueError that names the part which is wrong.
        """
        said: dict[str, str] = {}
        for part in text.split(","):
            name, equals, value = part.partition("=")
            name = _SPELLINGS.get(name, name)
            if name not in _FIELDS:
                raise ValueError(f"mount {text!r}: {part!r} is not known: type, src, dst, ro, tmpfs-size, tmpfs-mode, bind-propagation")
            if name in said:
                raise ValueError(f"mount {text!r}: {name} is said twice")
            if not equals and name != "ro":
                raise ValueError(f"mount {text!r}: {name} has no value")
            said[name] = value
        kind = said.get("type", "bind")
        if "dst" not in said:
            raise ValueError(f"mount {text!r}: there is no dst")
        only = {"bind": ("src", "bind-propagation"), "tmpfs": ("tmpfs-size", "tmpfs-mode")}
        if kind not in only:
            raise ValueError(f"mount {text!r}: type {kind!r} is neither bind nor tmpfs")
        for name in said:
            if name not in ("type", "dst", "ro", *only[kind]):
                raise ValueError(f"mount {text!r}: {name} does not go with type {kind}")
        read_only = _truth(text, said["ro"]) if "ro" in said else False
        if kind == "bind":
            if "src" not in said:
                raise ValueError(f"mount {text!r}: there is no src")
            mount = cls.bind(said["src"], said["dst"], read_only=read_only)
            if propagation := said.get("bind-propagation"):
                if propagation not in _PROPAGATIONS:
                    raise ValueError(f"mount {text!r}: bind-propagation {propagation!r} is not one of {', '.join(_PROPAGATIONS)}")
                mount.options = tuple(propagation if option == "rprivate" else option for option in mount.options)
            return mount
        try:
            mode = int(said.get("tmpfs-mode", "1777"), 8)
        except ValueError:
            raise ValueError(f"mount {text!r}: tmpfs-mode {said['tmpfs-mode']!r} is not octal") from None
        mount = cls.tmpfs(said["dst"], size=said.get("tmpfs-size"), mode=mode)
        if read_only:
            mount.options = (*mount.options, "ro")
        return mount

    def to_config(self) -> "dict[str, Any]":
        """The entry as config.json has it."""
        entry: dict[str, Any] = {"destination": self.destination, "type": self.type}
        if self.source is not None:
            entry["source"] = self.source
        if self.options:
            entry["options"] = list(self.options)
        return entry

    @classmethod
    def from_config(cls, entry: "dict[str, Any]") -> "Mount":
        """From an entry of config.json, where a bind mount may say so in its options alone."""
        options = tuple(entry.get("options") or ())
        kind = entry.get("type") or ("bind" if {"bind", "rbind"} & set(options) else "none")
        return cls(entry["destination"], source=entry.get("source"), type=kind, options=options)

    def __eq__(self, other: object) -> bool:
        return self.to_config() == other.to_config() if isinstance(other, Mount) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.destination, self.type, self.source, self.options))

    def __repr__(self) -> str:
        return f"Mount({self.destination!r}, source={self.source!r}, type={self.type!r}, options={list(self.options)!r})"


_SPELLINGS = {"source": "src", "target": "dst", "destination": "dst", "readonly": "ro"}
_FIELDS = ("type", "src", "dst", "ro", "tmpfs-size", "tmpfs-mode", "bind-propagation")
_PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
_TRUTHS = {"": True, "true": True, "1": True, "false": False, "0": False}


def _truth(text: str, value: str) -> bool:
    if value not in _TRUTHS:
        raise ValueError(f"mount {text!r}: ro {value!r} is neither true nor false")
    return _TRUTHS[value]
