"""State on disk: one directory a container, atomic, locked, versioned.

::

    ROOT/ID/                0700; its existence reserves the id, flock(2) on it is the container's lock
        cgroup              which cgroup directories are ours, by hierarchy; written before anything is made
        config.json         the configuration as it was given, for hooks and later processes
        state.json          ``State``
        start.sock          where init waits for `start`; made by the native module

All is written by rename without fsync: a power cut ends the containers too, and the boot id tells. All is read as hostile input.
Readers take no lock, so that `state` answers while a hook runs.

Neighbours: runtime.py creates and lists, container.py moves one container from state to state.
"""

import errno
import posix

from pyrt import _native
from pyrt.errors import AlreadyExists, Error, NotFound, SpecError, from_os_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import stat_result
    from typing import Any, Literal

    Status = Literal["creating", "created", "running", "stopped"]

__all__ = ["Directory", "Lock", "State", "StateUnreadable", "check_id", "default_root", "ids", "read_file"]

FORMAT_VERSION = 1
ID_LIMIT = 200
"""Bytes in an id: it becomes a file name and part of a systemd unit's name, which may have 255."""
SIZE_LIMIT = 16 * 1024 * 1024
"""Bytes in a config.json, as in rust/core/src/oci."""
STATE_SIZE_LIMIT = 2 * SIZE_LIMIT
"""Bytes in state.json, which carries the annotations of config.json and more."""
PID_LIMIT = 4 * 1024 * 1024
"""The kernel's PID_MAX_LIMIT."""
_ID_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+.-")
_STATUSES = ("creating", "created", "running", "stopped")
_READ_SIZE = 64 * 1024
_BY_HAND = "kill what is left in its cgroups, then remove them and this directory by hand"
_REMOVED_LAST = "state.json cgroup"


class StateUnreadable(Error):
    """The state of a container is missing, truncated or not what pyrt writes. Only `delete --force` can go on."""


def default_root(rootless: bool | None = None) -> str:
    """Where containers are kept if nobody says otherwise: /run/pyrt, or without root $XDG_RUNTIME_DIR/pyrt.

    rootless: True and False overrule the effective user id. Raises SpecError where XDG_RUNTIME_DIR is needed and not set.
    """
    if rootless is None:
        rootless = posix.geteuid() != 0
    if not rootless:
        return "/run/pyrt"
    # posix.environ would miss what the program itself set; os is worth its millisecond only here.
    import os

    runtime_dir = os.environ.get("XDG_RUNTIME_DIR")
    if not runtime_dir:
        raise SpecError("no directory for the state of containers", hint="set XDG_RUNTIME_DIR, or give --root")
    return f"{runtime_dir}/pyrt"


def check_id(id: str) -> None:
    """Raise SpecError unless id is one to 200 of [A-Za-z0-9_+.-], and neither "." nor ".."."""
    if not id or len(id) > ID_LIMIT or id in (".", "..") or not _ID_CHARACTERS.issuperset(id):
        raise SpecError(f"invalid container id {id!r}", hint=f"an id is 1 to {ID_LIMIT} letters, digits and _ + . -, but not . or ..")


def ids(root: str) -> list[str]:
    """Ids of all containers below root, sorted; none where root does not exist."""
    try:
        names = posix.listdir(root)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise from_os_error("list containers in", error, root) from error
    return sorted(name for name in names if name not in (".", "..") and len(name) <= ID_LIMIT and _ID_CHARACTERS.issuperset(name))


class State:
    """What state.json says of one container.

    status: what was last written; whether the process still lives is not known here (``Container.status``).
    pid, start_time: the init, None while it is not made (clock ticks since boot tell a reused pid apart). boot_id: the boot in which
    they mean something. bundle, rootfs: absolute paths. created: RFC 3339. own_pid_namespace: False where only the cgroup can end all
    that is inside. poststart: whether config.json has such hooks. exit_status: as subprocess has it, where whoever waited recorded it.
    """

    __slots__ = (
        "annotations",
        "boot_id",
        "bundle",
        "created",
        "exit_status",
        "id",
        "oci_version",
        "own_pid_namespace",
        "pid",
        "poststart",
        "rootfs",
        "start_time",
        "status",
    )

    def __init__(
        self,
        *,
        id: str,
        status: "Status",
        oci_version: str,
        bundle: str,
        rootfs: str,
        annotations: dict[str, str],
        created: str,
        boot_id: str,
        own_pid_namespace: bool,
        poststart: bool,
        pid: int | None = None,
        start_time: int | None = None,
        exit_status: int | None = None,
    ) -> None:
        self.id = id
        self.status = status
        self.oci_version = oci_version
        self.bundle = bundle
        self.rootfs = rootfs
        self.annotations = annotations
        self.created = created
        self.boot_id = boot_id
        self.own_pid_namespace = own_pid_namespace
        self.poststart = poststart
        self.pid = pid
        self.start_time = start_time
        self.exit_status = exit_status

    def to_json(self) -> str:
        return _native.json_dumps({"version": FORMAT_VERSION, **{name: getattr(self, name) for name in self.__slots__}})

    @staticmethod
    def fault(value: "Any", id: str) -> str | None:
        """Why value, as parsed from JSON, is not what ``to_json`` writes for this id; None where it is."""
        if not isinstance(value, dict) or value.get("version") != FORMAT_VERSION:
            return f"it is not state of version {FORMAT_VERSION}"
        if set(value) != {"version", *State.__slots__}:
            return "it lacks values, or has unknown ones"
        for name in ("oci_version", "bundle", "rootfs", "created", "boot_id"):
            if not isinstance(value[name], str):
                return f"{name} is not a string"
        for name in ("pid", "start_time", "exit_status"):
            if value[name] is not None and type(value[name]) is not int:
                return f"{name} is not a number"
        for name in ("own_pid_namespace", "poststart"):
            if type(value[name]) is not bool:
                return f"{name} is neither true nor false"
        if value["status"] not in _STATUSES:
            return "status is unknown"
        if value["id"] != id:
            return "it belongs to another id"
        pid, start_time = value["pid"], value["start_time"]
        # 1 is the host's init, and 0 and below mean whole groups of processes to kill(2).
        if (pid is None) != (start_time is None) or (pid is not None and not (1 < pid <= PID_LIMIT and 0 <= start_time < 2**63)):
            return "pid or start_time is none of a container's process"
        annotations = value["annotations"]
        if not isinstance(annotations, dict) or not all(isinstance(text, str) for text in annotations.values()):
            return "annotations are not strings"
        return None

    @classmethod
    def from_json(cls, value: "Any") -> "State":
        """Of a value without ``fault``."""
        return cls(**{name: value[name] for name in cls.__slots__})


class Directory:
    """The directory of one container below ROOT."""

    __slots__ = ("id", "path")

    def __init__(self, root: str, id: str) -> None:
        check_id(id)
        self.id = id
        self.path = f"{root}/{id}"

    @property
    def start_socket(self) -> str:
        return f"{self.path}/start.sock"

    def create(self, root: str) -> "Lock":
        """Reserve the id, and take its lock. Raises AlreadyExists, and NotFound where it was deleted in the same moment."""
        try:
            try:
                posix.mkdir(self.path, 0o700)
            except FileNotFoundError:
                _make_root(root)
                posix.mkdir(self.path, 0o700)
        except FileExistsError as error:
            raise self._in_use() from error
        except OSError as error:
            raise from_os_error("create state directory", error, self.path) from error
        lock = self.lock()
        # Between the two calls `delete --force` and another `create` may have come: whoever locks the empty directory owns it.
        if posix.listdir(self.path):
            lock.release()
            raise self._in_use()
        return lock

    def exists(self) -> bool:
        try:
            posix.stat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise from_os_error("open state of container", error, self.path) from error
        return True

    def identity(self) -> tuple[int, int]:
        """Device and inode of the directory: a container of the same id that is created later has another."""
        found = self._stat()
        return found.st_dev, found.st_ino

    def owner(self) -> int:
        """User id of whoever created the container."""
        return self._stat().st_uid

    def lock(self) -> "Lock":
        """Wait for the container's lock, which its holder's end releases too. Raises NotFound."""
        while True:
            descriptor = self._open()
            try:
                _flock(descriptor, wait=True)
                if self._is(descriptor):
                    return Lock(descriptor)
            except BaseException:
                posix.close(descriptor)
                raise
            # While this one waited, the container was deleted, and perhaps created anew.
            posix.close(descriptor)

    def try_lock(self) -> "Lock | None":
        """Take the container's lock; None where another holds it. Raises NotFound."""
        descriptor = self._open()
        try:
            _flock(descriptor, wait=False)
            if self._is(descriptor):
                return Lock(descriptor)
        except BlockingIOError:
            posix.close(descriptor)
            return None
        except BaseException:
            posix.close(descriptor)
            raise
        posix.close(descriptor)
        raise self._missing()

    def read(self) -> State:
        """Raises NotFound without the container, StateUnreadable where state.json is not what pyrt wrote."""
        path = f"{self.path}/state.json"
        try:
            data = read_file(path, STATE_SIZE_LIMIT)
        except OSError as error:
            if error.errno == errno.ENOENT and self.exists():
                raise self._unreadable(path, "nothing was written yet: it is being created, or its creator was killed") from error
            raise self._reading(error) from error
        except ValueError as error:
            raise self._unreadable(path, str(error)) from error
        try:
            value = _native.json_loads(data)
        except ValueError as error:
            raise self._unreadable(path, str(error)) from error
        fault = State.fault(value, self.id)
        if fault is not None:
            raise self._unreadable(path, fault)
        return State.from_json(value)

    def write(self, state: State) -> None:
        path = f"{self.path}/state.json"
        try:
            replace_file(path, state.to_json().encode(), 0o600)
        except OSError as error:
            raise from_os_error("write", error, path) from error

    def read_config(self) -> bytes:
        """config.json as it was at the creation. Raises StateUnreadable."""
        path = f"{self.path}/config.json"
        try:
            return read_file(path, SIZE_LIMIT)
        except OSError as error:
            raise from_os_error("read", error, path) from error
        except ValueError as error:
            raise self._unreadable(path, str(error)) from error

    def begin(self, cgroup_paths: "Mapping[str, str]", config: bytes, state: State) -> None:
        """The first content of a new directory, the names of the cgroups first. Nothing exists yet, so a part says as much as nothing."""
        files = (
            ("cgroup", _native.json_dumps(dict(cgroup_paths)).encode()),
            ("config.json", config),
            ("state.json", state.to_json().encode()),
        )
        for name, data in files:
            path = f"{self.path}/{name}"
            try:
                _write_file(path, data, posix.O_EXCL, 0o600)
            except OSError as error:
                raise from_os_error("write", error, path) from error

    def read_cgroup_paths(self) -> dict[str, str]:
        """The container's cgroup directories by hierarchy; empty where it has none, or none yet. Raises StateUnreadable."""
        path = f"{self.path}/cgroup"
        try:
            data = read_file(path, SIZE_LIMIT)
            # Empty: its creator was killed before it had said anything, and so before it had made anything.
            value = _native.json_loads(data) if data else {}
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise from_os_error("read", error, path) from error
        except ValueError as error:
            raise self._unreadable(path, str(error), _BY_HAND) from error
        if not isinstance(value, dict) or not all(_is_cgroup_directory(text) for text in value.values()):
            raise self._unreadable(path, "it does not name cgroup directories", _BY_HAND)
        return value

    def remove(self) -> None:
        """Remove all of it, the names of the cgroups last: whoever is killed here can be followed by another `delete`."""
        try:
            for name in sorted(posix.listdir(self.path), key=_REMOVED_LAST.find):
                posix.unlink(f"{self.path}/{name}")
            posix.rmdir(self.path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise from_os_error("remove state of container", error, self.path) from error

    def _open(self) -> int:
        try:
            return posix.open(self.path, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC)
        except OSError as error:
            raise self._reading(error) from error

    def _stat(self) -> "stat_result":
        try:
            return posix.stat(self.path)
        except OSError as error:
            raise self._reading(error) from error

    def _is(self, descriptor: int) -> bool:
        """Whether descriptor still is the directory at this path."""
        held = posix.fstat(descriptor)
        try:
            found = posix.stat(self.path)
        except FileNotFoundError:
            return False
        return (held.st_dev, held.st_ino) == (found.st_dev, found.st_ino)

    def _reading(self, error: OSError) -> Error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return self._missing()
        return from_os_error("read state of container", error, self.path)

    def _in_use(self) -> AlreadyExists:
        return AlreadyExists(f"container with given ID already exists: {self.id}")

    def _missing(self) -> NotFound:
        # runc's words, which engines look for.
        return NotFound(f"container does not exist: {self.id}")

    def _unreadable(self, path: str, reason: str, hint: str = "delete --force removes it") -> StateUnreadable:
        return StateUnreadable(f"state of container {self.id} is unreadable: {path}: {reason}", hint=hint)


class Lock:
    """A container's lock, held until ``release`` or the end of a ``with`` block."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            posix.close(descriptor)

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def boot_id() -> str:
    """Names this boot of the kernel (random(4)): a pid of another boot means nothing."""
    path = "/proc/sys/kernel/random/boot_id"
    try:
        return read_file(path, _READ_SIZE).decode("ascii").strip()
    except OSError as error:
        raise from_os_error("read", error, path) from error


def read_file(path: str, limit: int) -> bytes:
    """Read a regular file whole (a FIFO would wait for ever). Raises OSError, and ValueError for other files and beyond limit bytes."""
    descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK)
    try:
        kind = posix.fstat(descriptor).st_mode & 0o170000
        if kind == 0o040000:
            raise IsADirectoryError(errno.EISDIR, posix.strerror(errno.EISDIR), path)
        if kind != 0o100000:
            raise ValueError("it is no regular file")
        parts = []
        while part := posix.read(descriptor, _READ_SIZE):
            parts.append(part)
            limit -= len(part)
            if limit < 0:
                raise ValueError("it is too large")
        return b"".join(parts)
    finally:
        posix.close(descriptor)


def replace_file(path: str, data: bytes, mode: int) -> None:
    """Write a file so that readers see the old content or the new, never a part. Raises OSError."""
    # One name for all writers: state is written under the lock, and what a killed writer left is overwritten, not collected.
    temporary = f"{path}.new"
    _write_file(temporary, data, posix.O_TRUNC, mode)
    posix.rename(temporary, path)


def _write_file(path: str, data: bytes, how: int, mode: int) -> None:
    descriptor = posix.open(path, posix.O_WRONLY | posix.O_CREAT | posix.O_CLOEXEC | posix.O_NOFOLLOW | how, mode)
    try:
        written = 0
        while written < len(data):
            written += posix.write(descriptor, data[written:])
    finally:
        posix.close(descriptor)


def _flock(descriptor: int, *, wait: bool) -> None:
    """Raises BlockingIOError where another holds the lock and wait is False."""
    # Where fcntl is a file of its own, `state`, which locks nothing, need not load it.
    import fcntl

    fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


def _make_root(root: str) -> None:
    """Like `mkdir -p` with mode 0700."""
    parent = root.rstrip("/").rpartition("/")[0]
    try:
        posix.mkdir(root, 0o700)
    except FileExistsError:
        return
    except FileNotFoundError as error:
        if not parent:
            raise from_os_error("create state directory", error, root) from error
        _make_root(parent)
        try:
            posix.mkdir(root, 0o700)
        except FileExistsError:
            return
        except OSError as again:
            # Some file systems (procfs) answer ENOENT also where the directory above is there.
            raise from_os_error("create state directory", again, root) from again
    except OSError as error:
        raise from_os_error("create state directory", error, root) from error


def _is_cgroup_directory(path: object) -> bool:
    """Whether path can be what pyrt wrote. That it lies in a cgroup hierarchy, the native module checks when it opens it."""
    return isinstance(path, str) and path.startswith("/") and ".." not in path.split("/") and "\0" not in path
