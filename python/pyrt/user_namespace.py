"""`user_namespace=` as a user namespace of config.json (runtime-spec, config-linux.md "User namespace mappings").
Imported where one is asked for.

Neighbours: configuration.py lays it over a config; rust/core/src/plan/namespaces.rs plans it.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_IDS = 1 << 32
"""user_namespaces(7): an id is 32 bits, and the last is none."""


def add_user_namespace(linux: "dict[str, Any]", wanted: "Any") -> None:
    """Give the container a new user namespace. True: every id of the caller's keeps its number, and capabilities count inside only.

    Else {"uid": [...], "gid": [...]}, of (id inside, id outside, count), as in /proc/PID/uid_map; a missing gid is as uid.
    Raises TypeError and ValueError, naming the argument.
    """
    if wanted is True:
        uids, gids = _own("uid"), _own("gid")
    elif hasattr(wanted, "items"):
        said = dict(wanted.items())
        if not said.get("uid") or said.keys() - {"uid", "gid"}:
            raise ValueError("user_namespace is True, or a mapping of 'uid' and 'gid' to (inside, outside, count)")
        uids = [_mapping("uid", entry) for entry in said["uid"]]
        gids = [_mapping("gid", entry) for entry in said["gid"]] if "gid" in said else uids
    else:
        raise TypeError(f"user_namespace is {type(wanted).__name__}, neither a bool nor a mapping")
    linux["uidMappings"], linux["gidMappings"] = uids, gids
    linux["namespaces"] = [*(entry for entry in linux.get("namespaces") or () if entry["type"] != "user"), {"type": "user"}]


def _own(kind: str) -> "list[dict[str, int]]":
    """The ids that the caller's own user namespace has, each as itself (user_namespaces(7), uid_map)."""
    with open(f"/proc/self/{kind}_map") as file:
        ranges = [tuple(map(int, line.split())) for line in file]
    # A count that reaches the last id is 2^32 - 1 long; config.json's numbers are uint32.
    return [{"containerID": inside, "hostID": inside, "size": count} for inside, _, count in ranges]


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
    return {"containerID": inside, "hostID": outside, "size": count}
