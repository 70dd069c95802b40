"""pyrt as podman's runtime, through conmon: what a person at podman's command line sees."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from helpers.commands import PYRT
from helpers.engines import IMAGE, Podman, states
from helpers.hosts import requires

pytestmark = requires("root", "busybox", "podman")

LOOP = 'trap "exit 3" TERM; echo started; while :; do sleep 0.1; done'


def start(podman: Podman, name: str, *options: str, script: str = LOOP) -> None:
    podman.run("--detach", "--name", name, *options, IMAGE, "sh", "-c", script).ok()
    podman.until("started", "logs", name)


def inspect(podman: Podman, name: str, template: str) -> str:
    return podman("inspect", "--format", template, name).ok().stdout.strip()


def test_the_runtime_is_this_pyrt(podman: Podman) -> None:
    assert podman("info", "--format", "{{.Host.OCIRuntime.Name}} {{.Host.OCIRuntime.Path}}").ok().stdout.split() == ["pyrt", str(PYRT)]


# run


def test_run_prints_what_the_command_prints(podman: Podman) -> None:
    done = podman.run("--rm", IMAGE, "sh", "-c", "echo out; echo err >&2")
    assert (done.status, done.stdout, done.stderr) == (0, "out\n", "err\n")


@pytest.mark.parametrize(
    ("command", "status", "words"),
    [
        ("sh -c 'exit 7'", 7, ""),
        ("/no/such", 127, "no such file or directory"),
        ("no-such-program", 127, "executable file not found in $PATH"),
        ("/etc/passwd", 126, "permission denied"),
        ("/etc", 126, "permission denied"),
    ],
)
def test_run_s_exit_status_is_the_one_that_podman_documents(podman: Podman, command: str, status: int, words: str) -> None:
    arguments = ["sh", "-c", "exit 7"] if "exit" in command else [command]
    done = podman.run("--rm", IMAGE, *arguments)
    assert done.status == status, done.stderr
    assert words in done.stderr


def test_a_signal_that_ends_the_command_is_its_exit_status(podman: Podman) -> None:
    assert podman.run("--rm", IMAGE, "sh", "-c", "sh -c 'kill -KILL $$'; exit $?").status == 128 + signal.SIGKILL


def test_rm_leaves_no_container_and_no_state(podman: Podman, podman_directory: Path) -> None:
    podman.run("--rm", IMAGE, "true").ok()
    assert podman("ps", "--all", "--quiet").ok().stdout == ""
    assert not states(podman_directory)


def test_a_terminal_is_the_containers(podman: Podman) -> None:
    assert podman.run("--rm", "--tty", IMAGE, "tty").ok().stdout.strip() == "/dev/pts/0"


def test_a_user_and_a_directory_are_set(podman: Podman) -> None:
    script = "id -u; id -g; pwd; echo $A"
    done = podman.run("--rm", "--user", "1000:2000", "--workdir", "/tmp", "--env", "A=b", IMAGE, "sh", "-c", script).ok()
    assert done.stdout.split() == ["1000", "2000", "/tmp", "b"]


def test_a_read_only_root_cannot_be_written(podman: Podman) -> None:
    done = podman.run("--rm", "--read-only", IMAGE, "sh", "-c", "echo yes > /tmp/file; cat /tmp/file; touch /file")
    assert (done.status, done.stdout, done.stderr) == (1, "yes\n", "touch: /file: Read-only file system\n")


def test_a_tmpfs_starts_with_what_the_image_has_there(podman: Podman) -> None:
    done = podman.run("--rm", "--read-only", "--tmpfs", "/etc", IMAGE, "sh", "-c", "grep -c root: /etc/passwd; touch /etc/file").ok()
    assert done.stdout == "1\n"


def test_volumes_are_shared_with_the_host(podman: Podman, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("from the host\n")
    script = "cat /data/in; echo from inside > /data/out; touch /fixed/file"
    done = podman.run("--rm", "--volume", f"{tmp_path}:/data", "--volume", f"{tmp_path}:/fixed:ro", IMAGE, "sh", "-c", script)
    assert (done.status, done.stdout, done.stderr) == (1, "from the host\n", "touch: /fixed/file: Read-only file system\n")
    assert (tmp_path / "out").read_text() == "from inside\n"


def test_a_user_namespace_maps_roots_ids(podman: Podman) -> None:
    maps = ["--uidmap", "0:100000:3000", "--gidmap", "0:100000:3000"]
    assert podman.run("--rm", *maps, IMAGE, "sh", "-c", "cat /proc/self/uid_map; id -u").ok().stdout.split() == ["0", "100000", "3000", "0"]


def test_two_containers_of_a_pod_share_its_ipc_namespace(podman: Podman) -> None:
    start(podman, "first", "--ipc", "shareable")
    shared = podman("exec", "first", "readlink", "/proc/self/ns/ipc").ok().stdout
    assert podman.run("--rm", "--ipc", "container:first", IMAGE, "readlink", "/proc/self/ns/ipc").ok().stdout == shared
    assert shared.strip() != os.readlink("/proc/self/ns/ipc")


def test_without_cgroups_it_stays_in_podmans(podman: Podman) -> None:
    done = podman.run("--rm", "--cgroups", "disabled", IMAGE, "cat", "/proc/self/cgroup").ok()
    assert "libpod" not in done.stdout


# Limits


@requires("memory controller")
def test_memory_that_is_over_the_limit_ends_it(podman: Podman) -> None:
    done = podman.run("--name", "hungry", "--memory", "16m", IMAGE, "sh", "-c", "x=a; while :; do x=$x$x; done")
    assert done.status == 128 + signal.SIGKILL
    assert inspect(podman, "hungry", "{{.HostConfig.Memory}} {{.State.Status}}") == f"{16 << 20} exited"


@requires("pids controller")
def test_the_limit_of_processes_holds(podman: Podman) -> None:
    script = "for i in 1 2 3 4 5 6 7 8 9; do sleep 30 & done; wait"
    done = podman.run("--rm", "--pids-limit", "5", IMAGE, "sh", "-c", script)
    assert "can't fork: Resource temporarily unavailable" in done.stderr


@requires("memory controller", "pids controller")
def test_stats_are_the_containers_own(podman: Podman) -> None:
    start(podman, "measured", "--memory", "64m", "--pids-limit", "50")
    [stats] = json.loads(podman("stats", "--no-stream", "--format", "json", "measured").ok().stdout)
    assert stats["name"] == "measured"
    assert stats["mem_usage"].endswith("/ 67.11MB")
    assert int(stats["pids"]) in (1, 2)


# A container that runs


def test_stop_lets_it_end_by_itself(podman: Podman) -> None:
    start(podman, "patient")
    podman("stop", "--time", "20", "patient").ok()
    assert inspect(podman, "patient", "{{.State.Status}} {{.State.ExitCode}}") == "exited 3"


def test_stop_kills_what_does_not_end(podman: Podman) -> None:
    start(podman, "stubborn", script='trap "" TERM; echo started; while :; do sleep 0.1; done')
    podman("stop", "--time", "1", "stubborn").ok()
    assert inspect(podman, "stubborn", "{{.State.Status}} {{.State.ExitCode}}") == "exited 137"


def test_kill_sends_the_signal(podman: Podman) -> None:
    start(podman, "told", script='trap "echo got it" USR1; echo started; while :; do sleep 0.1; done')
    podman("kill", "--signal", "USR1", "told").ok()
    assert podman.until("got it", "logs", "told") == "started\ngot it\n"


def test_pause_freezes_and_unpause_lets_go_on(podman: Podman) -> None:
    start(podman, "frozen")
    podman("pause", "frozen").ok()
    assert inspect(podman, "frozen", "{{.State.Status}}") == "paused"
    pid = inspect(podman, "frozen", "{{.State.Pid}}")
    podman("unpause", "frozen").ok()
    assert inspect(podman, "frozen", "{{.State.Status}} {{.State.Pid}}") == f"running {pid}"
    assert podman("exec", "frozen", "true").status == 0


def test_top_lists_its_processes(podman: Podman) -> None:
    start(podman, "listed", script="sleep 1000 & echo started; wait")
    assert "sleep 1000" in podman("top", "listed", "pid", "args").ok().stdout


# exec


def test_exec_runs_beside_it(podman: Podman) -> None:
    start(podman, "host")
    done = podman("exec", "--env", "A=b", "--workdir", "/tmp", "--user", "1000", "host", "sh", "-c", "echo $A $PWD $(id -u); exit 5")
    assert (done.status, done.stdout) == (5, "b /tmp 1000\n")


@pytest.mark.parametrize(("program", "status"), [("no-such-program", 127), ("/no/such", 127), ("/etc", 126), ("/etc/passwd", 126)])
def test_exec_s_exit_status_is_the_one_that_podman_documents(podman: Podman, program: str, status: int) -> None:
    start(podman, "host")
    assert podman("exec", "host", program).status == status


def test_exec_with_a_terminal(podman: Podman) -> None:
    start(podman, "host")
    assert podman("exec", "--tty", "host", "sh", "-c", "tty; exit 4").status == 4


def test_exec_detached_goes_on_by_itself(podman: Podman) -> None:
    start(podman, "host")
    podman("exec", "--detach", "host", "sh", "-c", "echo done > /tmp/it").ok()
    assert podman.until("done", "exec", "host", "cat", "/tmp/it")


def test_exec_into_an_ended_container_is_refused(podman: Podman) -> None:
    podman.run("--name", "ended", IMAGE, "true").ok()
    done = podman("exec", "ended", "true")
    assert done.status == 255
    assert "can only create exec sessions on running containers" in done.stderr


def test_it_can_be_started_again(podman: Podman) -> None:
    podman.run("--name", "again", IMAGE, "sh", "-c", "echo once; exit 2")
    assert podman("start", "--attach", "again").status == 2
    assert podman("logs", "again").ok().stdout == "once\nonce\n"
