"""The man pages that are made of the verbs' table: complete, without a complaint of groff's or mandoc's, and where man(1) looks."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

import pyrt
from helpers.hosts import requires
from pyrt.cli.details import DETAILS
from pyrt.cli.manual import pages
from pyrt.cli.table import GLOBAL, VERBS, options_of

PAGES = pages("0.1.0", "2026-11-25")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of all pages, as share/man/man1."""
    made = tmp_path_factory.mktemp("man") / "man1"
    made.mkdir()
    for name, page in PAGES.items():
        (made / name).write_text(page)
    return made


def test_there_is_a_page_for_the_command_and_for_each_verb() -> None:
    assert set(PAGES) == {"pyrt.1", *(f"pyrt-{verb}.1" for verb in VERBS)}


def test_every_verb_says_more_than_one_line_and_shows_a_command_line() -> None:
    assert set(DETAILS) == set(VERBS)
    for verb, details in DETAILS.items():
        assert all(text.endswith(".") for text in details.text), verb
        assert any(f"pyrt {verb}" in line for line, _ in details.examples), verb


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_every_flag_and_argument_is_on_the_page(verb: str) -> None:
    page = PAGES[f"pyrt-{verb}.1" if verb else "pyrt.1"].replace("\\-", "-")
    for flag in options_of(verb or GLOBAL):
        assert f"\\fB{flag}\\fP" in page, flag
    for section in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "SEE ALSO"):
        assert f".SH {section}\n" in page


@requires("mandoc")
def test_mandoc_has_nothing_to_warn_of(directory: Path) -> None:
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", *directory.iterdir()], capture_output=True, text=True, check=False)
    assert done.stdout + done.stderr == ""


@requires("man")
def test_groff_has_nothing_to_warn_of_and_man_finds_the_page(directory: Path) -> None:
    environment = {**os.environ, "MANPATH": str(directory.parent), "MANWIDTH": "100", "LC_ALL": "C.UTF-8", "MANPAGER": "cat"}
    for name in PAGES:
        line = ["man", "--warnings=all", "1", name.removesuffix(".1")]
        done = subprocess.run(line, env=environment, capture_output=True, text=True, check=True)
        assert done.stderr == "", name
        assert re.search(r"^NAME\n +pyrt", done.stdout, re.MULTILINE), name
        assert f"pyrt {pyrt.__version__}" in done.stdout
