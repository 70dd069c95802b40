"""Man pages, made of the tables that read the line: pyrt.1 for the whole command, pyrt-VERB.1 for each verb. Packages install them.

man(7) macros, of which groff and mandoc understand the same. Neighbours: help.py prints the same facts on a terminal.
"""

from pyrt.cli.details import DETAILS, EXIT_STATUS, FILES
from pyrt.cli.people_table import OPTIONS as PEOPLE
from pyrt.cli.table import GLOBAL, VERBS, Option, Verb, options_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["pages"]

_DESCRIPTION = (
    "pyrt is an OCI container runtime without a daemon. podman, containerd and docker give it bundles with the verbs and flags of runc(8);"
    " people give it commands: pyrt run [options] -- CMD ARG..."
)
_ENVIRONMENT = (
    ("XDG_RUNTIME_DIR", "holds the state of users other than root"),
    ("NOTIFY_SOCKET", "a service manager's (sd_notify(3)): it hears READY=1 of the container"),
    ("LISTEN_FDS, LISTEN_FDNAMES, LISTEN_PID", "descriptors that are passed on, from 3 (sd_listen_fds(3))"),
)


def pages(version: str, date: str) -> dict[str, str]:
    """File name and content of every page. version: of pyrt. date: of the build, as YYYY-MM-DD."""
    source = f'1 {date} "pyrt {version}" "User Commands"'
    made = {"pyrt.1": _whole(source)}
    made |= {f"pyrt-{verb.name}.1": _of_verb(verb, source) for verb in VERBS.values()}
    return made


def _whole(source: str) -> str:
    verbs = ((f"pyrt\\-{_text(verb.name)}(1)", _text(verb.help)) for verb in VERBS.values())
    return "".join(
        (
            _head("pyrt", "run containers, from bundles or as commands", source),
            ".SH SYNOPSIS\n.SY pyrt\n[\\fIoptions\\fP]\n\\fIverb\\fP\n[\\fIargument\\fP ...]\n.YS\n",
            f".SH DESCRIPTION\n{_text(_DESCRIPTION)}\n",
            f".SH VERBS\n{_list(verbs)}",
            f".SH OPTIONS\nThey stand before the verb.\n{_options(options_of(GLOBAL).values())}",
            f".SH EXIT STATUS\n{_pairs(EXIT_STATUS)}",
            f".SH ENVIRONMENT\n{_pairs(_ENVIRONMENT)}",
            f".SH FILES\n{_pairs(FILES)}",
            _see_also(["runc(8)", "crun(1)", "podman(1)", "namespaces(7)", "cgroups(7)"]),
        )
    )


def _of_verb(verb: Verb, source: str) -> str:
    name, details = f"pyrt-{verb.name}", DETAILS[verb.name]
    arguments = "".join(f"\n{_argument(argument)}" for argument in verb.arguments)
    synopsis = f".SH SYNOPSIS\n.SY pyrt\\ {_text(verb.name)}\n[\\fIoptions\\fP]{arguments}\n.YS\n"
    if verb.name == "run":
        synopsis += ".SY pyrt\\ run\n[\\fIoptions\\fP]\n\\-\\-\n\\fICMD\\fP\n[\\fIARG\\fP ...]\n.YS\n"
    parts = [_head(name, verb.help, source), synopsis, ".SH DESCRIPTION\n"]
    parts.append("\n.PP\n".join(_text(paragraph) for paragraph in details.text) + "\n")
    parts.append(f".SH OPTIONS\n{_options(options_of(verb.name).values())}")
    if verb.name == "run":
        named = ((_flags(option.names, option.metavar), _text(option.help)) for option in PEOPLE)
        parts.append(f".SH OPTIONS WITH \\-\\-\n{_list(named)}")
    parts.append(f".SH EXAMPLES\n{_list((_text(line), _text(meaning)) for line, meaning in details.examples)}")
    parts.append(_see_also(["pyrt(1)", *(["criu(8)"] if verb.name in ("checkpoint", "restore") else [])]))
    return "".join(parts)


def _head(name: str, summary: str, source: str) -> str:
    return f".TH {name.upper()} {source}\n.SH NAME\n{_text(name)} \\- {_text(summary)}\n"


def _argument(argument: str) -> str:
    if not argument.startswith("["):
        return f"\\fI{_text(argument)}\\fP"
    word, _, more = argument.strip("[]").partition(" ")
    return f"[\\fI{_text(word)}\\fP{' ...' if more else ''}]"


def _options(options: "Iterable[Option]") -> str:
    # dict.fromkeys: an option is listed under each of its flags.
    return _list((_flags(option.flags, option.metavar), _text(option.help)) for option in dict.fromkeys(options))


def _flags(names: "Iterable[str]", metavar: str | None) -> str:
    flags = ", ".join(f"\\fB{_text(name)}\\fP" for name in names)
    return f"{flags} \\fI{_text(metavar)}\\fP" if metavar else flags


def _pairs(pairs: "Iterable[tuple[str, str]]") -> str:
    return _list((f"\\fB{_text(name)}\\fP", _text(meaning)) for name, meaning in pairs)


def _list(entries: "Iterable[tuple[str, str]]") -> str:
    return "".join(f".TP\n{name}\n{meaning}\n" for name, meaning in entries)


def _see_also(named: list[str]) -> str:
    shown = (f"\\fB{_text(page.removesuffix(section))}\\fP{section}" for page in named for section in [page[page.index("(") :]])
    return f".SH SEE ALSO\n{', '.join(shown)}\n"


def _text(text: str) -> str:
    """Nothing in it means anything to roff: escapes, dashes that are to be copied, and a control character that begins a line."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("^", "\\(ha").replace("~", "\\(ti")
    return f"\\&{text}" if text.startswith((".", "'")) else text
