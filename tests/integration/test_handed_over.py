"""What an engine hands over beside the bundle: descriptors to keep, sockets of systemd's, and the socket that gets the init's pidfd.

Neighbours: test_terminal.py (--console-socket), test_bad_input.py (descriptors that are not open), test_process.py (the library's).
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from helpers.bundles import Bundle
from helpers.commands import PYRT, Command

OPEN = "for fd in /proc/self/fd/*; do readlink $fd; done; true"
"""A shell script that prints what is open."""


@pytest.fixture
def third(tmp_path: Path) -> Path:
    """A file that says "third"."""
    path = tmp_path / "third"
    path.write_text("third\n")
    return path


def in_shell(command: Command, line: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a line of sh, where $PYRT is the command with its state directory: only a shell puts descriptors where they are wanted."""
    environment = {**os.environ, "PYRT": f"{PYRT} --root {command.root}", **env}
    return subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False, env=environment)


def test_descriptors_are_kept_from_3_on_as_many_as_asked_for(command: Command, bundle: Bundle, third: Path) -> None:
    bundle.shell(f"cat <&3; {OPEN}")
    done = in_shell(command, f"exec $PYRT run --preserve-fds 1 --bundle {bundle.path} kept 3<{third} 4</dev/zero")
    assert done.returncode == 0, done.stderr
    first, *links = done.stdout.splitlines()
    assert first == "third"
    assert "/dev/zero" not in links


def test_without_a_word_no_descriptor_is_kept(command: Command, bundle: Bundle, third: Path) -> None:
    bundle.shell("cat <&3")
    done = in_shell(command, f"exec $PYRT run --bundle {bundle.path} kept 3<{third}")
    assert done.returncode != 0
    assert "bad file descriptor" in done.stderr.lower()


def test_the_log_is_never_taken_for_a_descriptor_to_keep(command: Command, bundle: Bundle, tmp_path: Path) -> None:
    bundle.args("true")
    done = in_shell(command, f"exec $PYRT --log {tmp_path}/log run --preserve-fds 1 --bundle {bundle.path} kept")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "pyrt: descriptor 3 is to be preserved, but is not open: bad file descriptor (EBADF)\n"


def test_sockets_of_systemd_are_passed_on_with_their_names(command: Command, bundle: Bundle, third: Path) -> None:
    bundle.shell("cat <&3; echo $LISTEN_FDS $LISTEN_PID $LISTEN_FDNAMES")
    line = f"export LISTEN_PID=$$; exec $PYRT run --bundle {bundle.path} listening 3<{third}"
    done = in_shell(command, line, LISTEN_FDS="1", LISTEN_FDNAMES="web")
    assert (done.returncode, done.stdout) == (0, "third\n1 1 web\n"), done.stderr


def test_sockets_that_systemd_meant_for_another_process_are_not(command: Command, bundle: Bundle, third: Path) -> None:
    bundle.shell("echo ${LISTEN_FDS-none}; cat <&3")
    line = f"exec $PYRT run --bundle {bundle.path} listening 3<{third}"
    done = in_shell(command, line, LISTEN_FDS="1", LISTEN_PID="1")
    assert (done.returncode != 0, done.stdout) == (True, "none\n")


def test_the_pidfd_socket_gets_a_pidfd_of_the_init(command: Command, bundle: Bundle, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        command("create", "--pidfd-socket", tmp_path / "socket", "--bundle", bundle.args("sleep", "100").path, "pidfd").ok()
        connection, _ = listener.accept()
        with connection:
            message, descriptors, _, _ = socket.recv_fds(connection, 64, 1)
    (pidfd,) = descriptors
    try:
        info = dict(line.split(":", 1) for line in Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines())
        assert (message, int(info["Pid"])) == (b"standard", command("state", "pidfd").ok().json["pid"])
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)
    command("delete", "--force", "pidfd").ok()


def test_the_pidfd_socket_of_exec_gets_a_pidfd_of_the_command(command: Command, bundle: Bundle, tmp_path: Path) -> None:
    command("run", "--detach", "--bundle", bundle.args("sleep", "100").path, "pidfd").ok()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        pid_file = tmp_path / "pid"
        command("exec", "--detach", "--pidfd-socket", tmp_path / "socket", "--pid-file", pid_file, "pidfd", "sleep", "100").ok()
        connection, _ = listener.accept()
        with connection:
            message, (pidfd,), _, _ = socket.recv_fds(connection, 64, 1)
    try:
        info = dict(line.split(":", 1) for line in Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines())
    finally:
        os.close(pidfd)
    assert (message, int(info["Pid"])) == (b"setns", int(pid_file.read_text()))
    command("delete", "--force", "pidfd").ok()
