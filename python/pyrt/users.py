"""Users and groups by name, as the container's own /etc/passwd and /etc/group have them (passwd(5), group(5)).

A root file system may be hostile: its files are opened without following a symlink, and read only where they are regular files.
"""

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_FILE_MOST_BYTES = 16 << 20
_ID_MOST = (1 << 32) - 2
"""The greatest uid; the one above it means "no change" to setresuid(2)."""


class Identity:
    """Who the command runs as: uid, gid, further groups, and home (None where /etc/passwd does not say)."""

    __slots__ = ("additional_gids", "gid", "home", "uid")

    def __init__(self, uid: int, gid: int, additional_gids: "Iterable[int]" = (), home: str | None = None) -> None:
        self.uid = uid
        self.gid = gid
        self.additional_gids = list(additional_gids)
        self.home = home


def resolve(
    root: str,
    user: str | int | None,
    group: str | int | None = None,
    extra_groups: "Iterable[str | int] | None" = None,
) -> Identity:
    """Find a user in the root file system `root`.

    user: a name, a uid, or "UID:GID" with names or numbers; None is root. A user that has an entry gets its group, its home and the
    groups that name it, as at a login; a uid that has none gets the gid of the same number, never root's. A group that is said is the only
    one. The groups have the gid among them (CVE-2022-36109), but for extra_groups, which are as they are said.
    Raises NotFound for a name that is not there.
    """
    if isinstance(user, str) and ":" in user:
        user, _, named = user.partition(":")
        group = named if group is None else group
    user = 0 if user is None or user == "" else user
    uid = _number(user)
    identity: Identity | None = None
    for name, entry_uid, entry_gid, home in _passwd(root):
        if name == user or (uid is not None and entry_uid == uid):
            members = (gid for _, gid, users in _groups(root) if name in users)
            identity = Identity(entry_uid, entry_gid, dict.fromkeys((entry_gid, *members)), home)
            break
    if identity is None:
        if uid is None:
            raise _missing("user", user, root, "passwd")
        identity = Identity(uid, uid, [uid])
    if group is not None and group != "":
        identity.gid = _gid(root, group)
        identity.additional_gids = [identity.gid]
    if extra_groups is not None:
        identity.additional_gids = [_gid(root, extra) for extra in extra_groups]
    return identity


def _gid(root: str, group: str | int) -> int:
    number = _number(group)
    if number is not None:
        return number
    for name, gid, _ in _groups(root):
        if name == group:
            return gid
    raise _missing("group", group, root, "group")


def _number(name: str | int) -> int | None:
    """The id that it spells, None for a name. Raises ValueError for a number that is no id."""
    if isinstance(name, str) and not (name.isdecimal() and name.isascii()):
        return None
    number = int(name)
    if not 0 <= number <= _ID_MOST:
        raise ValueError(f"{number} is not a user or group id")
    return number


def _missing(kind: str, name: str | int, root: str, file: str) -> Exception:
    from pyrt.errors import NotFound

    return NotFound(f"{kind} {name!r} is not in", os.path.join(root, "etc", file), hint="give its number, or a name that is there")


def _passwd(root: str) -> "Iterator[tuple[str, int, int, str]]":
    for fields in _lines(root, "passwd", 7):
        if fields[2].isdecimal() and fields[3].isdecimal():
            yield fields[0], int(fields[2]), int(fields[3]), fields[5]


def _groups(root: str) -> "Iterator[tuple[str, int, list[str]]]":
    for fields in _lines(root, "group", 4):
        if fields[2].isdecimal():
            yield fields[0], int(fields[2]), fields[3].split(",")


def _lines(root: str, file: str, count: int) -> "Iterator[list[str]]":
    text = _read(root, file)
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) == count:
            yield fields


def _read(root: str, file: str) -> str:
    """The text of a file of the root's /etc; empty where there is none."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        top = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    opened = [top]
    try:
        opened.append(os.open("etc", flags | os.O_DIRECTORY, dir_fd=top))
        opened.append(os.open(file, flags | os.O_NONBLOCK, dir_fd=opened[-1]))
        if not stat.S_ISREG(os.fstat(opened[-1]).st_mode):
            return ""
        data = bytearray()
        while len(data) < _FILE_MOST_BYTES and (block := os.read(opened[-1], 1 << 16)):
            data += block
        return data.decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return ""
    except OSError as failed:
        from pyrt.errors import from_os_error

        raise from_os_error("read", failed, os.path.join(root, "etc", file), "it is read without following symlinks") from None
    finally:
        for descriptor in opened:
            os.close(descriptor)
