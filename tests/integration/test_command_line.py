"""How the command is spelled and what it answers: flags, usage, logs, the version, and the exit codes of its two worlds.

Neighbours: test_lifecycle.py (what the verbs do), test_bad_input.py.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import pyrt
from helpers.bundles import Bundle
from helpers.commands import PYRT, Command
from helpers.hosts import requires
from helpers.waiting import SOON

ENGINE_VERBS = ("create", "run", "start", "state", "kill", "delete", "list", "pause", "resume", "spec")


# Flags


@pytest.mark.parametrize(
    "words",
    [
        ("--bundle", "{bundle}", "{id}"),
        ("-b", "{bundle}", "{id}"),
        ("-b{bundle}", "{id}"),
        ("--bundle={bundle}", "{id}"),
        ("-bundle", "{bundle}", "{id}"),
        ("{id}", "--bundle", "{bundle}"),
        ("--no-new-keyring", "--no-subreaper", "--bundle", "{bundle}", "--", "{id}"),
    ],
    ids=" ".join,
)
def test_flags_stand_before_or_after_the_id_in_every_spelling(command: Command, bundle: Bundle, words: tuple[str, ...]) -> None:
    bundle.args("echo", "ran")
    if "--" in words:
        # `--` chooses the people's form of run; create has only one.
        line = [word.format(bundle=bundle.path, id="spelled") for word in words if word != "--no-subreaper"]
        command("create", *line).ok()
        command("delete", "spelled").ok()
        return
    assert command("run", *(word.format(bundle=bundle.path, id="spelled") for word in words)).ok().stdout == "ran\n"


def test_joined_short_flags_are_read(command: Command, bundle: Bundle) -> None:
    command("create", "-b", bundle.args("sleep", "100").path, "joined").ok()
    command("delete", "-fr", "^joined$").ok()
    assert command("list", "-qfjson").ok().stdout == ""


def test_a_wrong_flag_prints_usage_and_gives_1(command: Command) -> None:
    for verb in ENGINE_VERBS:
        done = command(verb, "--no-such-flag")
        assert (done.status, done.stdout) == (1, "")
        first, second, *_ = done.stderr.splitlines()
        assert first == "pyrt: unknown flag: --no-such-flag"
        assert second.startswith(f"usage: pyrt {verb} ")


def test_a_wrong_global_flag_prints_usage_and_gives_1(command: Command) -> None:
    done = command("list", global_options=["--no-such-flag"])
    assert done.status == 1
    assert done.stderr.startswith("pyrt: unknown flag: --no-such-flag\nusage: pyrt ")


@pytest.mark.parametrize("verb", ["create", "start", "state", "kill", "delete"])
def test_a_missing_id_prints_usage_and_gives_1(command: Command, verb: str) -> None:
    done = command(verb)
    assert done.status == 1
    assert done.stderr.startswith(f"pyrt: {verb} takes ")
    assert f"\nusage: pyrt {verb} " in done.stderr


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("list", "--format", "yaml"), "--format is one of table, json, not 'yaml'"),
        (("create", "--preserve-fds", "many", "id"), "--preserve-fds takes a number, not 'many'"),
        (("create", "id", "--bundle"), "flag needs an argument: --bundle"),
        (("delete", "--force=perhaps", "id"), "--force is true or false, not 'perhaps'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_value_is_named(command: Command, words: tuple[str, ...], text: str) -> None:
    done = command(*words)
    assert done.status == 1
    assert done.stderr.startswith(f"pyrt: {text}\nusage: ")


def test_an_unknown_verb_gives_3(command: Command) -> None:
    done = command("frobnicate", "id")
    assert (done.status, done.stdout) == (3, "")
    assert done.stderr == "pyrt: unknown verb 'frobnicate'; pyrt --help lists them, and pyrt run -- CMD runs a command\n"


def test_a_command_without_two_dashes_is_answered_with_the_right_line(command: Command) -> None:
    done = command("run", "python3", "-c", "print(1)")
    assert done.status == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert "pyrt run -- python3 -c" in done.stderr


# Help and version


@pytest.mark.parametrize("flag", ["--version", "-v"])
def test_the_version_is_what_docker_reads(command: Command, flag: str) -> None:
    first, second, third, features = command(flag).ok().stdout.splitlines()
    assert first == f"pyrt version {pyrt.__version__}"
    assert second.startswith("commit: ")
    assert third == "spec: 1.3.0"
    assert {word[0] for word in features.split()} <= {"+", "-"}


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_lists_every_verb(command: Command, flag: str) -> None:
    text = command(flag).ok().stdout
    assert all(f"\n    {verb} " in text for verb in (*ENGINE_VERBS, "check")), text


@pytest.mark.parametrize("verb", [*ENGINE_VERBS, "check"])
def test_every_verb_has_a_page_with_its_flags(command: Command, verb: str) -> None:
    from pyrt.cli.table import options_of

    text = command(verb, "--help").ok().stdout
    assert text.startswith(f"usage: pyrt {verb} ")
    assert [flag for flag in options_of(verb) if flag not in text] == []


def test_the_people_s_form_has_a_page_of_its_own(command: Command) -> None:
    text = command("run", "--help", "--").ok().stdout
    assert text.startswith("usage: pyrt run [options] -- CMD [ARG...]\n")
    wanted = ("--rootfs", "--no-overlay", "--here", "--memory", "--cpus", "--pids", "--timeout", "--network", "--user", "--env")
    assert [flag for flag in (*wanted, "--workdir", "--mount", "--hostname", "--tty", "--interactive", "--name") if flag not in text] == []


def test_python_m_pyrt_is_the_same_command(root_dir: Path) -> None:
    by_module = subprocess.run([sys.executable, "-m", "pyrt", "--version"], capture_output=True, text=True, check=True)
    by_script = subprocess.run([PYRT, "--version"], capture_output=True, text=True, check=True)
    assert by_module.stdout == by_script.stdout
    done = subprocess.run(
        [sys.executable, "-m", "pyrt", "--root", root_dir, "run", "--", "sh", "-c", "exit 9"], capture_output=True, check=False
    )
    assert done.returncode == 9


def test_the_command_works_through_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "pyrt").symlink_to(PYRT)
    done = subprocess.run([tmp_path / "pyrt", "run", "--", "echo", "linked"], capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout == "linked\n"


def test_the_command_works_with_an_empty_environment() -> None:
    assert subprocess.run([PYRT, "run", "--", "echo", "bare"], capture_output=True, text=True, check=True, env={}).stdout == "bare\n"


def test_the_command_works_with_closed_stdio(command: Command, bundle: Bundle) -> None:
    line = f"exec {PYRT} --root {command.root} run --bundle {bundle.args('true').path} closed 0<&- 1>&- 2>&-"
    assert subprocess.run(["sh", "-c", line], check=False).returncode == 0


def test_check_tells_in_a_table_what_the_host_can_do(command: Command) -> None:
    done = command("check").ok()
    assert pyrt.__version__ in done.stdout
    assert all(name in done.stdout for name in ("overlay", "pid namespace", "memory"))
    assert done.stdout.rstrip().endswith("containers can run here")


# Logs


def test_the_json_log_has_the_error_and_stderr_says_it_too(command: Command, tmp_path: Path) -> None:
    log = tmp_path / "log"
    done = command("state", "missing", global_options=["--log", str(log), "--log-format", "json"])
    assert (done.status, done.stderr) == (1, "pyrt: container does not exist: missing\n")
    entry = json.loads(log.read_text())
    assert entry.keys() == {"level", "msg", "time"}
    assert (entry["level"], entry["msg"]) == ("error", "container does not exist: missing")


def test_the_text_log_is_appended_to(command: Command, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    command("state", "missing", global_options=["--log", str(log)])
    first, second = log.read_text().splitlines()
    assert first == "before"
    assert second.endswith('level=error msg="container does not exist: missing"')


def test_warnings_go_to_the_log_alone_where_there_is_one(command: Command, bundle: Bundle, tmp_path: Path) -> None:
    bundle.spec["unknownKey"] = 1
    bundle.args("true")
    without = command("run", "--bundle", bundle.path, "warned").ok()
    assert without.stderr.startswith("pyrt: warning: ")
    assert "unknownKey" in without.stderr
    log = tmp_path / "log"
    logged = command("run", "--bundle", bundle.path, "warned", global_options=["--log", str(log), "--log-format=json"]).ok()
    assert logged.stderr == ""
    entry = json.loads(log.read_text())
    assert (entry["level"], "unknownKey" in entry["msg"]) == ("warning", True)


def test_the_log_may_be_a_fifo_and_stderr(command: Command, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    command("state", "missing", global_options=["--log", str(tmp_path / "fifo"), "--log-format", "json"])
    assert json.loads(os.read(reader, 4096))["level"] == "error"
    os.close(reader)
    done = command("state", "missing", global_options=["--log", "/dev/stderr", "--log-format", "json"])
    lines = done.stderr.splitlines()
    assert lines[0] == "pyrt: container does not exist: missing"
    assert json.loads(lines[1])["msg"] == "container does not exist: missing"


def test_a_log_that_cannot_be_opened_is_named(command: Command, tmp_path: Path) -> None:
    done = command("list", global_options=["--log", str(tmp_path / "missing/log")])
    assert done.status == 1
    assert done.stderr == f"pyrt: open log {tmp_path}/missing/log: no such file or directory (ENOENT)\n"


def test_debug_says_more(command: Command, bundle: Bundle) -> None:
    done = command("run", "--bundle", bundle.args("true").path, "debug", global_options=["--debug"]).ok()
    assert "pyrt: container debug has init " in done.stderr


# spec


def test_spec_writes_a_config_that_runs_and_never_overwrites_one(command: Command, bundle: Bundle) -> None:
    (bundle.path / "config.json").unlink()
    command("spec", "--bundle", bundle.path).ok()
    config = json.loads((bundle.path / "config.json").read_text())
    assert config == pyrt.Spec().config
    done = command("spec", cwd=bundle.path)
    assert (done.status, done.stderr) == (1, "pyrt: config.json exists already; move it away first\n")
    config["process"]["terminal"] = False
    config["process"]["args"] = ["echo", "spec"]
    (bundle.path / "config.json").write_text(json.dumps(config))
    assert command("run", "--bundle", bundle.path, "spec").ok().stdout == "spec\n"


def test_spec_rootless_is_for_a_user_namespace(command: Command, tmp_path: Path) -> None:
    command("spec", "--rootless", "--bundle", tmp_path).ok()
    linux = json.loads((tmp_path / "config.json").read_text())["linux"]
    assert {"type": "user"} in linux["namespaces"]
    assert (linux["uidMappings"][0]["containerID"], linux["gidMappings"][0]["containerID"]) == (0, 0)


@requires("no systemd")
@pytest.mark.parametrize("option", [["--systemd-cgroup"], ["--cgroup-manager", "systemd"], ["--cgroup-manager=systemd"]], ids=" ".join)
def test_systemd_s_cgroups_without_systemd_are_refused_in_one_line(command: Command, bundle: Bundle, option: list[str]) -> None:
    done = command("run", "--bundle", bundle.args("true").path, "systemd", global_options=option)
    assert done.status == 1
    path, hint = "/run/systemd/private", "use --cgroup-manager cgroupfs where systemd does not run"
    assert done.stderr == f"pyrt: reach systemd at {path}: no such file or directory (ENOENT); {hint}\n"
    command("list", global_options=option).ok()


# The people's exit codes


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--", "sh", "-c", "exit 7"), 7),
        (("--", "sh", "-c", "kill -TERM $$"), 128 + signal.SIGTERM),
        (("--", "sh", "-c", "kill -KILL $$"), 128 + signal.SIGKILL),
        (("--", "/etc"), 126),
        (("--", "/etc/passwd"), 126),
        (("--", "no-such-program"), 127),
        (("--", "/no/such/program"), 127),
        (("--timeout", "0.1", "--", "sleep", "100"), 124),
        (("--rootfs", "/no/such/rootfs", "--", "true"), 125),
        (("--no-such-option", "--", "true"), 125),
        (("--memory", "lots", "--", "true"), 125),
        (("--workdir", "/no/such", "--", "true"), 125),
        (("--user", "no-such-user", "--", "true"), 125),
        (("--",), 125),
        (("true", "--", "true"), 125),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_the_people_s_form_has_docker_s_exit_codes(command: Command, words: tuple[str, ...], expected: int) -> None:
    done = command("run", *words)
    assert done.status == expected, done.stderr
    if expected in (125, 126, 127):
        assert done.stderr.startswith("pyrt: ")
        assert done.stderr.count("\n") == 1, done.stderr


def test_a_missing_program_is_named_in_the_words_that_engines_match(command: Command, bundle: Bundle) -> None:
    done = command("create", "--bundle", bundle.args("no-such-program").path, "missing")
    assert (done.status, done.stderr) == (1, 'pyrt: exec: "no-such-program": executable file not found in $PATH\n')
    done = command("create", "--bundle", bundle.args("/no/such/program").path, "missing")
    assert (done.status, done.stderr) == (1, 'pyrt: exec: "/no/such/program": no such file or directory\n')
    done = command("create", "--bundle", bundle.args("/etc/passwd").path, "missing")
    assert (done.status, done.stderr) == (1, 'pyrt: exec: "/etc/passwd": permission denied\n')
    done = command("create", "--bundle", bundle.args("/etc").path, "missing")
    assert (done.status, done.stderr) == (1, 'pyrt: exec: "/etc": permission denied: it is a directory\n')
    assert command("list", "-q").ok().stdout == ""


def test_the_people_s_options_reach_the_command(command: Command, rootfs: Path) -> None:
    options = ["--rootfs", str(rootfs), "--user", "1000:2000", "--env", "A=1", "-e", "B=2", "-w", "/tmp", "--hostname", "box", "-i"]
    script = "id -u; id -g; echo $A$B; pwd; hostname"
    assert command("run", *options, "--", "sh", "-c", script).ok().stdout.split() == ["1000", "2000", "12", "/tmp", "box"]


def test_a_variable_without_a_value_is_passed_on(command: Command) -> None:
    assert command("run", "-e", "PASSED", "--", "sh", "-c", "echo $PASSED", env={"PASSED": "on"}).ok().stdout == "on\n"


def test_the_people_s_mounts_and_read_only_root(command: Command, rootfs: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("of the host\n")
    options = ["--rootfs", str(rootfs), "--read-only", "--mount", f"type=bind,src={tmp_path},dst=/mnt,ro", "--mount", "type=tmpfs,dst=/srv"]
    done = command("run", *options, "--", "sh", "-c", "cat /mnt/file; touch /srv/new && echo written; touch /mnt/new /new").stdout
    assert done == "of the host\nwritten\n"


def test_the_name_is_the_cgroup_s_and_the_host_s(command: Command) -> None:
    assert command("run", "--name", "named", "--", "hostname").ok().stdout == "named\n"


def test_the_network_is_loopback_alone_unless_the_host_s_is_asked_for(command: Command) -> None:
    script = "ls /sys/class/net; cat /sys/class/net/lo/flags"
    assert command("run", "--", "sh", "-c", script).ok().stdout.split() == ["lo", "0x9"]
    own = os.readlink("/proc/self/ns/net")
    assert command("run", "--network", "host", "--", "readlink", "/proc/self/ns/net").ok().stdout == f"{own}\n"


def test_stdin_is_the_caller_s(command: Command) -> None:
    assert command("run", "--", "cat", input="through\n").ok().stdout == "through\n"


def test_ctrl_c_reaches_the_command_and_the_status_says_so(command: Command, tmp_path: Path) -> None:
    with (tmp_path / "output").open("w") as output:
        process = command.start("run", "--", "sh", "-c", "trap 'exit 9' INT; echo ready; while :; do sleep 0.01; done", stdout=output)
        while (tmp_path / "output").read_text() != "ready\n":
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(SOON) == 9
