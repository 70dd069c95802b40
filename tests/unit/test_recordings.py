"""The recordings of the command in docs/recordings, which scripts/recordings.py makes: they are shown, and have the help of today."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from pyrt.cli import help as pages

ROOT = Path(__file__).resolve().parents[2]
DIRECTORY = ROOT / "docs/recordings"
AGAIN = "as root: .venv/bin/python scripts/recordings.py"
RECORDINGS = {
    "help": "pyrt --help",
    "check": "pyrt check",
    "list": "pyrt list",
    "ps": "pyrt ps web",
    "events": "pyrt events --stats web",
    "stats": "pyrt stats",
    "errors": "pyrt start wbe",
}


def text_of(name: str) -> str:
    """What a recording shows, without any space: where rich breaks and pads its texts is rich's."""
    texts = ElementTree.parse(DIRECTORY / f"{name}.svg").iter("{http://www.w3.org/2000/svg}text")
    return "".join("".join("".join(text.itertext()).split()) for text in texts)


def packed(text: str) -> str:
    return "".join(text.split())


def test_the_recording_of_the_help_is_what_the_command_says_today() -> None:
    assert text_of("help") == packed(f"pyrt $ pyrt --help {pages.page(None)}"), AGAIN


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recording_shows_its_command_and_asks_no_other_site(name: str) -> None:
    assert text_of(name).startswith(packed(f"pyrt $ {RECORDINGS[name]}")), AGAIN
    assert "url(http" not in (DIRECTORY / f"{name}.svg").read_text()


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recording_is_shown_in_the_page_on_the_command(name: str) -> None:
    assert f"](recordings/{name}.svg)" in (ROOT / "docs/command.md").read_text()


def test_no_recording_is_left_of_a_command_that_is_no_more_recorded() -> None:
    assert {path.stem for path in DIRECTORY.iterdir()} == set(RECORDINGS)
