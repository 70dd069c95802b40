"""Nothing stays: after a failure, after SIGKILL at any step, after many launches, and after the end of a caller that must not be outlived.

`nothing_left` watches every test of this folder; here is what it cannot see: state, cgroups by name, growth, and processes by a marker.
Neighbours: test_launch_from_threads.py, test_lifecycle.py.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import pyrt
from helpers import callers, cgroups
from helpers.bundles import Bundle
from helpers.commands import PYRT, Command
from helpers.leftovers import mounts_about
from helpers.waiting import SOON, runs, until

SEED = 20261125
KILLS = 20
"""SIGKILLs for each verb."""
FIRST, LAST = 0.4, 1.1
"""When a verb is killed, in parts of the time that it takes: before the first, Python starts."""
LAUNCHES = 300
RSS_GROWTH = 4 << 20
"""Bytes that the allocator of a caller may keep after LAUNCHES; a leak of one descriptor table entry a launch would show elsewhere."""
PSS_LIMIT = 1 << 20
"""Bytes that the init of a created container may take."""


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def smaps_pss(pid: int) -> int:
    """Bytes: shared pages count by the part that is this process's (proc_pid_smaps(5))."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def check_gone(command: Command, id: str, marker: str) -> None:
    """No state, no cgroup of a container of that id (a shell pattern), no process with the marker."""
    assert not command.root.exists() or list(command.root.iterdir()) == []
    assert cgroups.matching(f"pyrt-{id}") == []
    assert callers.marked(marker) == []


# Failures


FAILURES = {
    "mount nosuchfs on /mnt": lambda bundle: bundle.mount("/mnt", "nosuchfs"),
    "bind mount /no/such/source": lambda bundle: bundle.mount("/mnt", "bind", "/no/such/source", ["bind"]),
    "make device /proc/x": lambda bundle: bundle.linux.update(devices=[{"path": "/proc/x", "type": "c", "major": 1, "minor": 3}]),
    "/missing": lambda bundle: bundle.spec["root"].update(path="missing"),
    "no-such-program": lambda bundle: bundle.process.update(args=["no-such-program"]),
    "linux.resources.memory.limit": lambda bundle: bundle.linux.update(resources={"memory": {"limit": 4096}}),
    "cpuset.cpus": lambda bundle: bundle.linux.update(resources={"cpu": {"cpus": "4095"}}),
    "createRuntime hook 0": lambda bundle: bundle.spec.update(hooks={"createRuntime": [{"path": "/bin/false"}]}),
    "createContainer hook 0": lambda bundle: bundle.spec.update(hooks={"createContainer": [{"path": "/bin/false"}]}),
    "net/ipv4/no_such_key": lambda bundle: bundle.linux.update(sysctl={"net.ipv4.no_such_key": "1"}),
    "open namespace /no/such/ns": lambda bundle: bundle.linux["namespaces"].append({"type": "time", "path": "/no/such/ns"}),
}
"""What fails, in words of the error, and the edit of a bundle that has it fail."""


@pytest.mark.parametrize("words", FAILURES)
def test_a_create_that_fails_leaves_nothing(runtime: pyrt.Runtime, command: Command, bundle: Bundle, words: str) -> None:
    FAILURES[words](bundle)
    bundle.write()
    before = descriptors()
    with pytest.raises(pyrt.Error, match=words):
        runtime.create("failed", bundle=bundle.path)
    assert descriptors() == before
    check_gone(command, "failed", "no marker")
    assert command("create", "--bundle", bundle.path, "failed").status == 1
    check_gone(command, "failed", "no marker")


def test_a_start_that_fails_leaves_a_container_that_can_be_deleted(command: Command, bundle: Bundle) -> None:
    bundle.spec["hooks"] = {"startContainer": [{"path": "/bin/false"}]}
    command("create", "--bundle", bundle.args("sleep", "100").path, "unstarted").ok()
    done = command("start", "unstarted")
    assert done.status == 1
    assert "startContainer" in done.stderr
    until(lambda: command("state", "unstarted").ok().json["status"] == "stopped", "the init has ended")
    command("delete", "unstarted").ok()
    check_gone(command, "unstarted", "no marker")


# SIGKILL at each step


def kill_after(process: subprocess.Popen[str], seconds: float) -> None:
    time.sleep(seconds)
    process.kill()
    process.wait(SOON)


def delays(command: Command, verb: str, *words: str | os.PathLike[str], kills: int = KILLS) -> list[float]:
    """Seconds, half of them stepped, half at random (the same in each run), over the time that the verb takes here."""
    start = time.monotonic()
    command(verb, *words).ok()
    took = time.monotonic() - start
    chance = random.Random(f"{SEED} {verb}")
    parts = [FIRST + (LAST - FIRST) * step / (kills // 2) for step in range(kills // 2)]
    return [took * part for part in (*parts, *(chance.uniform(FIRST, LAST) for _ in range(kills // 2)))]


@pytest.mark.parametrize("verb", ["create", "run"])
def test_a_verb_that_makes_a_container_can_be_killed_at_any_step(command: Command, bundle: Bundle, verb: str) -> None:
    marker = callers.new_marker()
    bundle.args("sh", "-c", "sleep 100; true", marker)
    mounts = mounts_about(bundle.path.parent)
    spread = delays(command, "create", "--bundle", bundle.path, "measured")
    command("delete", "--force", "measured").ok()
    for number, delay in enumerate(spread):
        name = f"{verb}-{number}"
        kill_after(command.start(verb, "--bundle", bundle.path, name), delay)
        command("delete", "--force", name).ok()
        check_gone(command, name, marker)
    assert mounts_about(bundle.path.parent) == mounts


def test_start_can_be_killed_at_any_step(command: Command, bundle: Bundle) -> None:
    marker = callers.new_marker()
    bundle.args("sh", "-c", "sleep 100; true", marker)
    command("create", "--bundle", bundle.path, "measured").ok()
    spread = delays(command, "start", "measured", kills=KILLS // 2)
    command("delete", "--force", "measured").ok()
    for number, delay in enumerate(spread):
        name = f"start-{number}"
        command("create", "--bundle", bundle.path, name).ok()
        kill_after(command.start("start", name), delay)
        assert command("state", name).ok().json["status"] in ("created", "running", "stopped")
        command("delete", "--force", name).ok()
        check_gone(command, name, marker)


def test_delete_can_be_killed_at_any_step(command: Command, bundle: Bundle) -> None:
    marker = callers.new_marker()
    bundle.args("sh", "-c", "sleep 100; true", marker)
    command("run", "--detach", "--bundle", bundle.path, "measured").ok()
    for number, delay in enumerate(delays(command, "delete", "--force", "measured", kills=KILLS // 2)):
        name = f"delete-{number}"
        command("run", "--detach", "--bundle", bundle.path, name).ok()
        kill_after(command.start("delete", "--force", name), delay)
        command("delete", "--force", name).ok()
        check_gone(command, name, marker)


def test_a_verb_that_was_killed_does_not_block_the_id(command: Command, bundle: Bundle) -> None:
    bundle.args("true")
    spread = delays(command, "create", "--bundle", bundle.path, "again", kills=6)
    command("delete", "again").ok()
    for delay in spread:
        kill_after(command.start("create", "--bundle", bundle.path, "again"), delay)
        command("delete", "--force", "again").ok()
        command("run", "--bundle", bundle.path, "again").ok()


LIVES = """
import itertools
runtime = pyrt.Runtime(root=sys.argv[1])
print("living", flush=True)
for number in itertools.count():
    container = runtime.create(f"life-{number}", bundle=sys.argv[2])
    container.start()
    container.delete(force=True)
"""


def test_a_caller_that_is_killed_amid_many_lives_leaves_what_delete_force_removes(command: Command, bundle: Bundle) -> None:
    # Without the start of an interpreter most kills come between the steps of a launch.
    marker = callers.new_marker()
    bundle.args("sh", "-c", "sleep 100; true", marker)
    chance = random.Random(f"{SEED} lives")
    for _ in range(KILLS):
        with callers.start(LIVES, marker, command.root, bundle.path) as caller:
            assert caller.stdout is not None
            assert caller.stdout.readline() == "living\n"
            kill_after(caller, chance.uniform(0, 0.04))
        for entry in list(command.root.iterdir()) if command.root.exists() else []:
            command("delete", "--force", entry.name).ok()
        check_gone(command, "life-*", marker)


# The caller's end


RUN = """
print("calling", flush=True)
pyrt.run(["sh", "-c", "echo started; sleep 100; true", marker], rootfs=sys.argv[1], init=sys.argv[2] == "init")
"""


@pytest.mark.parametrize("shape", ["init", "no-init"])
def test_sigkill_of_the_caller_ends_the_library_s_containers(rootfs: Path, shape: str) -> None:
    marker = callers.new_marker()
    with callers.start(RUN, marker, rootfs, shape) as caller:
        assert caller.stdout is not None
        assert [caller.stdout.readline(), caller.stdout.readline()] == ["calling\n", "started\n"]
        assert callers.marked(marker)
        caller.kill()
        until(lambda: not callers.marked(marker), "the container ends")
    until(lambda: not left_cgroups(caller.pid), "its cgroup is removed")


def test_sigkill_of_the_caller_at_any_step_ends_the_library_s_containers(rootfs: Path) -> None:
    marker = callers.new_marker()
    chance = random.Random(f"{SEED} library")
    for _ in range(8):
        with callers.start(RUN, marker, rootfs, "init") as caller:
            assert caller.stdout is not None
            assert caller.stdout.readline() == "calling\n"
            kill_after(caller, chance.uniform(0, 0.08))
        until(lambda: not callers.marked(marker), "the container ends")
        until(lambda pid=caller.pid: not left_cgroups(pid), "its cgroup is removed")  # type: ignore[misc]


def left_cgroups(pid: int) -> list[Path]:
    """Cgroups of the containers that the library made for this process: their names begin so."""
    return cgroups.matching(f"pyrt-run-{pid}-*")


def test_sigkill_of_the_people_s_form_ends_its_container(rootfs: Path) -> None:
    marker = callers.new_marker()
    line = [str(PYRT), "run", "--rootfs", str(rootfs), "--", "sh", "-c", "echo started; sleep 100; true", marker]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout is not None
        assert command.stdout.readline() == "started\n"
        command.kill()
        until(lambda: [pid for pid in callers.marked(marker) if pid != command.pid] == [], "the container ends")


def test_an_interrupt_ends_the_container_and_leaves_nothing(rootfs: Path) -> None:
    marker = callers.new_marker()
    script = "try:\n    " + RUN.strip().replace("\n", "\n    ") + "\nexcept KeyboardInterrupt:\n    print('interrupted', flush=True)\n"
    with callers.start(script, marker, rootfs, "init") as caller:
        assert caller.stdout is not None
        assert [caller.stdout.readline(), caller.stdout.readline()] == ["calling\n", "started\n"]
        caller.send_signal(signal.SIGINT)
        assert caller.stdout.readline() == "interrupted\n"
        assert caller.wait(SOON) == 0
    assert callers.marked(marker) == []
    assert left_cgroups(caller.pid) == []


def test_a_timeout_ends_everything_inside(rootfs: Path) -> None:
    marker = callers.new_marker()
    script = "(trap '' TERM; sh -c 'sleep 100; true' $0) & sleep 100; true"
    with pytest.raises(pyrt.ContainerTimeout) as failure:
        pyrt.run(["sh", "-c", script, marker], rootfs=rootfs, timeout=0.2)
    assert failure.value.timeout == 0.2
    assert callers.marked(marker) == []


def test_what_the_command_leaves_behind_inside_ends_with_it(rootfs: Path) -> None:
    marker = callers.new_marker()
    script = "setsid sh -c 'sleep 100; true' $0 >/dev/null 2>&1 & echo done"
    done = pyrt.run(["sh", "-c", script, marker], rootfs=rootfs, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert callers.marked(marker) == []


# Growth


def test_many_launches_of_one_process_leave_no_trace_in_it(rootfs: Path) -> None:
    for _ in range(20):
        pyrt.run(["true"], rootfs=rootfs)
    before, size = descriptors(), resident()
    for _ in range(LAUNCHES):
        assert pyrt.run(["true"], rootfs=rootfs).returncode == 0
    assert descriptors() == before
    assert resident() - size < RSS_GROWTH
    assert left_cgroups(os.getpid()) == []


def test_many_failures_of_one_process_leave_no_trace_in_it(rootfs: Path) -> None:
    def fail() -> None:
        with pytest.raises(FileNotFoundError):
            pyrt.run(["no-such-program"], rootfs=rootfs)

    for _ in range(20):
        fail()
    before, size = descriptors(), resident()
    for _ in range(LAUNCHES // 3):
        fail()
    assert descriptors() == before
    assert resident() - size < RSS_GROWTH
    assert left_cgroups(os.getpid()) == []


def test_the_waiting_init_takes_less_than_a_mebibyte(command: Command, bundle: Bundle) -> None:
    command("create", "--bundle", bundle.args("sleep", "100").path, "small").ok()
    pid = command("state", "small").ok().json["pid"]
    assert runs(pid)
    assert smaps_pss(pid) < PSS_LIMIT


def test_importing_pyrt_opens_nothing_and_starts_no_thread() -> None:
    script = "import os; before = os.listdir('/proc/self/fd'), os.listdir('/proc/self/task'); import pyrt; pyrt.run; pyrt.Runtime;"
    check = "assert (os.listdir('/proc/self/fd'), os.listdir('/proc/self/task')) == before"
    subprocess.run([sys.executable, "-c", f"{script} {check}"], check=True)
