"""The verbs that the command answers without Python, beside the same verbs through Python: one table, one state, the same words.

Needs no root: the containers here are state on disk. Neighbours: rust/core/src/bin/pyrt, tests/integration/test_lifecycle.py.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.commands import PYRT
from helpers.states import write_state

ROOT = Path(__file__).resolve().parents[2]


def answer(command: list[str], words: list[str]) -> tuple[int, str, str]:
    done = subprocess.run([*command, *words], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.skipif(shutil.which("rustfmt") is None, reason="no rustfmt, in whose form the table is kept")
def test_the_table_in_rust_is_the_one_in_python() -> None:
    made = subprocess.run(
        [sys.executable, "-c", "import quick_verbs; print(quick_verbs.text(), end='')"],
        cwd=ROOT / "scripts",
        capture_output=True,
        text=True,
        check=True,
    )
    formatted = subprocess.run(
        ["rustfmt", "--config-path", str(ROOT), "--emit", "stdout"], input=made.stdout, capture_output=True, text=True, check=True
    )
    kept = (ROOT / "rust/core/src/bin/pyrt/table.rs").read_text()
    assert formatted.stdout == kept, "run scripts/quick_verbs.py and cargo fmt"


LINES = [
    ["state", "web"],
    ["state", "nobody"],
    ["state", "damaged"],
    ["state", "../web"],
    ["state", ""],
    ["state"],
    ["state", "web", "more"],
    ["state", "--force", "web"],
    ["state", "--help"],
    ["start", "web"],
    ["start", "nobody"],
    ["kill", "web"],
    ["kill", "web", "NOSUCH"],
    ["kill", "--all", "web", "KILL"],
    ["kill", "-a=false", "web"],
    ["kill", "--regex", "we."],
    ["delete", "nobody"],
    ["delete", "-f", "nobody"],
    ["delete", "--force=maybe", "web"],
    ["delete", "damaged"],
    ["nonsense", "web"],
]


@pytest.mark.parametrize("words", LINES, ids=" ".join)
def test_the_answer_is_the_same_with_and_without_python(tmp_path: Path, words: list[str]) -> None:
    answers = []
    for command in ([str(PYRT)], [sys.executable, "-m", "pyrt"]):
        root = tmp_path / "state"
        write_state(root, "web")
        (write_state(root, "damaged") / "state.json").write_text("{")
        answers.append(answer([*command, "--root", str(root)], words))
        subprocess.run(["rm", "-r", root], check=True)
    assert answers[0] == answers[1]


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_log_is_the_same_but_for_its_time(tmp_path: Path, form: str) -> None:
    logs = []
    for number, command in enumerate(([str(PYRT)], [sys.executable, "-m", "pyrt"])):
        log = tmp_path / f"log{number}"
        status, _, stderr = answer(command, ["--root", str(tmp_path), "--log", str(log), "--log-format", form, "state", "nobody"])
        assert (status, stderr) == (1, "pyrt: container does not exist: nobody\n")
        if form == "json":
            entry = json.loads(log.read_text())
            entry.pop("time")
            logs.append(str(entry))
        else:
            logs.append(log.read_text().partition(" ")[2])
    assert logs[0] == logs[1]


def test_a_log_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    words = ["--root", str(tmp_path), "--log", str(tmp_path), "state", "nobody"]
    assert answer([str(PYRT)], words) == answer([sys.executable, "-m", "pyrt"], words)
    assert answer([str(PYRT)], words)[2].startswith(f"pyrt: open log {tmp_path}: is a directory (EISDIR)")


def test_no_interpreter_is_started_for_them(tmp_path: Path) -> None:
    write_state(tmp_path, "web")
    # Alone in a directory, the command finds no Python that has the package.
    alone = tmp_path / "bin/pyrt"
    alone.parent.mkdir()
    os.link(PYRT, alone) if PYRT.stat().st_dev == tmp_path.stat().st_dev else alone.write_bytes(PYRT.read_bytes())
    alone.chmod(0o755)
    done = subprocess.run([alone, "--root", tmp_path, "state", "web"], env={"PATH": ""}, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["status"] == "stopped"


def test_state_with_a_closed_stdout_fails(tmp_path: Path) -> None:
    write_state(tmp_path, "web")
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([PYRT, "--root", tmp_path, "state", "web"], stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "pyrt: write to standard output: broken pipe (EPIPE)\n")
