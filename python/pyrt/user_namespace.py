"""`user_namespace=` as a user namespace of config.json (runtime-spec, config-linux.md "User namespace mappings").
Imported where one is asked for, and for every container of a user other than root: nothing else lets him make one.

Neighbours: configuration.py lays it over a config; rust/core/src/plan/namespaces.rs plans it, rust/core/src/id_maps.rs writes the maps.
"""

import os

from pyrt import _native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    Lines = list[dict[str, int]]

_IDS = 1 << 32
"""user_namespaces(7): an id is 32 bits, and the last is none."""
SUBORDINATE = {"uid": "/etc/subuid", "gid": "/etc/subgid"}
"""subuid(5), subgid(5): which ranges newuidmap(1) and newgidmap(1) map for whom."""
_HINT = "a line USER:FIRST:COUNT for this user in /etc/subuid and in /etc/subgid gives it ids (usermod --add-subuids, --add-subgids)"


def add_user_namespace(config: "dict[str, Any]", wanted: "Any") -> None:
    """Give the container a new user namespace.

    True: every id of the caller's keeps its number, and capabilities count inside only; for a user other than root, who may map no ids
    but his own, that is root inside, alone unless the process is to have other ids: then as "subids". "subids": the caller's id is root
    inside, and from 1 on there are the ranges that /etc/subuid and /etc/subgid give it. Else {"uid": [...], "gid": [...]}, of (id inside,
    id outside, count), as in /proc/PID/uid_map; a missing gid is as uid.
    Raises TypeError and ValueError, naming the argument; HostError where there are no ranges.
    """
    if wanted is True and _native.can_mount():
        uids, gids = _kept("uid"), _kept("gid")
    elif wanted is True:
        uids, gids = [_line(0, os.geteuid(), 1)], [_line(0, os.getegid(), 1)]
        if not _covers(uids, gids, config["process"].get("user") or {}):
            uids, gids = subordinate("uid"), subordinate("gid")
    elif wanted == "subids":
        uids, gids = subordinate("uid"), subordinate("gid")
    elif hasattr(wanted, "items"):
        said = dict(wanted.items())
        if not said.get("uid") or said.keys() - {"uid", "gid"}:
            raise ValueError("user_namespace is True, 'subids', or a mapping of 'uid' and 'gid' to (inside, outside, count)")
        uids = [_mapping("uid", entry) for entry in said["uid"]]
        gids = [_mapping("gid", entry) for entry in said["gid"]] if "gid" in said else uids
    else:
        raise TypeError(f"user_namespace is {type(wanted).__name__}, neither a bool nor 'subids' nor a mapping")
    linux = config["linux"]
    linux["uidMappings"], linux["gidMappings"] = uids, gids
    linux["namespaces"] = [*(entry for entry in linux.get("namespaces") or () if entry["type"] != "user"), {"type": "user"}]
    if mounts := config.get("mounts"):
        config["mounts"] = [_mountable(mount, gids) for mount in mounts]


def subordinate(kind: str) -> "Lines":
    """The caller's id as 0, and his ranges of /etc/subuid ("uid") or /etc/subgid ("gid") from 1 on. Raises HostError where he has none."""
    path = SUBORDINATE[kind]
    lines, inside = [_line(0, os.geteuid() if kind == "uid" else os.getegid(), 1)], 1
    for first, count in _ranges(path):
        lines.append(_line(inside, first, count))
        inside += count
    if len(lines) == 1:
        from pyrt.errors import HostError

        raise HostError("map more ids than the caller's own: it has no range", path, hint=_HINT)
    return lines


def _ranges(path: str) -> "Iterator[tuple[int, int]]":
    """First id and count of each line that names the caller, by name or number."""
    try:
        with open(path) as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return
    names = _own_names()
    for line in lines:
        name, _, rest = line.partition(":")
        first, _, count = rest.partition(":")
        if name in names and first.isdecimal() and count.isdecimal() and int(count):
            yield int(first), int(count)


def _own_names() -> set[str]:
    import pwd

    uid = os.geteuid()
    try:
        return {str(uid), pwd.getpwuid(uid).pw_name}
    except KeyError:
        # A number without an entry of passwd(5) is a user too.
        return {str(uid)}


def _covers(uids: "Lines", gids: "Lines", user: "dict[str, Any]") -> bool:
    """Whether all ids of config.json's process.user are mapped. Groups other than its own cannot be set where the caller maps one alone."""
    gid = user.get("gid") or 0
    groups = user.get("additionalGids") or ()
    return _maps(uids, user.get("uid") or 0) and _maps(gids, gid) and all(group == gid for group in groups)


def _maps(lines: "Iterable[dict[str, int]]", id: int) -> bool:
    return any(line["containerID"] <= id < line["containerID"] + line["size"] for line in lines)


def _mountable(mount: "dict[str, Any]", gids: "Lines") -> "dict[str, Any]":
    """A devpts without the group that terminals usually belong to, where nobody could belong to it: the kernel refuses an unmapped one."""
    options = mount.get("options") or ()
    if mount.get("type") != "devpts" or _maps(gids, 5) or "gid=5" not in options:
        return mount
    return {**mount, "options": [option for option in options if option != "gid=5"]}


def _kept(kind: str) -> "Lines":
    """The ids that the caller's own user namespace has, each as itself (user_namespaces(7), uid_map)."""
    with open(f"/proc/self/{kind}_map") as file:
        ranges = [tuple(map(int, line.split())) for line in file]
    # A count that reaches the last id is 2^32 - 1 long; config.json's numbers are uint32.
    return [_line(inside, inside, count) for inside, _, count in ranges]


def _mapping(kind: str, entry: "tuple[int, int, int]") -> "dict[str, int]":
    try:
        inside, outside, count = entry
    except (TypeError, ValueError):
        raise ValueError(f"user_namespace: {kind} {entry!r} is not (inside, outside, count)") from None
    for number in (inside, outside, count):
        if not isinstance(number, int):
            raise TypeError(f"user_namespace: {kind} {entry!r} holds {type(number).__name__}, not only int")
        if not 0 <= number < _IDS:
            raise ValueError(f"user_namespace: {kind} {entry!r} holds {number}, which is no id")
    return _line(inside, outside, count)


def _line(inside: int, outside: int, count: int) -> "dict[str, int]":
    return {"containerID": inside, "hostID": outside, "size": count}
