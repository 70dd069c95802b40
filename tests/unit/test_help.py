"""The help that argparse makes of the verbs' table: complete, in one style, and the version as engines read it.

Neighbours: test_line.py (that argparse reads what the quick parser reads).
"""

from __future__ import annotations

import re

import pytest

import pyrt
from pyrt import _native
from pyrt.cli import help as pages
from pyrt.cli import people, people_table
from pyrt.cli.table import GLOBAL, OPTIONS, VERBS, Verb, options_of

WIDTH = 120


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS.keys())
def test_a_verb_s_page_has_its_meaning_arguments_and_every_flag(verb: Verb) -> None:
    page = pages.page(verb)
    assert page.startswith(f"usage: pyrt {verb.name} ")
    assert verb.help in " ".join(page.split())
    for flag in options_of(verb.name):
        assert re.search(rf"(^|[ ,]){re.escape(flag)}\b", page), flag
    for argument in verb.arguments:
        assert argument in page


def test_the_whole_page_lists_every_verb_and_global_flag() -> None:
    page = pages.page(None)
    for verb in VERBS.values():
        assert re.search(rf"^    {verb.name} ", page, re.MULTILINE), verb.name
    for flag in options_of(GLOBAL):
        assert flag in page


@pytest.mark.parametrize("verb", [None, *VERBS.values()], ids=["pyrt", *VERBS])
def test_pages_fit_a_terminal(verb: Verb | None) -> None:
    assert max(map(len, pages.page(verb).splitlines())) <= WIDTH
    assert pages.usage(verb).startswith("usage: pyrt")


def test_the_people_s_page_has_every_option() -> None:
    page = people.page()
    assert page.startswith("usage: pyrt run [options] -- CMD [ARG...]\n")
    for option in people_table.OPTIONS:
        assert f"{', '.join(option.names)}{f' {option.metavar}' if option.metavar else ''} " in page
        assert option.help in page


def test_every_help_text_is_one_line_in_one_style() -> None:
    for text in (
        *(option.help for option in OPTIONS),
        *(verb.help for verb in VERBS.values()),
        *(option.help for option in people_table.OPTIONS),
    ):
        assert "\n" not in text
        assert not text.endswith(".") or text.endswith("..."), text
        assert text[0].islower() or text.split()[0].isupper() or text.startswith("Unix "), text


def test_every_option_belongs_to_a_verb_that_exists_once() -> None:
    for option in OPTIONS:
        assert set(option.verbs) <= {GLOBAL, *VERBS}
    for verb in (GLOBAL, *VERBS):
        flags = [flag for option in OPTIONS if verb in option.verbs for flag in option.flags]
        assert len(flags) == len(set(flags)), verb


def test_every_verb_s_function_exists() -> None:
    for verb in VERBS.values():
        module, _, function = verb.function.partition(":")
        assert callable(getattr(__import__(f"pyrt.cli.{module}", fromlist=[function]), function))


def test_the_version_has_the_lines_that_docker_and_podman_read() -> None:
    first, commit, spec, features = pages.version().splitlines()
    assert first == f"pyrt version {pyrt.__version__}"
    assert re.fullmatch(r"commit: \S+", commit)
    assert spec == f"spec: {_native.OCI_VERSION}"
    assert all(feature[0] in "+-" for feature in features.split())
