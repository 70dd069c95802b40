"""$NOTIFY_SOCKET: a container's READY=1 reaches the service manager that started pyrt (sd_notify(3), and runc's way of passing it on)."""

from __future__ import annotations

import os
import select
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import pytest

from helpers.bundles import Bundle
from helpers.commands import Command
from helpers.terminals import WAIT_SECONDS

SAY = """
import os, socket, sys, time
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
for message in sys.argv[2:]:
    manager.sendto(message.encode().decode('unicode_escape').encode(), os.environ['NOTIFY_SOCKET'])
time.sleep(float(sys.argv[1]))
"""
HOST = ("/usr", "/bin", "/lib", "/lib64")


class Manager:
    """A service manager's socket: what it hears, message by message. It answers barriers, by closing what comes along."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address.replace("@", "\0", 1))
        self._socket.settimeout(WAIT_SECONDS)
        self.heard: list[str] = []

    def __enter__(self) -> Manager:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._socket.close()

    def hear(self, last: str = "BARRIER=1") -> list[str]:
        """Everything up to a message that begins so."""
        while not self.heard or not self.heard[-1].startswith(last):
            message, descriptors, _, _ = socket.recv_fds(self._socket, 4096, 1)
            for descriptor in descriptors:
                os.close(descriptor)
            self.heard.append(message.decode())
        return self.heard

    def silent(self) -> bool:
        ready, _, _ = select.select([self._socket], [], [], 0)
        return not ready


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    with Manager(str(tmp_path / "manager.sock")) as made:
        yield made


@pytest.fixture
def service(bundle: Bundle) -> Bundle:
    """The host's Python, in a root of its own."""
    for path in HOST:
        if Path(path).exists():
            options = ["rbind", "ro"]
            bundle.spec["mounts"].append({"destination": path, "type": "bind", "source": path, "options": options})
    bundle.spec["root"]["readonly"] = False
    return bundle


def says(bundle: Bundle, *messages: str, seconds: float = 1000) -> Path:
    bundle.process["args"] = ["/usr/bin/python3", "-I", "-S", "-c", SAY, str(seconds), *messages]
    return bundle.write()


def started(command: Command, manager: Manager, *line: str | Path) -> subprocess.Popen[str]:
    return command.start(*line, env={"NOTIFY_SOCKET": manager.address})


def test_start_returns_when_the_container_is_ready(command: Command, service: Bundle, manager: Manager) -> None:
    command("create", "--bundle", says(service, "READY=1"), "c", env={"NOTIFY_SOCKET": manager.address}).ok()
    assert manager.silent()
    process = started(command, manager, "start", "c")
    pid = command("state", "c").json["pid"]
    assert manager.hear() == ["READY=1\n", f"MAINPID={pid}\n", "BARRIER=1"]
    assert process.wait(WAIT_SECONDS) == 0


def test_run_detached_returns_when_the_container_is_ready(command: Command, service: Bundle, manager: Manager, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    process = started(command, manager, "run", "--detach", "--pid-file", pid_file, "--bundle", says(service, "READY=1"), "c")
    assert manager.hear() == ["READY=1\n", f"MAINPID={pid_file.read_text()}\n", "BARRIER=1"]
    assert process.wait(WAIT_SECONDS) == 0


def test_in_the_foreground_the_main_process_is_pyrt_itself(command: Command, service: Bundle, manager: Manager) -> None:
    process = started(command, manager, "run", "--bundle", says(service, "READY=1"), "c")
    assert manager.hear("MAINPID") == ["READY=1\n", f"MAINPID={process.pid}\n"]
    command("kill", "c", "KILL").ok()
    assert process.wait(WAIT_SECONDS) == 137


def test_nothing_but_its_being_ready_is_passed_on(command: Command, service: Bundle, manager: Manager) -> None:
    messages = ("MAINPID=1", "STATUS=READY=1", "WATCHDOG=trigger", "STATUS=up\\nREADY=1\\nFDSTORE=1")
    process = started(command, manager, "run", "--detach", "--bundle", says(service, *messages), "c")
    heard = manager.hear()
    assert [heard[0], heard[-1], len(heard)] == ["READY=1\n", "BARRIER=1", 3]
    assert heard[1].startswith("MAINPID=")
    assert process.wait(WAIT_SECONDS) == 0


def test_a_container_that_ends_before_it_is_ready_is_not_waited_for(command: Command, service: Bundle, manager: Manager) -> None:
    process = started(command, manager, "run", "--detach", "--bundle", says(service, "STATUS=hm", seconds=0), "c")
    assert process.wait(WAIT_SECONDS) == 0
    assert manager.silent()


def test_a_container_that_ends_when_it_is_ready_was_ready(command: Command, service: Bundle, manager: Manager) -> None:
    started_process = started(command, manager, "run", "--detach", "--bundle", says(service, "READY=1", seconds=0), "c")
    assert manager.hear()[0] == "READY=1\n"
    assert started_process.wait(WAIT_SECONDS) == 0


def test_a_name_in_the_abstract_namespace_is_understood(command: Command, service: Bundle) -> None:
    with Manager(f"@pyrt-process-notify-{os.getpid()}") as manager:
        process = started(command, manager, "run", "--detach", "--bundle", says(service, "READY=1"), "c")
        assert manager.hear()[0] == "READY=1\n"
        assert process.wait(WAIT_SECONDS) == 0


def test_a_user_of_a_user_namespace_can_say_that_it_is_ready(command: Command, service: Bundle, manager: Manager) -> None:
    service.linux["namespaces"].append({"type": "user"})
    service.linux["uidMappings"] = service.linux["gidMappings"] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    service.process["user"] = {"uid": 1000, "gid": 1000}
    for path in (service.rootfs, *service.rootfs.iterdir()):
        os.chown(path, 100000, 100000)
    process = started(command, manager, "run", "--detach", "--bundle", says(service, "READY=1"), "c")
    assert manager.hear()[0] == "READY=1\n"
    assert process.wait(WAIT_SECONDS) == 0


def test_the_container_cannot_write_beside_its_socket(command: Command, bundle: Bundle, manager: Manager) -> None:
    bundle.spec["root"]["readonly"] = False
    bundle.shell("echo $NOTIFY_SOCKET; touch /run/notify/file || rm /run/notify/notify.sock")
    result = command("run", "--bundle", bundle.path, "c", env={"NOTIFY_SOCKET": manager.address})
    assert result.stdout == "/run/notify/notify.sock\n"
    assert result.stderr.count("Read-only file system") == 2


def test_a_variable_of_the_config_is_replaced(command: Command, bundle: Bundle, manager: Manager) -> None:
    bundle.process["env"].append("NOTIFY_SOCKET=/the/hosts")
    bundle.spec["root"]["readonly"] = False
    result = command(
        "run", "--bundle", bundle.shell("env | grep -c NOTIFY; echo $NOTIFY_SOCKET").path, "c", env={"NOTIFY_SOCKET": manager.address}
    )
    assert result.ok().stdout == "1\n/run/notify/notify.sock\n"


def test_without_a_service_manager_there_is_neither_variable_nor_directory(command: Command, bundle: Bundle) -> None:
    result = command("run", "--bundle", bundle.shell("env | grep NOTIFY; ls /run").path, "c", env={"NOTIFY_SOCKET": ""})
    assert result.ok().stdout == ""


def test_a_socket_that_is_not_there_is_named(command: Command, bundle: Bundle, tmp_path: Path) -> None:
    missing = tmp_path / "no-such-socket"
    bundle.spec["root"]["readonly"] = False
    result = command("run", "--bundle", bundle.args("true").path, "c", env={"NOTIFY_SOCKET": str(missing)})
    assert result.status == 1
    assert result.stderr == f"pyrt: connect to $NOTIFY_SOCKET {missing}: no such file or directory (ENOENT)\n"
    assert command("list", "--quiet").ok().stdout == ""


def test_start_of_a_container_that_was_created_without_one_does_not_wait(command: Command, bundle: Bundle, manager: Manager) -> None:
    command("create", "--bundle", bundle.args("sleep", "1000").path, "c", env={"NOTIFY_SOCKET": ""}).ok()
    assert started(command, manager, "start", "c").wait(WAIT_SECONDS) == 0
    assert manager.silent()
