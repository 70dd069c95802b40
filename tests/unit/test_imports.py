"""The import diet: the modules that a verb, or `import pyrt`, loads on top of a bare interpreter are listed here, and only become fewer.

A module costs an engine's call milliseconds (docs/architecture.md has the numbers): whoever adds a line here says in the commit what it
buys. Measured as the command's script starts Python: isolated, without site, one path added.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import pyrt
from helpers.states import write_state

SOURCE = str(Path(pyrt.__file__).parents[1])
PRINT = "print(sorted(sys.modules), file=sys.stderr)"
BARE = frozenset({"_posixsubprocess"})
"""Modules that some Python versions have loaded, or built in, where others have a file of their own."""

IMPORT = frozenset({"pyrt"})

STATE = IMPORT | {
    "errno",  # built in
    "pyrt._native",
    "pyrt.cli",
    "pyrt.cli.line",
    "pyrt.cli.main",
    "pyrt.cli.manage",
    "pyrt.cli.messages",
    "pyrt.cli.table",
    "pyrt.container",
    "pyrt.errors",
}

CREATE = (STATE - {"pyrt.cli.manage"}) | {
    "pyrt.cli.lifecycle",
    "pyrt.files",
    "pyrt.runtime",
}

NEVER = frozenset({"argparse", "asyncio", "dataclasses", "enum", "json", "pathlib", "re", "rich", "subprocess", "tempfile", "typing"})


def loaded(script: str) -> set[str]:
    """Modules that are there after the script, and are not in an interpreter that does nothing."""

    def modules(code: str) -> set[str]:
        line = [sys.executable, "-I", "-S", "-c", f"import sys\n{code}\n{PRINT}"]
        done = subprocess.run(line, capture_output=True, text=True, check=True)
        names: list[str] = json.loads(done.stderr.splitlines()[-1].replace("'", '"'))
        return set(names)

    return modules(script) - modules("")


def verb(*words: object) -> str:
    """What the command's script does, but for its end."""
    return f"sys.path.insert(0, {SOURCE!r})\nfrom pyrt.cli.main import main\nmain({[str(word) for word in words]!r})"


def check(found: set[str], listed: frozenset[str]) -> None:
    assert sorted(found - listed - BARE) == [], "modules that are new: is each worth its milliseconds?"
    assert sorted(name for name in listed - found if name.startswith("pyrt")) == [], (
        "modules that are not loaded any more: remove them here"
    )


def test_import_pyrt_loads_nothing_else() -> None:
    check(loaded(f"sys.path.insert(0, {SOURCE!r})\nimport pyrt"), IMPORT)


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """A state directory with one container that has ended, as pyrt writes it."""
    write_state(tmp_path, "stopped")
    return tmp_path


def test_pyrt_state_loads_what_is_listed(stopped: Path) -> None:
    check(loaded(verb("--root", stopped, "state", "stopped")), STATE)


def test_pyrt_create_loads_what_is_listed(tmp_path: Path) -> None:
    # The root file system is missing, and a caller without privileges fails before: all is loaded by then.
    config = pyrt.Spec()
    config.terminal = False
    (tmp_path / "config.json").write_text(config.to_json())
    check(loaded(verb("--root", tmp_path / "state", "create", "--bundle", tmp_path, "created")), CREATE)


def test_no_engine_verb_loads_what_costs_most(stopped: Path) -> None:
    for words in (("state", "stopped"), ("kill", "stopped", "KILL"), ("list",), ("delete", "stopped"), ("start", "stopped")):
        assert sorted(loaded(verb("--root", stopped, *words)) & NEVER) == [], words


def test_running_a_container_by_the_library_loads_no_costly_module() -> None:
    script = f"sys.path.insert(0, {SOURCE!r})\nimport pyrt\npyrt.run, pyrt.Runtime, pyrt.Container"
    assert sorted(loaded(script) & NEVER) == []
