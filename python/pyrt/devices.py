"""`devices=` as `linux.devices` (runtime-spec, config-linux.md "Devices"): the host's devices that a container gets.
Imported where some are.

Neighbours: configuration.py lays them over a config; rust/core/src/plan/devices.rs makes the nodes.
"""

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from pyrt.options import StrPath


def add_devices(linux: "dict[str, Any]", devices: "Iterable[StrPath]") -> None:
    """Add each device, "HOST" or "HOST:INSIDE" (absolute paths), with the mode and owner that it has on the host.

    Where the configuration allows devices by list, it is allowed too. Raises TypeError, ValueError, NotFound and HostError.
    """
    if isinstance(devices, (str, bytes, os.PathLike)):
        raise TypeError("devices is a list of paths, not one")
    resources: dict[str, Any] = linux["resources"]
    for device in devices:
        host, _, inside = os.fsdecode(device).partition(":")
        inside = inside or host
        for path in (host, inside):
            if not path.startswith("/"):
                raise ValueError(f"devices: {path!r} is not an absolute path")
        entry = _entry(host, inside)
        linux["devices"] = [*(other for other in linux.get("devices") or () if other.get("path") != inside), entry]
        if resources.get("devices"):
            allowed = {"allow": True, "type": entry["type"], "major": entry["major"], "minor": entry["minor"], "access": "rwm"}
            linux["resources"] = resources = {**resources, "devices": [*resources["devices"], allowed]}


def _entry(host: str, inside: str) -> "dict[str, Any]":
    try:
        status = os.stat(host)
    except OSError as error:
        from pyrt.errors import from_os_error

        raise from_os_error("look at device", error, host) from None
    kind = "c" if stat.S_ISCHR(status.st_mode) else "b" if stat.S_ISBLK(status.st_mode) else None
    if kind is None:
        raise ValueError(f"devices: {host} is neither a character nor a block device")
    return {
        "type": kind,
        "path": inside,
        "major": os.major(status.st_rdev),
        "minor": os.minor(status.st_rdev),
        "fileMode": stat.S_IMODE(status.st_mode),
        "uid": status.st_uid,
        "gid": status.st_gid,
    }
