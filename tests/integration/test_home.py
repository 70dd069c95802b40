"""HOME of a program: as passwd(5) of the container has it, where process.env has none (as in runc; containerd relies on it)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from helpers import engine
from helpers.bundles import Bundle
from helpers.commands import Command

SHOW = 'echo "$HOME"'


@pytest.fixture
def homeless(bundle: Bundle) -> Bundle:
    bundle.process["env"] = ["PATH=/bin"]
    return bundle


@pytest.mark.parametrize(("uid", "home"), [(0, "/root"), (1000, "/home/user"), (77, "/")])
def test_it_is_that_of_the_user(command: Command, homeless: Bundle, uid: int, home: str) -> None:
    homeless.process["user"] = {"uid": uid, "gid": 0}
    assert engine.shell(command, homeless, SHOW).ok().stdout == f"{home}\n"


def test_one_that_the_config_gives_stays(command: Command, homeless: Bundle) -> None:
    homeless.process["env"] += ["HOME=/given"]
    assert engine.shell(command, homeless, SHOW).ok().stdout == "/given\n"


def test_an_empty_one_is_none(command: Command, homeless: Bundle) -> None:
    homeless.process["env"] += ["HOME="]
    assert engine.run(command, homeless, "env").ok().stdout == "PATH=/bin\nHOME=/root\n"


def test_what_exec_runs_has_that_of_its_own_user(command: Command, homeless: Bundle) -> None:
    name = f"home-{os.getpid()}"
    command("create", "--bundle", homeless.args("sleep", "1000").path, name).ok()
    try:
        command("start", name).ok()
        assert command("exec", "--user", "1000:1000", name, "sh", "-c", SHOW).ok().stdout == "/home/user\n"
        assert command("exec", "--env", "HOME=/given", name, "sh", "-c", SHOW).ok().stdout == "/given\n"
    finally:
        command("delete", "--force", name).ok()


@pytest.mark.parametrize("what", ["missing", "link", "fifo", "directory", "endless", "binary"])
def test_what_is_no_file_of_the_container_is_neither_waited_for_nor_believed(
    command: Command, homeless: Bundle, tmp_path: Path, what: str
) -> None:
    passwd = homeless.rootfs / "etc/passwd"
    passwd.unlink()
    (tmp_path / "passwd").write_text("root:x:0:0:root:/of-the-host:/bin/sh\n")
    match what:
        case "link":
            passwd.symlink_to(tmp_path / "passwd")
        case "fifo":
            os.mkfifo(passwd)
        case "directory":
            passwd.mkdir()
        case "endless":
            os.mknod(passwd, 0o020666, os.makedev(1, 5))
        case "binary":
            passwd.write_bytes(b"\0\xff:x:0\nroot:x:0:0::rel\0ative:\n" * 1000)
    assert engine.shell(command, homeless, SHOW, timeout=60).ok().stdout == "/\n"


def test_a_root_that_is_a_fifo_is_refused_and_not_waited_for(command: Command, homeless: Bundle) -> None:
    os.mkfifo(homeless.path / "fifo")
    homeless.spec["root"]["path"] = "fifo"
    refused = engine.shell(command, homeless, SHOW, timeout=60)
    assert refused.status == 1
    assert "bundle/fifo/: not a directory (ENOTDIR)" in refused.stderr
