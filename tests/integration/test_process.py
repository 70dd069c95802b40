"""The program of a container: found early, run as who and where the config says, and how it ends, in both shapes of container.

Neighbours: test_capabilities.py, test_signals.py (dispositions, waiting with a hostile SIGCHLD), test_terminal.py.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

import pyrt
from helpers import engine
from helpers.bundles import Bundle
from helpers.commands import PYRT, Command
from helpers.proc import held, status, status_of
from helpers.waiting import SOON

LIMITS = {
    "RLIMIT_CORE": ("Max core file size", 0, 0),
    "RLIMIT_NOFILE": ("Max open files", 64, 128),
    "RLIMIT_NPROC": ("Max processes", 100, 200),
    "RLIMIT_FSIZE": ("Max file size", 1 << 20, 1 << 21),
    "RLIMIT_STACK": ("Max stack size", 1 << 20, 1 << 22),
    "RLIMIT_CPU": ("Max cpu time", 60, 120),
    "RLIMIT_AS": ("Max address space", 1 << 30, 1 << 31),
    "RLIMIT_MEMLOCK": ("Max locked memory", 4096, 8192),
}


def output(*args: str, rootfs: Path, **options: Any) -> str:
    """What the command wrote, in the library's form."""
    done = pyrt.run(args, rootfs=rootfs, capture_output=True, text=True, check=True, **options)
    assert done.stderr == ""
    return done.stdout


def until_it_forwards(process: subprocess.Popen[str], out: int) -> None:
    """Until the program has written something, and the command reads signals instead of dying of them."""
    terminate = 1 << signal.SIGTERM - 1
    while os.fstat(out).st_size == 0 or not int(status_of(process.pid)["SigBlk"], 16) & terminate:
        assert process.poll() is None


# Arguments, environment, directory


def test_arguments_arrive_as_they_are(command: Command, bundle: Bundle) -> None:
    words = ["one two", "", "ü", "$HOME", "-n"]
    said = engine.run(command, bundle, "sh", "-c", 'for word; do echo "<$word>"; done', "name", *words).ok().stdout
    assert said.splitlines() == [f"<{word}>" for word in words]


def test_the_environment_is_the_configs_and_nothing_else(command: Command, bundle: Bundle) -> None:
    bundle.process["env"] = ["PATH=/bin", "HOME=/nowhere", "EMPTY=", "TWO=a=b", "ODD=ü"]
    said = engine.run(command, bundle, "env", env={"OF_THE_CALLER": "secret"}).ok().stdout
    assert sorted(said.splitlines()) == sorted(bundle.process["env"])


def test_the_librarys_environment_has_nothing_of_the_callers(rootfs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_THE_CALLER", "secret")
    names = {line.partition("=")[0] for line in output("env", rootfs=rootfs).splitlines()}
    assert names == {"PATH", "HOME", "LANG", "TERM"}
    assert "OF_THE_CALLER=secret" in output("env", rootfs=rootfs, inherit_env=["OF_THE_CALLER"])


def test_it_starts_in_its_directory(command: Command, bundle: Bundle) -> None:
    bundle.process["cwd"] = "/usr/../home/."
    assert engine.run(command, bundle, "pwd").ok().stdout == "/home\n"


def test_a_missing_directory_is_made_for_a_bundle_as_runc_does(command: Command, bundle: Bundle) -> None:
    """Of a root that is read-only, and below a mount too; a link in the image does not lead it out."""
    bundle.spec["root"]["readonly"] = True
    bundle.process["cwd"] = "/no/such"
    assert engine.run(command, bundle, "sh", "-c", "pwd; stat -c '%a %u' .").ok().stdout == "/no/such\n755 0\n"
    bundle.process["cwd"] = "/dev/made/here"
    assert engine.run(command, bundle, "pwd").ok().stdout == "/dev/made/here\n"
    outside = bundle.path / "outside"
    outside.mkdir()
    (bundle.rootfs / "out").symlink_to(outside)
    (bundle.rootfs / outside.relative_to("/")).mkdir(parents=True)
    bundle.process["cwd"] = "/out/made"
    assert engine.run(command, bundle, "pwd").ok().stdout == f"{outside}/made\n"
    assert list(outside.iterdir()) == []


def test_a_missing_directory_that_cannot_be_made_is_named(command: Command, bundle: Bundle) -> None:
    bundle.process["cwd"] = "/proc/made"
    said = engine.refused(engine.run(command, bundle, "pwd"))
    assert said.startswith("make working directory /proc/made: no such file or directory (ENOENT)")


def test_a_directory_that_is_a_file_is_named(command: Command, bundle: Bundle) -> None:
    bundle.process["cwd"] = "/etc/passwd"
    assert engine.refused(engine.run(command, bundle, "pwd")).startswith("change directory to /etc/passwd: not a directory (ENOTDIR)")


def test_a_directory_that_the_user_may_not_enter_is_refused(command: Command, bundle: Bundle) -> None:
    bundle.process.update(user={"uid": 1000, "gid": 1000}, cwd="/root")
    (bundle.rootfs / "root").chmod(0o700)
    assert engine.refused(engine.run(command, bundle, "pwd")).startswith("change directory to /root: permission denied (EACCES)")


def test_a_directory_that_is_not_absolute_is_refused(command: Command, bundle: Bundle) -> None:
    bundle.process["cwd"] = "home"
    assert engine.refused(engine.run(command, bundle, "pwd")) == 'config.json: process.cwd: "home" is not an absolute path'


def test_dots_cannot_lead_above_the_root(command: Command, bundle: Bundle) -> None:
    bundle.process["cwd"] = "/../../home"
    assert engine.run(command, bundle, "pwd").ok().stdout == "/home\n"


# Identity and limits


def test_user_groups_and_umask_are_the_configs(command: Command, bundle: Bundle) -> None:
    bundle.process["user"] = {"uid": 1000, "gid": 2000, "additionalGids": [5, 7], "umask": 0o137}
    said = status(engine.run(command, bundle, "cat", "/proc/self/status").ok().stdout)
    assert said["Uid"] == "1000 1000 1000 1000"
    assert said["Gid"] == "2000 2000 2000 2000"
    assert said["Groups"] == "5 7"
    assert said["Umask"] == "0137"


def test_without_additional_groups_there_are_none(command: Command, bundle: Bundle) -> None:
    """Not the caller's."""
    assert status(engine.run(command, bundle, "cat", "/proc/self/status").ok().stdout)["Groups"] == ""


def test_the_default_umask_is_022(command: Command, bundle: Bundle) -> None:
    before = os.umask(0o077)
    try:
        assert status(engine.run(command, bundle, "cat", "/proc/self/status").ok().stdout)["Umask"] == "0022"
    finally:
        os.umask(before)


def test_resource_limits_are_the_configs(command: Command, bundle: Bundle) -> None:
    bundle.process["rlimits"] = [{"type": name, "soft": soft, "hard": hard} for name, (_, soft, hard) in LIMITS.items()]
    lines = engine.run(command, bundle, "cat", "/proc/self/limits").ok().stdout.splitlines()
    found = {line[:26].strip(): line[26:].split()[:2] for line in lines}
    for words, soft, hard in LIMITS.values():
        assert (words, found[words]) == (words, [str(soft), str(hard)])


def test_a_limit_above_its_hard_limit_is_refused_by_its_place(command: Command, bundle: Bundle) -> None:
    bundle.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 2, "hard": 1}]
    assert engine.refused(engine.run(command, bundle, "true")) == "config.json: process.rlimits[0].soft: is above hard"


def test_a_limit_that_is_named_twice_is_refused(command: Command, bundle: Bundle) -> None:
    bundle.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 1}] * 2
    assert engine.refused(engine.run(command, bundle, "true")).startswith("config.json: process.rlimits[1]: RLIMIT_NOFILE is there twice")


@pytest.mark.skipif("CAP_SYS_RESOURCE" in held(), reason="this host's root may raise limits")
def test_a_limit_that_the_caller_may_not_raise_is_named(command: Command, bundle: Bundle) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    bundle.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": hard + 1, "hard": hard + 1}]
    said = engine.refused(engine.run(command, bundle, "true"))
    assert said == (
        "set resource limit RLIMIT_NOFILE: operation not permitted (EPERM); "
        "raising a hard limit needs CAP_SYS_RESOURCE, which the caller lacks"
    )


@pytest.mark.parametrize("form", ["engine", "library"])
def test_oom_score_adj_is_set(command: Command, bundle: Bundle, form: str) -> None:
    bundle.process["oomScoreAdj"] = 321
    if form == "engine":
        said = engine.run(command, bundle, "cat", "/proc/self/oom_score_adj").ok().stdout
    else:
        bundle.args("cat", "/proc/self/oom_score_adj")
        said = pyrt.run(bundle=bundle.path, capture_output=True, text=True, check=True).stdout
    assert said == "321\n"


@pytest.mark.parametrize("wanted", [True, False])
def test_no_new_privs_is_as_the_config_says(command: Command, bundle: Bundle, wanted: bool) -> None:
    bundle.process["noNewPrivileges"] = wanted
    assert status(engine.run(command, bundle, "cat", "/proc/self/status").ok().stdout)["NoNewPrivs"] == str(int(wanted))


def test_it_has_a_session_and_a_process_group_of_its_own(command: Command, bundle: Bundle) -> None:
    fields = engine.run(command, bundle, "cat", "/proc/self/stat").ok().stdout.rpartition(")")[2].split()
    group, session, terminal = fields[2:5]
    assert (group, session, terminal) == ("1", "1", "0")


# Descriptors


@pytest.mark.parametrize("form", ["engine", "library"])
def test_no_descriptor_but_stdio_is_inherited(command: Command, bundle: Bundle, form: str) -> None:
    script = 'for fd in /proc/self/fd/*; do echo "${fd##*/}"; done'
    with tempfile.TemporaryFile() as leaked:
        descriptors = [os.dup2(leaked.fileno(), number, inheritable=True) for number in range(90, 95)]
        try:
            if form == "engine":
                said = engine.shell(command, bundle, script, pass_fds=descriptors).ok().stdout
            else:
                said = output("sh", "-c", script, rootfs=bundle.rootfs)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
    # The shell itself opens the directory as 3 to list it.
    assert said.split() == ["0", "1", "2", "3"]


@pytest.mark.parametrize("init", [True, False])
def test_kept_descriptors_start_at_3_in_their_order(rootfs: Path, init: bool) -> None:
    with tempfile.TemporaryFile("w+") as first, tempfile.TemporaryFile("w+") as second:
        passed = [second.fileno(), first.fileno()]
        script = "echo three >&3; echo four >&4; [ ! -e /proc/self/fd/5 ]"
        pyrt.run(["sh", "-c", script], rootfs=rootfs, pass_fds=passed, init=init, check=True)
        for file, said in ((second, "three\n"), (first, "four\n")):
            file.seek(0)
            assert file.read() == said


def test_many_kept_descriptors_change_places_without_loss(rootfs: Path) -> None:
    files = [tempfile.TemporaryFile("w+") for _ in range(20)]  # noqa: SIM115 - closed below
    try:
        passed = [file.fileno() for file in reversed(files)]
        output("sh", "-c", 'fd=3; while [ $fd -lt 23 ]; do eval "echo $fd >&$fd"; fd=$((fd+1)); done', rootfs=rootfs, pass_fds=passed)
        for number, file in enumerate(reversed(files), 3):
            file.seek(0)
            assert file.read() == f"{number}\n"
    finally:
        for file in files:
            file.close()


def test_preserve_fds_keeps_so_many_after_stdio(command: Command, bundle: Bundle, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    bundle.shell("echo kept >&3; ls /proc/self/fd")
    line = [str(PYRT), "--root", str(command.root), "run", "--bundle", str(bundle.path), "--preserve-fds", "1", "c"]
    done = subprocess.run(["sh", "-c", f'exec "$@" 3>{kept} 4>&3', "sh", *line], capture_output=True, text=True, check=True)
    assert kept.read_text() == "kept\n"
    # 4 is ls's own: it reads the directory.
    assert done.stdout.split() == ["0", "1", "2", "3", "4"]


def test_descriptors_to_preserve_that_are_not_open_are_refused(command: Command, bundle: Bundle) -> None:
    said = engine.refused(engine.run(command, bundle, "true", options=("--preserve-fds", "7")))
    assert said.startswith("descriptor ")
    assert "is to be preserved, but is not open" in said


# The program is found by create


def test_a_missing_program_is_found_by_create_in_the_words_that_engines_match(command: Command, bundle: Bundle) -> None:
    result = command("create", "--bundle", bundle.args("no-such-program").path, "missing")
    assert engine.refused(result) == 'exec: "no-such-program": executable file not found in $PATH'
    assert command("list", "--quiet").ok().stdout == ""


def test_a_missing_path_is_named(command: Command, bundle: Bundle) -> None:
    assert engine.refused(engine.run(command, bundle, "/no/such")) == 'exec: "/no/such": no such file or directory'


def test_a_file_that_is_not_executable_is_permission_denied(command: Command, bundle: Bundle) -> None:
    assert engine.refused(engine.run(command, bundle, "/etc/passwd")) == 'exec: "/etc/passwd": permission denied'


def test_a_directory_is_not_a_program(command: Command, bundle: Bundle) -> None:
    assert engine.refused(engine.run(command, bundle, "/etc")) == 'exec: "/etc": permission denied: it is a directory'


def test_a_file_that_nobody_can_execute_is_named_by_run(command: Command, bundle: Bundle) -> None:
    program = bundle.rootfs / "bin/nonsense"
    program.write_bytes(b"\x7fnothing")
    program.chmod(0o755)
    assert engine.refused(engine.run(command, bundle, "nonsense")) == 'exec: "nonsense": exec format error'


def test_a_script_whose_interpreter_is_missing_is_named(command: Command, bundle: Bundle) -> None:
    program = bundle.rootfs / "bin/script"
    program.write_text("#!/no/such/interpreter\n")
    program.chmod(0o755)
    said = engine.refused(engine.run(command, bundle, "script"))
    assert said == 'exec: "script": no such file or directory; it is there, but not the interpreter that it names'


def test_the_path_of_the_config_is_what_counts(command: Command, bundle: Bundle) -> None:
    program = bundle.rootfs / "srv/mine"
    program.write_text("#!/bin/sh\necho found\n")
    program.chmod(0o755)
    bundle.process["env"] = ["PATH=/home:/srv"]
    assert engine.run(command, bundle, "mine").ok().stdout == "found\n"


def test_a_name_with_a_slash_is_relative_to_its_directory(command: Command, bundle: Bundle) -> None:
    bundle.process["cwd"] = "/bin"
    assert engine.run(command, bundle, "./echo", "here").ok().stdout == "here\n"


def test_the_library_raises_the_same_as_subprocess(rootfs: Path) -> None:
    with pytest.raises(FileNotFoundError) as missing:
        pyrt.run(["no-such-program"], rootfs=rootfs)
    assert isinstance(missing.value, pyrt.MissingExecutable)
    assert missing.value.filename == "no-such-program"
    with pytest.raises(PermissionError) as forbidden:
        pyrt.run(["/etc/passwd"], rootfs=rootfs)
    assert isinstance(forbidden.value, pyrt.ForbiddenExecutable)
    assert forbidden.value.filename == "/etc/passwd"


# The end


@pytest.mark.parametrize("code", [0, 1, 113, 125, 127, 128, 137, 255])
def test_the_exit_status_is_the_programs_own(command: Command, bundle: Bundle, rootfs: Path, code: int) -> None:
    assert engine.shell(command, bundle, f"exit {code}").status == code
    assert pyrt.run(["sh", "-c", f"exit {code}"], rootfs=rootfs).returncode == code


@pytest.mark.parametrize("init", [True, False])
def test_every_exit_status_comes_back(rootfs: Path, init: bool) -> None:
    codes = range(0, 256, 15)
    assert [pyrt.run(["sh", "-c", f"exit {code}"], rootfs=rootfs, overlay=False, init=init).returncode for code in codes] == list(codes)


@pytest.mark.parametrize("name", ["KILL", "TERM", "HUP", "INT", "ABRT", "SEGV", "USR1", "PIPE"])
def test_a_signal_that_ends_the_command_is_its_negative(rootfs: Path, name: str) -> None:
    """With a PID 1 above it, as subprocess has it; for a PID 1 itself the kernel ignores them."""
    done = pyrt.run(["sh", "-c", f"kill -{name} $$"], rootfs=rootfs)
    assert done.returncode == -signal.Signals[f"SIG{name}"]


def test_pid_1_itself_cannot_end_itself_by_a_signal(rootfs: Path) -> None:
    assert pyrt.run(["sh", "-c", "kill -KILL $$; exit 3"], rootfs=rootfs, init=False).returncode == 3


def test_a_signal_from_outside_is_128_and_its_number_for_the_command(command: Command, bundle: Bundle, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    bundle.args("sleep", "1000")
    process = command.start("run", "--bundle", bundle.path, "--pid-file", pid_file, "ended")
    while not (pid_file.exists() and command("state", "ended").json["status"] == "running"):
        assert process.poll() is None
    command("kill", "ended", "KILL").ok()
    assert process.wait(SOON) == 128 + signal.SIGKILL


def test_the_command_is_a_child_of_pid_1(rootfs: Path) -> None:
    said = status(output("cat", "/proc/self/status", rootfs=rootfs))
    assert (said["Pid"], said["PPid"]) == ("2", "1")
    assert status(output("cat", "/proc/self/status", rootfs=rootfs, init=False))["Pid"] == "1"


def test_pid_1_reaps_orphans(rootfs: Path) -> None:
    # Those that have ended keep their names until they are reaped.
    script = "(sleep 0 & sleep 0 &); while grep -qs '(sleep)' /proc/[0-9]*/stat; do :; done; echo reaped"
    assert output("sh", "-c", script, rootfs=rootfs, timeout=SOON) == "reaped\n"


def test_what_the_command_leaves_running_ends_with_it(rootfs: Path) -> None:
    assert output("sh", "-c", "sleep 1000 & sleep 1000 & echo done", rootfs=rootfs) == "done\n"


def test_pid_1_passes_signals_on_to_the_command(command: Command, rootfs: Path) -> None:
    with tempfile.TemporaryFile("w+") as out:
        script = "trap 'echo got TERM; exit 5' TERM; echo ready; while :; do sleep 0.05; done"
        process = command.start("run", "--rootfs", rootfs, "--", "sh", "-c", script, stdout=out)
        until_it_forwards(process, out.fileno())
        process.send_signal(signal.SIGTERM)
        assert process.wait(SOON) == 5
        out.seek(0)
        assert out.read() == "ready\ngot TERM\n"


def test_sigterm_ends_a_command_that_does_not_handle_it(command: Command, rootfs: Path) -> None:
    """As PID 1 it would be ignored."""
    with tempfile.TemporaryFile("w+") as out:
        process = command.start("run", "--rootfs", rootfs, "--", "sh", "-c", "echo ready; exec sleep 1000", stdout=out)
        until_it_forwards(process, out.fileno())
        process.send_signal(signal.SIGTERM)
        assert process.wait(SOON) == 128 + signal.SIGTERM


def test_input_and_output_are_the_callers(command: Command, bundle: Bundle) -> None:
    result = engine.shell(command, bundle, "cat; echo to stderr >&2", input="from stdin\n").ok()
    assert (result.stdout, result.stderr) == ("from stdin\n", "to stderr\n")


def test_a_closed_pipe_ends_the_program_by_sigpipe(rootfs: Path) -> None:
    """CPython ignores SIGPIPE, and an ignored signal would survive the exec."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        assert pyrt.run(["sh", "-c", "while :; do echo y; done"], rootfs=rootfs, stdout=writing).returncode == -signal.SIGPIPE
    finally:
        os.close(writing)


def test_devnull_is_the_librarys_standard_input(rootfs: Path) -> None:
    assert subprocess.DEVNULL == pyrt.DEVNULL
    assert output("readlink", "/proc/self/fd/0", rootfs=rootfs) == "/dev/null\n"
