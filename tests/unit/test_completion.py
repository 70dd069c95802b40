"""`pyrt completion SHELL`, in the real shells: bash and fish say what they would offer, zsh completes what is typed at its prompt.

Neighbours: test_manual.py (man pages, of the same tables), test_line.py (the tables).
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from helpers.commands import PYRT
from helpers.hosts import requires
from helpers.states import write_state
from helpers.terminals import Pty
from helpers.waiting import until
from pyrt.cli.completion import SHELLS, script
from pyrt.cli.table import GLOBAL, VERBS, options_of

Offered = Callable[[str], set[str]]


@pytest.fixture(params=[pytest.param(shell, marks=requires(shell)) for shell in ("bash", "fish")])
def offered(request: pytest.FixtureRequest, tmp_path: Path) -> Offered:
    """What the shell offers for the last word of a line."""
    file = tmp_path / "completion"
    file.write_text(script(request.param))

    def bash(line: str) -> set[str]:
        # readline makes words of its own of `=`.
        words = [word for part in line.split(" ") for word in (part.replace("=", " = ").split(" ") if "=" in part else [part])]
        made = f"source {file}; COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}; _pyrt"
        return run(["bash", "--norc", "-c", f'{made}; printf "%s\\n" "${{COMPREPLY[@]}}"'])

    def fish(line: str) -> set[str]:
        # A description follows a tab; of --flag=value the whole word is offered.
        return {
            word.split("\t")[0].rpartition("=")[2]
            for word in run(["fish", "--no-config", "-c", f"source {file}; complete -C {shlex.quote(line)}"])
        }

    def run(command: list[str]) -> set[str]:
        environment = {**os.environ, "PATH": f"{PYRT.parent}:{os.environ['PATH']}", "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True, timeout=60)
        assert done.stderr == ""
        return set(filter(None, done.stdout.split("\n")))

    shells: dict[str, Offered] = {"bash": bash, "fish": fish}
    return shells[request.param]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A state directory with containers web-1 and web-2."""
    for name in ("web-1", "web-2"):
        write_state(tmp_path / "root", name)
    return tmp_path / "root"


def test_every_verb_is_offered(offered: Offered) -> None:
    assert offered("pyrt ") >= set(VERBS)
    assert offered("pyrt che") == {"check", "checkpoint"}


@pytest.mark.parametrize("verb", ["restore", "kill", "list", "events"])
def test_every_flag_of_a_verb_is_offered_after_it_and_nothing_else(offered: Offered, verb: str) -> None:
    long = {flag for flag in options_of(verb) if flag.startswith("--")}
    assert {flag for flag in offered(f"pyrt {verb} --") if flag.startswith("--")} == long


def test_flags_before_the_verb_are_the_command_s(offered: Offered) -> None:
    assert {flag for flag in offered("pyrt --") if flag.startswith("--")} == {flag for flag in options_of(GLOBAL) if flag.startswith("--")}


def test_both_forms_flags_are_offered_for_run(offered: Offered) -> None:
    assert {"--bundle", "--rootfs", "--memory", "--detach"} <= offered("pyrt run --")


@pytest.mark.parametrize("line", ["pyrt list --format ", "pyrt list --format=", "pyrt --debug list -f "])
def test_the_values_that_a_flag_may_have_are_offered(offered: Offered, line: str) -> None:
    assert offered(line) == {"table", "json"}


def test_ids_come_from_the_state_directory_on_the_line(offered: Offered, root: Path) -> None:
    assert offered(f"pyrt --root {root} state ") == {"web-1", "web-2"}
    assert offered(f"pyrt --root={root} delete --force web-") == {"web-1", "web-2"}
    assert offered(f"pyrt --root {root} state web-1 ") == set()
    assert offered(f"pyrt --root {root} stats web-1 ") == {"web-1", "web-2"}


def test_a_new_id_is_not_offered_those_that_are_taken(offered: Offered, root: Path) -> None:
    for verb in ("create", "run", "restore"):
        assert not offered(f"pyrt --root {root} {verb} ") & {"web-1", "web-2"}


def test_signals_and_shells_are_offered_where_they_stand(offered: Offered) -> None:
    assert {"TERM", "KILL", "USR1"} <= offered("pyrt kill web ")
    assert offered("pyrt completion ") == set(SHELLS)


def test_a_flag_s_value_is_no_verb_and_no_argument(offered: Offered) -> None:
    assert offered("pyrt --root list kil") == {"kill"}
    assert {"--user", "--tty"} <= offered("pyrt exec --cwd /x --")


def test_after_two_dashes_commands_of_this_host_are_offered(offered: Offered) -> None:
    assert "pyrt" in offered("pyrt run --memory 1G -- pyr")


@requires("zsh")
def test_zsh_completes_verbs_flags_values_and_ids(root: Path, tmp_path: Path) -> None:
    """What it makes of a line when Tab is typed: a key of ours writes the line to a file."""
    functions, said = tmp_path / "functions", tmp_path / "said"
    functions.mkdir()
    (functions / "_pyrt").write_text(script("zsh"))
    (tmp_path / ".zshrc").write_text(
        f"fpath=({functions} $fpath); autoload -Uz compinit; compinit -D -u\n"
        f"show() {{ print -r -- $BUFFER >> {said}; BUFFER= }}; zle -N show; bindkey '^T' show; PS1='ready> '\n"
    )
    lines = {
        "pyrt comple": "pyrt completion ",
        "pyrt restore --man": "pyrt restore --manage-cgroups-mode=",
        "pyrt list --format j": "pyrt list --format json ",
        "pyrt list --format=t": "pyrt list --format=table ",
        f"pyrt --root {root} state we": f"pyrt --root {root} state web-",
        f"pyrt --root={root} kill web-1 US": f"pyrt --root={root} kill web-1 USR",
        "pyrt completion fi": "pyrt completion fish ",
        "pyrt run --rootf": "pyrt run --rootfs=",
    }

    def written(count: int) -> bool:
        return said.exists() and said.read_text().count("\n") == count

    environment = {**os.environ, "PATH": f"{PYRT.parent}:{os.environ['PATH']}", "ZDOTDIR": str(tmp_path), "TERM": "dumb"}
    with Pty(columns=200) as pty:
        shell = subprocess.Popen(
            ["zsh", "-i"], stdin=pty.slave, stdout=pty.slave, stderr=pty.slave, env=environment, cwd=tmp_path, start_new_session=True
        )
        try:
            pty.until(b"ready> ")
            for count, (typed, expected) in enumerate(lines.items(), start=1):
                pty.write(f"{typed}\t\x14".encode())
                until(partial(written, count), f"zsh completes {typed!r}")
                assert said.read_text().splitlines()[-1] == expected
        finally:
            shell.kill()
            shell.wait()


@pytest.mark.parametrize("shell", SHELLS)
def test_every_flag_is_in_the_text_for_every_shell(shell: str) -> None:
    text = script(shell)
    for verb in (GLOBAL, *VERBS):
        for flag in options_of(verb):
            shown = {"fish": f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}"}.get(shell, flag)
            assert shown in text, flag


def test_another_shell_is_refused() -> None:
    done = subprocess.run([PYRT, "completion", "tcsh"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "pyrt: there is completion for bash, zsh, fish, and not for 'tcsh'\n")
