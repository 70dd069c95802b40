"""From created to gone: create, start, state, kill, delete, list and run by the command, and the same by Runtime and Container.

Neighbours: test_command_line.py (how these are spelled), test_bad_input.py (what is refused before anything exists).
"""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest

import pyrt
from helpers import cgroups
from helpers.bundles import Bundle
from helpers.commands import Command
from helpers.waiting import SOON, runs, until

RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z")
TRAP = "trap 'exit 3' TERM; trap 'exit 4' USR1; echo ready; while :; do sleep 0.01; done"
"""A shell that ends with another status for each of two signals."""


def create(command: Command, bundle: Bundle, id: str, *args: str) -> None:
    command("create", "--bundle", bundle.args(*(args or ("sleep", "100"))).path, id).ok()


def status(command: Command, id: str) -> str:
    return str(command("state", id).ok().json["status"])


def wait_for(command: Command, id: str, wanted: str) -> None:
    until(lambda: status(command, id) == wanted, f"{id} is {wanted}")


# By the command


def test_a_container_goes_from_created_over_running_to_stopped_and_away(command: Command, bundle: Bundle) -> None:
    bundle.spec["root"]["readonly"] = False
    create(command, bundle, "life", "sh", "-c", "echo ran > /srv/ran; exec sleep 100")
    assert status(command, "life") == "created"
    assert not (bundle.rootfs / "srv/ran").exists(), "the program waits for start"
    command("start", "life").ok()
    assert status(command, "life") == "running"
    until(lambda: (bundle.rootfs / "srv/ran").exists(), "the program ran")
    command("kill", "life", "KILL").ok()
    wait_for(command, "life", "stopped")
    command("delete", "life").ok()
    done = command("state", "life")
    assert (done.status, done.stderr) == (1, "pyrt: container does not exist: life\n")


def test_state_prints_what_the_specification_and_runc_do(command: Command, bundle: Bundle) -> None:
    bundle.spec["annotations"] = {"org.example.key": "value"}
    create(command, bundle, "state")
    state = command("state", "state").ok().json
    pid, created = state.pop("pid"), state.pop("created")
    assert state == {
        "ociVersion": bundle.spec["ociVersion"],
        "id": "state",
        "status": "created",
        "bundle": str(bundle.path),
        "annotations": {"org.example.key": "value"},
        "rootfs": str(bundle.rootfs),
        "owner": "root",
    }
    assert os.path.exists(f"/proc/{pid}")
    assert RFC_3339.fullmatch(created)


def test_a_stopped_container_has_no_pid(command: Command, bundle: Bundle) -> None:
    create(command, bundle, "stopped", "true")
    command("start", "stopped").ok()
    wait_for(command, "stopped", "stopped")
    assert command("state", "stopped").ok().json["pid"] == 0


def test_the_init_that_waits_is_pid_1_inside_and_the_program_after_start(command: Command, bundle: Bundle) -> None:
    create(command, bundle, "init", "sleep", "100")
    pid = command("state", "init").ok().json["pid"]
    assert Path(f"/proc/{pid}/comm").read_text() == "pyrt-init\n"
    assert "\nNSpid:\t" in (text := Path(f"/proc/{pid}/status").read_text())
    assert text.partition("\nNSpid:\t")[2].splitlines()[0].split()[-1] == "1"
    command("start", "init").ok()
    # An execve closes what init says it by before the kernel writes down the name.
    until(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n", "it is the program")
    assert command("state", "init").ok().json["pid"] == pid


@pytest.mark.parametrize(
    ("words", "expected"), [(("TERM",), 3), ((), 3), (("SIGUSR1",), 4), ((str(int(signal.SIGUSR1)),), 4), (("usr1",), 4)]
)
def test_kill_takes_names_and_numbers_and_sends_term_unless_told(
    runtime: pyrt.Runtime, command: Command, bundle: Bundle, words: tuple[str, ...], expected: int
) -> None:
    read, write = os.pipe()
    container = runtime.create("trap", bundle=bundle.shell(TRAP).path, stdio=(0, write, write))
    container.start()
    os.close(write)
    assert os.read(read, 6) == b"ready\n"
    os.close(read)
    command("kill", "trap", *words).ok()
    assert container.wait(timeout=SOON) == expected
    container.delete()


def test_kill_of_a_stopped_container_says_that_it_is_not_running_but_kill_all_is_fine(command: Command, bundle: Bundle) -> None:
    create(command, bundle, "ended", "true")
    command("start", "ended").ok()
    wait_for(command, "ended", "stopped")
    done = command("kill", "ended", "KILL")
    assert done.status == 1
    assert done.stderr == "pyrt: container not running: cannot signal container ended, which is stopped\n"
    command("kill", "--all", "ended", "KILL").ok()
    command("kill", "-a", "ended", "9").ok()


def test_kill_all_reaches_every_process(command: Command, bundle: Bundle) -> None:
    create(command, bundle, "all", "sh", "-c", "trap '' TERM; sleep 100 & sleep 100 & wait; sleep 100")
    command("start", "all").ok()
    pid = command("state", "all").ok().json["pid"]
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    until(lambda: len(listed.read_text().split()) == 2, "both children are there")
    children = listed.read_text().split()
    command("kill", "--all", "all", "KILL").ok()
    wait_for(command, "all", "stopped")
    assert not [child for child in children if runs(int(child))]


def test_kill_of_a_created_container_ends_it(command: Command, bundle: Bundle) -> None:
    create(command, bundle, "waiting")
    command("kill", "waiting", "KILL").ok()
    wait_for(command, "waiting", "stopped")
    command("delete", "waiting").ok()


def test_a_created_container_can_be_deleted(command: Command, bundle: Bundle) -> None:
    create(command, bundle, "created")
    pid = command("state", "created").ok().json["pid"]
    command("delete", "created").ok()
    assert not runs(pid)
    assert not cgroups.exists("/pyrt-created")


def test_a_running_container_is_deleted_only_by_force(command: Command, bundle: Bundle) -> None:
    create(command, bundle, "running")
    command("start", "running").ok()
    done = command("delete", "running")
    assert done.status == 1
    assert done.stderr == (
        "pyrt: cannot delete container running: it is running, not created or stopped; kill it first, or use delete --force\n"
    )
    command("delete", "--force", "running").ok()
    assert command("list", "-q").ok().stdout == ""


def test_delete_force_of_a_missing_container_is_fine_and_delete_is_not(command: Command) -> None:
    command("delete", "--force", "missing").ok()
    command("delete", "-f", "missing").ok()
    done = command("delete", "missing")
    assert (done.status, done.stderr) == (1, "pyrt: container does not exist: missing\n")


@pytest.mark.parametrize("verb", ["start", "state", "kill", "delete", "pause", "resume"])
def test_a_verb_on_a_missing_container_says_so(command: Command, verb: str) -> None:
    done = command(verb, "missing")
    assert (done.status, done.stdout, done.stderr) == (1, "", "pyrt: container does not exist: missing\n")


def test_a_container_is_started_once(command: Command, bundle: Bundle) -> None:
    create(command, bundle, "once")
    command("start", "once").ok()
    done = command("start", "once")
    assert (done.status, done.stderr) == (1, "pyrt: cannot start container once: it is running, not created\n")


def test_start_of_a_container_whose_init_died_fails_and_does_not_hang(command: Command, bundle: Bundle) -> None:
    create(command, bundle, "dead")
    os.kill(command("state", "dead").ok().json["pid"], signal.SIGKILL)
    wait_for(command, "dead", "stopped")
    done = command("start", "dead")
    assert (done.status, done.stderr) == (1, "pyrt: cannot start container dead: it is stopped, not created\n")


def test_pause_and_resume(command: Command, bundle: Bundle) -> None:
    create(command, bundle, "paused")
    done = command("resume", "paused")
    assert (done.status, done.stderr) == (1, "pyrt: cannot resume container paused: it is created, not paused\n")
    command("start", "paused").ok()
    command("pause", "paused").ok()
    assert status(command, "paused") == "paused"
    done = command("delete", "paused")
    assert done.status == 1
    assert "it is paused, not created or stopped" in done.stderr
    command("resume", "paused").ok()
    assert status(command, "paused") == "running"
    command("pause", "paused").ok()
    command("kill", "paused", "KILL").ok()
    wait_for(command, "paused", "stopped")


def test_an_id_in_use_is_refused_and_the_container_left_alone(command: Command, bundle: Bundle) -> None:
    create(command, bundle, "twice")
    before = command("state", "twice").ok().stdout
    for verb in ("create", "run"):
        done = command(verb, "--bundle", bundle.path, "twice")
        assert (done.status, done.stderr) == (1, "pyrt: container with given ID already exists: twice\n")
    assert command("state", "twice").ok().stdout == before


def test_list_shows_all_containers(command: Command, bundle: Bundle) -> None:
    assert command("list").ok().stdout == "ID   PID   STATUS   BUNDLE   CREATED   OWNER\n"
    assert command("list", "--format", "json").ok().json == []
    create(command, bundle, "b")
    create(command, bundle, "a")
    assert command("list", "--quiet").ok().stdout == "a\nb\n"
    listed = command("list", "-f", "json").ok().json
    assert [entry["id"] for entry in listed] == ["a", "b"]
    assert listed[0] == command("state", "a").ok().json
    assert listed[0].keys() >= {"ociVersion", "id", "pid", "status", "bundle", "rootfs", "created", "annotations", "owner"}
    lines = command("list").ok().stdout.splitlines()
    assert lines[0].split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    assert lines[1].split()[:4] == ["a", str(listed[0]["pid"]), "created", str(bundle.path)]


def test_regex_acts_on_all_that_match(command: Command, bundle: Bundle) -> None:
    for name in ("web-1", "web-2", "db"):
        create(command, bundle, name)
    command("kill", "--regex", "^web-", "KILL").ok()
    wait_for(command, "web-1", "stopped")
    wait_for(command, "web-2", "stopped")
    assert status(command, "db") == "created"
    command("delete", "-r", "^web-").ok()
    assert command("list", "-q").ok().stdout == "db\n"


# run


def test_run_gives_the_exit_status_and_leaves_nothing(command: Command, bundle: Bundle) -> None:
    assert command("run", "--bundle", bundle.shell("exit 7").path, "run").status == 7
    assert command("run", "--bundle", bundle.args("sleep", "0").path, "run").status == 0
    assert command("list", "-q").ok().stdout == ""


def test_run_gives_128_and_the_signal_where_one_ended_it(command: Command, bundle: Bundle) -> None:
    process = command.start("run", "--bundle", bundle.args("sleep", "100").path, "signalled")
    until(lambda: command("kill", "signalled", "KILL").status == 0, "it is there")
    assert process.wait(SOON) == 128 + signal.SIGKILL


def test_run_detached_returns_and_the_container_goes_on(command: Command, bundle: Bundle, tmp_path: Path) -> None:
    command("run", "--detach", "--pid-file", tmp_path / "pid", "--bundle", bundle.args("sleep", "100").path, "detached").ok()
    state = command("state", "detached").ok().json
    assert (state["status"], str(state["pid"])) == ("running", (tmp_path / "pid").read_text())


def test_run_keep_leaves_the_stopped_container(command: Command, bundle: Bundle) -> None:
    assert command("run", "--keep", "--bundle", bundle.shell("exit 5").path, "kept").status == 5
    assert status(command, "kept") == "stopped"
    command("delete", "kept").ok()


def test_run_passes_its_own_signals_on(command: Command, bundle: Bundle, tmp_path: Path) -> None:
    with (tmp_path / "output").open("w") as output:
        process = command.start("run", "--bundle", bundle.shell(TRAP).path, "passed", stdout=output)
        until(lambda: (tmp_path / "output").read_text() == "ready\n", "it runs")
        process.send_signal(signal.SIGUSR1)
        assert process.wait(SOON) == 4


def test_stdio_of_run_is_the_container_s(command: Command, bundle: Bundle) -> None:
    bundle.linux.pop("resources")  # a host without a devices controller warns of its rules
    done = command("run", "--bundle", bundle.shell("cat; echo problem >&2").path, "stdio", input="through\n").ok()
    assert (done.stdout, done.stderr) == ("through\n", "problem\n")


def test_the_pid_file_has_the_pid_and_no_newline(command: Command, bundle: Bundle, tmp_path: Path) -> None:
    command("create", "--pid-file", tmp_path / "pid", "--bundle", bundle.args("sleep", "100").path, "pid").ok()
    assert (tmp_path / "pid").read_text() == str(command("state", "pid").ok().json["pid"])
    assert [path.name for path in tmp_path.glob("pid*")] == ["pid"], "no temporary file is left"


def test_a_pid_file_that_cannot_be_written_leaves_no_container(command: Command, bundle: Bundle, tmp_path: Path) -> None:
    done = command("create", "--pid-file", tmp_path / "missing/pid", "--bundle", bundle.args("sleep", "100").path, "pid")
    assert done.status == 1
    assert "pyrt: write pid file " in done.stderr
    assert f"{tmp_path}/missing/pid" in done.stderr
    assert "no such file or directory (ENOENT)" in done.stderr
    assert command("list", "-q").ok().stdout == ""


def test_another_configuration_than_the_bundle_s_is_taken(command: Command, bundle: Bundle, tmp_path: Path) -> None:
    bundle.args("false")
    other = tmp_path / "other.json"
    other.write_text(json.dumps({**bundle.spec, "process": {**bundle.process, "args": ["echo", "other"]}}))
    assert command("run", "--bundle", bundle.path, "--config", other, "other").ok().stdout == "other\n"


def test_the_current_directory_is_the_bundle_unless_told(command: Command, bundle: Bundle) -> None:
    bundle.args("echo", "here")
    assert command("run", "here", cwd=bundle.path).ok().stdout == "here\n"


def test_state_on_disk_is_for_its_owner_only(command: Command, bundle: Bundle) -> None:
    create(command, bundle, "private")
    assert {path.stat().st_mode & 0o7777 for path in (command.root, command.root / "private")} == {0o700}
    files = [path for path in (command.root / "private").iterdir() if path.is_file()]
    assert files
    assert {path.stat().st_mode & 0o7777 for path in files} == {0o600}


def test_unreadable_state_is_named_and_delete_force_removes_it(command: Command, bundle: Bundle) -> None:
    create(command, bundle, "broken")
    pid = command("state", "broken").ok().json["pid"]
    (command.root / "broken/state.json").write_text('{"version": 99}')
    done = command("state", "broken")
    assert done.status == 1
    assert "state of container broken is unreadable" in done.stderr
    assert str(command.root / "broken/state.json") in done.stderr
    assert "delete --force removes it" in done.stderr
    listed = command("list", "--format", "json").ok()
    assert (listed.json, "broken" in listed.stderr) == ([], True)
    command("delete", "--force", "broken").ok()
    assert not runs(pid)
    assert not cgroups.exists("/pyrt-broken")


# By the library


def test_the_library_goes_the_same_way(runtime: pyrt.Runtime, bundle: Bundle) -> None:
    container = runtime.create("library", bundle=bundle.shell("exit 6").path)
    assert container.status == "created"
    assert [found.id for found in runtime.list()] == ["library"]
    container.start()
    assert container.wait(timeout=SOON) == 6
    assert (container.state()["status"], container.state()["pid"], container.pid) == ("stopped", 0, 0)
    container.delete()
    assert runtime.list() == []
    with pytest.raises(pyrt.NotFound, match="container does not exist: library"):
        runtime.get("library")


def test_another_handle_sees_the_same_container(runtime: pyrt.Runtime, running: pyrt.Container) -> None:
    other = runtime.get(running.id)
    assert (other.status, other.pid, other.bundle) == ("running", running.pid, running.bundle)
    other.kill("KILL")
    assert running.wait(timeout=SOON) == -signal.SIGKILL
    assert other.wait(timeout=SOON) == -signal.SIGKILL
    assert other.status == "stopped"


def test_a_wait_that_times_out_raises_and_the_container_goes_on(running: pyrt.Container) -> None:
    with pytest.raises(pyrt.ContainerTimeout):
        running.wait(timeout=0.05)
    assert running.status == "running"


@pytest.mark.parametrize("sent", [signal.SIGTERM, 15, "TERM", "SIGTERM", "sigterm"])
def test_the_library_takes_signals_as_the_command_does(runtime: pyrt.Runtime, bundle: Bundle, sent: str | int) -> None:
    read, write = os.pipe()
    container = runtime.create("signals", bundle=bundle.shell(TRAP).path, stdio=(0, write, write))
    container.start()
    os.close(write)
    assert os.read(read, 6) == b"ready\n"
    os.close(read)
    container.kill(sent)
    assert container.wait(timeout=SOON) == 3
    container.delete()


def test_the_library_names_both_states(running: pyrt.Container) -> None:
    with pytest.raises(pyrt.InvalidState, match=f"cannot start container {running.id}: it is running, not created"):
        running.start()
    with pytest.raises(pyrt.InvalidState, match=f"cannot delete container {running.id}: it is running, not created or stopped"):
        running.delete()


def test_containers_of_a_runtime_outlive_their_handles_and_their_creator(command: Command, bundle: Bundle) -> None:
    create(command, bundle, "outlives")
    assert status(command, "outlives") == "created"
    command("start", "outlives").ok()
    assert status(command, "outlives") == "running"


def test_a_container_can_be_made_of_options_alone(runtime: pyrt.Runtime, rootfs: Path) -> None:
    container = runtime.create("options", ["sh", "-c", "exit $(id -u)"], rootfs=rootfs, user="1000", memory="64M")
    container.start()
    assert container.wait(timeout=SOON) == 1000 % 256
    container.delete()
