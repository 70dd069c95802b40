"""What `compare.py --only engines` compares: `podman run` and `ctr run` of the same `true`, with pyrt and with runc below.

The whole line is timed, as a person waits for it. Neighbour: `contenders.py`, which lists these beside the runtimes alone.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from contenders import Contender, command, program

CONTAINERD_SECONDS = 30.0
# A root without CAP_SYS_RESOURCE is refused podman's own limits, with any runtime.
ULIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000")
CONFIGURATION = """version = 2
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[ttrpc]
address = "{path}/ttrpc"
"""


def pyrt() -> str:
    return str(Path(sysconfig.get_path("scripts")) / "pyrt")


def runc() -> str:
    return program("runc")


class PodmanRun(Contender):
    """`podman run --rm --rootfs`: podman, conmon and the runtime's create, start, state and delete."""

    group, form = "engines", "engine"
    runtime: Callable[[], str]

    def __init__(self, directory: Path, _work: Path) -> None:
        # podman refuses a path of more than 50 characters.
        self.path = tempfile.TemporaryDirectory(prefix="podman.", dir="/dev/shm")
        path = Path(self.path.name)
        directories: list[str | Path] = ["--root", path / "root", "--runroot", path / "run", "--tmpdir", path / "tmp"]
        choices = ["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file", "--runtime", self.runtime()]
        self.words: list[str | Path] = [program("podman"), *directories, *choices, "run", "--rm", "--network", "none", *ULIMITS]
        self.words += ["--rootfs", directory / "rootfs", "true"]
        try:
            self.once()
        except BaseException:
            self.close()
            raise

    def once(self) -> None:
        command(*self.words)

    def close(self) -> None:
        self.path.cleanup()


class PodmanPyrt(PodmanRun):
    name = "podman run with pyrt"
    runtime = staticmethod(pyrt)


class PodmanRunc(PodmanRun):
    name = "podman run with runc"
    runtime = staticmethod(runc)


class CtrRun(Contender):
    """`ctr run --rm --rootfs` under a containerd of its own: its runc shim and the runtime's create, start, state and delete."""

    group, form = "engines", "engine"
    runtime: Callable[[], str]

    def __init__(self, directory: Path, work: Path) -> None:
        path = work / type(self).__name__
        path.mkdir()
        (path / "config.toml").write_text(CONFIGURATION.format(path=path))
        socket = path / "socket"
        directories: list[str | Path] = ["--root", path / "root", "--state", path / "state"]
        daemon: list[str | Path] = [program("containerd"), "--config", path / "config.toml", *directories]
        runtime: list[str | Path] = ["--runc-binary", self.runtime(), "--runc-root", path / "runtime"]
        self.client: list[str | Path] = [program("ctr"), "--address", socket]
        self.words: list[str | Path] = [*self.client, "run", "--rm", *runtime, "--env", "PATH=/bin", "--rootfs", directory / "rootfs"]
        self.numbers = itertools.count()
        with (path / "log").open("w") as log:
            self.process = subprocess.Popen([*daemon, "--address", socket], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + CONTAINERD_SECONDS
        try:
            while not self.answers():
                if time.monotonic() > deadline:
                    command(*self.client, "version")
                time.sleep(0.1)
            self.once()
        except BaseException:
            self.close()
            raise

    def answers(self) -> bool:
        return subprocess.run([*self.client, "version"], capture_output=True, check=False).returncode == 0

    def once(self) -> None:
        command(*self.words, f"compare-{os.getpid()}-{type(self).__name__}-{next(self.numbers)}", "true")

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()


class CtrPyrt(CtrRun):
    name = "ctr run with pyrt"
    runtime = staticmethod(pyrt)


class CtrRunc(CtrRun):
    name = "ctr run with runc"
    runtime = staticmethod(runc)


ENGINES: tuple[type[PodmanRun | CtrRun], ...] = (PodmanPyrt, PodmanRunc, CtrPyrt, CtrRunc)
