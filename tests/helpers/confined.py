"""Namespaces of a test's own for daemons that would take ports, interfaces or files of the host's: mount, network and UTS.

    with Confined("hostname elsewhere") as confined:
        subprocess.run([*confined.enter, "hostname"])

Neighbours: `slurm` and `cri` start their daemons in one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Collection
from pathlib import Path

SECONDS = 60.0
NAMESPACES = ("mount", "net", "uts")


class Confined:
    """enter: the words before a command that is to run inside. setup: shell commands that prepare the namespaces; `lo` is up."""

    def __init__(self, setup: str = "") -> None:
        script = f"set -e\nip link set lo up\n{setup}\necho ready\nexec cat\n"
        flags = [f"--{name}" for name in NAMESPACES]
        unshare = ["unshare", *flags, "--propagation", "private", "sh", "-c", script]
        self.holder = subprocess.Popen(unshare, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.enter = ["nsenter", f"--target={self.holder.pid}", *flags]
        assert self.holder.stdout is not None
        if self.holder.stdout.readline() != "ready\n":
            raise AssertionError(f"unshare: {self.holder.communicate()[1]}")
        self.network = os.stat(f"/proc/{self.holder.pid}/ns/net").st_ino

    def processes(self, but: Collection[str] = ()) -> dict[int, str]:
        """What runs in the network namespace: name by PID, without the process that holds it and those of these names."""
        found = {}
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and (entry / "ns/net").stat().st_ino == self.network:
                    found[int(entry.name)] = (entry / "comm").read_text().strip()
            except OSError:  # It ended meanwhile, or is more than we may look at.
                continue
        return {pid: name for pid, name in found.items() if pid != self.holder.pid and name not in but}

    def nothing_but(self, *names: str) -> None:
        """Waits until nothing runs inside but processes of these names."""
        deadline = time.monotonic() + SECONDS
        while left := self.processes(but=names):
            assert time.monotonic() < deadline, f"still there: {left}"
            time.sleep(0.1)

    def end(self) -> None:
        """Kills what is still inside, and with the last process the namespaces end."""
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        self.holder.communicate()

    def __enter__(self) -> Confined:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
