"""sd_notify(3) through a container: where its socket is mounted, and the variable that names it (runc's places).

Imported only where a service manager's $NOTIFY_SOCKET is given. rust/core/src/notify.rs makes the socket and passes READY=1 on.
"""

from pyrt import _native
from pyrt.errors import SpecError

__all__ = ["VARIABLE", "with_socket"]

_INSIDE = "/run/notify"
VARIABLE = f"NOTIFY_SOCKET={_INSIDE}/notify.sock"


def with_socket(config: bytes, directory: str) -> bytes:
    """The config.json with one more mount: the directory on the host in which the socket will be made. Raises SpecError."""
    value = _native.json_loads(config)
    if not isinstance(value, dict) or not isinstance(value.get("mounts") or [], list):
        raise SpecError("config.json has no object with a list of mounts")
    mount = {"destination": _INSIDE, "type": "bind", "source": directory, "options": ["bind", "nosuid", "noexec", "nodev", "ro"]}
    value["mounts"] = [*(value.get("mounts") or []), mount]
    return _native.json_dumps(value).encode("utf-8", "surrogateescape")
