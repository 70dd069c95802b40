"""The option `tmpcopyup` (config.md "Linux mount options"): a tmpfs begins with what the directory below it holds.

Neighbour: test_mount_options.py, every other word.
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
import struct
from pathlib import Path

import pytest

import pyrt
from helpers import engine
from helpers.bundles import Bundle, map_ids
from helpers.commands import Command
from helpers.hosts import requires
from helpers.proc import NUMBERS, mask, status

HOST_ID = 310_000
"""A host id that nobody has."""
SHOW = "cd /srv; find . | sort | while read path; do stat -c '%n %f %u:%g %s %Y' \"$path\"; done"


@pytest.fixture
def filled(bundle: Bundle) -> Path:
    """The bundle's /srv with a tree of everything that a file system can hold, and a tmpfs over it that has a copy of that."""
    top = bundle.rootfs / "srv"
    (top / "a/b").mkdir(parents=True)
    (top / "a/b/program").write_bytes(b"x" * 200_000)
    (top / "a/b/program").chmod(0o6755)
    (top / "a/empty").touch()
    (top / "link").symlink_to("a/b/no such file")
    os.mkfifo(top / "fifo", 0o640)
    os.mknod(top / "null", 0o620 | stat.S_IFCHR, os.makedev(1, 3))
    os.chown(top / "a/empty", 1000, 2000)
    os.chown(top / "link", 5, 6, follow_symlinks=False)
    (top / "a/b").chmod(0o711)
    top.chmod(0o1750)
    for path in sorted(top.rglob("*"), reverse=True):
        os.utime(path, (1_000_000_000, 1_100_000_000), follow_symlinks=False)
    os.utime(top, (1_000_000_000, 1_100_000_000))
    bundle.mount("/srv", "tmpfs", "tmpfs", ["tmpcopyup"])
    return top


def described(top: Path) -> list[str]:
    """As SHOW has it; directories' sizes are the file system's own affair."""
    lines = []
    for path in sorted([top, *top.rglob("*")]):
        found = path.lstat()
        size = "-" if path.is_dir() and not path.is_symlink() else found.st_size
        name = f"./{path.relative_to(top)}" if path != top else "."
        lines.append(f"{name} {found.st_mode:x} {found.st_uid}:{found.st_gid} {size} {int(found.st_mtime)}")
    return sorted(lines)


def without_directory_sizes(said: str) -> list[str]:
    lines = []
    for line in said.splitlines():
        name, mode, owner, size, time = line.split(" ")
        lines.append(" ".join((name, mode, owner, "-" if stat.S_ISDIR(int(mode, 16)) else size, time)))
    return sorted(lines)


def test_everything_is_there_with_modes_owners_and_times(command: Command, bundle: Bundle, filled: Path) -> None:
    said = engine.shell(command, bundle, SHOW).ok().stdout
    assert without_directory_sizes(said) == described(filled)


def test_contents_links_and_devices_are_the_same(command: Command, bundle: Bundle, filled: Path) -> None:
    said = engine.shell(command, bundle, "cd /srv; md5sum < a/b/program; readlink link; stat -c %t:%T null").ok().stdout.splitlines()
    wanted = engine.shell(command, bundle, "head -c 200000 /dev/zero | tr '\\0' x | md5sum").ok().stdout.splitlines()
    assert said == [*wanted, "a/b/no such file", "1:3"]


def test_extended_attributes_are_the_same(command: Command, bundle: Bundle, filled: Path) -> None:
    """A file capability of the copy raises its program, and the list of a directory admits another user."""
    capability = struct.pack("<5I", 0x02000001, 1 << NUMBERS["CAP_KILL"], 0, 0, 0)
    allowed = struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", *entry)
        for entry in ((1, 7, 0xFFFFFFFF), (2, 7, 1000), (4, 0, 0xFFFFFFFF), (16, 7, 0xFFFFFFFF), (32, 0, 0xFFFFFFFF))
    )
    program = filled / "a/b/status"
    shutil.copy(bundle.rootfs / "bin/busybox", program)
    os.chmod(filled, 0o755)
    os.setxattr(program, "security.capability", capability)
    os.mkdir(filled / "listed", 0o700)
    (filled / "listed/inside").touch()
    os.setxattr(filled / "listed", "system.posix_acl_access", allowed)
    bundle.process.update(user={"uid": 1000, "gid": 1000}, noNewPrivileges=False)
    said = engine.shell(command, bundle, "exec 2>&1; ls /srv/listed; exec -a cat /srv/a/b/status /proc/self/status").ok().stdout
    assert said.startswith("inside\n")
    assert status(said)["CapPrm"] == mask(["CAP_KILL"])


@requires("Linux 6.6")
def test_attributes_of_the_user_are_the_same_where_a_tmpfs_has_them(
    command: Command, bundle: Bundle, runtime: pyrt.Runtime, filled: Path
) -> None:
    os.setxattr(filled / "a/empty", "user.note", b"x" * 1000)
    os.setxattr(filled, "user.top", b"of the top")
    container = runtime.create(f"copied-{os.getpid()}", bundle=bundle.args("true").path)
    inside = Path(f"/proc/{container.pid}/root/srv")
    try:
        assert os.getxattr(inside / "a/empty", "user.note") == b"x" * 1000
        assert os.getxattr(inside, "user.top") == b"of the top"
    finally:
        container.delete()


def test_what_is_written_there_does_not_reach_the_root(command: Command, bundle: Bundle, filled: Path) -> None:
    engine.shell(command, bundle, "echo changed > /srv/a/empty; rm /srv/link; touch /srv/new").ok()
    assert (filled / "a/empty").read_bytes() == b""
    assert (filled / "link").is_symlink()
    assert not (filled / "new").exists()


def test_a_read_only_tmpfs_has_the_copy_too(command: Command, bundle: Bundle, filled: Path) -> None:
    bundle.spec["mounts"][-1]["options"] += ["ro", "noatime"]
    done = engine.shell(command, bundle, "ls /srv; grep ' /srv ' /proc/self/mountinfo; touch /srv/new")
    assert "link" in done.stdout.split()
    assert "ro,noatime" in done.stdout
    assert "Read-only file system" in done.stderr


def test_mode_and_owner_of_the_options_are_those_of_the_top(command: Command, bundle: Bundle, filled: Path) -> None:
    bundle.spec["mounts"][-1]["options"] += ["mode=705", "gid=7"]
    assert engine.run(command, bundle, "stat", "-c", "%a %g", "/srv", "/srv/a").ok().stdout.splitlines() == ["705 7", "755 0"]


def test_a_socket_is_left_out(command: Command, bundle: Bundle, filled: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(filled / "socket"))
        assert "socket" not in engine.run(command, bundle, "ls", "/srv").ok().stdout.split()


def test_a_directory_that_is_missing_is_empty(command: Command, bundle: Bundle) -> None:
    bundle.mount("/new/directory", "tmpfs", "tmpfs", ["tmpcopyup"])
    assert engine.run(command, bundle, "ls", "-A", "/new/directory").ok().stdout == ""


def test_in_a_user_namespace_owners_stay_who_they_are_inside(command: Command, bundle: Bundle) -> None:
    map_ids(bundle, 0, HOST_ID, 65_536)
    for name, owner in (("mine", HOST_ID + 3), ("nobodys", 4)):
        (bundle.rootfs / "srv" / name).touch()
        os.chown(bundle.rootfs / "srv" / name, owner, owner)
    bundle.mount("/srv", "tmpfs", "tmpfs", ["tmpcopyup"])
    said = engine.run(command, bundle, "stat", "-c", "%u:%g", "/srv/mine", "/srv/nobodys").ok().stdout.split()
    assert said == ["3:3", "65534:65534"]


def test_a_tmpfs_that_is_too_small_is_named(command: Command, bundle: Bundle, filled: Path) -> None:
    bundle.spec["mounts"][-1]["options"].append("size=64k")
    assert engine.refused(engine.run(command, bundle, "true")) == (
        "copy up into the tmpfs on /srv: no space left on device (ENOSPC);"
        " the tmpfs is smaller than what is in the directory: see its size= and nr_inodes="
    )


def test_a_tree_without_end_is_refused(command: Command, bundle: Bundle) -> None:
    (bundle.rootfs / "srv" / "/".join(["d"] * 150)).mkdir(parents=True)
    bundle.mount("/srv", "tmpfs", "tmpfs", ["tmpcopyup"])
    line = engine.refused(engine.run(command, bundle, "true"))
    assert line == "copy up into the tmpfs on /srv: too many levels of symbolic links (ELOOP)"


def test_a_link_out_of_the_root_is_copied_and_not_followed(command: Command, bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of the host")
    (bundle.rootfs / "srv/out").symlink_to(tmp_path / "secret")
    bundle.mount("/srv", "tmpfs", "tmpfs", ["tmpcopyup"])
    done = engine.shell(command, bundle, "readlink /srv/out; cat /srv/out")
    assert done.stdout == f"{tmp_path}/secret\n"


def test_only_a_tmpfs_can_have_a_copy(command: Command, bundle: Bundle) -> None:
    bundle.mount("/mnt", "bind", "/tmp", ["bind", "tmpcopyup"])
    line = engine.refused(engine.run(command, bundle, "true"))
    assert line == f"config.json: mounts[{len(bundle.spec['mounts']) - 1}].options: tmpcopyup is for a tmpfs"
