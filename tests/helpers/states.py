"""State on disk as pyrt writes it (rust/core/src/container/state.rs), for tests that need some without a container."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def state(id: str, /, **changes: Any) -> dict[str, Any]:
    """What state.json of a running container says, but for changes."""
    values: dict[str, Any] = {
        "version": 1,
        "id": id,
        "boot_id": "another boot",
        "oci_version": "1.3.0",
        "bundle": "/bundles/web",
        "rootfs": "/bundles/web/rootfs",
        "created": "2026-11-25T00:00:00.000000000Z",
        "annotations": {"key": "value"},
        "own_pid_namespace": True,
        "has_poststart": False,
        "has_poststop": False,
        "new_keyring": True,
        "config": {"ociVersion": "1.3.0"},
    }
    return {**values, **changes}


def write_state(root: Path, id: str, /, *, init: str | None = "4711 12345", **changes: Any) -> Path:
    """Write it below a state directory; returns the container's own directory. init: PID and start time, None while it is not made."""
    directory = root / id
    directory.mkdir(parents=True, mode=0o700)
    (directory / "state.json").write_text(json.dumps(state(id, **changes)))
    if init is not None:
        (directory / "init").symlink_to(init)
    return directory
