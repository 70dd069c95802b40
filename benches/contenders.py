"""What `compare.py` compares: each contender does the same work once, `true` in the container of `pyrt spec`.

Run as a program it is the caller whose launches are timed: a process of its own, made as large as --ballast says, that reads the name of
a contender from each line of standard input and answers with the microseconds of one launch. `compare.py` decides who is next, so
that all share the machine's good and bad moments.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

ROOTFS_DIRECTORIES = ("bin", "dev", "etc", "proc", "sys", "tmp")
RUNTIME_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
KEPT_CAPABILITIES = ("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")


class Unavailable(Exception):
    """This contender does not run here; the text says why."""


def make_bundles(directory: Path) -> None:
    """Two bundles on one busybox root file system: `true`, which is timed, and `sleep`, whose state is asked for."""
    from pyrt import default_spec

    rootfs = directory / "rootfs"
    for name in ROOTFS_DIRECTORIES:
        (rootfs / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", rootfs / "bin/busybox")
    for name in ("sh", "sleep", "true"):
        (rootfs / "bin" / name).symlink_to("busybox")
    for bundle, args in {"true": ["true"], "sleep": ["sleep", "100000"]}.items():
        spec = default_spec()
        spec.terminal, spec.args, spec.rootfs = False, args, rootfs
        # The newest that Debian 12's crun knows; the rest of the file is the same in all of them.
        spec.config["ociVersion"] = "1.0.2"
        (directory / bundle).mkdir()
        (directory / bundle / "config.json").write_text(spec.to_json(indent=True))


class Contender(ABC):
    """One row of the table. group: what --only names it by; name: what the table says; form: the floor that it is compared with."""

    group: str
    name: str
    form = "library"

    @abstractmethod
    def once(self) -> None:
        """The work that is timed. Raises where it fails."""

    def close(self) -> None:  # noqa: B027 - most have nothing to take back
        """Take back what was made at the beginning."""


def command(*arguments: str | Path) -> None:
    """Run a program with no input and output, as cheaply as a caller can. Raises CalledProcessError."""
    words = [os.fspath(argument) for argument in arguments]
    null = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0)]
    null += [(os.POSIX_SPAWN_OPEN, descriptor, "/dev/null", os.O_WRONLY, 0) for descriptor in (1, 2)]
    pid = os.posix_spawn(words[0], words, RUNTIME_ENVIRONMENT, file_actions=null)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status != 0:
        raise subprocess.CalledProcessError(status, words)


def program(name: str) -> str:
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if path is None:
        raise Unavailable(f"{name} is not installed")
    return path


class Library(Contender):
    """pyrt.Runtime: a container of the engine's shape, with its state on disk."""

    group, name = "library", "pyrt library, create, start, wait, delete"
    form = "engine"

    def __init__(self, directory: Path, work: Path) -> None:
        import pyrt

        self.runtime = pyrt.Runtime(root=work / "library")
        self.bundle = directory / "true"
        self.numbers = itertools.count()
        null = os.open("/dev/null", os.O_RDWR)
        self.stdio = (null, null, null)

    def once(self) -> None:
        container = self.runtime.create(f"library-{os.getpid()}-{next(self.numbers)}", bundle=self.bundle, stdio=self.stdio)
        try:
            container.start()
            status = container.wait()
        finally:
            container.delete(force=True)
        if status != 0:
            raise subprocess.CalledProcessError(status if status is not None else 1, "true")


class LibraryRun(Contender):
    """pyrt.run: PID 1 of pyrt's own above the command, which ends with the caller."""

    group, name = "library", "pyrt library, run()"

    def __init__(self, directory: Path, _work: Path) -> None:
        import pyrt

        self.run = pyrt.run
        self.bundle = directory / "true"

    def once(self) -> None:
        self.run(bundle=self.bundle, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)


class Engine(Contender):
    """A runtime's command line: what stands before the verb, and a number for each id."""

    form = "engine"

    def __init__(self, directory: Path, work: Path) -> None:
        self.directory = directory
        self.words = [self.path(), "--root", str(work / self.group)]
        self.numbers = itertools.count()
        command(*self.words, "run", "--bundle", directory / "true", self.id())

    def path(self) -> str:
        return program(self.group)

    def id(self) -> str:
        return f"{self.group}-{os.getpid()}-{next(self.numbers)}"


class EngineRun(Engine):
    def once(self) -> None:
        command(*self.words, "run", "--bundle", self.directory / "true", self.id())


class EngineVerbs(Engine):
    def once(self) -> None:
        container = self.id()
        try:
            command(*self.words, "create", "--bundle", self.directory / "true", container)
            command(*self.words, "start", container)
        finally:
            command(*self.words, "delete", "--force", container)


class EngineState(Engine):
    def __init__(self, directory: Path, work: Path) -> None:
        super().__init__(directory, work)
        self.sleeper = f"{self.group}-{os.getpid()}-{type(self).__name__}"
        command(*self.words, "create", "--bundle", directory / "sleep", self.sleeper)
        try:
            command(*self.words, "start", self.sleeper)
        except subprocess.CalledProcessError:
            self.close()
            raise

    def once(self) -> None:
        command(*self.words, "state", self.sleeper)

    def close(self) -> None:
        command(*self.words, "delete", "--force", self.sleeper)


class EngineExec(EngineState):
    def once(self) -> None:
        command(*self.words, "exec", self.sleeper, "true")


class PyrtCommand(Engine):
    group = "command"

    def path(self) -> str:
        return str(Path(sysconfig.get_path("scripts")) / "pyrt")


class PyrtRun(PyrtCommand, EngineRun):
    name = "pyrt run"


class PyrtVerbs(PyrtCommand, EngineVerbs):
    name = "pyrt create, start, delete"


class PyrtState(PyrtCommand, EngineState):
    name = "pyrt state"


class PyrtExec(PyrtCommand, EngineExec):
    name = "pyrt exec"


class RuncRun(EngineRun):
    group, name = "runc", "runc run"


class RuncVerbs(EngineVerbs):
    group, name = "runc", "runc create, start, delete"


class RuncState(EngineState):
    group, name = "runc", "runc state"


class RuncExec(EngineExec):
    group, name = "runc", "runc exec"


class CrunRun(EngineRun):
    group, name = "crun", "crun run"


class CrunVerbs(EngineVerbs):
    group, name = "crun", "crun create, start, delete"


class CrunState(EngineState):
    group, name = "crun", "crun state"


class CrunExec(EngineExec):
    group, name = "crun", "crun exec"


class Bubblewrap(Contender):
    """The same namespaces and the mounts that bwrap can make. It has no cgroups, masked paths, devices of its own choice or state."""

    group, name = "bubblewrap", "bubblewrap"

    def __init__(self, directory: Path, _work: Path) -> None:
        rootfs = directory / "rootfs"
        self.words: list[str | Path] = [program("bwrap"), "--die-with-parent", "--new-session", "--clearenv", "--hostname", "pyrt"]
        self.words += [f"--unshare-{kind}" for kind in ("pid", "ipc", "uts", "net", "cgroup")]
        self.words += ["--ro-bind", rootfs, "/", "--proc", "/proc", "--dev", "/dev", "--mqueue", "/dev/mqueue", "--ro-bind", "/sys", "/sys"]
        self.words += ["--cap-drop", "ALL", *itertools.chain(*(("--cap-add", name) for name in KEPT_CAPABILITIES)), "/bin/true"]

    def once(self) -> None:
        command(*self.words)


class Sandlock(Contender):
    """The nearest rival as a library: Landlock and seccomp on the same root. It has no namespaces of its own, cgroups or OCI config."""

    group, name = "sandlock", "sandlock library, run()"

    def __init__(self, directory: Path, _work: Path) -> None:
        try:
            import sandlock
        except ImportError as failure:
            raise Unavailable(f"pip install sandlock: {failure}") from failure
        self.sandbox: Any = sandlock.Sandbox
        self.rootfs = str(directory / "rootfs")

    def once(self) -> None:
        done = self.sandbox(chroot=self.rootfs, fs_readable=["/"]).run(["/bin/true"])
        if not done.success:
            raise subprocess.CalledProcessError(done.exit_code, "true", stderr=done.error)


class BarePython(Contender):
    """What no command written in Python can go below."""

    group, name = "python", "python3 -I -S -c pass"

    def __init__(self, _directory: Path, _work: Path) -> None:
        self.words = [sys.executable, "-I", "-S", "-c", "pass"]

    def once(self) -> None:
        command(*self.words)


CONTENDERS: tuple[type[Any], ...] = (
    Library,
    LibraryRun,
    PyrtRun,
    PyrtVerbs,
    PyrtState,
    PyrtExec,
    RuncRun,
    RuncVerbs,
    RuncState,
    RuncExec,
    CrunRun,
    CrunVerbs,
    CrunState,
    CrunExec,
    Bubblewrap,
    Sandlock,
    BarePython,
)


def choose(groups: set[str], directory: Path, work: Path) -> tuple[dict[str, Contender], dict[str, str]]:
    """Those that run here, and why the others do not."""
    from engines import ENGINES

    ready: dict[str, Contender] = {}
    unavailable: dict[str, str] = {}
    for contender in (*CONTENDERS, *ENGINES):
        if contender.group not in groups:
            continue
        try:
            ready[contender.name] = contender(directory, work)
        except Unavailable as failure:
            unavailable[contender.name] = str(failure)
        except subprocess.CalledProcessError as failure:
            # Its own words: the launch was silent so that it could be timed.
            said = subprocess.run(failure.cmd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False).stderr
            unavailable[contender.name] = f"exit status {failure.returncode}: {(said.strip().splitlines() or ['nothing said'])[-1]}"
    return ready, unavailable


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundles", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--ballast", type=int, required=True, help="mebibytes kept resident")
    parser.add_argument("--only", required=True)
    options = parser.parse_args()
    # Written, so that every page of it is resident.
    ballast = b"\1" * (options.ballast << 20)
    ready, unavailable = choose(set(options.only.split(",")), options.bundles, options.work)
    rows = [{"name": name, "group": contender.group, "form": contender.form} for name, contender in ready.items()]
    try:
        print(json.dumps({"ready": rows, "unavailable": unavailable}), flush=True)
        for line in sys.stdin:
            contender = ready[line.strip()]
            start = time.perf_counter_ns()
            contender.once()
            print((time.perf_counter_ns() - start) / 1000, flush=True)
    finally:
        for contender in ready.values():
            contender.close()
    del ballast


if __name__ == "__main__":
    # By its name, which engines.py knows it by: its classes must be the same ones.
    import contenders

    contenders.main()
