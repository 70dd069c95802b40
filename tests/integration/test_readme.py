"""The README and the documents: every Python example runs, every console session prints what it says, every other command line is one.

Python blocks know `bundle` and `rootfs`, paths of a busybox bundle and of its root. A console session is run by a shell in an empty
directory; the blocks of a document follow each other.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from helpers.bundles import Bundle
from helpers.commands import PYRT
from pyrt.cli import line, people

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
END = "end-of-one-command"


@dataclass(frozen=True)
class Block:
    document: str
    line: int
    language: str
    text: str


def blocks() -> list[Block]:
    found = []
    for document in DOCUMENTS:
        text = document.read_text()
        matches = re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        found += [Block(document.name, text.count("\n", 0, match.start()) + 2, match[1], match[2]) for match in matches]
    return found


def of(language: str) -> list[ParameterSet]:
    return [pytest.param(block, id=f"{block.document}:{block.line}") for block in blocks() if block.language == language]


@pytest.mark.parametrize("block", of("python"))
def test_a_python_example_runs(block: Block, bundle: Bundle) -> None:
    code = compile("\n" * (block.line - 1) + block.text, block.document, "exec")
    exec(code, {"__name__": "example", "bundle": str(bundle.path), "rootfs": str(bundle.rootfs)})


@pytest.mark.parametrize("document", sorted({block.document for block in blocks() if block.language == "console"}))
def test_a_console_session_prints_what_it_says(document: str, tmp_path: Path) -> None:
    said = "".join(block.text for block in blocks() if block.language == "console" and block.document == document)
    sessions = [(part.partition("\n")[0], part.partition("\n")[2]) for part in re.split(r"^\$ ", said, flags=re.MULTILINE)[1:]]
    script = "\n".join(f"{command}\necho {END}" for command, _ in sessions)
    # In the tests' own temporary directory, which a container of the host view does not show unless it is told to.
    environment = {**os.environ, "PATH": f"{PYRT.parent}:{os.environ['PATH']}", "LC_ALL": "C"}
    done = subprocess.run(
        ["bash", "-c", f"exec 2>&1\n{script}"],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    printed = done.stdout.split(f"{END}\n")
    assert [*zip((command for command, _ in sessions), printed[:-1], strict=True)] == sessions


def command_lines() -> list[ParameterSet]:
    """Lines of the other blocks that are the command's."""
    found = []
    for block in blocks():
        for said in block.text.splitlines() if block.language == "" else ():
            parts = [part.strip() for part in said.partition(" #")[0].split("&&")]
            found += [pytest.param(shlex.split(part)[1:], id=part) for part in parts if part.startswith("pyrt ")]
    return found


@pytest.mark.parametrize("argv", command_lines())
def test_a_command_line_of_the_readme_is_one(argv: list[str]) -> None:
    read = line.read(argv)
    assert read.verb is not None
    if "--" in read.rest:
        _, command = people._read(read.rest)
        assert command


def test_links_between_documents_lead_somewhere() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)]+)\)", document.read_text()):
            if "://" in target:
                continue  # the network's
            path, _, anchor = target.partition("#")
            there = (document.parent / path) if path else document
            headings = {
                re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
                for title in re.findall(r"^#+ (.*)$", there.read_text(), re.MULTILINE)
            }
            assert not anchor or anchor in headings, f"{document.name}: {target}"
