"""A bundle whose six stages of hooks write down how they ran.

Each hook appends to one log on the host (startContainer's to one inside): its stage, its namespaces, and the state that it read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.bundles import Bundle

OUTSIDE = ("prestart", "createRuntime", "poststart", "poststop")
"""Stages that run in the runtime namespace."""
BEFORE = ("prestart", "createRuntime", "createContainer", "startContainer")
"""Stages whose failure ends the container, in their order."""
STAGES = (*BEFORE, "poststart", "poststop")
INSIDE_LOG = "/home/log"
HOOK = """#!/bin/sh
log=$1; stage=$2
{
  echo "stage $stage"
  echo "mount $(readlink /proc/self/ns/mnt)"
  echo "network $(readlink /proc/self/ns/net)"
  echo "root $(ls -d /home/of-the-container 2>/dev/null)"
  echo "state $(cat)"
} >> "$log"
"""


@dataclass(frozen=True)
class Entry:
    """What one hook wrote."""

    stage: str
    mount: str
    network: str
    root: str
    state: dict[str, Any]


def entries(log: Path) -> list[Entry]:
    """In the order in which they were written."""
    if not log.exists():
        return []
    found = []
    lines = [line.partition(" ")[2] for line in log.read_text().splitlines()]
    for start in range(0, len(lines), 5):
        stage, mount, network, root, state = lines[start : start + 5]
        found.append(Entry(stage, mount, network, root, json.loads(state)))
    return found


class Hooked:
    """A bundle with a logging hook for each of the stages, and the log on the host."""

    def __init__(self, bundle: Bundle, directory: Path) -> None:
        self.bundle = bundle
        self.directory = directory
        self.log = directory / "log"
        self.script = directory / "hook"
        self.write(self.script, HOOK)
        (bundle.rootfs / "home/of-the-container").touch()
        bundle.spec["root"]["readonly"] = False
        bundle.spec["annotations"] = {"org.example.key": "value"}
        inside = bundle.rootfs / "bin/hook"
        self.write(inside, HOOK)
        bundle.spec["hooks"] = {stage: [self.entry(stage)] for stage in STAGES}

    @staticmethod
    def write(path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)

    def entry(self, stage: str) -> dict[str, Any]:
        """startContainer's path and log are the container's, all others the host's."""
        path, log = ("/bin/hook", INSIDE_LOG) if stage == "startContainer" else (str(self.script), str(self.log))
        return {"path": path, "args": ["hook", log, stage], "env": ["PATH=/bin:/usr/bin"]}

    def entries(self) -> list[Entry]:
        """Those of the host's log, then startContainer's."""
        return entries(self.log) + entries(self.bundle.rootfs / INSIDE_LOG.removeprefix("/"))

    def stages(self) -> list[str]:
        return [entry.stage for entry in self.entries()]

    def of(self, stage: str) -> Entry:
        [entry] = [entry for entry in self.entries() if entry.stage == stage]
        return entry

    def fail(self, stage: str, script: str = "exit 7") -> str:
        """That stage's hook does this instead. Returns its path."""
        path = self.bundle.rootfs / "bin/failing" if stage == "startContainer" else self.directory / f"failing-{stage}"
        self.write(path, f"#!/bin/sh\n{script}\n")
        shown = "/bin/failing" if stage == "startContainer" else str(path)
        self.bundle.spec["hooks"][stage] = [{"path": shown}]
        return shown
