"""`pyrt exec`: the flags that engines and people give it, each by what the command inside then is.

Neighbours: test_exec.py (Container.exec, and the command's errors), test_terminal.py (--tty), test_labels.py (--apparmor, --process-label).
"""

from __future__ import annotations

import array
import json
import os
import select
import signal
import socket
import subprocess
from pathlib import Path

import pytest

import pyrt
from helpers.commands import PYRT, TIMEOUT, Command
from helpers.waiting import until


@pytest.mark.parametrize(
    ("flags", "script", "said"),
    [
        (["--user", "7:8"], "echo $(id -u) $(id -g)", "7 8"),
        (["-u", "7"], "id -u", "7"),
        (["--additional-gids", "11", "-g", "12,13"], "id -G", "0 11 12 13"),
        (["--cwd", "/tmp"], "pwd", "/tmp"),
        (["--env", "A=1", "-e", "B=2=3"], "echo $A $B", "1 2=3"),
        (["--no-new-privs"], "grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_flag_changes_what_the_command_is(command: Command, running: pyrt.Container, flags: list[str], script: str, said: str) -> None:
    assert command("exec", *flags, running.id, "sh", "-c", script).ok().stdout == f"{said}\n"


def test_a_capability_is_added_to_those_of_the_container(command: Command, running: pyrt.Container) -> None:
    def effective(*flags: str) -> int:
        line = command("exec", *flags, running.id, "grep", "CapEff", "/proc/self/status").ok().stdout
        return int(line.split()[1], 16)

    cap_sys_ptrace = 1 << 19
    assert not effective() & cap_sys_ptrace
    assert effective("--cap", "CAP_SYS_PTRACE") == effective() | cap_sys_ptrace


def test_a_whole_process_is_taken_from_a_file(command: Command, running: pyrt.Container, tmp_path: Path) -> None:
    process = {"args": ["sh", "-c", "echo $A; pwd; exit 3"], "cwd": "/tmp", "env": ["A=1", "PATH=/bin"], "user": {"uid": 0, "gid": 0}}
    (tmp_path / "process.json").write_text(json.dumps(process))
    done = command("exec", "-p", tmp_path / "process.json", running.id)
    assert (done.status, done.stdout) == (3, "1\n/tmp\n")


def test_descriptors_are_preserved_from_3_on(command: Command, running: pyrt.Container, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("handed over")
    # As an engine has it: the descriptor is 3 in the process that becomes pyrt.
    script = f'exec 3< {tmp_path}/data; exec "$@"'
    line = [str(PYRT), "--root", str(command.root), "exec", "--preserve-fds", "1", running.id, "cat", "/proc/self/fd/3"]
    done = subprocess.run(["sh", "-c", script, "sh", *line], capture_output=True, text=True, check=False, timeout=TIMEOUT)
    assert (done.returncode, done.stdout) == (0, "handed over")


def test_the_pidfd_socket_gets_the_command_s_pidfd(command: Command, running: pyrt.Container, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen(1)
        listener.settimeout(TIMEOUT)
        words = ("exec", "--detach", "--pid-file", tmp_path / "pid", "--pidfd-socket", tmp_path / "socket", running.id, "sleep", "1000")
        assert command.start(*words).wait(TIMEOUT) == 0
        connection, _ = listener.accept()
        with connection:
            fds = array.array("i")
            said, [(_, _, rights)], _, _ = connection.recvmsg(64, socket.CMSG_SPACE(fds.itemsize))
            fds.frombytes(rights)
    assert said == b"setns"
    pid = int((tmp_path / "pid").read_text())
    assert f"Pid:\t{pid}\n" in Path(f"/proc/self/fdinfo/{fds[0]}").read_text()
    os.kill(pid, signal.SIGKILL)
    assert select.select([fds[0]], [], [], TIMEOUT)[0], "a pidfd is readable at the end of its process"
    os.close(fds[0])


def test_a_command_for_a_paused_container_waits_for_its_resumption(command: Command, running: pyrt.Container) -> None:
    running.pause()
    waiting = command.start("exec", "--ignore-paused", running.id, "sh", "-c", "exit 5")
    until(lambda: len(running.processes()) == 2, "the command is in the container")
    assert waiting.poll() is None
    running.resume()
    assert waiting.wait(TIMEOUT) == 5
