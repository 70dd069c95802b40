"""The verbs stats and top: tables for people, lines of JSON for programs, live until they are interrupted.

Neighbour: test_statistics.py (the numbers themselves).
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from pathlib import Path

import pytest

import pyrt
from helpers.bundles import Bundle
from helpers.commands import Command
from helpers.hosts import requires
from helpers.waiting import SOON, until

ONE_LOOK = ("--no-stream", "--interval", "50ms")


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


@requires("memory controller", "pids controller")
def test_stats_as_json_are_a_line_a_container_with_all_that_is_counted(running: pyrt.Container, command: Command) -> None:
    running.update(pyrt.Limits(memory="64M"))
    [row] = lines(command("stats", "--format", "json", *ONE_LOOK).ok().stdout)
    assert (row["id"], row["status"]) == (running.id, "running")
    assert isinstance(row["cpu_percent"], float)
    expected = running.stats().to_dict()
    assert row["memory"]["limit_bytes"] == expected["memory"]["limit_bytes"] == 64 << 20  # type: ignore[index]
    assert set(row) == {"id", "status", "cpu_percent", *expected}


@requires("memory controller", "pids controller")
def test_stats_are_a_table_of_the_containers_that_live(running: pyrt.Container, command: Command, runtime: pyrt.Runtime) -> None:
    running.update(pyrt.Limits(memory="64M", pids=10))
    ended = runtime.create(f"cgroups-ended-{os.getpid()}", bundle=running.bundle)
    ended.kill("KILL")
    ended.wait(timeout=SOON)
    header, row = command("stats", *ONE_LOOK).ok().stdout.splitlines()
    ended.delete()
    assert header.split()[:4] == ["ID", "STATUS", "CPU", "%"]
    assert row.split()[:2] == [running.id, "running"]
    assert "64 MiB" in row
    assert "1/10" in row.split()


def asleep(pid: int) -> bool:
    """Whether that is `sleep 1000`, and no longer on its way there: its processor time stays as it is (proc_pid_stat(5))."""
    try:
        words, fields = (Path(f"/proc/{pid}/{name}").read_text() for name in ("cmdline", "stat"))
    except (FileNotFoundError, ProcessLookupError):
        return False
    return words == "sleep\0001000\0" and fields.rpartition(")")[2].split()[0] == "S"


def test_stats_of_one_that_does_not_exist_say_so(command: Command) -> None:
    for verb in ("stats", "top"):
        done = command(verb, "missing", *ONE_LOOK)
        assert done.status == 1, verb
        assert done.stderr == "pyrt: container does not exist: missing\n", verb


def test_without_containers_there_is_an_empty_table(command: Command) -> None:
    assert command("stats", *ONE_LOOK).ok().stdout.startswith("ID")
    assert command("stats", "--format", "json", *ONE_LOOK).ok().stdout == ""


def test_top_shows_processes_and_the_busiest_first(runtime: pyrt.Runtime, bundle: Bundle, command: Command) -> None:
    container = runtime.create(f"cgroups-busy-{os.getpid()}", bundle=bundle.shell("sleep 1000 & while :; do :; done").path)
    container.start()
    until(lambda: any(asleep(pid) for pid in container.processes()), "the one that does nothing does so")
    rows = lines(command("top", "--format=json", "--no-stream", "--interval", "1s", container.id).ok().stdout)
    assert [row["pid"] for row in rows] == [container.pid, *(pid for pid in container.processes() if pid != container.pid)]
    assert rows[0]["cpu_percent"] > rows[1]["cpu_percent"] == 0.0  # type: ignore[operator]
    assert (rows[0]["state"], rows[1]["command"]) == ("R", "sleep 1000")
    container.delete(force=True)


def test_what_a_process_calls_itself_does_not_move_the_cursor(runtime: pyrt.Runtime, bundle: Bundle, command: Command) -> None:
    container = runtime.create(f"cgroups-name-{os.getpid()}", bundle=bundle.args("sh", "-c", "sleep 1000; :", "a\033[2Jb\nc").path)
    container.start()
    output = command("top", *ONE_LOOK).ok().stdout
    assert "\033" not in output
    assert "sh -c sleep 1000; : a?[2Jb?c\n" in output
    container.delete(force=True)


def test_the_stream_ends_with_the_containers_that_were_named(running: pyrt.Container, command: Command) -> None:
    process = command.start("stats", "--format", "json", "--interval", "50ms", running.id, stdout=subprocess.PIPE)
    assert process.stdout is not None
    looks = [json.loads(process.stdout.readline()) for _ in range(2)]
    assert [look["cpu_percent"] is None for look in looks] == [True, False], "a share needs two looks"
    running.kill("KILL")
    rest, _ = process.communicate(timeout=SOON)
    assert process.returncode == 0
    assert json.loads(rest.splitlines()[-1])["status"] == "stopped"


@pytest.mark.parametrize("verb", ["stats", "top"])
def test_on_a_terminal_it_is_drawn_anew_until_it_is_interrupted(running: pyrt.Container, command: Command, verb: str) -> None:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
    try:
        process = command.start(verb, "--interval", "50ms", stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        seen = b""
        while seen.count(running.id.encode()) < 3:
            assert select.select([master], [], [], SOON)[0], seen
            seen += os.read(master, 1 << 16)
        process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + SOON
        while select.select([master], [], [], max(deadline - time.monotonic(), 0))[0]:
            try:
                seen += os.read(master, 1 << 16)
            except OSError:  # EIO: nobody holds the other end any more
                break
        assert process.wait(SOON) == 0
    finally:
        os.close(master)
    assert seen.rindex(b"\x1b[?25h") > seen.rindex(b"\x1b[?25l"), "the cursor is shown again"
