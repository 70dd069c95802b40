"""SCMP_ACT_NOTIFY of linux.seccomp: the listener goes to whoever listens at listenerPath, which decides the calls.

The one who listens is written here anew, by the kernel's numbers (linux/seccomp.h), so that nothing of pyrt answers itself.
"""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import json
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pyrt
from helpers.bundles import Bundle
from helpers.commands import Command
from helpers.hosts import requires
from helpers.waiting import SOON

pytestmark = requires("root")

RECEIVE, SEND = 0xC0502100, 0xC0182101
"""SECCOMP_IOCTL_NOTIF_RECV and _SEND."""
MKDIR = ["mkdir", "mkdirat"]


def notifying(*names: str, **more: Any) -> dict[str, Any]:
    return {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": list(names), "action": "SCMP_ACT_NOTIFY"}], **more}


class Agent:
    """Listens at a socket, takes containers as they come, and answers every call of theirs with an errno."""

    def __init__(self, path: Path, errno: int) -> None:
        self.errno, self.states, self.pids = errno, list[dict[str, Any]](), list[int]()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(path))
        self._socket.listen()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                data, fds, _, _ = socket.recv_fds(connection, 1 << 16, 1)
                while more := connection.recv(1 << 16):
                    data += more
            self.states.append(json.loads(data))
            self._threads.append(threading.Thread(target=self._answer, args=(fds[0],)))
            self._threads[-1].start()

    def _answer(self, listener: int) -> None:
        with open(listener, "rb", buffering=0):
            while True:
                call = array.array("B", bytes(80))
                try:
                    fcntl.ioctl(listener, RECEIVE, call)
                except OSError:
                    # Everybody under the filter has ended, or one that was about to ask.
                    return
                number, pid = struct.unpack_from("=QI", call)
                self.pids.append(pid)
                with contextlib.suppress(FileNotFoundError):
                    fcntl.ioctl(listener, SEND, array.array("B", struct.pack("=QqiI", number, 0, -self.errno, 0)))

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join(SOON)
            assert not thread.is_alive(), "a filter outlives its container"


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    made = Agent(tmp_path / "agent.sock", errno.EXDEV)
    yield made
    made.close()


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_whoever_listens_decides_the_call(bundle: Bundle, command: Command, agent: Agent, tmp_path: Path, no_new_privileges: bool) -> None:
    path = str(tmp_path / "agent.sock")
    bundle.process["noNewPrivileges"] = no_new_privileges
    bundle.linux["seccomp"] = notifying(*MKDIR, listenerPath=path, listenerMetadata="for the agent")
    bundle.shell("mkdir /tmp/made; echo $?")
    done = command("run", "--bundle", bundle.path, "seccomp-notify").ok()
    assert (done.stdout, "Invalid cross-device link" in done.stderr) == ("1\n", True)
    (state,) = agent.states
    assert (state["fds"], state["metadata"], state["state"]["id"]) == (["seccompFd"], "for the agent", "seccomp-notify")
    assert (state["state"]["status"], state["state"]["bundle"]) == ("creating", str(bundle.path))
    assert state["pid"] == state["state"]["pid"] > 0
    assert len(agent.pids) == 1


@pytest.mark.parametrize("init", [True, False])
def test_the_process_of_the_state_is_the_one_that_asks(bundle: Bundle, agent: Agent, tmp_path: Path, init: bool) -> None:
    """Below a PID 1 that stays, that is its child; the container's own pid is the PID 1."""
    bundle.linux["seccomp"] = notifying(*MKDIR, listenerPath=str(tmp_path / "agent.sock"))
    assert pyrt.run(bundle=bundle.args("mkdir", "/tmp/made").path, init=init).returncode == 1
    (state,) = agent.states
    assert [state["pid"]] == agent.pids
    assert (state["pid"] == state["state"]["pid"]) is not init


def test_a_created_container_is_handed_over_when_it_starts(bundle: Bundle, runtime: pyrt.Runtime, agent: Agent, tmp_path: Path) -> None:
    bundle.linux["seccomp"] = notifying(*MKDIR, listenerPath=str(tmp_path / "agent.sock"))
    bundle.shell("mkdir /tmp/made || exit 3")
    container = runtime.create("seccomp-created-notify", bundle=bundle.path)
    assert agent.states == []
    container.start()
    assert container.wait(timeout=SOON) == 3
    assert agent.states[0]["state"]["status"] == "created"
    assert "metadata" not in agent.states[0]
    container.delete()


def test_a_relative_path_starts_from_the_bundle(bundle: Bundle) -> None:
    bundle.linux["seccomp"] = notifying(*MKDIR, listenerPath="agent.sock")
    bundle.shell("mkdir /tmp/made || exit 3")
    agent = Agent(bundle.path / "agent.sock", errno.EXDEV)
    try:
        assert pyrt.run(bundle=bundle.path).returncode == 3
    finally:
        agent.close()


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_what_the_runtime_itself_calls_is_not_asked_for(bundle: Bundle, agent: Agent, tmp_path: Path, no_new_privileges: bool) -> None:
    # runc refuses such a profile: its own calls would wait for an answer, and nobody could have the listener yet.
    names = ["write", "sendmsg", "recvmsg", "read", "execve", "close", "prctl", "capset", "exit_group"]
    bundle.process["noNewPrivileges"] = no_new_privileges
    bundle.linux["seccomp"] = notifying(*names, listenerPath=str(tmp_path / "agent.sock"))
    bundle.args("/bin/true")
    assert pyrt.run(bundle=bundle.path, timeout=60).returncode == 0
    assert len(agent.states) == 1


def test_a_process_that_joins_is_handed_over_too(bundle: Bundle, runtime: pyrt.Runtime, agent: Agent, tmp_path: Path) -> None:
    bundle.linux["seccomp"] = notifying(*MKDIR, listenerPath=str(tmp_path / "agent.sock"))
    container = runtime.create("seccomp-exec", bundle=bundle.args("sleep", "100").path)
    container.start()
    assert container.exec(["sh", "-c", "mkdir /tmp/made || exit 4"]).returncode == 4
    first, second = agent.states
    assert first["pid"] == first["state"]["pid"] != second["pid"]
    assert second["state"]["status"] == "running"
    container.kill("KILL")
    container.wait(timeout=SOON)
    container.delete()


def test_where_nobody_listens_nothing_starts(bundle: Bundle, tmp_path: Path, runtime: pyrt.Runtime) -> None:
    path = str(tmp_path / "nobody.sock")
    bundle.linux["seccomp"] = notifying(*MKDIR, listenerPath=path)
    bundle.args("true")
    with pytest.raises(pyrt.Error, match="hand the seccomp listener over to") as refused:
        pyrt.run(bundle=bundle.path)
    assert (refused.value.path, refused.value.errno) == (path, errno.ENOENT)
    container = runtime.create("seccomp-nobody", bundle=bundle.path)
    with pytest.raises(pyrt.Error, match="nobody listens at linux"):
        container.start()
    assert container.wait(timeout=SOON) != 0
    container.delete()


def test_without_a_path_it_is_refused_by_its_place(bundle: Bundle) -> None:
    bundle.linux["seccomp"] = notifying(*MKDIR)
    with pytest.raises(pyrt.SpecError, match="is missing, and some action is SCMP_ACT_NOTIFY") as refused:
        pyrt.Spec(bundle.spec).check(bundle.path)
    assert refused.value.json_path == "linux.seccomp.listenerPath"
