"""Reads a command line by the table, as runc's parser does: global flags, the verb, then its flags before, between or after its arguments.

Both ``--flag value`` and ``--flag=value``, short flags joined (``-af``, ``-bDIR``), and, as Go's flag package has it, one dash before
a long name and ``=true`` or ``=false`` after a flag without value. ``--`` ends the flags.
"""

from pyrt.cli.table import GLOBAL, VERBS, options_of
from pyrt.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrt.cli.table import Option, Verb

__all__ = ["Line", "UnknownVerb", "UsageError", "Values", "read"]

_TRUE = ("1", "t", "T", "true", "TRUE", "True")
_FALSE = ("0", "f", "F", "false", "FALSE", "False")


class UsageError(Exception):
    """A command line that the table does not allow. verb: whose usage to show, None for the command's."""

    def __init__(self, text: str, verb: "Verb | None" = None) -> None:
        super().__init__(text, verb)
        self.text = text
        self.verb = verb

    def __str__(self) -> str:
        return self.text


class UnknownVerb(Exception):
    """A verb that is not in the table."""


class Values:
    """Options that were given, by name. The last one of several counts."""

    __slots__ = ("_lists", "_values")

    def __init__(self) -> None:
        self._values: dict[str, str | int | bool] = {}
        self._lists: dict[str, list[str]] = {}

    def set(self, name: str, value: str | int | bool) -> None:
        self._values[name] = value

    def append(self, name: str, value: str) -> None:
        self._lists.setdefault(name, []).append(value)

    def texts(self, name: str) -> list[str]:
        """All values of an option that may be repeated."""
        return self._lists.get(name, [])

    def flag(self, name: str) -> bool:
        return self._values.get(name, False) is True

    def text(self, name: str) -> str | None:
        value = self._values.get(name)
        return value if isinstance(value, str) else None

    def number(self, name: str) -> int:
        value = self._values.get(name, 0)
        return value if type(value) is int else 0


class Line:
    """A command line, read. verb: None where there is none. rest: all after the verb, unread, for ``people``."""

    __slots__ = ("arguments", "options", "rest", "settings", "verb")

    def __init__(self) -> None:
        self.settings = Values()
        self.verb: Verb | None = None
        self.options = Values()
        self.arguments: list[str] = []
        self.rest: list[str] = []


def read(argv: list[str]) -> Line:
    """Raises UsageError, UnknownVerb, and SpecError for a command without `--`.

    What follows --version, --help, and the arguments of `run` with `--`, is not checked.
    """
    line = Line()
    before: list[str] = []
    used = _read_flags(argv, options_of(GLOBAL), None, line.settings, before, stop_at_argument=True)
    if not before or line.settings.flag("version") or line.settings.flag("help"):
        return line
    verb = line.verb = VERBS.get(before[0])
    if verb is None:
        raise UnknownVerb(before[0])
    line.rest = argv[used:]
    if verb.name == "run" and "--" in line.rest:
        return line
    try:
        used = _read_flags(line.rest, options_of(verb.name), verb, line.options, line.arguments, stop_at_argument=verb.open_ended)
        line.arguments += line.rest[used:]
    except UsageError as error:
        if verb.name == "run" and line.arguments:
            raise _forgotten_dashes(error.text, line) from None
        raise
    if not line.options.flag("help"):
        _check_arguments(verb, line)
    return line


def _read_flags(
    argv: list[str], options: "dict[str, Option]", verb: "Verb | None", values: Values, arguments: list[str], *, stop_at_argument: bool
) -> int:
    """Read until the end, or the first argument; return how many words were used."""
    position = 0
    while position < len(argv):
        word = argv[position]
        position += 1
        if word == "--":
            arguments += argv[position:]
            return len(argv)
        if len(word) < 2 or word[0] != "-":
            arguments.append(word)
            if stop_at_argument:
                return position
            continue
        for flag, value in _flags(word, options, verb):
            option = options[flag]
            if value is None and option.kind != "flag":
                if position == len(argv):
                    raise UsageError(f"flag needs an argument: {flag}", verb)
                value = argv[position]
                position += 1
            if option.kind == "list":
                values.append(option.name, value or "")
            else:
                values.set(option.name, _value(option, flag, value, verb))
    return position


def _flags(word: str, options: "dict[str, Option]", verb: "Verb | None") -> list[tuple[str, str | None]]:
    """The flags in one word, with the value that stands in it, None where there is none."""
    name, equals, value = word.partition("=")
    for flag in (name, f"-{name}"):
        if flag in options:
            return [(flag, value if equals else None)]
    if name.startswith("--"):
        raise UsageError(f"unknown flag: {name}", verb)
    found: list[tuple[str, str | None]] = []
    for index, letter in enumerate(word[1:], 2):
        flag = f"-{letter}"
        if flag not in options:
            raise UsageError(f"unknown flag: {word if len(found) == 0 else flag}", verb)
        if options[flag].kind != "flag":
            found.append((flag, word[index:].removeprefix("=") or None))
            break
        found.append((flag, None))
    return found


def _value(option: "Option", flag: str, value: str | None, verb: "Verb | None") -> str | int | bool:
    if option.kind == "flag":
        if value is None or value in _TRUE:
            return True
        if value in _FALSE:
            return False
        raise UsageError(f"{flag} is true or false, not {value!r}", verb)
    text = value or ""
    if option.kind == "number":
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise UsageError(f"{flag} takes a number, not {text!r}", verb)
        return int(text)
    if option.choices and text not in option.choices:
        raise UsageError(f"{flag} is one of {', '.join(option.choices)}, not {text!r}", verb)
    return text


def _check_arguments(verb: "Verb", line: Line) -> None:
    arguments = line.arguments
    if verb.name == "run" and len(arguments) > 1:
        raise _forgotten_dashes(f"run takes one ID, and got {len(arguments)} words", line)
    if len(arguments) < verb.required or (len(arguments) > len(verb.arguments) and not verb.repeated):
        wanted = " ".join(verb.arguments) or "no argument"
        raise UsageError(f"{verb.name} takes {wanted}, and got {len(arguments) or 'none'}", verb)


def _forgotten_dashes(text: str, line: Line) -> SpecError:
    """One clear line: pages of usage would hide it from who forgot two dashes."""
    from shlex import join

    command = line.rest[line.rest.index(line.arguments[0]) :]
    return SpecError(text, hint=f"to run a command: pyrt run -- {join(command)}")
