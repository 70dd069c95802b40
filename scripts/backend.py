"""The build backend (PEP 517): maturin, and the mode of the command, which an sdist of maturin's loses.

pip installs a script of a wheel with the mode it has there, and without the executable bit there is no `pyrt` command.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import maturin
from maturin import (
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

COMMAND = Path(__file__).resolve().parent.parent / "python/pyrt_oci.data/scripts/pyrt"
EXECUTABLE = 0o755


def build_wheel(wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None) -> str:
    COMMAND.chmod(EXECUTABLE)
    name: str = maturin.build_wheel(wheel_directory, config_settings, metadata_directory)
    return name


def build_editable(wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None) -> str:
    COMMAND.chmod(EXECUTABLE)
    name: str = maturin.build_editable(wheel_directory, config_settings, metadata_directory)
    return name
