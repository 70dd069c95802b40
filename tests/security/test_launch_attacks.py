"""Attacks on a launch: at the caller's memory and binary, at its thread, and by descriptors that it leaves open.

Each attack that looks for something has a control that finds it, so that a broken attack cannot pass. Neighbour: test_hostile_rootfs.py.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pyrt
from helpers.bundles import Bundle
from helpers.hosts import requires
from helpers.waiting import SOON, until
from pyrt import _native

SECRET = "the-callers-secret"
PATTERN = "the-callers-[s]ecret"
"""Does not find itself in the arguments of who looks for it."""
PTRACE = ("CAP_SYS_PTRACE",)
SCANNER = f"""
echo ready
while [ ! -e /tmp/stop ]; do
  for process in /proc/[0-9]*; do
    grep -q {PATTERN} $process/environ 2>/dev/null && echo "environ $process"
    grep -q {PATTERN} $process/cmdline 2>/dev/null && echo "cmdline $process"
    readlink $process/exe 2>/dev/null | grep python
  done
done
echo scanned
"""


def grant(bundle: Bundle, *capabilities: str) -> None:
    bundle.process["capabilities"] = {name: list(capabilities) for name in ("bounding", "effective", "permitted")}


def output(*args: str, rootfs: Path, **options: Any) -> str:
    done = pyrt.run(args, rootfs=rootfs, capture_output=True, text=True, **options)
    return f"{done.stdout}{done.stderr}"


# The caller's memory, environment and binary


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> str:
    """In this process's environment, as it was when pytest started: /proc/PID/environ shows only that of the exec."""
    monkeypatch.setenv("SECRET", SECRET)
    return SECRET


class Scanner:
    """A container whose only capability is CAP_SYS_PTRACE, reading what it can of every process that appears beside it."""

    def __init__(self, runtime: pyrt.Runtime, bundle: Bundle) -> None:
        self.out = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by stop
        grant(bundle, *PTRACE)
        bundle.spec["root"]["readonly"] = False
        self.rootfs = bundle.rootfs
        self.container = runtime.create("scanner", bundle=bundle.shell(SCANNER).path, stdio=(0, self.out.fileno(), self.out.fileno()))
        self.container.start()
        until(lambda: "ready" in self.said(), "it scans")

    def said(self) -> str:
        """So far. Not by the file's own position, which the container shares."""
        return os.pread(self.out.fileno(), os.fstat(self.out.fileno()).st_size, 0).decode()

    def stop(self) -> list[str]:
        """What it found."""
        (self.rootfs / "tmp/stop").touch()
        assert self.container.wait(SOON) == 0
        self.container.delete()
        (self.rootfs / "tmp/stop").unlink()
        self.out.seek(0)
        lines = self.out.read().splitlines()
        self.out.close()
        assert lines[0] == "ready"
        assert lines[-1] == "scanned"
        return lines[1:-1]


CALLER = """
import os, sys
import pyrt
rootfs, pid, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
for _ in range(count):
    done = pyrt.run(["true"], rootfs=rootfs, overlay=False, namespaces={"pid": f"/proc/{pid}/ns/pid"})
    assert done.returncode == 0, done
"""


def test_a_process_inside_sees_nothing_of_a_caller_that_launches_into_its_pid_namespace(runtime: pyrt.Runtime, bundle: Bundle) -> None:
    """A child that shares the caller's memory must never be seen from inside: with CAP_SYS_PTRACE it could be read and overwritten."""
    scanner = Scanner(runtime, bundle)
    line = [sys.executable, "-c", CALLER, str(bundle.rootfs), str(scanner.container.pid), "10"]
    assert os.spawnve(os.P_WAIT, sys.executable, line, {**os.environ, "SECRET": SECRET}) == 0
    assert scanner.stop() == []


def test_the_scanner_finds_the_secret_of_a_process_that_has_it(runtime: pyrt.Runtime, bundle: Bundle) -> None:
    """The control of the test above."""
    scanner = Scanner(runtime, bundle)
    script = f"SECRET={SECRET} sleep 1000; true"
    namespaces = {"pid": f"/proc/{scanner.container.pid}/ns/pid"}
    # In the arguments of this shell, in the environment of its sleep.
    with pyrt.Popen(["sh", "-c", script], rootfs=bundle.rootfs, overlay=False, namespaces=namespaces):
        until(lambda: all(kind in scanner.said() for kind in ("environ", "cmdline")), "it is found")
    assert {line.split()[0] for line in scanner.stop()} == {"environ", "cmdline"}


def test_nothing_of_the_caller_is_in_the_environment_of_any_process_inside(rootfs: Path, secret: str) -> None:
    script = "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline; env"
    assert secret not in output("sh", "-c", script, rootfs=rootfs, capabilities=PTRACE)


@pytest.mark.parametrize("file", ["mem", "environ", "maps", "fd/0", "exe", "root", "cwd"])
def test_pid_1_above_the_command_cannot_be_looked_into(rootfs: Path, file: str) -> None:
    """It is not dumpable, and stays so (CVE-2016-9962): root inside, with docker's capabilities, is refused."""
    reading = f"readlink /proc/1/{file}" if file in ("fd/0", "exe", "root", "cwd") else f"head -c 1 /proc/1/{file}"
    done = pyrt.run(["sh", "-c", f"{reading} 2>&1; echo status $?"], rootfs=rootfs, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "status 1", done.stdout


def test_a_process_of_its_own_can_be_looked_into(rootfs: Path) -> None:
    """The control of the test above."""
    assert output("sh", "-c", "head -c 4 /proc/self/environ; readlink /proc/$$/exe", rootfs=rootfs).endswith("/bin/busybox\n")


@pytest.mark.parametrize("file", ["environ", "maps", "fd/0", "exe", "root"])
def test_a_waiting_init_cannot_be_looked_into_from_beside_it(runtime: pyrt.Runtime, bundle: Bundle, file: str) -> None:
    """Somebody in the same pid namespace, as root, while `create` has returned and `start` has not come."""
    waiting = runtime.create("waiting", bundle=bundle.args("true").path)
    reading = f"readlink /proc/1/{file}" if "/" in file or file in ("exe", "root") else f"head -c 1 /proc/1/{file}"
    done = pyrt.run(
        ["sh", "-c", f"{reading} 2>&1; echo status $?"],
        rootfs=bundle.rootfs,
        overlay=False,
        namespaces={"pid": f"/proc/{waiting.pid}/ns/pid"},
        capture_output=True,
        text=True,
    )
    waiting.delete()
    assert done.stdout.splitlines()[-1] == "status 1", done.stdout


def test_a_waiting_init_holds_no_descriptor_of_the_caller(runtime: pyrt.Runtime, bundle: Bundle, tmp_path: Path) -> None:
    leaked = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(leaked, True)
    waiting = runtime.create("waiting", bundle=bundle.args("true").path)
    found = {entry.name: os.stat(entry.path) for entry in os.scandir(f"/proc/{waiting.pid}/fd")}
    os.close(leaked)
    waiting.delete()
    # Neither the one that leaks nor any other directory, of the host's procfs for one.
    assert [name for name, status in found.items() if stat.S_ISDIR(status.st_mode)] == []


def test_a_waiting_init_shares_no_memory_with_the_caller(runtime: pyrt.Runtime, bundle: Bundle) -> None:
    waiting = runtime.create("waiting", bundle=bundle.args("true").path)
    mapped = Path(f"/proc/{waiting.pid}/maps").read_text()
    environment = Path(f"/proc/{waiting.pid}/environ").read_bytes()
    waiting.delete()
    assert "python" not in mapped
    assert "libc" not in mapped
    assert environment == b""


@pytest.mark.parametrize("init", [True, False])
def test_the_interpreters_own_exe_is_not_the_hosts(rootfs: Path, init: bool) -> None:
    """CVE-2019-5736: the entry point is /proc/self/exe itself, which would be the runtime's binary."""
    done = pyrt.run(["/proc/self/exe", "-c", "print('python runs')"], rootfs=rootfs, init=init, capture_output=True, text=True)
    assert "python runs" not in done.stdout
    assert done.returncode != 0


def test_the_programs_that_launch_cannot_be_overwritten(rootfs: Path) -> None:
    """CVE-2019-5736: PID 1 is the init from a sealed memfd, which even CAP_SYS_PTRACE opens for reading only."""
    programs = (Path(sys.executable), Path(_native.__file__))
    before = [hashlib.sha256(path.read_bytes()).digest() for path in programs]
    script = "readlink /proc/1/exe; dd if=/dev/zero of=/proc/1/exe bs=16 count=1 conv=notrunc 2>&1; echo status $?"
    said = output("sh", "-c", script, rootfs=rootfs, capabilities=[*PTRACE, "CAP_DAC_OVERRIDE", "CAP_SYS_ADMIN"]).splitlines()
    assert said[0] == "/memfd:pyrt-init (deleted)"
    assert said[-1] == "status 1"
    assert pyrt.run(["true"], rootfs=rootfs).returncode == 0
    assert before == [hashlib.sha256(path.read_bytes()).digest() for path in programs]


@requires("cgroup2")
def test_a_frozen_cgroup_does_not_hold_the_calling_thread(rootfs: Path) -> None:
    """The child shares the caller's memory, and holds its thread, until it executes init."""
    with pyrt.Cgroup.create(f"frozen-{os.getpid()}") as above:
        above.freeze()
        with pytest.raises(pyrt.InvalidState, match="a cgroup above its own is frozen; thaw it first"):
            pyrt.run(["true"], rootfs=rootfs, cgroup=above)
        above.thaw()
        assert pyrt.run(["true"], rootfs=rootfs, cgroup=above).returncode == 0


@pytest.mark.parametrize("file", ["environ", "maps", "fd/0", "exe"])
def test_a_waiting_init_of_another_user_cannot_be_looked_into_by_that_user(runtime: pyrt.Runtime, bundle: Bundle, file: str) -> None:
    """A change of ids makes a process dumpable again, and init has changed them by now."""
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    waiting = runtime.create("waiting", bundle=bundle.args("true").path)
    reading = f"readlink /proc/1/{file}" if file in ("fd/0", "exe") else f"head -c 1 /proc/1/{file}"
    done = pyrt.run(
        ["sh", "-c", f"{reading} 2>&1; echo status $?; readlink /proc/$$/exe"],
        rootfs=bundle.rootfs,
        overlay=False,
        user=1000,
        namespaces={"pid": f"/proc/{waiting.pid}/ns/pid"},
        capture_output=True,
        text=True,
    )
    waiting.delete()
    # The last is the control: one's own can be read.
    assert done.stdout.splitlines()[-2:] == ["status 1", "/bin/busybox"], done.stdout


# Descriptors and the working directory


@pytest.fixture
def leaked() -> Iterator[list[int]]:
    """Descriptors of the host's root that are inherited unless somebody sees to it: low and high ones."""
    first = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    os.set_inheritable(first, True)
    found = [first, *(os.dup2(first, number, inheritable=True) for number in (60, 61))]
    yield found
    for descriptor in found:
        os.close(descriptor)


def test_the_working_directory_cannot_be_a_descriptor_of_the_host(runtime: pyrt.Runtime, bundle: Bundle, leaked: list[int]) -> None:
    """CVE-2024-21626."""
    for descriptor in sorted({*range(3, 16), *leaked}):
        bundle.process["cwd"] = f"/proc/self/fd/{descriptor}"
        with pytest.raises(pyrt.Error) as refused:
            runtime.create("leaky", bundle=bundle.args("true").path)
        assert refused.value.operation in ("make working directory", "change directory to", "find the program"), refused.value
        assert refused.value.path == f"/proc/self/fd/{descriptor}"
        assert runtime.list() == []


def test_nor_by_a_symbolic_link_in_the_image(runtime: pyrt.Runtime, bundle: Bundle, leaked: list[int]) -> None:
    for descriptor in sorted({*range(3, 16), *leaked}):
        link = bundle.rootfs / f"home/{descriptor}"
        link.symlink_to(f"/proc/self/fd/{descriptor}")
        bundle.process["cwd"] = f"/home/{descriptor}"
        with pytest.raises(pyrt.Error, match=r"(make working directory|change directory to) /home/"):
            runtime.create("leaky", bundle=bundle.args("true").path)
    assert runtime.list() == []


def test_the_program_cannot_be_reached_through_a_descriptor_of_the_host(runtime: pyrt.Runtime, bundle: Bundle, leaked: list[int]) -> None:
    for descriptor in leaked:
        with pytest.raises(pyrt.ExecutableError):
            runtime.create("leaky", bundle=bundle.args(f"/proc/self/fd/{descriptor}/bin/true").path)
    assert runtime.list() == []
