"""The build backend (PEP 517): maturin, the command, and what shells and man(1) read of it.

The command `pyrt` is a small native file (rust/core/src/bin/pyrt) that wheels carry as data. maturin builds one target of one crate, so the
file is built here and laid where maturin picks it up. Man pages and completion are made of the same table of verbs that the command reads.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
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
SHARE = ROOT / "python/pyrt_oci.data/data/share"
COMPLETION = {
    "bash": "bash-completion/completions/pyrt",
    "zsh": "zsh/site-functions/_pyrt",
    "fish": "fish/vendor_completions.d/pyrt.fish",
}
"""Where shells look, below share."""
EXECUTABLE = 0o755


def build_wheel(wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None) -> str:
    lay_data()
    name: str = maturin.build_wheel(wheel_directory, config_settings, metadata_directory)
    return name


def build_editable(wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None) -> str:
    lay_data()
    name: str = maturin.build_editable(wheel_directory, config_settings, metadata_directory)
    return name


def lay_data() -> None:
    """All that a wheel carries beside the package."""
    build_command()
    make_share(SHARE)


def make_share(directory: Path) -> None:
    """Make man pages and completion below a directory `share`. Needs no native module: what is imported are tables."""
    sys.path.insert(0, str(ROOT / "python"))
    from pyrt.cli.completion import script
    from pyrt.cli.manual import pages

    built = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time())))
    texts = {f"man/man1/{name}": page for name, page in pages(version(), time.strftime("%Y-%m-%d", built)).items()}
    texts |= {path: script(shell) for shell, path in COMPLETION.items()}
    for path, text in texts.items():
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def version() -> str:
    """The workspace's, where it is declared once."""
    section = (ROOT / "Cargo.toml").read_text().partition("[workspace.package]")[2]
    return section.partition('version = "')[2].partition('"')[0]


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
    lay_data()
