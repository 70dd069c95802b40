"""The mark `container` and the fixture: tests that run in containers, and tests that run commands in them. Neighbour: test_executor.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from helpers.waiting import runs

pytest.importorskip("cloudpickle")

TESTS = """
import os, pathlib
import pytest

HERE = "value of the module"

@pytest.fixture
def number():
    return 42

@pytest.mark.container(hostname="marked")
def test_runs_inside(number):
    assert os.uname().nodename == "marked"
    assert (number, HERE) == (42, "value of the module")

@pytest.mark.container(timeout=30)
@pytest.mark.parametrize("one", [1, 2])
def test_fails_inside(one):
    assert one == 1, "as it was written"

@pytest.mark.container(memory="32M")
class TestOfAClass:
    def test_has_the_marks_of_its_class(self):
        b"x" * (1 << 28)

@pytest.mark.container(hostname="beside")
def test_beside(container):
    assert os.uname().nodename != "beside"
    assert container.run(["hostname"], capture_output=True, text=True).stdout == "beside\\n"
    started = container.Popen(["sleep", "1000"])
    pathlib.Path("pid").write_text(str(started.pid))

def test_without_a_mark_runs_here(container):
    assert container.run(["true"]).returncode == 0
    assert pathlib.Path("conftest.py").exists()

@pytest.mark.container
async def test_coroutine():
    pass
"""


def test_marked_tests_run_in_containers_and_others_do_not(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["pyrt.pytest_plugin"]\n')
    (tmp_path / "test_it.py").write_text(TESTS)
    line = [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", "--strict-markers", "test_it.py"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    ended = {}
    for row in done.stdout.splitlines():
        words = row.split()
        if len(words) > 1 and words[0] in ("PASSED", "FAILED", "ERROR") and "::" in words[1]:
            ended[words[1].partition("::")[2]] = words[0]
    assert ended == {
        "test_runs_inside": "PASSED",
        "test_fails_inside[1]": "PASSED",
        "test_fails_inside[2]": "FAILED",
        "TestOfAClass::test_has_the_marks_of_its_class": "FAILED",
        "test_beside": "PASSED",
        "test_without_a_mark_runs_here": "PASSED",
        "test_coroutine": "FAILED",
    }, done.stdout
    assert "as it was written" in done.stdout
    assert "out of memory at its limit of 32 MiB" in done.stdout
    assert "a coroutine cannot be carried into a container" in done.stdout
    assert not runs(int((tmp_path / "pid").read_text()))
