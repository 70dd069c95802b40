"""The build backend (PEP 517): maturin, and the command.

The command `pyrt` is a small native file (rust/core/src/bin/pyrt) that wheels carry as data. maturin builds one target of one crate, so the
file is built here and laid where maturin picks it up.
"""

from __future__ import annotations

import json
import shutil
import subprocess
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

ROOT = Path(__file__).resolve().parent.parent
COMMAND = ROOT / "python/pyrt_oci.data/scripts/pyrt"
EXECUTABLE = 0o755


def build_wheel(wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None) -> str:
    build_command()
    name: str = maturin.build_wheel(wheel_directory, config_settings, metadata_directory)
    return name


def build_editable(wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None) -> str:
    build_command()
    name: str = maturin.build_editable(wheel_directory, config_settings, metadata_directory)
    return name


def build_command() -> None:
    """Build the command, and lay it where wheels take it from."""
    line = ["cargo", "build", "--release", "--locked", "--package", "pyrt-core", "--bin", "pyrt"]
    done = subprocess.run([*line, "--message-format", "json-render-diagnostics"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    messages = [json.loads(message) for message in done.stdout.splitlines()]
    built = next(message["executable"] for message in messages if message.get("executable"))
    COMMAND.parent.mkdir(parents=True, exist_ok=True)
    # A new file, not new content: the old one may be running.
    COMMAND.unlink(missing_ok=True)
    shutil.copyfile(built, COMMAND)
    COMMAND.chmod(EXECUTABLE)


if __name__ == "__main__":
    build_command()
