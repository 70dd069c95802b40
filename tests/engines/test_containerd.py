"""pyrt as the runtime of containerd's runc shim, by its option BinaryName, seen through `ctr`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from helpers.engines import Containerd, states
from helpers.hosts import requires

pytestmark = requires("root", "busybox", "containerd")

Start = Callable[..., None]


@pytest.fixture
def start(containerd: Containerd, engine_rootfs: Path) -> Iterator[Start]:
    """Start a container of that name in the background; ended and deleted after the test."""
    names: list[str] = []

    def started(name: str, *options: str) -> None:
        names.append(name)
        containerd.run(engine_rootfs, name, "sleep", "1000", options=["--detach", *options]).ok()

    yield started
    for name in names:
        containerd("tasks", "delete", "--force", name)
        containerd("containers", "delete", name).ok()
    assert not states(containerd.state)


def status(containerd: Containerd, name: str) -> str:
    lines = containerd("tasks", "list").ok().stdout.splitlines()
    return next(line.split()[2] for line in lines if line.split()[0] == name)


@pytest.mark.parametrize("code", [0, 9])
def test_run_gives_output_and_exit_status(containerd: Containerd, engine_rootfs: Path, code: int) -> None:
    done = containerd.run(engine_rootfs, "short", "sh", "-c", f"echo out; exit {code}", options=["--rm"])
    assert (done.status, done.stdout) == (code, "out\n")
    assert not states(containerd.state)


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("/no/such", 'exec: "/no/such": no such file or directory'),
        ("no-such", 'exec: "no-such": executable file not found in $PATH'),
        ("/etc", 'exec: "/etc": permission denied'),
    ],
)
def test_a_failure_is_told_in_pyrts_words_and_leaves_nothing(containerd: Containerd, engine_rootfs: Path, program: str, words: str) -> None:
    done = containerd.run(engine_rootfs, "failing", program, options=["--rm"])
    assert done.status == 1
    assert f"OCI runtime create failed: {words}" in done.stderr
    assert containerd("containers", "list", "--quiet").ok().stdout == ""
    assert not states(containerd.state)


def test_exec_gives_output_and_exit_status(containerd: Containerd, start: Start) -> None:
    start("host")
    done = containerd("tasks", "exec", "--exec-id", "one", "host", "sh", "-c", "echo in; exit 4")
    assert (done.status, done.stdout) == (4, "in\n")


def test_exec_of_a_missing_program_is_told(containerd: Containerd, start: Start) -> None:
    start("host")
    done = containerd("tasks", "exec", "--exec-id", "two", "host", "no-such")
    assert done.status == 1
    assert 'exec: "no-such": executable file not found in $PATH' in done.stderr


def test_pause_and_resume(containerd: Containerd, start: Start) -> None:
    start("frozen")
    containerd("tasks", "pause", "frozen").ok()
    assert status(containerd, "frozen") == "PAUSED"
    containerd("tasks", "resume", "frozen").ok()
    assert status(containerd, "frozen") == "RUNNING"


def test_ps_names_its_processes(containerd: Containerd, start: Start) -> None:
    start("listed")
    listed = containerd("tasks", "list").ok().stdout.splitlines()
    pid = next(line.split()[1] for line in listed if line.startswith("listed "))
    assert [line.split()[0] for line in containerd("tasks", "ps", "listed").ok().stdout.splitlines()] == ["PID", pid]


@requires("memory controller", "pids controller")
def test_metrics_are_the_containers_own(containerd: Containerd, start: Start) -> None:
    start("measured", "--memory-limit", str(64 << 20))
    told = containerd("tasks", "metrics", "--format", "json", "measured").ok().stdout
    metrics = json.loads(told[told.index("{") :])
    assert metrics["pids"]["current"] == 1
    # cgroup v2 and v1 have a layout each.
    memory = metrics["memory"]
    assert (memory["usage_limit"] if "usage_limit" in memory else memory["usage"]["limit"]) == 64 << 20


def test_kill_ends_it_and_delete_tells_the_status(containerd: Containerd, start: Start) -> None:
    start("killed")
    containerd("tasks", "kill", "--signal", "KILL", "killed").ok()
    assert "STOPPED" in containerd.until("STOPPED", "tasks", "list")
    done = containerd("tasks", "delete", "killed").ok()
    assert "exit code 137" in done.stderr


def test_kill_all_ends_every_process(containerd: Containerd, start: Start) -> None:
    start("many")
    containerd("tasks", "exec", "--detach", "--exec-id", "other", "many", "sleep", "1000").ok()
    containerd("tasks", "kill", "--all", "--signal", "KILL", "many").ok()
    assert "STOPPED" in containerd.until("STOPPED", "tasks", "list")
