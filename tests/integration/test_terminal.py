"""`process.terminal`: a pty of the container's own devpts, over a console socket or relayed by `pyrt run` in the foreground."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import termios
from pathlib import Path

import pytest

from helpers import engine
from helpers.bundles import Bundle
from helpers.commands import Command
from helpers.terminals import LFLAG, Console, Pty, read_until
from helpers.waiting import SOON

INTERRUPT = b"\x03"
END_OF_INPUT = b"\x04"


@pytest.fixture
def interactive(bundle: Bundle) -> Bundle:
    bundle.process["terminal"] = True
    return bundle


def foreground(command: Command, bundle: Bundle, pty: Pty, script: str) -> subprocess.Popen[str]:
    """`pyrt run` with the pty as its three standard descriptors."""
    return command.start("run", "--bundle", bundle.shell(script).path, "tty", stdin=pty.slave, stdout=pty.slave, stderr=pty.slave)


# Over a console socket


def test_the_console_socket_gets_the_master_and_the_ptys_name(command: Command, interactive: Bundle, tmp_path: Path) -> None:
    with Console(tmp_path / "console") as console:
        interactive.shell('tty; read line; echo "<$line>"; sleep 1000')
        command("create", "--bundle", interactive.path, "--console-socket", console.path, "tty").ok()
        name, [master] = console.receive()
        assert name == b"/dev/pts/0"
        assert os.isatty(master)
        command("start", "tty").ok()
        said = read_until(master, b"/dev/pts/0\r\n")
        os.write(master, b"hello\n")
        assert b"<hello>" in read_until(master, b"<hello>", said)
        command("delete", "--force", "tty").ok()
        os.close(master)


def test_run_detached_sends_the_master_too(command: Command, interactive: Bundle, tmp_path: Path) -> None:
    with Console(tmp_path / "console") as console:
        interactive.shell("echo up; sleep 1000")
        command("run", "--detach", "--bundle", interactive.path, "--console-socket", console.path, "tty").ok()
        _, [master] = console.receive()
        assert read_until(master, b"up\r\n")
        command("delete", "--force", "tty").ok()
        os.close(master)


def test_a_console_socket_with_a_long_path_works(command: Command, interactive: Bundle, tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    here = Path.cwd()
    os.chdir(deep)
    try:
        with Console(Path("console")) as console:
            command("create", "--bundle", interactive.args("true").path, "--console-socket", deep / "console", "tty").ok()
            _, [master] = console.receive()
            os.close(master)
    finally:
        os.chdir(here)
    command("delete", "--force", "tty").ok()


def test_a_created_container_with_a_terminal_leaves_the_callers_pipes(command: Command, interactive: Bundle, tmp_path: Path) -> None:
    """containerd's shim reads what `create` says until end of file: a descriptor that stays makes `docker run -it` wait for ever."""
    with Console(tmp_path / "console") as console:
        interactive.args("sleep", "1000")
        words = ("create", "--bundle", interactive.path, "--console-socket", console.path, "tty")
        creating = command.start(*words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            assert creating.communicate(timeout=SOON)[0] == ""
            assert creating.returncode == 0
        finally:
            command("delete", "--force", "tty").ok()
            creating.communicate()
        _, [master] = console.receive()
        os.close(master)


def test_the_end_of_the_container_is_the_end_of_the_terminal(command: Command, interactive: Bundle, tmp_path: Path) -> None:
    with Console(tmp_path / "console") as console:
        command("run", "--detach", "--bundle", interactive.shell("echo bye").path, "--console-socket", console.path, "tty").ok()
        _, [master] = console.receive()
        read_until(master, b"bye\r\n")
        with pytest.raises(OSError, match="Input/output error"):
            os.read(master, 1)
        os.close(master)
    command("delete", "--force", "tty").ok()


def test_the_size_of_the_config_is_the_terminals(command: Command, interactive: Bundle, tmp_path: Path) -> None:
    interactive.process["consoleSize"] = {"height": 43, "width": 132}
    with Console(tmp_path / "console") as console:
        command("run", "--detach", "--bundle", interactive.shell("stty size").path, "--console-socket", console.path, "tty").ok()
        _, [master] = console.receive()
        assert read_until(master, b"\r\n") == b"43 132\r\n"
        os.close(master)
    command("delete", "--force", "tty").ok()


def test_the_terminal_belongs_to_the_user(command: Command, interactive: Bundle, tmp_path: Path) -> None:
    interactive.process["user"] = {"uid": 1000, "gid": 1000}
    with Console(tmp_path / "console") as console:
        script = "stat -c '%u:%g %t,%T' /dev/pts/0 /dev/console; echo writable > /dev/console"
        command("run", "--detach", "--bundle", interactive.shell(script).path, "--console-socket", console.path, "tty").ok()
        _, [master] = console.receive()
        said = read_until(master, b"writable\r\n").split(b"\r\n")
        os.close(master)
    # 136 is the major number of pts: /dev/console is the pty itself, bind mounted.
    assert said[0] == said[1] == b"1000:1000 88,0"
    command("delete", "--force", "tty").ok()


def test_it_is_the_controlling_terminal_of_a_session_of_its_own(command: Command, interactive: Bundle, tmp_path: Path) -> None:
    with Console(tmp_path / "console") as console:
        script = "cat /proc/self/stat; echo to the terminal > /dev/tty; [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo all three"
        command("run", "--detach", "--bundle", interactive.shell(script).path, "--console-socket", console.path, "tty").ok()
        _, [master] = console.receive()
        said = read_until(master, b"all three\r\n").decode().splitlines()
        os.close(master)
    session, terminal = said[0].rpartition(")")[2].split()[3:5]
    assert session == "1"
    assert int(terminal) == os.makedev(136, 0)
    assert said[1] == "to the terminal"
    command("delete", "--force", "tty").ok()


def test_a_terminal_that_nobody_would_hold_is_refused(command: Command, interactive: Bundle) -> None:
    said = engine.refused(command("create", "--bundle", interactive.args("true").path, "tty"))
    assert said == "config.json: process.terminal: true, but nobody would hold the terminal; give --console-socket"


def test_a_console_socket_without_a_terminal_is_refused(command: Command, bundle: Bundle, tmp_path: Path) -> None:
    with Console(tmp_path / "console") as console:
        result = command("create", "--bundle", bundle.args("true").path, "--console-socket", console.path, "tty")
        assert engine.refused(result).startswith("a console socket has nothing to receive; ")


def test_a_missing_console_socket_is_named(command: Command, interactive: Bundle) -> None:
    result = command("create", "--bundle", interactive.args("true").path, "--console-socket", "/no/such/socket", "tty")
    assert engine.refused(result) == "connect to socket /no/such/socket: no such file or directory (ENOENT)"


# In the foreground


def test_run_relays_output_and_returns_the_exit_status(command: Command, interactive: Bundle) -> None:
    with Pty() as pty:
        process = foreground(command, interactive, pty, "tty; exit 7")
        assert process.wait(SOON) == 7
        assert pty.until(b"\r\n") == b"/dev/pts/0\r\n"


def test_the_callers_terminal_is_raw_while_it_runs_and_as_before_when_it_ends(command: Command, interactive: Bundle) -> None:
    with Pty() as pty:
        before = termios.tcgetattr(pty.slave)
        process = foreground(command, interactive, pty, 'echo ready; read line; echo "<$line>"')
        pty.until(b"ready\r\n")
        pty.write(b"typed\r")
        # The echo is the container's terminal's, once: the outer one does none.
        assert pty.until(b"<typed>\r\n") == b"ready\r\ntyped\r\n<typed>\r\n"
        assert process.wait(SOON) == 0
        assert termios.tcgetattr(pty.slave) == before


def test_raw_mode_is_on_before_the_program_asks_for_input(command: Command, interactive: Bundle) -> None:
    with Pty() as pty:
        process = foreground(command, interactive, pty, "read line")
        while not pty.is_raw():
            assert process.poll() is None
        assert not termios.tcgetattr(pty.slave)[LFLAG] & termios.ECHO
        pty.write(b"\r")
        assert process.wait(SOON) == 0


def test_the_size_of_the_callers_terminal_is_the_containers(command: Command, interactive: Bundle) -> None:
    with Pty(rows=33, columns=101) as pty:
        process = foreground(command, interactive, pty, "read line; stty size")
        while not pty.is_raw():
            assert process.poll() is None
        pty.write(b"\r")
        assert pty.until(b"101\r\n").splitlines()[-1] == b"33 101"
        assert process.wait(SOON) == 0


def test_a_change_of_size_is_passed_on(command: Command, interactive: Bundle) -> None:
    with Pty() as pty:
        process = foreground(command, interactive, pty, "trap 'stty size; exit 3' WINCH; echo ready; while :; do sleep 0.02; done")
        pty.until(b"ready\r\n")
        pty.resize(50, 120)
        # The kernel sends it to the foreground group of a controlling terminal, which this pty is not.
        process.send_signal(signal.SIGWINCH)
        assert pty.until(b"120\r\n") == b"ready\r\n50 120\r\n"
        assert process.wait(SOON) == 3


def test_ctrl_c_goes_to_the_container_and_not_to_the_command(command: Command, interactive: Bundle) -> None:
    with Pty() as pty:
        process = foreground(command, interactive, pty, "trap 'echo interrupted; exit 3' INT; echo ready; while :; do sleep 0.02; done")
        pty.until(b"ready\r\n")
        pty.write(INTERRUPT)
        assert pty.until(b"interrupted\r\n") == b"ready\r\n^Cinterrupted\r\n"
        assert process.wait(SOON) == 3


def test_ctrl_d_ends_the_input(command: Command, interactive: Bundle) -> None:
    with Pty() as pty:
        process = foreground(command, interactive, pty, "echo ready; cat; echo ended")
        pty.until(b"ready\r\n")
        pty.write(b"line\r" + END_OF_INPUT)
        pty.until(b"ended\r\n")
        assert process.wait(SOON) == 0


def test_much_output_arrives_whole(command: Command, interactive: Bundle) -> None:
    with Pty() as pty:
        process = foreground(command, interactive, pty, "seq 1 20000; echo end")
        said = pty.until(b"end\r\n")
        assert process.wait(SOON) == 0
        assert said.split() == [str(number).encode() for number in range(1, 20001)] + [b"end"]


def test_a_signal_to_the_command_goes_to_the_container(command: Command, interactive: Bundle) -> None:
    with Pty() as pty:
        process = foreground(command, interactive, pty, "trap 'echo terminated; exit 5' TERM; echo ready; while :; do sleep 0.02; done")
        pty.until(b"ready\r\n")
        process.send_signal(signal.SIGTERM)
        pty.until(b"terminated\r\n")
        assert process.wait(SOON) == 5


def test_the_terminal_is_set_back_when_a_signal_ends_the_container(command: Command, interactive: Bundle) -> None:
    with Pty() as pty:
        before = termios.tcgetattr(pty.slave)
        process = foreground(command, interactive, pty, "echo ready; sleep 1000")
        pty.until(b"ready\r\n")
        command("kill", "tty", "KILL").ok()
        assert process.wait(SOON) == 128 + signal.SIGKILL
        assert termios.tcgetattr(pty.slave) == before


def test_the_people_form_has_a_terminal_with_tty(command: Command, rootfs: Path) -> None:
    with Pty(rows=20, columns=60) as pty:
        script = "tty; echo $$; read line; stty size; exit 4"
        line = ("run", "--rootfs", rootfs, "--tty", "--", "sh", "-c", script)
        process = command.start(*line, stdin=pty.slave, stdout=pty.slave, stderr=pty.slave)
        pty.until(b"2\r\n")
        pty.write(b"\r")
        assert pty.until(b" 60\r\n").split() == [b"/dev/pts/0", b"2", b"20", b"60"]
        assert process.wait(SOON) == 4


def test_tty_without_a_terminal_is_refused(command: Command, rootfs: Path) -> None:
    result = command("run", "--rootfs", rootfs, "--tty", "--", "true")
    assert result.status == 125
    assert "--tty: standard input is not a terminal" in result.stderr


def test_dev_console_is_a_character_device_on_the_host_side_too(command: Command, interactive: Bundle, tmp_path: Path) -> None:
    with Console(tmp_path / "console") as console:
        command("create", "--bundle", interactive.args("true").path, "--console-socket", console.path, "tty").ok()
        _, [master] = console.receive()
        pid = command("state", "tty").json["pid"]
        found = os.stat(f"/proc/{pid}/root/dev/console")
        assert stat.S_ISCHR(found.st_mode)
        assert found.st_rdev == os.makedev(136, 0)
        command("delete", "--force", "tty").ok()
        os.close(master)
