"""The six hooks (runtime-spec, config.md "POSIX-platform Hooks"): when, where, with what on stdin, and what their failure does.

Neighbours: test_hook_programs.py (which file is executed, what it may say, what follows a failure).
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import pyrt
from helpers import engine
from helpers.commands import Command
from helpers.hooked import BEFORE, OUTSIDE, STAGES, Hooked
from helpers.proc import namespaces_of


def test_each_hook_runs_once_with_its_verb(command: Command, hooked: Hooked) -> None:
    command("create", "--bundle", hooked.bundle.args("sleep", "1000").path, "c").ok()
    assert hooked.stages() == ["prestart", "createRuntime", "createContainer"]
    command("start", "c").ok()
    assert hooked.stages() == ["prestart", "createRuntime", "createContainer", "poststart", "startContainer"]
    command("kill", "c", "KILL").ok()
    assert "poststop" not in hooked.stages()
    command("delete", "--force", "c").ok()
    assert hooked.stages() == ["prestart", "createRuntime", "createContainer", "poststart", "poststop", "startContainer"]


def test_run_calls_all_six(command: Command, hooked: Hooked) -> None:
    engine.run(command, hooked.bundle, "true").ok()
    assert sorted(hooked.stages()) == sorted(STAGES)
    assert [stage for stage in hooked.stages() if stage != "startContainer"] == [stage for stage in STAGES if stage != "startContainer"]


def test_the_state_on_stdin_has_the_hosts_pid_and_the_status_of_the_moment(command: Command, hooked: Hooked) -> None:
    command("create", "--bundle", hooked.bundle.args("sleep", "1000").path, "c").ok()
    pid = command("state", "c").json["pid"]
    command("start", "c").ok()
    command("delete", "--force", "c").ok()
    states = {entry.stage: entry.state for entry in hooked.entries()}
    assert {stage: state["status"] for stage, state in states.items()} == {
        "prestart": "creating",
        "createRuntime": "creating",
        "createContainer": "creating",
        "startContainer": "created",
        "poststart": "running",
        "poststop": "stopped",
    }
    assert {state["pid"] for stage, state in states.items() if stage != "poststop"} == {pid}
    for state in states.values():
        assert state["id"] == "c"
        assert state["bundle"] == str(hooked.bundle.path)
        assert state["annotations"] == {"org.example.key": "value"}
        assert state["ociVersion"].startswith("1.")


def test_the_pid_is_the_hosts_also_in_a_given_pid_namespace(runtime: pyrt.Runtime, hooked: Hooked) -> None:
    """There the process is a second clone, and the first one's number would be wrong."""
    with pyrt.Namespaces.create("pid") as made:
        namespaces = hooked.bundle.linux["namespaces"]
        next(entry for entry in namespaces if entry["type"] == "pid")["path"] = f"/proc/{os.getpid()}/fd/{made.pid.fd}"
        container = runtime.create("c", bundle=hooked.bundle.args("sleep", "1000").path)
        assert hooked.of("createRuntime").state["pid"] == container.pid
        container.delete()


def test_hooks_of_the_runtime_run_in_its_namespaces_and_the_others_in_the_containers(command: Command, hooked: Hooked) -> None:
    hosts = {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in ("mnt", "net")}
    command("create", "--bundle", hooked.bundle.args("sleep", "1000").path, "c").ok()
    command("start", "c").ok()
    inside = namespaces_of(command("state", "c").json["pid"])
    command("delete", "--force", "c").ok()
    for entry in hooked.entries():
        if entry.stage in OUTSIDE:
            assert (entry.stage, entry.mount, entry.network) == (entry.stage, hosts["mnt"], hosts["net"])
        else:
            assert (entry.stage, entry.mount, entry.network) == (entry.stage, f"mnt:[{inside['mount']}]", f"net:[{inside['network']}]")


def test_only_start_container_sees_the_containers_root(command: Command, hooked: Hooked) -> None:
    engine.run(command, hooked.bundle, "true").ok()
    roots = {entry.stage: entry.root for entry in hooked.entries()}
    assert roots == {stage: "/home/of-the-container" if stage == "startContainer" else "" for stage in STAGES}


def test_create_container_finds_the_mounts_done_below_the_root_file_system(command: Command, hooked: Hooked) -> None:
    """It runs after everything is mounted and before the pivot."""
    hooked.fail("createContainer", f"cat /proc/self/mountinfo > {hooked.directory}/mounts; cat > /dev/null")
    engine.run(command, hooked.bundle, "true").ok()
    lines = (hooked.directory / "mounts").read_text().splitlines()
    types = {line.partition(" - ")[2].split()[0] for line in lines}
    assert {"devpts", "tmpfs", "proc"} <= types


def test_hooks_of_a_stage_run_in_their_order(command: Command, hooked: Hooked) -> None:
    hooked.bundle.spec["hooks"]["createRuntime"] = [hooked.entry(name) for name in ("first", "second", "third")]
    engine.run(command, hooked.bundle, "true").ok()
    assert [stage for stage in hooked.stages() if stage in ("first", "second", "third")] == ["first", "second", "third"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_hook_has_its_own_arguments_and_environment(
    command: Command, hooked: Hooked, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_CALLER", "secret")
    log = "/home/said" if stage == "startContainer" else str(hooked.directory / "said")
    path = hooked.fail(stage, f'echo "$0|$1|$2" > {log}; /bin/busybox env >> {log}; umask >> {log}')
    hooked.bundle.spec["hooks"][stage] = [{"path": path, "args": ["name", "a b", ""], "env": ["ONE=1", "TWO=a=b"]}]
    engine.run(command, hooked.bundle, "true").ok()
    said = Path(f"{hooked.bundle.rootfs}{log}" if stage == "startContainer" else log).read_text().splitlines()
    # A script's $0 is its path: the kernel hands the interpreter that instead of the given name.
    assert said[0] == f"{path}|a b|"
    assert {line for line in said[1:] if line.partition("=")[0] not in ("PWD", "SHLVL", "_", "OLDPWD")} >= {"ONE=1", "TWO=a=b"}
    assert not any("OF_THE_CALLER" in line for line in said)
    assert said[-1] == "0022"


@pytest.mark.parametrize("stage", BEFORE)
def test_a_failing_hook_fails_its_verb_and_leaves_nothing(command: Command, hooked: Hooked, stage: str) -> None:
    path = hooked.fail(stage)
    result = command("run", "--bundle", hooked.bundle.shell("echo ran").path, "c")
    said = engine.refused(result)
    assert said.startswith("run ")
    assert path in said
    assert said.endswith("it ended with status 7")
    assert result.stdout == ""
    assert "poststart" not in hooked.stages()
    assert command("list", "--quiet").ok().stdout == ""


@pytest.mark.parametrize("stage", ["prestart", "createRuntime", "createContainer"])
def test_a_failing_hook_of_create_fails_create(command: Command, hooked: Hooked, stage: str) -> None:
    hooked.fail(stage)
    assert "it ended with status 7" in engine.refused(command("create", "--bundle", hooked.bundle.args("true").path, "c"))
    later = BEFORE[BEFORE.index(stage) + 1 :]
    assert not set(hooked.stages()) & set(later)
    assert command("list", "--quiet").ok().stdout == ""


def test_a_failing_start_container_hook_fails_start_and_the_program_never_runs(command: Command, hooked: Hooked) -> None:
    hooked.fail("startContainer")
    command("create", "--bundle", hooked.bundle.args("touch", "/home/ran").path, "c").ok()
    assert engine.refused(command("start", "c")) == "run startContainer hook 0 /bin/failing; it ended with status 7"
    assert command("state", "c").json["status"] == "stopped"
    assert not (hooked.bundle.rootfs / "home/ran").exists()
    command("delete", "c").ok()


def test_a_failing_poststart_hook_ends_the_container(command: Command, hooked: Hooked) -> None:
    """runtime.md, "Lifecycle" 9: an error, the container is stopped, and the lifecycle goes on at its end."""
    path = hooked.fail("poststart")
    command("create", "--bundle", hooked.bundle.args("sleep", "1000").path, "c").ok()
    assert engine.refused(command("start", "c")) == f"run poststart hook 0 {path}; it ended with status 7"
    assert command("list", "--quiet").ok().stdout == ""
    assert "poststop" in hooked.stages()


def test_a_failing_poststop_hook_is_a_warning_and_the_others_run(command: Command, hooked: Hooked) -> None:
    path = hooked.fail("poststop")
    hooked.bundle.spec["hooks"]["poststop"].append(hooked.entry("poststop"))
    command("create", "--bundle", hooked.bundle.args("true").path, "c").ok()
    result = command("delete", "c").ok()
    assert f"run poststop hook 0 {path}; it ended with status 7" in result.stderr
    assert "poststop" in hooked.stages()
    assert command("list", "--quiet").ok().stdout == ""


@pytest.mark.parametrize("stage", ["createRuntime", "createContainer"])
def test_a_hook_that_takes_too_long_is_killed_and_fails(command: Command, hooked: Hooked, stage: str) -> None:
    path = hooked.fail(stage, "exec sleep 1000")
    hooked.bundle.spec["hooks"][stage][0]["timeout"] = 1
    said = engine.refused(command("run", "--bundle", hooked.bundle.args("true").path, "c"))
    assert path in said
    assert "(ETIMEDOUT)" in said
    assert subprocess.run(["pgrep", "-f", f"{hooked.directory}/failing"], capture_output=True, check=False).stdout == b""


@pytest.mark.parametrize("stage", STAGES)
def test_a_missing_hook_is_named_with_its_path(command: Command, hooked: Hooked, stage: str) -> None:
    hooked.bundle.spec["hooks"][stage] = [{"path": "/no/such/hook"}]
    result = command("run", "--bundle", hooked.bundle.args("true").path, "c")
    assert "/no/such/hook" in result.stderr
    assert "no such file or directory (ENOENT)" in result.stderr
    assert result.status == (0 if stage == "poststop" else 1)
    assert command("list", "--quiet").ok().stdout == ""


def test_a_hook_that_a_signal_ends_is_named_so(command: Command, hooked: Hooked) -> None:
    hooked.fail("createRuntime", "kill -KILL $$")
    said = engine.refused(command("run", "--bundle", hooked.bundle.args("true").path, "c"))
    assert said.endswith("signal 9 ended it")


def test_a_hook_that_does_not_read_its_state_is_fine(command: Command, hooked: Hooked) -> None:
    for stage in STAGES:
        hooked.fail(stage, "exec </dev/null; exit 0")
    engine.run(command, hooked.bundle, "true").ok()


def test_a_relative_path_of_a_hook_is_refused_by_its_place(command: Command, hooked: Hooked) -> None:
    hooked.bundle.spec["hooks"]["poststop"] = [{"path": "hook"}]
    said = engine.refused(engine.run(command, hooked.bundle, "true"))
    assert said == 'config.json: hooks.poststop[0].path: "hook" is not an absolute path'


def test_a_timeout_of_0_is_refused_by_its_place(command: Command, hooked: Hooked) -> None:
    hooked.bundle.spec["hooks"]["prestart"][0]["timeout"] = 0
    assert engine.refused(engine.run(command, hooked.bundle, "true")) == "config.json: hooks.prestart[0].timeout: must be above 0"


def test_hooks_inherit_no_descriptor_of_the_caller(command: Command, hooked: Hooked) -> None:
    for stage in ("createRuntime", "createContainer"):
        hooked.fail(stage, f"ls /proc/$$/fd > {hooked.directory}/{stage}; cat >/dev/null")
    leaked = os.dup2(0, 97, inheritable=True)
    try:
        engine.run(command, hooked.bundle, "true", pass_fds=[leaked]).ok()
    finally:
        os.close(leaked)
    for stage in ("createRuntime", "createContainer"):
        numbers = (hooked.directory / stage).read_text().split()
        assert (stage, "97" in numbers) == (stage, False)


def test_a_container_of_run_has_all_six_too(hooked: Hooked) -> None:
    done = pyrt.run(["true"], bundle=hooked.bundle.write())
    assert (done.returncode, done.warnings) == (0, [])
    assert set(hooked.stages()) == set(STAGES)
    assert hooked.of("poststart").state["status"] == "running"
    assert hooked.of("poststop").state["status"] == "stopped"


def test_run_raises_what_a_poststart_hook_did(hooked: Hooked) -> None:
    path = hooked.fail("poststart")
    with pytest.raises(pyrt.Error, match="run poststart hook 0") as raised:
        pyrt.run(["sleep", "1000"], bundle=hooked.bundle.write())
    assert (raised.value.path, raised.value.hint) == (path, "it ended with status 7")
    assert "poststop" in hooked.stages()


def test_a_failing_poststop_hook_is_a_warning_of_run(hooked: Hooked) -> None:
    path = hooked.fail("poststop")
    done = pyrt.run(["true"], bundle=hooked.bundle.write())
    assert done.warnings == [f"run poststop hook 0 {path}; it ended with status 7"]
