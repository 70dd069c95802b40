"""podman, containerd and docker as the tests run them: with pyrt as their OCI runtime by the very files of share/pyrt, everything that
they keep in one directory of the tests, and daemons of the tests' own that are ended by PID.

Each engine's `__call__` is one line of its command. Neighbours: tests/engines/conftest.py makes them; `bundles` the image.
"""

from __future__ import annotations

import os
import subprocess
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path

from helpers.commands import PYRT, TIMEOUT, Result

SHARE = Path(__file__).resolve().parents[2] / "python/pyrt_oci.data/data/share/pyrt"
IMAGE = "localhost/busybox"
DAEMON_SECONDS = 60.0
# This host's root may lack CAP_SYS_RESOURCE: the engines' own limits would be raised ones, which runc is refused as well.
ULIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000")


def environment(**more: str) -> dict[str, str]:
    """With this pyrt first in PATH, where the files of share/pyrt have it looked for."""
    return {**os.environ, "PATH": f"{PYRT.parent}:{os.environ['PATH']}", **more}


def archive(rootfs: Path, path: Path) -> Path:
    """The root file system as a tar file, which `podman import` and `docker import` make an image of. Returns path."""
    with tarfile.open(path, "w") as made:
        made.add(rootfs, arcname=".")
    return path


def states(path: Path) -> list[str]:
    """The state.json files below path: an engine may still be removing what is beside them, which Path.rglob does not bear."""
    return [os.path.join(directory, name) for directory, _, names in os.walk(path) for name in names if name == "state.json"]


class Engine:
    """A client: its words before each line, its environment, and path, its directory (conmon leaves a file where it runs)."""

    def __init__(self, path: Path, *words: str, env: dict[str, str] | None = None) -> None:
        self.path = path
        self.words = words
        self.env = env or environment()

    def __call__(self, *arguments: str, timeout: float = TIMEOUT) -> Result:
        """Run one line of the engine's command. timeout: seconds."""
        line = [*self.words, *arguments]
        done = subprocess.run(
            line, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False, env=self.env, cwd=self.path
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def until(self, wanted: str, *arguments: str) -> str:
        """What this line prints once it holds wanted; what changes in an engine's own time (a status after an end)."""
        deadline = time.monotonic() + DAEMON_SECONDS
        while True:
            done = self(*arguments)
            if wanted in done.stdout:
                return done.stdout
            assert time.monotonic() < deadline, f"{' '.join(arguments)} never said {wanted!r}, but {done.stdout}{done.stderr}"
            time.sleep(0.1)


class Podman(Engine):
    """podman with its storage and state below path; file events and cgroupfs, since there is no systemd to ask."""

    def __init__(self, path: Path, runtime: str = "pyrt") -> None:
        directories = ["--root", f"{path}/root", "--runroot", f"{path}/run", "--tmpdir", f"{path}/tmp"]
        choices = ["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file", "--runtime", runtime]
        configuration = environment(CONTAINERS_CONF=str(SHARE / "containers.conf.d/50-pyrt.conf"))
        super().__init__(path, "podman", *directories, *choices, env=configuration)

    def run(self, *words: str, timeout: float = TIMEOUT) -> Result:
        """`podman run` without a network: there may be no iptables."""
        return self("run", "--network", "none", *ULIMITS, *words, timeout=timeout)


class Daemon(Engine):
    """A client with a daemon of the tests' own: started here, waited for until it answers, ended by PID."""

    def __init__(self, daemon: Sequence[str], path: Path, *words: str) -> None:
        super().__init__(path, *words)
        log = path / "log"
        with log.open("w") as output:
            self.process = subprocess.Popen(daemon, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=self.env)
        deadline = time.monotonic() + DAEMON_SECONDS
        while self("version").status != 0:
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.end()
                raise AssertionError(f"{daemon[0]} does not answer: {log.read_text()[-2000:]}")
            time.sleep(0.1)

    def end(self) -> None:
        """TERM, and KILL where that is not enough; waits for it."""
        self.process.terminate()
        try:
            self.process.wait(DAEMON_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Containerd(Daemon):
    """containerd below path without what it would share with another, and `ctr`. The runc shim takes pyrt as its BinaryName."""

    CONFIGURATION = """version = 2
root = "{path}/root"
state = "{path}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
address = "{path}/socket"
[ttrpc]
address = "{path}/ttrpc"
"""

    def __init__(self, path: Path) -> None:
        self.state = path / "pyrt"
        configuration = path / "config.toml"
        configuration.write_text(self.CONFIGURATION.format(path=path))
        daemon = ["containerd", "--config", str(configuration)]
        super().__init__(daemon, path, "ctr", "--address", f"{path}/socket")

    def run(self, rootfs: Path, name: str, *words: str, options: Sequence[str] = ()) -> Result:
        """`ctr run`: a container of this root file system, without an image."""
        shim = ["--runc-binary", "pyrt", "--runc-root", str(self.state), "--env", "PATH=/bin"]
        return self("run", *shim, *options, "--rootfs", str(rootfs), name, *words)


class Docker(Daemon):
    """dockerd below path with share/pyrt's daemon.json; no network of its own, since there may be no iptables."""

    def __init__(self, path: Path) -> None:
        directories = ["--data-root", f"{path}/data", "--exec-root", f"{path}/exec", "--pidfile", f"{path}/pid"]
        network = ["--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=vfs"]
        configuration = ["--config-file", str(SHARE / "docker/daemon.json"), "--host", f"unix://{path}/socket"]
        daemon = ["dockerd", *configuration, *directories, *network]
        super().__init__(daemon, path, "docker", "--host", f"unix://{path}/socket")

    def run(self, *words: str, timeout: float = TIMEOUT) -> Result:
        """`docker run` with pyrt."""
        return self("run", "--runtime", "pyrt", "--network", "none", *words, timeout=timeout)
