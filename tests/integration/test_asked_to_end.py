"""A foreground command that is asked to end (Ctrl-C, SIGTERM, SIGHUP) before its container runs, or while it only watches.

Nobody can be told of the signal then: the command ends by itself, with 128 + n, and leaves nothing. Neighbours: test_waits.py has the
library's waits, test_terminal.py and test_job_control.py signals that the container gets.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import pyrt
from helpers import callers
from helpers.bundles import Bundle
from helpers.commands import Command
from helpers.terminals import Pty
from helpers.waiting import SOON, until

ID = f"asked-{os.getpid()}"
ASKING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """The command, which is killed where the test fails before its end."""
    with process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("asked", ASKING)
def test_exec_into_a_paused_container_ends_and_the_container_stays_as_it_was(
    command: Command, running: pyrt.Container, asked: signal.Signals
) -> None:
    running.pause()
    before = running.processes()
    with ended(command.start("exec", "--ignore-paused", running.id, "sleep", "1000")) as waiting:
        until(lambda: len(running.processes()) == 2, "the command is in the container")
        waiting.send_signal(asked)
        assert waiting.wait(SOON) == 128 + asked
    assert running.status == "paused"
    until(lambda: running.processes() == before, "what was to become the command is gone")
    running.resume()
    assert running.exec(["true"]).returncode == 0


@pytest.mark.parametrize("stage", ["createRuntime", "createContainer", "startContainer"])
def test_run_with_a_hook_that_hangs_ends_and_leaves_nothing(command: Command, bundle: Bundle, tmp_path: Path, stage: str) -> None:
    marker = callers.new_marker()
    bundle.spec["hooks"] = {stage: [{"path": "/bin/sh", "args": ["sh", "-c", "kill -STOP $$; true", marker]}]}
    bundle.write()
    with ended(command.start("run", "--bundle", bundle.path, ID)) as starting:
        until(lambda: bool(callers.marked(marker)), "the hook runs")
        starting.send_signal(signal.SIGTERM)
        assert starting.wait(SOON) == 128 + signal.SIGTERM
    until(lambda: not callers.marked(marker), "the hook ends")
    assert command("list", "--quiet").stdout == ""


@pytest.mark.parametrize(("asked", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, 128 + signal.SIGTERM)])
@pytest.mark.parametrize("verb", ["stats", "top"])
def test_what_watches_gives_the_terminal_back(command: Command, running: pyrt.Container, verb: str, asked: int, status: int) -> None:
    with (
        Pty(columns=130) as terminal,
        ended(command.start(verb, running.id, stdin=terminal.slave, stdout=terminal.slave, stderr=terminal.slave)) as watching,
    ):
        terminal.until(running.id.encode())
        watching.send_signal(asked)
        # A pty holds little, and the command must be able to write until it ends.
        terminal.until(b"\x1b[?1049l")
        terminal.until(b"\x1b[?25h")
        assert watching.wait(SOON) == status
