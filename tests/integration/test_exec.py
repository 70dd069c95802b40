"""Container.exec and `pyrt exec`: a second process in a running container.

Neighbours: ../security/test_exec_attacks.py (what a process inside can do to the caller), test_lifecycle.py.
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import pytest

import pyrt
from helpers import cgroups
from helpers.bundles import Bundle
from helpers.commands import Command
from helpers.hosts import requires
from helpers.waiting import until

KINDS = ("mnt", "pid", "net", "ipc", "uts", "cgroup")


def namespaces(pid: int) -> list[str]:
    return [os.readlink(f"/proc/{pid}/ns/{kind}") for kind in KINDS]


def test_exec_returns_the_exit_status_and_the_output(running: pyrt.Container) -> None:
    done = running.exec(["sh", "-c", "cat; echo err >&2; exit 7"], input="in", capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (7, "in", "err\n")


def test_exec_is_in_every_namespace_of_the_container(running: pyrt.Container) -> None:
    done = running.exec(
        ["sh", "-c", f"for kind in {' '.join(KINDS)}; do readlink /proc/self/ns/$kind; done"], capture_output=True, text=True
    )
    assert done.stdout.split() == namespaces(running.pid)


def test_exec_is_in_every_cgroup_of_the_container(running: pyrt.Container) -> None:
    done = running.exec(["cat", "/proc/self/cgroup", "/proc/1/cgroup"], capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert lines[: len(lines) // 2] == lines[len(lines) // 2 :]
    assert lines[0].endswith(":/"), "the cgroup namespace is the container's"


@requires("pure cgroup v2", "pids controller")
def test_exec_joins_inits_own_cgroup_where_the_containers_may_hold_no_process(running: pyrt.Container) -> None:
    """As systemd and docker inside do: processes below, and controllers for them (cgroups(7), "no internal processes")."""
    root = cgroups.directory(cgroups.of(running.pid)[cgroups.UNIFIED], "pids")
    (root / "init").mkdir()
    (root / "init/cgroup.procs").write_text(str(running.pid))
    (root / "cgroup.subtree_control").write_text("+pids")
    done = running.exec(["cat", "/proc/self/cgroup"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip().endswith("/init")


def test_exec_of_a_missing_program_names_it(running: pyrt.Container) -> None:
    with pytest.raises(FileNotFoundError) as failure:
        running.exec(["/no/such"])
    assert (failure.value.errno, failure.value.filename) == (errno.ENOENT, "/no/such")


def test_exec_takes_user_cwd_and_env(running: pyrt.Container) -> None:
    script = 'id -u; id -g; pwd; echo "$PATH $NEW"'
    done = running.exec(["sh", "-c", script], user="user", cwd="/tmp", env={"NEW": "1", "PATH": "/bin"}, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["1000", "1000", "/tmp", "/bin 1"]


def test_a_timeout_kills_what_was_executed_and_not_the_container(running: pyrt.Container) -> None:
    with pytest.raises(pyrt.ContainerTimeout):
        running.exec(["sleep", "1000"], timeout=0.2)
    assert running.status == "running"


def test_exec_into_a_paused_container_is_refused(running: pyrt.Container) -> None:
    running.pause()
    with pytest.raises(
        pyrt.InvalidState, match=f"cannot exec in container {running.id}: it is paused, not created or running; resume it first"
    ):
        running.exec(["true"])
    running.resume()


def test_exec_into_an_ended_container_says_that_it_is_not_running(running: pyrt.Container) -> None:
    running.kill("KILL")
    running.wait()
    with pytest.raises(pyrt.InvalidState, match="container not running: no such process"):
        running.exec(["true"])


def test_an_unknown_option_is_a_type_error(running: pyrt.Container) -> None:
    with pytest.raises(TypeError, match="memory"):
        running.exec(["true"], memory="1G")  # type: ignore[call-overload]


# By the command


def test_the_command_gives_the_status_of_what_it_executed(running: pyrt.Container, command: Command) -> None:
    assert command("exec", running.id, "sh", "-c", "exit 7").status == 7
    assert command("exec", running.id, "sh", "-c", "kill -9 $$").status == 128 + 9


def test_all_after_the_id_is_the_commands(running: pyrt.Container, command: Command) -> None:
    assert command("exec", "-e", "A=1", running.id, "sh", "-c", 'echo $A "$@"', "-", "-e", "--cwd").ok().stdout == "1 -e --cwd\n"


def test_failures_of_exec_itself_are_255(running: pyrt.Container, command: Command) -> None:
    done = command("exec", running.id, "nosuch")
    assert done.status == 255
    assert 'exec: "nosuch": executable file not found in $PATH' in done.stderr
    assert command("exec", "missing", "true").status == 255


def test_flags_say_who_and_where(running: pyrt.Container, command: Command) -> None:
    script = "id; pwd; grep NoNew /proc/self/status"
    done = command("exec", "--user", "1000:2000", "-g", "3000", "--cwd", "/tmp", "--no-new-privs", running.id, "sh", "-c", script)
    assert re.sub(r"\(\w+\)", "", done.ok().stdout).split() == ["uid=1000", "gid=2000", "groups=3000", "/tmp", "NoNewPrivs:", "1"]


def test_a_detached_command_leaves_its_pid(running: pyrt.Container, command: Command, tmp_path: Path) -> None:
    process = tmp_path / "process.json"
    process.write_text('{"cwd": "/", "user": {"uid": 0, "gid": 0}, "args": ["sleep", "500"], "env": ["PATH=/bin"]}')
    command("exec", "--pid-file", tmp_path / "pid", "--process", process, "--detach", running.id).ok()
    pid = int((tmp_path / "pid").read_text())
    until(lambda: Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x00500\x00", "it is the command")
    assert namespaces(pid) == namespaces(running.pid)


def test_a_terminal_is_the_containers_own(running: pyrt.Container, command: Command) -> None:
    done = command("exec", "--tty", running.id, "sh", "-c", "tty")
    assert (done.status, done.stdout.strip()) == (0, "/dev/pts/0"), done.stderr


def test_a_sub_cgroup_that_is_missing_is_named(running: pyrt.Container, command: Command) -> None:
    done = command("exec", "--cgroup", "nosuch", running.id, "true")
    assert done.status == 255
    assert "join cgroup" in done.stderr
    assert "nosuch: no such file or directory (ENOENT)" in done.stderr


def test_exec_enters_the_containers_user_namespace(runtime: pyrt.Runtime, bundle: Bundle) -> None:
    bundle.linux["namespaces"].append({"type": "user"})
    for key in ("uidMappings", "gidMappings"):
        bundle.linux[key] = [{"containerID": 0, "hostID": 100_000, "size": 65_536}]
    container = runtime.create("exec-user", bundle=bundle.args("sleep", "1000").path)
    container.start()
    script = "readlink /proc/self/ns/user; id -u; cat /proc/self/uid_map"
    done = container.exec(["sh", "-c", script], capture_output=True, text=True)
    assert done.stdout.split() == [os.readlink(f"/proc/{container.pid}/ns/user"), "0", "0", "100000", "65536"]
    container.delete(force=True)
