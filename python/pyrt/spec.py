"""Spec: an OCI runtime configuration (runtime-spec, config.md) as a Python object to parse, build, edit, check and write.

The whole of it as typed objects are `Spec.process`, `.root`, `.hooks`, `.linux` and `.annotations`, views of the same dict (``pyrt.oci``);
what is edited most has a shorter way. `default_spec` is what `pyrt spec` writes. `defaults` holds the values, `configuration` makes the
library's own. What reaches the kernel is checked once more, strictly, by the native plan: `Spec.check` asks it without making anything.
"""

import os

from pyrt import _native, defaults
from pyrt.paths import absolute

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from typing_extensions import Unpack

    from pyrt import oci
    from pyrt.limits import Limits
    from pyrt.mounts import Mount
    from pyrt.options import ContainerOptions
    from pyrt.rlimits import Rlimit


class Spec:
    """A configuration. `config` is the dict itself, as config.json has it, and may be edited freely.

    `process`, `root`, `hooks`, `linux` and `annotations` are all of it, typed: ``spec.linux.resources.memory.limit = 1 << 28`` makes what
    is not there yet, and keys that the runtime-spec does not know stay. Other properties read and write what is edited most; a property
    of something that the configuration does not say is None or empty.

    Compares by content, copies deeply, pickles. repr shows what a container made of it would be given.
    """

    __slots__ = ("config",)

    config: "dict[str, Any]"

    def __init__(self, config: "Mapping[str, Any] | None" = None) -> None:
        """From the dict of a config.json, which is copied; without one, `pyrt spec`'s."""
        self.config = _copy(config) if config is not None else default_spec().config

    @classmethod
    def from_json(cls, text: str) -> "Spec":
        """From the text of a config.json. Raises SpecError, as `from_bytes`."""
        return cls.from_bytes(text.encode())

    @classmethod
    def from_bytes(cls, data: bytes) -> "Spec":
        """From the bytes of a config.json. Raises SpecError, naming line and column, or the JSON path of a value whose type is wrong."""
        spec = cls.from_unchecked(data)
        from pyrt.oci import Config

        Config.over(spec.config).check()
        return spec

    @classmethod
    def from_unchecked(cls, data: bytes) -> "Spec":
        """From bytes that are JSON; types are looked at when a value is used, or the container made. Raises SpecError."""
        config = _native.json_loads(data)
        if not isinstance(config, dict):
            from pyrt.errors import SpecError

            raise SpecError("config.json is not a JSON object")
        spec = cls.__new__(cls)
        spec.config = config
        return spec

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> "Spec":
        """From a config.json, or the bundle directory that holds one.

        Raises NotFound, PermissionDenied or Error where it cannot be read, and SpecError as `from_bytes`.
        """
        return cls.from_bytes(read_config(path))

    @classmethod
    def for_run(cls, args: "Sequence[str] | None" = None, **options: "Unpack[ContainerOptions]") -> "Spec":
        """What `run(args, ...)` would use, to look at; its repr shows what the defaults chose. A host view is not a part of it."""
        from pyrt.configuration import configure

        return cls(configure(args, options).config)

    def to_json(self, *, indent: bool = False) -> str:
        """The text of a config.json. Raises TypeError where `config` holds something that JSON has not."""
        return _native.json_dumps(self.config, indent=indent)

    def to_bytes(self) -> bytes:
        """The bytes of a config.json."""
        return _native.json_dumps(self.config).encode()

    def check(self, bundle: str | os.PathLike[str] = "/") -> list[str]:
        """Decide what would be done, and do nothing: returns the warnings. Raises SpecError with the JSON path, and HostError.

        bundle: the directory that relative paths start from.
        """
        plan = _native.plan(self.to_bytes(), bundle=absolute(bundle), id="check", form="engine")
        return plan.warnings

    # All of it

    @property
    def process(self) -> "oci.Process":
        """`process`, typed. Assigning shares the dict of what is assigned."""
        return self._typed().process

    @process.setter
    def process(self, process: "oci.Process | None") -> None:
        self._typed().process = process

    @property
    def root(self) -> "oci.Root":
        """`root`, typed."""
        return self._typed().root

    @root.setter
    def root(self, root: "oci.Root | None") -> None:
        self._typed().root = root

    @property
    def hooks(self) -> "oci.Hooks":
        """`hooks`, typed."""
        return self._typed().hooks

    @hooks.setter
    def hooks(self, hooks: "oci.Hooks | None") -> None:
        self._typed().hooks = hooks

    @property
    def linux(self) -> "oci.Linux":
        """`linux`, typed."""
        return self._typed().linux

    @linux.setter
    def linux(self, linux: "oci.Linux | None") -> None:
        self._typed().linux = linux

    @property
    def annotations(self) -> "oci.Named[str]":
        """`annotations`."""
        return self._typed().annotations

    @annotations.setter
    def annotations(self, annotations: "Mapping[str, str] | None") -> None:
        self._typed().annotations = annotations

    # What is edited most

    @property
    def args(self) -> list[str]:
        """The command, `process.args`."""
        return list(self._process().get("args") or ())

    @args.setter
    def args(self, args: "Sequence[str]") -> None:
        self._edit("process")["args"] = list(args)

    @property
    def env(self) -> dict[str, str]:
        """`process.env` as a dict. Assign a whole one to change it."""
        return dict(entry.partition("=")[::2] for entry in self._process().get("env") or ())

    @env.setter
    def env(self, env: "Mapping[str, str]") -> None:
        self._edit("process")["env"] = [f"{name}={value}" for name, value in env.items()]

    @property
    def cwd(self) -> str | None:
        """`process.cwd`."""
        return self._process().get("cwd")

    @cwd.setter
    def cwd(self, cwd: str) -> None:
        self._edit("process")["cwd"] = cwd

    @property
    def terminal(self) -> bool:
        """`process.terminal`."""
        return bool(self._process().get("terminal"))

    @terminal.setter
    def terminal(self, terminal: bool) -> None:
        self._edit("process")["terminal"] = terminal

    @property
    def hostname(self) -> str | None:
        """`hostname`."""
        return self.config.get("hostname")

    @hostname.setter
    def hostname(self, hostname: str) -> None:
        self.config["hostname"] = hostname

    @property
    def domainname(self) -> str | None:
        """`domainname`."""
        return self.config.get("domainname")

    @domainname.setter
    def domainname(self, domainname: str) -> None:
        self.config["domainname"] = domainname

    @property
    def rootfs(self) -> str | None:
        """`root.path`."""
        return (self.config.get("root") or {}).get("path")

    @rootfs.setter
    def rootfs(self, rootfs: str | os.PathLike[str]) -> None:
        self._edit("root")["path"] = os.fspath(rootfs)

    @property
    def read_only(self) -> bool:
        """`root.readonly`."""
        return bool((self.config.get("root") or {}).get("readonly"))

    @read_only.setter
    def read_only(self, read_only: bool) -> None:
        self._edit("root")["readonly"] = read_only

    @property
    def mounts(self) -> "list[Mount]":
        """`mounts` as objects. Assign a whole list to change it."""
        from pyrt.mounts import Mount

        return [Mount.from_config(entry) for entry in self.config.get("mounts") or ()]

    @mounts.setter
    def mounts(self, mounts: "Iterable[Mount]") -> None:
        self.config["mounts"] = [mount.to_config() for mount in mounts]

    @property
    def capabilities(self) -> list[str]:
        """The bounding set. Assigning gives bounding, effective and permitted sets alike."""
        return list((self._process().get("capabilities") or {}).get("bounding") or ())

    @capabilities.setter
    def capabilities(self, capabilities: "Iterable[str]") -> None:
        self._edit("process")["capabilities"] = capability_sets(capability_names(capabilities))

    @property
    def rlimits(self) -> "list[Rlimit]":
        """`process.rlimits` as objects. Assign a whole list to change it."""
        from pyrt.rlimits import Rlimit

        return [Rlimit(entry["type"], entry["soft"], entry["hard"]) for entry in self._process().get("rlimits") or ()]

    @rlimits.setter
    def rlimits(self, rlimits: "Iterable[Rlimit]") -> None:
        self._edit("process")["rlimits"] = [rlimit.to_config() for rlimit in rlimits]

    @property
    def namespaces(self) -> dict[str, str | None]:
        """Kind to path, None where it is new. Assign a whole dict to change it."""
        return {entry["type"]: entry.get("path") for entry in (self.config.get("linux") or {}).get("namespaces") or ()}

    @namespaces.setter
    def namespaces(self, namespaces: "Mapping[str, str | None]") -> None:
        self._edit("linux")["namespaces"] = [
            {"type": kind} if path is None else {"type": kind, "path": path} for kind, path in namespaces.items()
        ]

    def limit(self, limits: "Limits") -> None:
        """Lay limits over `linux.resources`; what they do not name stays."""
        linux = self._edit("linux")
        linux["resources"] = merge_resources(linux.get("resources") or {}, limits.resources())

    def copy(self) -> "Spec":
        """A copy that shares nothing with this one."""
        return Spec(self.config)

    def __copy__(self) -> "Spec":
        return self.copy()

    def __deepcopy__(self, memo: "dict[int, Any]") -> "Spec":
        return self.copy()

    def __reduce__(self) -> "tuple[type[Spec], tuple[dict[str, Any]]]":
        return Spec, (self.config,)

    def __eq__(self, other: object) -> bool:
        return self.config == other.config if isinstance(other, Spec) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        chosen: dict[str, Any] = {
            "args": self.args,
            "rootfs": self.rootfs,
            "read_only": self.read_only,
            "cwd": self.cwd,
            "user": self._process().get("user"),
            "env": self.env,
            "hostname": self.hostname,
            "namespaces": self.namespaces,
            "capabilities": self.capabilities,
            "no_new_privileges": bool(self._process().get("noNewPrivileges")),
            "resources": (self.config.get("linux") or {}).get("resources"),
            "mounts": [entry.get("destination") for entry in self.config.get("mounts") or ()],
            "masked_paths": (self.config.get("linux") or {}).get("maskedPaths"),
        }
        return f"Spec({', '.join(f'{name}={value!r}' for name, value in chosen.items() if value is not None)})"

    def _typed(self) -> "oci.Config":
        from pyrt.oci import Config

        return Config.over(self.config)

    def _process(self) -> "dict[str, Any]":
        return self.config.get("process") or {}

    def _edit(self, section: str) -> "dict[str, Any]":
        if self.config.get(section) is None:
            self.config[section] = {}
        edited: dict[str, Any] = self.config[section]
        return edited


def default_spec(*, rootless: bool = False) -> Spec:
    """What `pyrt spec` writes: a shell in a read-only `rootfs` beside it, for an engine or a person to edit.

    rootless: with a user namespace that maps the caller to root, the host's network, and no limits, as a user other than root needs.
    """
    namespaces = [{"type": kind} for kind in defaults.NAMESPACES]
    mounts = _copy(defaults.MOUNTS)
    linux: dict[str, Any] = {"resources": {"devices": [{"allow": False, "access": "rwm"}]}, "namespaces": namespaces}
    if rootless:
        # A user namespace of one id: no other uid or gid can be named, and a sysfs of the host's network namespace cannot be mounted.
        linux = {
            "uidMappings": [{"containerID": 0, "hostID": os.geteuid(), "size": 1}],
            "gidMappings": [{"containerID": 0, "hostID": os.getegid(), "size": 1}],
            "namespaces": [*(entry for entry in namespaces if entry["type"] != "network"), {"type": "user"}],
        }
        mounts = [mount for mount in mounts if not mount["destination"].startswith("/sys")]
        for mount in mounts:
            mount["options"] = [option for option in mount["options"] if not option.startswith(("uid=", "gid="))]
        # Recursive: the host's cgroups are below it, and the user owns some (CVE-2023-25809).
        mounts.append({"destination": "/sys", "type": "none", "source": "/sys", "options": ["rbind", "nosuid", "noexec", "nodev", "rro"]})
    return Spec(
        {
            "ociVersion": defaults.OCI_VERSION,
            "process": {
                "terminal": True,
                "user": {"uid": 0, "gid": 0},
                "args": ["sh"],
                "env": [f"PATH={defaults.PATH}", f"TERM={defaults.TERM}"],
                "cwd": "/",
                "capabilities": capability_sets(defaults.ENGINE_CAPABILITIES),
                "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
                "noNewPrivileges": True,
            },
            "root": {"path": "rootfs", "readonly": True},
            "hostname": defaults.HOSTNAME,
            "mounts": mounts,
            "linux": {**linux, "maskedPaths": defaults.masked_paths(), "readonlyPaths": list(defaults.READONLY_PATHS)},
        }
    )


def read_config(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a config.json, or of the one in a bundle directory. Raises NotFound, PermissionDenied, Error."""
    path = os.fspath(path)
    if os.path.isdir(path):
        path = os.path.join(path, "config.json")
    try:
        with open(path, "rb", buffering=0) as file:
            return file.readall()
    except FileNotFoundError as missing:
        from pyrt.errors import NotFound

        raise NotFound(
            "read config", path, missing.errno, "a bundle holds config.json and a root file system; `pyrt spec` writes one"
        ) from None
    except OSError as failed:
        from pyrt.errors import from_os_error

        raise from_os_error("read config", failed, path) from None


def capability_names(capabilities: "Iterable[str]") -> list[str]:
    """Names as config.json has them: "net_admin" and "CAP_NET_ADMIN" are one. Raises TypeError for a single str."""
    if isinstance(capabilities, str):
        raise TypeError("capabilities is a list of names, not one str")
    # str(): a Capability formats as its value in every Python, but is written by JSON as the member.
    names = (str(capability).upper() for capability in capabilities)
    return [name if name.startswith("CAP_") else f"CAP_{name}" for name in names]


def capability_sets(names: "Sequence[str]", *, ambient: bool = False) -> "dict[str, Any]":
    """`process.capabilities` of a process that has these.

    ambient: so that they outlive the execve of a user other than root; else never inheritable (CVE-2022-24769).
    """
    sets = ("bounding", "effective", "permitted", "inheritable", "ambient") if ambient else ("bounding", "effective", "permitted")
    return {name: list(names) for name in sets}


def merge_resources(resources: "Mapping[str, Any]", more: "Mapping[str, Any]") -> "dict[str, Any]":
    """`linux.resources` with `more` laid over it, controller by controller."""
    merged = dict(resources)
    for name, group in more.items():
        merged[name] = {**(merged.get(name) or {}), **group}
    return merged


def _copy(value: "Any") -> "Any":
    """A deep copy of what JSON has; `copy` would cost an import of its own."""
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copy(item) for item in value]
    if hasattr(value, "items"):
        return {key: _copy(item) for key, item in value.items()}
    return value
