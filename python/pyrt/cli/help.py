"""Help, usage lines and the version. argparse makes the pages from the same table that `line` reads command lines by."""

import argparse
import textwrap

from pyrt import _native
from pyrt.cli.details import DETAILS
from pyrt.cli.table import GLOBAL, VERBS, Option, Verb, options_of

__all__ = ["page", "parser", "usage", "version"]

_WIDTH = 120
_DESCRIPTION = "An OCI container runtime: takes bundles from podman, containerd and docker, and commands from people."
_RUN_FORMS = "A second form is for people, and -- alone chooses it: pyrt run [options] -- CMD ARG...; its help: pyrt run --help --"


def parser() -> argparse.ArgumentParser:
    """The whole command for argparse, a subparser for each verb."""
    whole = argparse.ArgumentParser(prog="pyrt", description=_DESCRIPTION, add_help=False, allow_abbrev=False, formatter_class=_formatter)
    _add_options(whole, GLOBAL)
    verbs = whole.add_subparsers(metavar="VERB", title="verbs", dest="verb")
    for verb in VERBS.values():
        one = verbs.add_parser(
            verb.name,
            help=verb.help,
            description=verb.help,
            epilog=_epilog(verb),
            add_help=False,
            allow_abbrev=False,
            formatter_class=_formatter,
        )
        _add_options(one, verb.name)
        for argument in verb.arguments:
            name = argument.strip("[]. ")
            count = "*" if argument.endswith("...]") else "?" if argument.startswith("[") else None
            one.add_argument(name.lower(), metavar=name, nargs=count)
    return whole


def page(verb: Verb | None) -> str:
    """The help of a verb, or of the whole command."""
    return _of(verb).format_help()


def usage(verb: Verb | None) -> str:
    """The usage lines of a verb, or of the whole command."""
    return _of(verb).format_usage()


def version() -> str:
    """docker reads the first line, and the commit. Outside a checkout the release stands for it."""
    commit = _native.COMMIT or f"v{_native.__version__}"
    return f"pyrt version {_native.__version__}\ncommit: {commit}\nspec: {_native.OCI_VERSION}\n{_FEATURES}\n"


# What the build holds, as crun's last line says it; what the host can do is told by `pyrt check`.
_FEATURES = "+CGROUPS1 +CGROUPS2 +EBPF +OVERLAY +CAP +HOOKS"


def _of(verb: Verb | None) -> argparse.ArgumentParser:
    whole = parser()
    if verb is None:
        return whole
    subparsers = next(action for action in whole._actions if isinstance(action, argparse._SubParsersAction))
    found: argparse.ArgumentParser = subparsers.choices[verb.name]
    return found


def _epilog(verb: Verb) -> str:
    """How it acts, and lines to begin with."""
    details = DETAILS[verb.name]
    paragraphs = [*details.text, *([_RUN_FORMS] if verb.name == "run" else [])]
    text = "\n\n".join(textwrap.fill(paragraph, _WIDTH - 2) for paragraph in paragraphs)
    width = max(len(line) for line, _ in details.examples)
    examples = "".join(f"\n  {line:<{width}}  # {meaning}" for line, meaning in details.examples)
    return f"{text}\n\nexamples:{examples}"


class _Formatter(argparse.HelpFormatter):
    """Keeps the lines of what follows the options as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "".join(f"{indent}{line}\n" for line in text.splitlines())


def _formatter(prog: str) -> argparse.HelpFormatter:
    return _Formatter(prog, max_help_position=32, width=_WIDTH)


def _add_options(target: argparse.ArgumentParser, verb: str) -> None:
    # dict.fromkeys: an option is listed under each of its flags.
    for option in dict.fromkeys(options_of(verb).values()):
        _add_option(target, option)


def _add_option(target: argparse.ArgumentParser, option: Option) -> None:
    # `--help` too: the pages are printed by pyrt's own door, not by argparse.
    text = option.help.replace("%", "%%")  # argparse formats it
    if option.kind == "flag":
        target.add_argument(*option.flags, action="store_true", dest=option.name, help=text)
        return
    target.add_argument(
        *option.flags,
        action="append" if option.kind == "list" else "store",
        type=int if option.kind == "number" else str,
        metavar=option.metavar,
        choices=option.choices or None,
        dest=option.name,
        help=text,
    )
