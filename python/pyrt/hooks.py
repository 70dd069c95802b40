"""Hooks: poststart and poststop of a container that ends with its caller (runtime-spec, "POSIX-platform Hooks").

The native launch runs the other four. `Container` has these two of its own, since its state is on disk. Imported only where a
configuration has hooks.
"""

from pyrt import _native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Hooks:
    """config: the configuration that has them. state: the container's state as the runtime-spec has it, but for status and pid."""

    __slots__ = ("_config", "_state")

    def __init__(self, config: "dict[str, Any]", state: "dict[str, Any]") -> None:
        self._config = _native.json_dumps(config).encode()
        self._state = state

    def poststart(self, pid: int) -> None:
        """pid: the init's, as the caller sees it. Raises the first failure: the container is then to be ended."""
        _native.run_hooks(self._config, "poststart", self._json("running", pid))

    def poststop(self) -> list[str]:
        """Run all, whatever one of them does; returns the failures as warnings."""
        return _native.run_hooks(self._config, "poststop", self._json("stopped", 0))

    def _json(self, status: str, pid: int) -> bytes:
        return _native.json_dumps({**self._state, "status": status, "pid": pid}).encode()
