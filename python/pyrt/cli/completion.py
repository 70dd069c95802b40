"""`pyrt completion SHELL`: completion for bash, zsh and fish, made of the tables that read the line. Packages install the same texts.

All three complete verbs, flags, values of flags, signals, and ids: those that `pyrt list --quiet` prints for the --root on the line.
"""

from pyrt.cli.people_table import OPTIONS as PEOPLE
from pyrt.cli.people_table import Option as PeopleOption
from pyrt.cli.table import GLOBAL, VERBS, Option, options_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyrt.cli.line import Line
    from pyrt.cli.main import Globals

__all__ = ["SHELLS", "completion", "script"]

_DIRECTORIES = ("DIR",)
_FILES = ("FILE", "SOCKET", "PATH")
# Those that people send; kill -l has all.
_SIGNALS = ("TERM", "KILL", "INT", "HUP", "QUIT", "USR1", "USR2", "STOP", "CONT", "WINCH")
_MADE = "made of pyrt's own table of verbs by: pyrt completion"


def completion(line: "Line", settings: "Globals") -> int:
    from pyrt.errors import SpecError

    shell = line.arguments[0]
    if shell not in SHELLS:
        raise SpecError(f"there is completion for {', '.join(SHELLS)}, and not for {shell!r}")
    settings.messages.output(script(shell))
    return 0


def script(shell: str) -> str:
    """The text that the shell reads. shell: one of SHELLS."""
    return SHELLS[shell]()


class _Flag:
    """One option as shells see it. value: None for a switch, else dir, file, word, or the words that it may be, with spaces between."""

    __slots__ = ("flags", "help", "many", "metavar", "value")

    def __init__(self, option: "Option | PeopleOption") -> None:
        if isinstance(option, Option):
            self.flags, self.many = option.flags, option.kind == "list"
            choices = " ".join(option.choices)
            switch = option.kind == "flag"
        else:
            self.flags, self.many = sorted(option.names, key=len, reverse=True), option.many
            choices = " ".join((option.metavar or "").split("|")) if "|" in (option.metavar or "") else ""
            switch = option.metavar is None
        self.help = option.help
        self.metavar = option.metavar or ""
        of_metavar = "dir" if self.metavar in _DIRECTORIES else "file" if self.metavar in _FILES else "word"
        self.value = None if switch else choices or of_metavar


def _flags(verb: str) -> "list[_Flag]":
    """Those of a verb; of `run` the people's too, where they have other names: until the -- nobody knows which form it will be."""
    found = [_Flag(option) for option in dict.fromkeys(options_of(verb).values())]
    if verb == "run":
        known = {flag for one in found for flag in one.flags}
        found += [_Flag(option) for option in PEOPLE if not known.intersection(option.names)]
    return found


def _argument(verb: str) -> str:
    """What stands after a verb: id, ids, new (an id that is to be), shell or nothing."""
    arguments = VERBS[verb].arguments
    if not arguments or arguments[0] not in ("ID", "[ID ...]", "SHELL"):
        return "nothing"
    if arguments[0] == "SHELL":
        return "shell"
    return "new" if verb in ("create", "run", "restore") else "ids" if arguments[0].startswith("[") else "id"


# bash(1), "Programmable Completion"

_BASH = r"""
_pyrt_values() { # the kind of a flag's value, of a verb ('' for the flags before it): empty where it takes none
    local entry
    while IFS='|' read -r entry kind; do
        case " $entry " in *" $2 "*) return ;; esac
    done < <(_pyrt_flags "$1")
    kind=
}

_pyrt_of_kind() { # KIND CURRENT
    case $1 in
        dir) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- "$2")) ;;
        file) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$2")) ;;
        word) ;;
        *) COMPREPLY=($(compgen -W "$1" -- "$2")) ;;
    esac
}

_pyrt() {
    local current=${COMP_WORDS[COMP_CWORD]} verb= flag= kind= word index count=0 dashes=
    local -a root=()
    local IFS=$' \t\n'
    COMPREPLY=()
    for ((index = 1; index < COMP_CWORD; index++)); do
        word=${COMP_WORDS[index]}
        # readline makes words of --flag=value's parts.
        [[ $word == = ]] && continue
        if [[ -n $flag ]]; then
            [[ $flag == --root ]] && root=(--root "$word")
            flag=
        elif [[ -n $dashes ]]; then
            ((count++))
        elif [[ $word == -- ]]; then
            dashes=$index
        elif [[ $word == -?* ]]; then
            _pyrt_values "$verb" "$word"
            [[ -z $kind ]] || flag=$word
        elif [[ -z $verb ]]; then
            verb=$word
        else
            ((count++))
            # What follows is another command's.
            [[ $verb == exec || $verb == ps ]] && return
        fi
    done
    [[ $current == = ]] && current=
    if [[ -n $flag ]]; then
        _pyrt_values "$verb" "$flag"
        _pyrt_of_kind "$kind" "$current"
    elif [[ -n $dashes && $verb == run ]]; then
        if ((COMP_CWORD == dashes + 1)); then COMPREPLY=($(compgen -c -- "$current")); else compopt -o default 2>/dev/null; fi
    elif [[ $current == -* && -z $dashes ]]; then
        COMPREPLY=($(compgen -W "$(_pyrt_flags "$verb" | cut -d '|' -f 1)" -- "$current"))
    elif [[ -z $verb ]]; then
        COMPREPLY=($(compgen -W "$_pyrt_verbs" -- "$current"))
    else
        case $verb:$count in
@arguments@
        esac
    fi
}
complete -F _pyrt pyrt
"""


def _bash() -> str:
    lines = [f"# bash completion for pyrt, {_MADE} bash", "", f'_pyrt_verbs="{" ".join(VERBS)}"', ""]
    lines += ["_pyrt_flags() { # of a verb: names | the kind of value", "    case $1 in"]
    for verb in (GLOBAL, *VERBS):
        rows = " ".join(f"'{' '.join(flag.flags)}|{flag.value or ''}'" for flag in _flags(verb))
        lines.append(f"        '{verb}') printf '%s\\n' {rows} ;;")
    lines += ["    esac", "}"]
    ids = 'COMPREPLY=($(compgen -W "$(pyrt "${root[@]}" list --quiet 2>/dev/null)" -- "$current"))'
    patterns: dict[str, list[str]] = {}
    for verb in VERBS:
        patterns.setdefault(_argument(verb), []).append(verb)
    arguments = [
        f"            {'|'.join(f'{verb}:0' for verb in patterns['id'])}) {ids} ;;",
        f"            {'|'.join(f'{verb}:*' for verb in patterns['ids'])}) {ids} ;;",
        f'            kill:1) COMPREPLY=($(compgen -W "{" ".join(_SIGNALS)}" -- "$current")) ;;',
        f'            completion:0) COMPREPLY=($(compgen -W "{" ".join(SHELLS)}" -- "$current")) ;;',
    ]
    return "\n".join(lines) + _BASH.replace("@arguments@", "\n".join(arguments))


# zshcompsys(1)


def _zsh() -> str:
    lines = ["#compdef pyrt", f"# zsh completion for pyrt, {_MADE} zsh", ""]
    lines += ["_pyrt_ids() {", "  local -a ids root"]
    lines += ["  [[ -z $_pyrt_root ]] || root=(--root $_pyrt_root)"]
    lines += ['  ids=(${(f)"$(pyrt $root list --quiet 2>/dev/null)"})', "  compadd -a ids", "}", ""]
    lines += ["_pyrt_verbs() {", "  local -a verbs=("]
    lines += [f"    {_quoted(f'{verb.name}:{verb.help}')}" for verb in VERBS.values()]
    lines += ["  )", "  _describe verb verbs", "}", ""]
    lines += ["_pyrt() {", "  local curcontext=$curcontext state line _pyrt_root", "  typeset -A opt_args"]
    lines += ["  _arguments -C -S \\"]
    lines += [f"    {_quoted(spec)} \\" for flag in _flags(GLOBAL) for spec in _zsh_specs(flag)]
    lines += ["    '1:verb:_pyrt_verbs' '*::argument:->arguments' && return"]
    lines += ["  [[ $state == arguments ]] || return", "  _pyrt_root=${(Q)opt_args[--root]}", "  case $words[1] in"]
    for verb in VERBS:
        specs = [_quoted(spec) for flag in _flags(verb) for spec in _zsh_specs(flag)]
        specs += [_quoted(spec) for spec in _zsh_arguments(verb)]
        lines += [
            f"    {verb})",
            "      _arguments -S \\",
            *(f"        {spec} \\" for spec in specs[:-1]),
            f"        {specs[-1]}",
            "      ;;",
        ]
    lines += ["  esac", "}", "", '[[ $funcstack[1] == _pyrt ]] && _pyrt "$@" || compdef _pyrt pyrt']
    return "\n".join(lines) + "\n"


def _zsh_specs(flag: _Flag) -> "Iterator[str]":
    actions = {"dir": "_files -/", "file": "_files", "word": " "}
    meaning = _escaped(flag.help, "[]:")
    for name in flag.flags:
        # Of two names for one option, either keeps the other from being offered.
        others = "*" if flag.many else f"({' '.join(flag.flags)})" if len(flag.flags) > 1 else ""
        if flag.value is None:
            yield f"{others}{name}[{meaning}]"
            continue
        action = actions.get(flag.value) or f"({flag.value})"
        takes = f"{name}=" if name.startswith("--") else f"{name}+"
        yield f"{others}{takes}[{meaning}]:{_escaped(flag.metavar, '[]:')}:{action}"


def _zsh_arguments(verb: str) -> "Iterator[str]":
    if verb == "run":
        yield "1:ID:()"
        yield "*::command:_normal"
        return
    match _argument(verb):
        case "id":
            yield "1:ID:_pyrt_ids"
        case "ids":
            yield "*:ID:_pyrt_ids"
        case "new":
            yield "1:ID:()"
        case "shell":
            yield f"1:shell:({' '.join(SHELLS)})"
    if verb == "kill":
        yield f"2:signal:({' '.join(_SIGNALS)})"


# fish: complete(1)

_FISH = """
function __pyrt_line # what is on the line: "VERB COUNT", the verb and how many arguments it has already
    set -l verb
    set -l count 0
    set -l skip
    for word in (commandline -opc)[2..-1]
        if set -q skip[1]
            set -e skip
        else if test "$word" = --
            set count dashes
            break
        else if contains -- $word (__pyrt_valued "$verb")
            set skip 1
        else if string match -q -- '-*' $word
            continue
        else if test -z "$verb"
            set verb $word
        else
            set count (math $count + 1)
        end
    end
    echo $verb
    echo $count
end

function __pyrt_before
    set -l line (__pyrt_line)
    test -z "$line[1]"
end

function __pyrt_verb # VERB [COUNT]
    set -l line (__pyrt_line)
    test "$line[1]" = "$argv[1]"; or return
    set -q argv[2]; or test "$line[2]" != dashes; or return
    not set -q argv[2]; or test "$line[2]" = "$argv[2]"
end

function __pyrt_ids
    set -l words (commandline -opc)
    set -l root
    for index in (seq (count $words))
        switch $words[$index]
            case '--root=*'
                set root $words[$index]
            case --root
                set root --root $words[(math $index + 1)]
        end
    end
    pyrt $root list --quiet 2>/dev/null
end

complete -c pyrt -f
"""


def _fish() -> str:
    lines = [
        f"# fish completion for pyrt, {_MADE} fish",
        "",
        "function __pyrt_valued # flags of a verb that take a value",
        "    switch $argv[1]",
    ]
    for verb in (GLOBAL, *VERBS):
        valued = " ".join(name for flag in _flags(verb) if flag.value is not None for name in flag.flags)
        if valued:
            lines += [f"        case {verb or _quoted('')}", f"            printf '%s\\n' {valued}"]
    lines += ["    end", "end"]
    text = "\n".join(lines) + _FISH
    rows = [f"complete -c pyrt -n __pyrt_before -a {verb.name} -d {_quoted(verb.help)}" for verb in VERBS.values()]
    for verb in (GLOBAL, *VERBS):
        condition = _quoted(f"__pyrt_verb {verb}") if verb else "__pyrt_before"
        for flag in _flags(verb):
            names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in flag.flags)
            values = {None: "", "dir": " -x -a '(__fish_complete_directories)'", "file": " -r -F", "word": " -x"}
            value = values.get(flag.value) if flag.value in values else f" -x -a {_quoted(flag.value or '')}"
            rows.append(f"complete -c pyrt -n {condition} {names}{value} -d {_quoted(flag.help)}")
    for verb in VERBS:
        kind = _argument(verb)
        if kind in ("id", "ids"):
            asked = f"__pyrt_verb {verb}{' 0' if kind == 'id' else ''}"
            rows.append(f"complete -c pyrt -n {_quoted(asked)} -a '(__pyrt_ids)'")
    rows.append(f"complete -c pyrt -n '__pyrt_verb kill 1' -a {_quoted(' '.join(_SIGNALS))}")
    rows.append(f"complete -c pyrt -n '__pyrt_verb completion 0' -a {_quoted(' '.join(SHELLS))}")
    rows.append("complete -c pyrt -n '__pyrt_verb run dashes' -a '(__fish_complete_command)'")
    return text + "\n".join(rows) + "\n"


def _quoted(text: str) -> str:
    """For all three shells: in single quotes, with those inside between others."""
    return "'" + text.replace("'", "'\"'\"'") + "'"


def _escaped(text: str, special: str) -> str:
    for character in "\\" + special:
        text = text.replace(character, f"\\{character}")
    return text


SHELLS = {"bash": _bash, "zsh": _zsh, "fish": _fish}
