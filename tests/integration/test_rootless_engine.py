"""The engine's verbs for a user other than root: a bundle of `pyrt spec --rootless`, from its creation to its deletion.

Neighbours: test_rootless.py (the library).
"""

from __future__ import annotations

import json
import os
import select
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from helpers.hosts import requires
from helpers.waiting import SOON, until

if TYPE_CHECKING:
    from helpers.ordinary import Ordinary

pytestmark = requires("ordinary users")


@pytest.fixture
def bundle(ordinary: Ordinary) -> Path:
    """His current directory becomes a bundle whose program sleeps."""
    ordinary.rootfs()
    assert ordinary.verb("spec", "--rootless").returncode == 0
    edit(ordinary, args=["sleep", "1000"], terminal=False)
    return ordinary.directory


def edit(user: Ordinary, **process: Any) -> None:
    path = user.directory / "config.json"
    config = json.loads(path.read_text())
    config["process"] |= process
    path.write_text(json.dumps(config))


@pytest.fixture
def running(ordinary: Ordinary, bundle: Path) -> Iterator[int]:
    """A started container `web`: the PID of its init."""
    succeeds(ordinary, "run", "--detach", "web")
    yield json.loads(succeeds(ordinary, "state", "web"))["pid"]
    succeeds(ordinary, "delete", "--force", "web")


def succeeds(user: Ordinary, *words: str) -> str:
    done = user.verb(*words)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    return done.stdout


def test_a_container_is_created_started_killed_and_deleted(ordinary: Ordinary, bundle: Path) -> None:
    succeeds(ordinary, "create", "web")
    state = json.loads(succeeds(ordinary, "state", "web"))
    assert (state["status"], state["owner"]) == ("created", str(ordinary.uid))
    succeeds(ordinary, "start", "web")
    assert json.loads(succeeds(ordinary, "list", "--format", "json"))[0]["status"] == "running"
    succeeds(ordinary, "kill", "web", "KILL")
    succeeds(ordinary, "delete", "--force", "web")
    assert succeeds(ordinary, "list", "--quiet") == ""


def test_state_is_kept_in_the_users_runtime_directory(ordinary: Ordinary, running: int) -> None:
    assert os.listdir(ordinary.directory / "pyrt") == ["web"]
    assert (ordinary.directory / "pyrt").stat().st_uid == ordinary.uid


def test_run_brings_the_exit_status(ordinary: Ordinary, bundle: Path) -> None:
    edit(ordinary, args=["sh", "-c", "exit 7"])
    assert [ordinary.verb(*flag, "run", "seven").returncode for flag in ((), ("--rootless", "true"))] == [7, 7]


def test_exec_enters_the_users_container(ordinary: Ordinary, running: int) -> None:
    assert succeeds(ordinary, "exec", "web", "cat", "/proc/self/uid_map").split() == ["0", str(ordinary.uid), "1"]


def test_ps_lists_what_is_in_the_pid_namespace_and_below(ordinary: Ordinary, bundle: Path) -> None:
    """Without a cgroup nothing else tells."""
    capabilities = {key: ["CAP_SYS_ADMIN"] for key in ("bounding", "effective", "permitted")}
    edit(ordinary, args=["unshare", "-p", "-f", "sleep", "2000"], capabilities=capabilities)
    succeeds(ordinary, "run", "--detach", "web")
    init = json.loads(succeeds(ordinary, "state", "web"))["pid"]

    def commands() -> dict[int, bytes]:
        pids = json.loads(succeeds(ordinary, "ps", "--format", "json", "web"))
        return {pid: Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0] for pid in pids}

    try:
        until(lambda: b"sleep" in commands().values(), "the process below")
        assert {pid: command for pid, command in commands().items() if pid == init} == {init: b"unshare"}
    finally:
        succeeds(ordinary, "delete", "--force", "web")


def test_kill_all_signals_every_process(ordinary: Ordinary, running: int) -> None:
    succeeds(ordinary, "exec", "--detach", "web", "sleep", "2000")
    other = next(pid for pid in json.loads(succeeds(ordinary, "ps", "--format", "json", "web")) if pid != running)
    pidfd = os.pidfd_open(other)
    try:
        # TERM ends what is not PID 1 of the namespace, which has no handler.
        succeeds(ordinary, "kill", "--all", "web", "TERM")
        assert select.select([pidfd], [], [], SOON)[0] == [pidfd]
    finally:
        os.close(pidfd)


def test_pause_says_that_there_is_no_cgroup(ordinary: Ordinary, running: int) -> None:
    done = ordinary.verb("pause", "web")
    assert (done.returncode, done.stderr) == (1, "pyrt: cannot pause container web: it has no cgroup\n")


def test_a_bundle_without_a_user_namespace_is_refused_with_the_way_out(ordinary: Ordinary, bundle: Path) -> None:
    path = ordinary.directory / "config.json"
    path.unlink()
    succeeds(ordinary, "spec")
    edit(ordinary, terminal=False)
    done = ordinary.verb("run", "web")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        1,
        "pyrt: create namespaces: operation not permitted (EPERM); run as root, or in a user namespace of its own "
        "(`pyrt spec --rootless` asks for one)",
    )


def test_a_cgroup_path_without_a_delegated_cgroup_is_a_warning(ordinary: Ordinary, bundle: Path) -> None:
    path = ordinary.directory / "config.json"
    config = json.loads(path.read_text())
    config["linux"]["cgroupsPath"] = "/machine/web"
    config["process"]["args"] = ["true"]
    path.write_text(json.dumps(config))
    done = ordinary.verb("run", "web")
    assert done.returncode == 0
    assert "linux.cgroupsPath is not used: no cgroup is delegated to this user" in done.stderr


def test_the_peoples_form_needs_no_words_more(ordinary: Ordinary) -> None:
    done = ordinary.verb("run", "--", "id", "-u")
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")
