"""pyrt as a runtime of dockerd, named in its daemon.json."""

from __future__ import annotations

import os
import subprocess

import pytest

from helpers.engines import IMAGE, Docker
from helpers.hosts import requires
from helpers.terminals import Pty

pytestmark = requires("root", "busybox", "dockerd")

LOOP = 'trap "exit 3" TERM; echo started; while :; do sleep 0.1; done'


def start(docker: Docker, name: str, *options: str) -> None:
    docker.run("--detach", "--name", name, *options, IMAGE, "sh", "-c", LOOP).ok()
    docker.until("started", "logs", name)


def inspect(docker: Docker, name: str, template: str) -> str:
    return docker("inspect", "--format", template, name).ok().stdout.strip()


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("sh", "-c", "exit 7"), 7, ""),
        (("/no/such",), 127, "no such file or directory"),
        (("no-such-program",), 127, "executable file not found in $PATH"),
        (("/etc/passwd",), 126, "permission denied"),
        (("/etc",), 126, "permission denied"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_run_s_exit_status_is_the_one_that_docker_documents(docker: Docker, arguments: tuple[str, ...], status: int, words: str) -> None:
    done = docker.run("--rm", IMAGE, *arguments)
    assert done.status == status, done.stderr
    assert words in done.stderr


def test_run_with_a_terminal_ends(docker: Docker) -> None:
    with Pty() as pty:
        line = [*docker.words, "run", "--rm", "--interactive", "--tty", "--runtime", "pyrt", "--network", "none", IMAGE, "tty"]
        process = subprocess.Popen(line, stdin=pty.slave, stdout=pty.slave, stderr=pty.slave, env=docker.env)
        try:
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait()
        assert b"/dev/pts/0" in os.read(pty.master, 4096)


def test_exec_has_the_commands_output_and_status(docker: Docker) -> None:
    start(docker, "host")
    done = docker("exec", "host", "sh", "-c", "echo in; exit 5")
    assert (done.status, done.stdout) == (5, "in\n")


def test_a_read_only_root_with_a_tmpfs(docker: Docker) -> None:
    done = docker.run("--rm", "--read-only", "--tmpfs", "/tmp", IMAGE, "sh", "-c", "echo yes > /tmp/file; cat /tmp/file; touch /file")
    assert (done.status, done.stdout, done.stderr) == (1, "yes\n", "touch: /file: Read-only file system\n")


@requires("memory controller", "pids controller", "cpu controller")
def test_limits_hold_and_can_be_changed(docker: Docker) -> None:
    start(docker, "limited", "--memory", "64m", "--pids-limit", "50", "--cpus", "0.5")
    limit = ["stats", "--no-stream", "--format", "{{.MemUsage}}", "limited"]
    assert docker(*limit).ok().stdout.strip().endswith("/ 64MiB")
    docker("update", "--memory", "128m", "--memory-swap", "128m", "limited").ok()
    assert docker(*limit).ok().stdout.strip().endswith("/ 128MiB")


def test_pause_and_unpause(docker: Docker) -> None:
    start(docker, "frozen")
    docker("pause", "frozen").ok()
    assert inspect(docker, "frozen", "{{.State.Status}}") == "paused"
    docker("unpause", "frozen").ok()
    assert docker("exec", "frozen", "true").status == 0


def test_stop_lets_it_end_by_itself(docker: Docker) -> None:
    start(docker, "patient")
    docker("stop", "--time", "20", "patient").ok()
    assert inspect(docker, "patient", "{{.State.Status}} {{.State.ExitCode}}") == "exited 3"


def test_top_lists_its_processes(docker: Docker) -> None:
    start(docker, "listed")
    assert "trap" in docker("top", "listed").ok().stdout
