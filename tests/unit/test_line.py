"""`line`, the quick parser of command lines: spellings, places, refusals; and that argparse, which makes the help, reads lines alike.

Neighbours: test_help.py (the pages), tests/integration/test_command_line.py (exit statuses and texts of the whole command).
"""

from __future__ import annotations

import argparse
import contextlib
import io
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pyrt import SpecError
from pyrt.cli import help as pages
from pyrt.cli.line import Line, UnknownVerb, UsageError, Values, read
from pyrt.cli.table import GLOBAL, OPTIONS, VERBS, Option, Verb, options_of

# One word, and not the beginning of a flag: argparse, unlike Go's flag package, takes no value that begins with a dash.
VALUES = st.text(st.characters(codec="ascii", exclude_categories=["C"]), max_size=6).filter(lambda text: not text.startswith("-"))
IDS = st.text("abcXYZ019_+.", min_size=1, max_size=8)
HELP = ("help", "version")


def spelled(option: Option) -> st.SearchStrategy[list[str]]:
    """An option in one of the spellings that both parsers know: `--flag value`, `--flag=value`, `-fvalue`, `-f value`."""
    long, short = option.flags[0], [flag for flag in option.flags if not flag.startswith("--")]
    if option.kind == "flag":
        return st.sampled_from([[flag] for flag in option.flags])
    if option.choices:
        values: st.SearchStrategy[str] = st.sampled_from(option.choices)
    elif option.kind == "number":
        values = st.integers(0, 999).map(str)
    else:
        values = VALUES
    forms = [values.map(lambda value: [long, value]), values.map(lambda value: [f"{long}={value}"])]
    for flag in short:
        forms.append(values.map(lambda value, flag=flag: [flag, value]))  # type: ignore[misc]
        forms.append(values.filter(lambda value: value and not value.startswith("=")).map(lambda value, flag=flag: [f"{flag}{value}"]))  # type: ignore[misc]
    return st.one_of(forms)


def options_for(verb: str) -> st.SearchStrategy[list[str]]:
    """Any of the verb's options, some more than once: the last one counts."""
    own = [option for option in dict.fromkeys(options_of(verb).values()) if option.name not in HELP]
    if not own:
        return st.just([])
    return st.lists(st.sampled_from(own).flatmap(spelled), max_size=5).map(lambda words: [word for group in words for word in group])


@st.composite
def lines(draw: st.DrawFn) -> tuple[list[str], Verb, list[str]]:
    """Global options, a verb, and its options before, between and after as many arguments as it may have."""
    # After the first argument of an open-ended verb no flag is one of ours: argparse, which makes the help, cannot say that.
    verb = draw(st.sampled_from([verb for verb in VERBS.values() if not verb.open_ended]))
    rest = draw(options_for(verb.name))
    for _ in range(draw(st.integers(verb.required, len(verb.arguments)))):
        rest += [draw(IDS), *draw(options_for(verb.name))]
    return draw(options_for(GLOBAL)), verb, rest


def by_argparse(before: list[str], verb: Verb, rest: list[str]) -> dict[str, Any] | None:
    """All that argparse reads; None where it refuses."""
    whole = pages.parser()
    subparsers = next(action for action in whole._actions if isinstance(action, argparse._SubParsersAction))
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            globals_read = vars(whole.parse_args(before))
            # Intermixed: an optional argument may stand after an option.
            own: dict[str, Any] = vars(subparsers.choices[verb.name].parse_intermixed_args(rest))
            return own | {f"global {name}": value for name, value in globals_read.items()}
    except SystemExit:
        return None


def by_line(before: list[str], verb: Verb, rest: list[str]) -> Line | None:
    try:
        return read([*before, verb.name, *rest])
    except (UsageError, SpecError):
        return None


def value_of(values: Values, option: Option) -> object:
    """As argparse has it: None for what was not said, but False for a flag."""
    if option.kind == "flag":
        return values.flag(option.name)
    if option.kind == "text":
        return values.text(option.name)
    if option.kind == "list":
        return values.texts(option.name) or None
    return values.number(option.name)


@given(lines())
def test_both_parsers_read_the_same_lines_alike(said: tuple[list[str], Verb, list[str]]) -> None:
    before, verb, rest = said
    quick, other = by_line(before, verb, rest), by_argparse(before, verb, rest)
    assert quick is not None
    assert other is not None
    assert quick.verb is verb
    for name, values, prefix in ((GLOBAL, quick.settings, "global "), (verb.name, quick.options, "")):
        for option in dict.fromkeys(options_of(name).values()):
            expected = other[f"{prefix}{option.name}"]
            assert value_of(values, option) == (expected or 0 if option.kind == "number" else expected), option.flags
    names = [argument.strip("[]. ").lower() for argument in verb.arguments]
    read_by_argparse = [other[name] for name in names if other[name] is not None]
    assert quick.arguments == (read_by_argparse[0] if verb.repeated else read_by_argparse)


def test_after_the_id_all_is_the_command_s_where_the_verb_is_open_ended() -> None:
    line = read(["ps", "--format", "json", "web", "-ef", "--format", "--", "x"])
    assert line.options.text("format") == "json"
    assert line.arguments == ["web", "-ef", "--format", "--", "x"]


WRONG = st.sampled_from(
    [["--nonsense"], ["--nonsense=1"], ["-Z"], ["--bund", "x"], ["one", "too", "many", "words"], ["--format=xml"], ["--preserve-fds", "x"]]
)


@given(lines(), WRONG)
def test_both_parsers_refuse_the_same_lines(said: tuple[list[str], Verb, list[str]], wrong: list[str]) -> None:
    before, verb, rest = said
    assume(not (verb.repeated and wrong[0] == "one"))  # as many as one likes
    assert by_line(before, verb, [*rest, *wrong]) is None
    assert by_argparse(before, verb, [*rest, *wrong]) is None


@given(lines())
def test_both_parsers_refuse_an_option_without_its_value(said: tuple[list[str], Verb, list[str]]) -> None:
    before, verb, rest = said
    for option in OPTIONS:
        if verb.name in option.verbs and option.kind != "flag":
            assert by_line(before, verb, [*rest, option.flags[0]]) is None
            assert by_argparse(before, verb, [*rest, option.flags[0]]) is None


@given(
    st.lists(
        st.sampled_from([*options_of(GLOBAL), *options_of("run"), *VERBS, "--", "-", "", "x", "-af", "--root=x", "--=", "-="]) | st.text(),
        max_size=8,
    )
)
def test_no_line_whatever_does_anything_but_be_read_or_refused(argv: list[str]) -> None:
    line, refusal = None, ""
    try:
        line = read(argv)
    except UnknownVerb as unknown:
        refusal = f"no verb {unknown}"
    except (UsageError, SpecError) as error:
        refusal = str(error)
    assert refusal if line is None else line.verb is None or line.verb in VERBS.values()


# What runc's parser takes and argparse does not


@pytest.mark.parametrize(
    ("words", "flags", "texts"),
    [
        (["-bundle", "/b", "web"], {}, {"bundle": "/b"}),
        (["-bundle=/b", "web"], {}, {"bundle": "/b"}),
        (["-b=/b", "web"], {}, {"bundle": "/b"}),
        (["--no-pivot=true", "web"], {"no_pivot": True}, {}),
        (["--no-pivot=false", "web"], {"no_pivot": False}, {}),
        (["--no-pivot=T", "--no-pivot=0", "web"], {"no_pivot": False}, {}),
        (["--bundle", "--no-pivot", "web"], {"no_pivot": False}, {"bundle": "--no-pivot"}),
        (["--bundle=", "web"], {}, {"bundle": ""}),
        (["--bundle", "a=b", "web"], {}, {"bundle": "a=b"}),
    ],
)
def test_go_s_spellings_are_read(words: list[str], flags: dict[str, bool], texts: dict[str, str]) -> None:
    line = read(["create", *words])
    assert line.arguments == ["web"]
    assert {name: line.options.flag(name) for name in flags} == flags
    assert {name: line.options.text(name) for name in texts} == texts


def test_joined_short_flags_end_in_a_value() -> None:
    assert read(["run", "-db/b", "web"]).options.text("bundle") == "/b"
    assert read(["run", "-db", "/b", "web"]).options.flag("detach")
    assert read(["kill", "-ar", "web"]).options.flag("regex")


def test_two_dashes_end_the_flags() -> None:
    assert read(["kill", "--", "-a", "9"]).arguments == ["-a", "9"]
    assert read(["delete", "--force", "--", "--force"]).arguments == ["--force"]


def test_a_dash_alone_is_an_argument() -> None:
    assert read(["state", "-"]).arguments == ["-"]


def test_a_global_flag_stands_before_the_verb_alone() -> None:
    assert read(["--root", "/r", "list"]).settings.text("root") == "/r"
    with pytest.raises(UsageError, match="unknown flag: --root"):
        read(["list", "--root", "/r"])


def test_without_a_verb_there_is_nothing_to_check() -> None:
    assert read([]).verb is None
    assert read(["--version", "no-such-verb"]).settings.flag("version")


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["create", "--nonsense", "web"], "unknown flag: --nonsense"),
        (["create", "-Zb", "web"], "unknown flag: -Zb"),
        (["kill", "-aZ", "web"], "unknown flag: -Z"),
        (["create", "web", "--bundle"], "flag needs an argument: --bundle"),
        (["create", "--no-pivot=maybe", "web"], "--no-pivot is true or false, not 'maybe'"),
        (["create", "--preserve-fds=-1", "web"], "--preserve-fds takes a number, not '-1'"),
        (["create", "--preserve-fds=9999999999", "web"], "--preserve-fds takes a number, not '9999999999'"),
        (["list", "-f", "xml"], "-f is one of table, json, not 'xml'"),
        (["state"], "state takes ID, and got none"),
        (["state", "a", "b"], "state takes ID, and got 2"),
        (["list", "a"], "list takes no argument, and got 1"),
        (["kill", "a", "9", "b"], "kill takes ID [SIGNAL], and got 3"),
        (["--log-format", "xml", "list"], "--log-format is one of text, json, not 'xml'"),
    ],
)
def test_a_line_that_is_wrong_says_how(argv: list[str], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(argv)
    assert str(caught.value) == text
    verb = next((word for word in argv if word in VERBS), None)
    assert caught.value.verb is (None if text.startswith("--log") else VERBS.get(verb or ""))


def test_an_unknown_verb_is_not_a_usage_error() -> None:
    with pytest.raises(UnknownVerb, match="frobnicate"):
        read(["frobnicate"])


def test_a_command_without_two_dashes_is_shown_the_right_line() -> None:
    with pytest.raises(SpecError) as caught:
        read(["run", "ls", "/"])
    assert str(caught.value) == "run takes one ID, and got 2 words; to run a command: pyrt run -- ls /"


def test_the_people_s_form_is_left_unread() -> None:
    line = read(["--debug", "run", "--nonsense", "--", "ls", "-l"])
    assert (line.rest, line.arguments, line.settings.flag("debug")) == (["--nonsense", "--", "ls", "-l"], [], True)
