"""What cannot work is refused with one clear line: what, where in the file or which call on which path, errno, what to do; nothing stays.

Neighbours: test_command_line.py (wrong flags), test_lifecycle.py (wrong states), test_cgroups.py (limits that cannot be). The fixture
`refused` checks what holds for every line here.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pyrt
from helpers import cgroups
from helpers.bundles import Bundle
from helpers.commands import PYRT, Command

NOBODY = 65534
Refused = Callable[..., str]


@pytest.fixture
def refused(command: Command, bundle: Bundle) -> Refused:
    """Run the bundle by `create` and by `run`: exit status 1, one line on stderr and the same in the log, nothing stays. Returns it."""

    def check(*options: str | os.PathLike[str], id: str = "bad") -> str:
        lines = []
        log = bundle.path / "log"
        for verb in ("create", "run"):
            log.unlink(missing_ok=True)
            line = [verb, "--bundle", bundle.path, *options, id]
            done = command(*line, global_options=["--log", str(log), "--log-format", "json"])
            assert (done.status, done.stdout) == (1, "")
            assert done.stderr.startswith("pyrt: "), done.stderr
            assert done.stderr.count("\n") == 1, done.stderr
            assert "internal error" not in done.stderr
            entry = json.loads(log.read_text().splitlines()[-1])
            assert entry["level"] == "error"
            assert done.stderr == f"pyrt: {entry['msg']}\n"
            lines.append(entry["msg"])
        assert lines[0] == lines[1]
        assert not command.root.exists() or list(command.root.iterdir()) == []
        assert not cgroups.exists(f"/pyrt-{id}")
        return str(lines[0])

    return check


# The file


def test_a_missing_config_is_named_with_the_way_to_get_one(bundle: Bundle, refused: Refused) -> None:
    (bundle.path / "config.json").unlink()
    line = refused()
    assert line.startswith(f"read {bundle.path}/config.json: no such file or directory (ENOENT); ")
    assert "pyrt spec" in line


def test_a_missing_bundle_is_named(command: Command, tmp_path: Path) -> None:
    done = command("run", "--bundle", tmp_path / "missing", "bad")
    assert done.status == 1
    assert done.stderr.startswith(f"pyrt: open bundle {tmp_path}/missing: no such file or directory (ENOENT); a bundle holds config.json")


def test_a_bundle_that_is_a_file_is_named(command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = command("run", "--bundle", tmp_path / "file", "bad")
    assert (done.status, "not a directory (ENOTDIR)" in done.stderr) == (1, True)


@pytest.mark.parametrize("content", ["", "{", "not json", '{"ociVersion": }', "\0", "[" * 10_000], ids=repr)
def test_a_config_that_is_no_json_is_named_with_line_and_column(bundle: Bundle, refused: Refused, content: str) -> None:
    (bundle.path / "config.json").write_text(content)
    line = refused()
    assert line.startswith("config.json: ")
    assert re.search(r"line \d+ column \d+", line), line


@pytest.mark.parametrize("content", ["[]", "1", '"text"', "null"])
def test_a_config_that_is_no_object_is_refused(bundle: Bundle, refused: Refused, content: str) -> None:
    (bundle.path / "config.json").write_text(content)
    assert "config.json" in refused()


def test_a_config_that_is_a_directory_or_a_fifo_is_refused_and_does_not_hang(bundle: Bundle, refused: Refused) -> None:
    (bundle.path / "config.json").unlink()
    (bundle.path / "config.json").mkdir()
    assert "is a directory (EISDIR)" in refused()
    (bundle.path / "config.json").rmdir()
    os.mkfifo(bundle.path / "config.json")
    assert "no regular file" in refused()


def test_a_config_that_is_too_large_is_refused(bundle: Bundle, refused: Refused) -> None:
    with (bundle.path / "config.json").open("r+b") as file:
        file.truncate(1 << 30)
    assert "too large" in refused()


# Types and values, by their place in the file


def place(config: dict[str, Any], path: tuple[str | int, ...], value: object) -> None:
    *parents, last = path
    at: Any = config
    for name in parents:
        at = at[name]
    at[last] = value


WRONG: list[tuple[tuple[str | int, ...], object, str, str]] = [
    (("process", "args"), "sh", "process.args", "expected a sequence"),
    (("process", "args"), [], "process.args", "must name at least the program"),
    (("process", "args"), [""], "process.args[0]", "is empty"),
    (("process", "args"), ["a\0b"], "process.args[0]", "NUL"),
    (("process", "args"), ["sh", 1], "process.args[1]", "expected a string"),
    (("process", "env"), {"A": "1"}, "process.env", "expected a sequence"),
    (("process", "cwd"), "relative", "process.cwd", '"relative" is not an absolute path'),
    (("process", "cwd"), 1, "process.cwd", "expected"),
    (("process", "terminal"), "yes", "process.terminal", "expected a boolean"),
    (("process", "user", "uid"), -1, "process.user.uid", "-1"),
    (("process", "user", "uid"), "root", "process.user.uid", "expected u32"),
    (("process", "rlimits"), [{"type": "RLIMIT_NOFILE", "soft": 2, "hard": 1}], "process.rlimits[0].soft", "is above hard"),
    (("process", "rlimits"), [{"type": "RLIMIT_LUCK", "soft": 1, "hard": 1}], "process.rlimits[0].type", "RLIMIT_LUCK"),
    (("process",), None, "process", "is missing"),
    (("root", "path"), "", "root.path", "is empty"),
    (("ociVersion",), "2.0.0", "ociVersion", "2.0.0 is not supported"),
    (("ociVersion",), "one", "ociVersion", '"one" is not a version'),
    (("hostname",), 1, "hostname", "expected a string"),
    (("linux", "namespaces", 0, "type"), "gravity", "linux.namespaces[0].type", "gravity"),
    (("linux", "namespaces", 0, "path"), "relative", "linux.namespaces[0].path", '"relative" is not an absolute path'),
    (("linux", "namespaces", 1), {"type": "pid"}, "linux.namespaces[1]", "pid is there twice"),
    (("mounts", 0, "destination"), "", "mounts[0].destination", '"" is not an absolute path'),
    (("mounts", 0, "destination"), "/", "mounts[0].destination", "is the root itself"),
    (("mounts", 0, "destination"), "/a\0b", "mounts[0].destination", "NUL"),
    (("mounts", 0, "options"), "ro", "mounts[0].options", "expected a sequence"),
    (("mounts", 0, "options"), ["ro", "remount"], "mounts[0].options[1]", "remount has no meaning"),
    (("mounts", 0, "type"), "", "mounts[0].type", "is missing"),
    (("linux", "cgroupsPath"), "/a/../../b", "linux.cgroupsPath", "has a component that is no name"),
    (("linux", "resources"), {"memory": {"limit": "1G"}}, "linux.resources.memory.limit", "expected i64"),
    (("linux", "intelRdt"), {"closID": "x"}, "linux.intelRdt", "this version of pyrt cannot honour it"),
    (("process", "execCPUAffinity"), {"initial": "9-1"}, "process.execCPUAffinity.initial", '"9-1" is not a range of CPUs below 1024'),
    (("process", "execCPUAffinity"), {"final": "1024"}, "process.execCPUAffinity.final", '"1024" is not a range of CPUs below 1024'),
    (("vm",), {"kernel": {"path": "/kernel"}}, "vm", "is for another platform than Linux"),
    (("windows",), {"layerFolders": ["C:\\layer"]}, "windows", "is for another platform than Linux"),
    (("solaris",), {}, "solaris", "is for another platform than Linux"),
    (("zos",), {}, "zos", "is for another platform than Linux"),
]


@pytest.mark.parametrize(("path", "value", "where", "text"), WRONG, ids=[f"{where}={value!r}" for _, value, where, _ in WRONG])
def test_a_wrong_value_is_named_with_its_place(
    bundle: Bundle, refused: Refused, path: tuple[str | int, ...], value: object, where: str, text: str
) -> None:
    place(bundle.spec, path, value)
    bundle.write()
    line = refused()
    assert line.startswith(f"config.json: {where}: "), line
    assert text in line


def test_an_unknown_mount_type_is_named_with_call_and_errno(bundle: Bundle, refused: Refused) -> None:
    bundle.mount("/mnt", "antigravity")
    bundle.write()
    assert refused() == "mount antigravity on /mnt: no such device (ENODEV)"


def test_a_missing_rootfs_is_named_with_errno(bundle: Bundle, refused: Refused) -> None:
    bundle.spec["root"]["path"] = "missing"
    bundle.write()
    line = refused()
    assert f"{bundle.path}/missing" in line
    assert "no such file or directory (ENOENT)" in line


def test_a_missing_executable_is_named_in_the_words_that_engines_match(bundle: Bundle, refused: Refused) -> None:
    bundle.args("no-such-program")
    assert refused() == 'exec: "no-such-program": executable file not found in $PATH'


def test_a_missing_working_directory_of_a_bundle_is_made_or_named(command: Command, bundle: Bundle) -> None:
    bundle.process["cwd"] = "/no/such/directory"
    done = command("run", "--bundle", bundle.args("pwd").path, "cwd")
    if done.status:
        assert "change directory to /no/such/directory: no such file or directory (ENOENT)" in done.stderr
    else:
        assert done.stdout == "/no/such/directory\n"


def test_a_namespace_path_of_another_type_is_named(bundle: Bundle, refused: Refused) -> None:
    bundle.without_namespace("network")
    bundle.linux["namespaces"].append({"type": "network", "path": "/proc/self/ns/uts"})
    index = len(bundle.linux["namespaces"]) - 1
    bundle.write()
    line = refused()
    assert line.startswith(f"config.json: linux.namespaces[{index}]")
    assert "is of kind uts, not network" in line


def test_a_namespace_path_that_is_missing_is_named(bundle: Bundle, refused: Refused) -> None:
    bundle.without_namespace("network")
    bundle.linux["namespaces"].append({"type": "network", "path": "/no/such/ns"})
    bundle.write()
    line = refused()
    assert "/no/such/ns" in line
    assert "no such file or directory (ENOENT)" in line


def test_a_terminal_without_anybody_to_hold_it_is_refused(command: Command, bundle: Bundle) -> None:
    bundle.process["terminal"] = True
    done = command("create", "--bundle", bundle.args("sh").path, "bad")
    assert done.status == 1
    assert done.stderr == "pyrt: config.json: process.terminal: true, but nobody would hold the terminal; give --console-socket\n"


def test_descriptors_that_are_not_open_cannot_be_preserved(bundle: Bundle, refused: Refused) -> None:
    assert refused("--preserve-fds", "3").startswith("descriptor 3 is to be preserved, but is not open: bad file descriptor (EBADF)")


def test_a_console_socket_that_is_not_there_is_named(bundle: Bundle, refused: Refused, tmp_path: Path) -> None:
    line = refused("--console-socket", str(tmp_path / "missing"))
    assert line.startswith(f"connect to socket {tmp_path}/missing: no such file or directory (ENOENT)")


def test_an_unknown_key_is_a_warning_and_never_an_error(command: Command, bundle: Bundle) -> None:
    bundle.spec["unknownKey"] = {"deep": 1}
    bundle.linux["unknownToo"] = True
    done = command("run", "--bundle", bundle.args("true").path, "warned").ok()
    assert done.stderr.count("pyrt: warning: ") == 2
    assert "unknownKey" in done.stderr
    assert "linux.unknownToo" in done.stderr


# Ids


@pytest.mark.parametrize("id", ["a/b", "..", ".", "", "a b", "ä", "a\n", "../../etc", "x" * 201, "a\\b", "~"], ids=repr)
def test_an_invalid_id_is_refused_by_every_verb(command: Command, bundle: Bundle, id: str) -> None:
    bundle.args("true")
    for verb in ("create", "run", "start", "state", "kill", "delete"):
        options = ["--bundle", str(bundle.path)] if verb in ("create", "run") else []
        done = command(verb, *options, id)
        assert (done.status, done.stdout) == (1, "")
        assert done.stderr.startswith(f"pyrt: invalid container id {id!r}; an id is 1 to 200 letters"), done.stderr
        assert done.stderr.count("\n") == 1
    assert not command.root.exists() or list(command.root.iterdir()) == []


@pytest.mark.parametrize("id", ["a", "A-z_0+9.b", "x" * 200, "..."], ids=["short", "mixed", "longest", "dots"])
def test_every_id_that_the_rule_allows_works(command: Command, bundle: Bundle, id: str) -> None:
    command("run", "--bundle", bundle.args("true").path, "--keep", id).ok()
    command("delete", id).ok()


@pytest.mark.parametrize("id", ["a/b", "..", "", "a b"])
def test_the_library_refuses_an_invalid_id_too(runtime: pyrt.Runtime, bundle: Bundle, id: str) -> None:
    with pytest.raises(pyrt.SpecError, match="invalid container id"):
        runtime.create(id, bundle=bundle.path)
    with pytest.raises(pyrt.SpecError, match="invalid container id"):
        runtime.get(id)


@pytest.mark.parametrize("name", ["NOSUCH", "SIGNOSUCH", "65", "-1", "", "RTMAX+1"])
def test_an_unknown_signal_is_named(command: Command, bundle: Bundle, name: str) -> None:
    command("create", "--bundle", bundle.args("sleep", "100").path, "signal").ok()
    done = command("kill", "--", "signal", name)
    assert done.status == 1
    assert done.stderr == f"pyrt: unknown signal {name!r}; give a name such as TERM or SIGTERM, or a number from 0 to 64\n"


# Privileges


@pytest.fixture
def as_nobody(bundle: Bundle, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run pyrt as a user without any privilege, who can read its files and the bundle."""
    packages = Path(pyrt.__file__).resolve().parents[1]
    for path in (PYRT, packages):
        if subprocess.run(["test", "-r", path], user=NOBODY, group=NOBODY, extra_groups=[], check=False).returncode:
            pytest.skip(f"an ordinary user cannot read {path}")
    for parent in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        parent.chmod(parent.stat().st_mode | 0o055)
    state = tmp_path / "nobody"
    state.mkdir()
    os.chown(state, NOBODY, NOBODY)

    def run(*words: str | os.PathLike[str]) -> subprocess.CompletedProcess[str]:
        # An interpreter that everybody can reach: the virtual environment's may lead below /root.
        script = f"import sys; sys.path.insert(0, {str(packages)!r}); from pyrt.cli.main import command; command()"
        line = ["/usr/bin/python3", "-I", "-c", script, "--root", str(state / "state"), *map(str, words)]
        return subprocess.run(line, capture_output=True, text=True, user=NOBODY, group=NOBODY, extra_groups=[], check=False, cwd="/")

    return run


def test_without_privileges_a_bundle_is_refused_with_what_to_do(
    bundle: Bundle, as_nobody: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    bundle.args("true")
    done = as_nobody("run", "--bundle", bundle.path, "nobody")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("pyrt: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert re.search(r"operation not permitted \(EPERM\)|permission denied \(EACCES\)", done.stderr), done.stderr
    assert "; run as root" in done.stderr
    assert as_nobody("list", "-q").stdout == ""


def test_a_state_directory_that_cannot_be_made_is_named(bundle: Bundle) -> None:
    line = [str(PYRT), "--root", "/proc/no-such/state", "run", "--bundle", str(bundle.args("true").path), "x"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("pyrt: create state directory /proc/no-such")
    assert "no such file or directory (ENOENT)" in done.stderr
