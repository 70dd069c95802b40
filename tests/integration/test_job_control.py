"""A shell with job control in `pyrt run -t -- sh`, as somebody types in it: Ctrl-Z, fg, bg, Ctrl-C, and what hangs up.

Neighbours: test_terminal.py (the terminal itself, and the engine's form).
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.bundles import Bundle
from helpers.commands import Command
from helpers.terminals import WAIT_SECONDS, Pty
from helpers.waiting import SOON

INTERRUPT, SUSPEND = b"\x03", b"\x1a"
PROMPT = b"<prompt>"


class Shell:
    """A shell in a container whose terminal is a pty of the test's."""

    def __init__(self, command: Command, pty: Pty, *line: str | Path) -> None:
        self.pty = pty
        self.process: subprocess.Popen[str] = command.start(*line, stdin=pty.slave, stdout=pty.slave, stderr=pty.slave)
        self._seen = 0

    def type(self, keys: bytes) -> None:
        self.pty.write(keys)

    def until(self, wanted: bytes) -> bytes:
        """What was said since the last call, up to and with that."""
        while wanted not in self.pty.said[self._seen :]:
            self.pty.until_more()
        end = self.pty.said.index(wanted, self._seen) + len(wanted)
        said = self.pty.said[self._seen : end]
        self._seen = end
        return said

    def line(self, text: str) -> bytes:
        """Type a line, and return what it printed before the next prompt, without its echo."""
        self.type(text.encode() + b"\r")
        self.until(b"\r\n")
        return self.until(PROMPT).removesuffix(PROMPT)

    def job(self, text: str) -> None:
        """Start a job, and return when it runs: until then the shell's own line editor reads what is typed."""
        self.type(f"sh -c 'echo is\"\"running; exec {text}'\r".encode())
        self.until(b"isrunning\r\n")

    def leave(self) -> int:
        self.type(b"exit 6\r")
        return self.process.wait(WAIT_SECONDS)


@pytest.fixture(params=["people", "engine"])
def shell(request: pytest.FixtureRequest, command: Command, bundle: Bundle) -> Iterator[Shell]:
    """busybox ash, interactive, in both forms: as the child of an init that stays, and as PID 1 itself."""
    with Pty() as pty:
        # The prompt is put together by the shell, so that the echo of what is typed is never taken for it.
        if request.param == "people":
            line: tuple[str | Path, ...] = ("run", "--rootfs", bundle.rootfs, "-t", "-e", "PS1=<${x}prompt>", "--", "sh", "-i")
        else:
            bundle.process["terminal"] = True
            bundle.process["env"].append("PS1=<${x}prompt>")
            line = ("run", "--bundle", bundle.args("sh", "-i").path, "shell")
        made = Shell(command, pty, *line)
        made.until(PROMPT)
        yield made
        if made.process.poll() is None:
            made.process.kill()
            made.process.wait()


def test_job_control_is_on(shell: Shell) -> None:
    assert b"m" in shell.line("echo $-").strip()
    assert b"turned off" not in shell.pty.said
    assert shell.leave() == 6


def test_ctrl_z_stops_the_job_and_fg_brings_it_back(shell: Shell) -> None:
    shell.job("cat")
    shell.type(b"one\r")
    shell.until(b"one\r\none\r\n")
    shell.type(SUSPEND)
    assert b"Stopped" in shell.until(PROMPT)
    assert b"Stopped" in shell.line("jobs")
    # fg names the job when it is in front.
    shell.type(b"fg\r")
    shell.until(b'exec cat"\r\n')
    shell.type(b"two\r")
    shell.until(b"two\r\ntwo\r\n")
    shell.type(INTERRUPT)
    shell.until(PROMPT)
    assert shell.line("echo $?").strip() == str(128 + signal.SIGINT).encode()
    assert shell.leave() == 6


def test_bg_lets_a_stopped_job_go_on_behind_the_shell(shell: Shell) -> None:
    shell.job("sleep 1000")
    shell.type(SUSPEND)
    shell.until(PROMPT)
    shell.line("bg")
    assert b"Running" in shell.line("jobs")
    shell.line("kill %1; wait")
    assert shell.leave() == 6


def test_ctrl_c_ends_the_job_and_not_the_shell(shell: Shell) -> None:
    shell.job("sleep 1000")
    shell.type(INTERRUPT)
    shell.until(PROMPT)
    assert shell.line("echo $?").strip() == b"130"
    shell.type(INTERRUPT)
    shell.until(PROMPT)
    assert shell.leave() == 6


def test_a_change_of_size_reaches_the_job_in_front(shell: Shell) -> None:
    shell.pty.resize(50, 120)
    shell.process.send_signal(signal.SIGWINCH)
    while shell.line("stty size").strip() != b"50 120":
        assert shell.process.poll() is None
    assert shell.leave() == 6


def test_the_end_of_the_callers_terminal_ends_the_shell(command: Command, bundle: Bundle) -> None:
    """SIGHUP is passed on as every signal is; the shell's exit ends the container."""
    with Pty() as pty:
        shell = Shell(command, pty, "run", "--rootfs", bundle.rootfs, "-t", "-e", "PS1=<${x}prompt>", "--", "sh", "-i")
        shell.until(PROMPT)
        shell.process.send_signal(signal.SIGHUP)
        assert shell.process.wait(WAIT_SECONDS) == 128 + signal.SIGHUP


def test_more_input_than_a_terminal_holds_is_no_deadlock(command: Command, bundle: Bundle, tmp_path: Path) -> None:
    """The program waits for its output to be read while more input comes: both have to move."""
    bundle.process["terminal"] = True
    lines = b"".join(b"%d %s\n" % (number, b"x" * 60) for number in range(4000))
    typed = tmp_path / "typed"
    typed.write_bytes(lines + b"last\n")
    script = 'stty -echo -opost; while read line; do echo "$line"; [ "$line" = last ] && exit 3; done'
    with typed.open() as stdin, (tmp_path / "said").open("w") as stdout:
        process = command.start("run", "--bundle", bundle.shell(script).path, "tty", stdin=stdin, stdout=stdout, stderr=stdout)
        assert process.wait(SOON) == 3
    said = (tmp_path / "said").read_bytes()
    # What was read before the shell set the terminal up was echoed too.
    assert said.endswith(b"last\n")
    assert lines[-2000:] in said.replace(b"\r\n", b"\n")


def test_a_program_that_closes_its_terminal_is_still_waited_for(command: Command, bundle: Bundle) -> None:
    with Pty() as pty:
        bundle.process["terminal"] = True
        script = "echo closing; exec </dev/null >/dev/null 2>&1; sleep 0.3; echo said later >/dev/tty; exit 5"
        process = command.start("run", "--bundle", bundle.shell(script).path, "tty", stdin=pty.slave, stdout=pty.slave, stderr=pty.slave)
        assert b"closing" in pty.until(b"said later\r\n")
        assert process.wait(WAIT_SECONDS) == 5
