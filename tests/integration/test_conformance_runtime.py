"""runtime.md of the runtime-spec 1.3: a test for each MUST, named after it, in its order. Those of hooks are in test_conformance_config.py.

What is not to be left behind after an error, or after delete, is what `nothing_left` looks for in every one of them.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

import pyrt
from helpers import engine, schema
from helpers.bundles import Bundle
from helpers.commands import Command
from helpers.waiting import SOON, until


@pytest.fixture
def created(command: Command, bundle: Bundle) -> str:
    """The id of a created container."""
    command("create", "--bundle", bundle.args("sleep", "1000").path, "created").ok()
    return "created"


@pytest.fixture
def started(command: Command, created: str) -> str:
    command("start", created).ok()
    return created


@pytest.fixture
def stopped(command: Command, started: str) -> str:
    command("kill", started, "KILL").ok()
    until(lambda: command("state", started).json["status"] == "stopped", "it is stopped")
    return started


# State


def test_whoever_creates_a_container_can_use_every_operation_on_it(command: Command, bundle: Bundle) -> None:
    command("create", "--bundle", bundle.args("sleep", "1000").path, "c").ok()
    assert command("state", "c").json["status"] == "created"
    command("start", "c").ok()
    assert command("state", "c").json["status"] == "running"
    command("kill", "c", "KILL").ok()
    command("delete", "--force", "c").ok()


def test_the_id_is_unique_on_this_host(command: Command, bundle: Bundle, created: str) -> None:
    assert "already exists" in engine.refused(command("create", "--bundle", bundle.path, created))
    assert command("state", created).json["status"] == "created"


def test_a_state_of_our_own_is_none_of_the_specs(command: Command, started: str) -> None:
    command("pause", started).ok()
    assert command("state", started).json["status"] == "paused"
    command("resume", started).ok()


@pytest.mark.parametrize("status", ["created", "started", "stopped"])
def test_the_state_adheres_to_the_schema(command: Command, request: pytest.FixtureRequest, status: str) -> None:
    state = command("state", request.getfixturevalue(status)).json
    assert schema.problems("state-schema.json", state) == []
    assert state["status"] == {"started": "running"}.get(status, status)


# Lifecycle


def test_the_program_does_not_run_before_start(command: Command, bundle: Bundle) -> None:
    bundle.spec["root"]["readonly"] = False
    command("create", "--bundle", bundle.args("touch", "/home/ran").path, "c").ok()
    assert not (bundle.rootfs / "home/ran").exists()
    command("delete", "--force", "c").ok()
    assert not (bundle.rootfs / "home/ran").exists()


def test_what_is_changed_in_config_json_after_create_does_not_affect_the_container(command: Command, bundle: Bundle) -> None:
    bundle.spec["root"]["readonly"] = False
    bundle.spec["annotations"] = {"of": "creation"}
    command("create", "--bundle", bundle.args("sh", "-c", "touch /home/first; sleep 1000").path, "c").ok()
    bundle.spec["annotations"] = {}
    bundle.args("touch", "/home/second").write()
    command("start", "c").ok()
    while not (bundle.rootfs / "home/first").exists():
        assert command("state", "c").json["status"] == "running"
    assert command("state", "c").json["annotations"] == {"of": "creation"}
    command("delete", "--force", "c").ok()
    assert not (bundle.rootfs / "home/second").exists()


def test_an_environment_that_cannot_be_created_is_an_error(command: Command, bundle: Bundle) -> None:
    bundle.spec["mounts"].append({"destination": "/mnt", "type": "no-such-file-system", "source": "none"})
    said = engine.refused(command("create", "--bundle", bundle.args("true").path, "c"))
    assert said == "mount no-such-file-system on /mnt: no such device (ENODEV)"
    assert command("list", "--quiet").ok().stdout == ""


def test_a_warning_does_not_change_the_flow(command: Command, bundle: Bundle) -> None:
    bundle.spec["x-unknown"] = 1
    result = engine.run(command, bundle, "echo", "ran").ok()
    assert (result.stdout, result.stderr) == ("ran\n", "pyrt: warning: config.json: x-unknown: unknown key, ignored\n")


# Operations


@pytest.mark.parametrize("operation", ["state", "create", "start", "kill", "delete"])
def test_an_operation_without_an_id_is_an_error(command: Command, operation: str) -> None:
    result = command(operation)
    assert (result.status, result.stdout) == (1, "")
    assert result.stderr.startswith(f"pyrt: {operation} takes ID")


@pytest.mark.parametrize("operation", ["state", "start", "kill", "delete"])
def test_an_operation_on_a_container_that_does_not_exist_is_an_error(command: Command, operation: str) -> None:
    assert "does not exist" in engine.refused(command(operation, "no-such"))


def test_state_returns_the_state_of_the_container(command: Command, bundle: Bundle, started: str) -> None:
    state = command("state", started).json
    assert (state["id"], state["bundle"]) == (started, str(bundle.path))
    assert os.readlink(f"/proc/{state['pid']}/exe") == "/bin/busybox"


def test_create_without_a_bundle_is_an_error(command: Command, tmp_path: Path) -> None:
    """The current directory is one by default, as with runc; here it holds no config.json."""
    result = command("create", "c", cwd=tmp_path)
    assert engine.refused(result).startswith(f"read {tmp_path}/config.json: no such file or directory (ENOENT)")


@pytest.mark.parametrize("id", ["", "..", "a/b", "a b", "x" * 201])
def test_create_with_an_invalid_id_is_an_error_and_makes_nothing(command: Command, bundle: Bundle, id: str) -> None:
    assert "invalid container id" in engine.refused(command("create", "--bundle", bundle.args("true").path, "--", id))
    assert command("list", "--quiet").ok().stdout == ""


def test_create_applies_everything_but_the_process(command: Command, bundle: Bundle) -> None:
    bundle.spec["hostname"] = "applied"
    command("create", "--bundle", bundle.args("sleep", "1000").path, "c").ok()
    pid = command("state", "c").json["pid"]
    assert command("exec", "c", "hostname").ok().stdout == "applied\n"
    assert os.readlink(f"/proc/{pid}/exe") != "/bin/busybox"


def test_create_that_cannot_apply_a_property_makes_no_container(command: Command, bundle: Bundle) -> None:
    bundle.linux["sysctl"] = {"kernel.no_such": "1"}
    assert "linux.sysctl" in engine.refused(command("create", "--bundle", bundle.args("true").path, "c"))
    assert command("list", "--quiet").ok().stdout == ""


@pytest.mark.parametrize("status", ["started", "stopped"])
def test_start_of_what_is_not_created_is_an_error_without_effect(command: Command, request: pytest.FixtureRequest, status: str) -> None:
    container = request.getfixturevalue(status)
    before = command("state", container).json
    assert engine.refused(command("start", container)).startswith(
        f"cannot start container {container}: it is {before['status']}, not created"
    )
    assert command("state", container).json == before


def test_start_runs_the_program_as_process_says(command: Command, bundle: Bundle) -> None:
    bundle.spec["root"]["readonly"] = False
    bundle.process.update({"cwd": "/srv", "user": {"uid": 5, "gid": 6}, "env": ["PATH=/bin", "WHO=me"]})
    (bundle.rootfs / "srv").chmod(0o777)
    command("create", "--bundle", bundle.shell('echo "$WHO $PWD $(id -u):$(id -g)" > /srv/said').path, "c").ok()
    command("start", "c").ok()
    said = bundle.rootfs / "srv/said"
    while not (said.exists() and said.read_text()):
        assert command("state", "c").json["status"] in ("running", "stopped")
    assert said.read_text() == "me /srv 5:6\n"


def test_start_without_a_process_is_an_error(command: Command, bundle: Bundle) -> None:
    """It is one of create already, which runc does too: a container that could never be started is not made."""
    del bundle.spec["process"]
    said = engine.refused(command("create", "--bundle", bundle.write(), "c"))
    assert said == "config.json: process: is missing; create and run need it"


def test_kill_of_what_is_neither_created_nor_running_is_an_error(command: Command, stopped: str) -> None:
    assert "container not running" in engine.refused(command("kill", stopped, "KILL"))


@pytest.mark.parametrize("status", ["created", "started"])
def test_kill_sends_the_signal_to_the_process(runtime: pyrt.Runtime, request: pytest.FixtureRequest, status: str) -> None:
    container = runtime.get(request.getfixturevalue(status))
    container.kill("KILL")
    assert container.wait(SOON) in (None, -signal.SIGKILL)
    assert container.status == "stopped"


def test_delete_of_what_is_not_stopped_is_an_error_without_effect(command: Command, started: str) -> None:
    before = command("state", started).json
    said = engine.refused(command("delete", started))
    assert said.startswith(f"cannot delete container {started}: it is running, not created or stopped")
    assert command("state", started).json == before


def test_delete_undoes_what_create_has_made(command: Command, root_dir: Path, stopped: str) -> None:
    command("delete", stopped).ok()
    assert list(root_dir.iterdir()) == []
    assert "does not exist" in engine.refused(command("state", stopped))


def test_delete_leaves_what_the_container_has_not_made(command: Command, bundle: Bundle) -> None:
    with pyrt.Namespaces.create("net") as given:
        namespaces = bundle.linux["namespaces"]
        next(entry for entry in namespaces if entry["type"] == "network")["path"] = f"/proc/{os.getpid()}/fd/{given.net.fd}"
        before = given.net.inode
        command("create", "--bundle", bundle.args("sleep", "1000").path, "c").ok()
        command("delete", "--force", "c").ok()
        assert os.fstat(given.net.fd).st_ino == before
    assert json.loads((bundle.path / "config.json").read_text()) == bundle.spec
    assert (bundle.rootfs / "bin/busybox").exists()
