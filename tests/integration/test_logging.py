"""What pyrt says to logging, and that it says and imports nothing where nobody listens."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest

import pyrt
from helpers.bundles import Bundle
from helpers.waiting import SOON


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, timeout=60, check=True
    )


def test_a_run_says_what_was_launched_and_how_it_ended(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="pyrt")
    pyrt.run(["sh", "-c", "exit 7"])
    said = [record.getMessage() for record in caplog.records if record.name == "pyrt"]
    assert [line.split()[0] for line in said] == ["launched", "process", "sh:"]
    assert said[-1] == "sh: return code 7, cause EXITED"


def test_what_cannot_be_followed_is_a_warning(caplog: pytest.LogCaptureFixture, bundle: Bundle) -> None:
    bundle.spec["process"]["capabilities"]["bounding"].append("CAP_OF_TOMORROW")
    bundle.args("true")
    pyrt.run(bundle=bundle.path)
    assert any("CAP_OF_TOMORROW" in record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)


def test_the_transitions_of_a_container_are_said(caplog: pytest.LogCaptureFixture, runtime: pyrt.Runtime, bundle: Bundle) -> None:
    caplog.set_level(logging.DEBUG, logger="pyrt")
    name = f"logged-{os.getpid()}"
    container = runtime.create(name, bundle=bundle.args("sleep", "1000").path)
    container.start()
    container.kill("KILL")
    container.wait(timeout=SOON)
    container.delete()
    said = [record.getMessage() for record in caplog.records if record.name == "pyrt"]
    assert said == [f"container {name}: {what}" for what in ("created", "started", "sent signal KILL", "deleted")]


def test_nothing_is_imported_where_nobody_listens() -> None:
    code = "import sys, pyrt; pyrt.run(['true']); print('logging' in sys.modules, 'pyrt.log' in sys.modules)"
    assert python(code).stdout == "False True\n"


def test_a_program_that_configured_nothing_is_not_written_to() -> None:
    code = "import logging, pyrt; pyrt.run(['true'], mounts=['type=tmpfs,dst=/mnt'])"
    done = python(code)
    assert (done.stdout, done.stderr) == ("", "")


def test_the_environment_asks_for_it() -> None:
    done = python("import pyrt; pyrt.run(['true'])", PYRT_LOG="debug")
    lines = done.stderr.splitlines()
    assert all(" pyrt DEBUG: " in line for line in lines)
    assert lines[-1].endswith("pyrt DEBUG: true: return code 0, cause EXITED")


def test_a_level_that_there_is_not_is_said_and_taken_for_debug() -> None:
    done = python("import pyrt; pyrt.run(['true'])", PYRT_LOG="loud")
    assert "WARNING: PYRT_LOG=loud is none of debug, info, warning, error: taken for debug" in done.stderr
    assert "cause EXITED" in done.stderr
