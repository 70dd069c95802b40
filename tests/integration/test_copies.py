"""copy_in and copy_out: files and directories into the root of a container and out of it, while it runs and after its end.

Neighbours: test_changes.py, ../security/test_hostile_files.py (what a container can do against it).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

import pyrt
from helpers.hosts import requires
from helpers.waiting import SOON


@pytest.fixture
def box(rootfs: Path) -> Iterator[pyrt.Popen[bytes]]:
    with pyrt.Popen(["sleep", "1000"], rootfs=rootfs, tmpfs=["/scratch"]) as running:
        yield running


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory with a file, a directory, a link, a FIFO."""
    top = tmp_path / "tree"
    (top / "deep" / "deeper").mkdir(parents=True)
    (top / "file").write_text("content")
    (top / "deep" / "script").write_text("#!/bin/sh\n")
    (top / "deep" / "script").chmod(0o4755)
    (top / "deep" / "link").symlink_to("../file")
    os.mkfifo(top / "fifo")
    return top


def inside(box: pyrt.Popen[bytes], path: str) -> Path:
    return Path(f"/proc/{box.pid}/root{path}")


def test_a_file_comes_in_with_its_mode_and_belongs_to_root(box: pyrt.Popen[bytes], tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x" * 200_000)
    source.chmod(0o640)
    os.chown(source, 7, 8)
    assert box.copy_in(source, "/made/of/it") == []
    made = inside(box, "/made/of/it")
    status = made.stat()
    assert made.read_bytes() == source.read_bytes()
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o640, 0, 0)
    assert int(status.st_mtime) == int(source.stat().st_mtime)


def test_a_file_that_is_there_is_replaced_at_once(box: pyrt.Popen[bytes], tmp_path: Path) -> None:
    (tmp_path / "source").write_text("new")
    before = inside(box, "/etc/passwd").stat().st_ino
    box.copy_in(tmp_path / "source", "/etc/passwd")
    assert inside(box, "/etc/passwd").read_text() == "new"
    assert inside(box, "/etc/passwd").stat().st_ino != before
    assert not [name for name in os.listdir(inside(box, "/etc")) if name.startswith(".pyrt")]


def test_a_directory_comes_in_with_all_in_it_but_fifos_and_set_user_id(box: pyrt.Popen[bytes], tree: Path) -> None:
    assert box.copy_in(tree, "/srv/tree") == ["fifo"]
    top = inside(box, "/srv/tree")
    assert (top / "file").read_text() == "content"
    assert os.readlink(top / "deep" / "link") == "../file"
    assert (top / "deep" / "script").stat().st_mode & 0o7777 == 0o755
    assert (top / "deep" / "deeper").is_dir()


def test_a_directory_is_merged_into_one_that_is_there(box: pyrt.Popen[bytes], tree: Path) -> None:
    (tree / "passwd").write_text("theirs")
    box.copy_in(tree, "/etc")
    assert inside(box, "/etc/passwd").read_text() == "theirs"
    assert inside(box, "/etc/group").read_text().startswith("root")


def test_copies_go_into_mounts_of_the_container_too(box: pyrt.Popen[bytes], tree: Path, tmp_path: Path) -> None:
    box.copy_in(tree / "file", "/scratch/file")
    assert inside(box, "/scratch/file").read_text() == "content"
    box.copy_out("/scratch/file", tmp_path / "back")
    assert (tmp_path / "back").read_text() == "content"


def test_a_directory_comes_out_as_the_callers_own(box: pyrt.Popen[bytes], tree: Path, tmp_path: Path) -> None:
    box.copy_in(tree, "/srv/tree")
    pid = box.pid
    os.chown(f"/proc/{pid}/root/srv/tree/file", 1234, 1234)
    os.chmod(f"/proc/{pid}/root/srv/tree/file", 0o6777)
    old = os.umask(0o027)
    try:
        assert box.copy_out("/srv/tree", tmp_path / "out") == []
    finally:
        os.umask(old)
    status = (tmp_path / "out" / "file").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (os.getuid(), os.getgid(), 0o750)
    assert (tmp_path / "out" / "deep" / "link").read_text() == "content"


def test_out_of_a_container_that_has_ended_comes_what_is_kept(rootfs: Path, tmp_path: Path) -> None:
    with pyrt.Popen(["sh", "-c", "echo made > /result"], rootfs=rootfs, keep_changes=True) as box:
        assert box.wait() == 0
        box.copy_out("/result", tmp_path / "result")
        # And what it did not change.
        box.copy_out("/etc/passwd", tmp_path / "passwd")
        box.copy_in(tmp_path / "passwd", "/copied")
        assert box.changes().added == ["/copied", "/result"]
    assert (tmp_path / "result").read_text() == "made\n"
    assert (tmp_path / "passwd").read_bytes() == (rootfs / "etc/passwd").read_bytes()


def test_out_of_a_container_that_has_ended_and_keeps_nothing_comes_nothing(rootfs: Path, tmp_path: Path) -> None:
    with pyrt.Popen(["true"], rootfs=rootfs) as box:
        box.wait()
        with pytest.raises(pyrt.InvalidState, match=r"the container has ended; keep_changes=True"):
            box.copy_out("/etc/passwd", tmp_path / "passwd")


def test_what_is_larger_than_max_size_is_refused_and_leaves_nothing(box: pyrt.Popen[bytes], tree: Path, tmp_path: Path) -> None:
    (tree / "large").write_bytes(b"x" * 100_000)
    box.copy_in(tree, "/srv/tree", max_size="1M")
    with pytest.raises(pyrt.Error) as failure:
        box.copy_out("/srv/tree", tmp_path / "out", max_size=1000)
    assert failure.value.errno == errno.EFBIG
    with pytest.raises(pyrt.Error) as failure:
        box.copy_out("/srv/tree/large", tmp_path / "out", max_size="1K")
    assert (failure.value.errno, failure.value.path) == (errno.EFBIG, "/srv/tree/large")
    assert sorted(os.listdir(tmp_path)) == ["bundle", "tree"]
    with pytest.raises(pyrt.Error) as failure:
        box.copy_in(tree / "large", "/large", max_size=1000)
    assert failure.value.errno == errno.EFBIG
    assert not inside(box, "/large").exists()
    assert not [name for name in os.listdir(inside(box, "/")) if name.startswith(".pyrt")]


def test_holes_stay_holes(box: pyrt.Popen[bytes], tmp_path: Path) -> None:
    inside(box, "/srv/sparse").touch()
    os.truncate(inside(box, "/srv/sparse"), 1 << 40)
    box.copy_out("/srv/sparse", tmp_path / "sparse", max_size="1M")
    status = (tmp_path / "sparse").stat()
    assert (status.st_size, status.st_blocks) == (1 << 40, 0)


def test_a_directory_does_not_replace_what_is_there(box: pyrt.Popen[bytes], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(pyrt.AlreadyExists) as failure:
        box.copy_out("/etc", tmp_path / "out")
    assert (failure.value.path, failure.value.errno) == (str(tmp_path / "out"), errno.EEXIST)


def test_what_is_missing_is_named(box: pyrt.Popen[bytes], tmp_path: Path) -> None:
    with pytest.raises(pyrt.Error) as failure:
        box.copy_out("/no/such", tmp_path / "out")
    assert (failure.value.path, failure.value.errno) == ("/no/such", errno.ENOENT)
    with pytest.raises(pyrt.Error) as failure:
        box.copy_in(tmp_path / "none", "/there")
    assert (failure.value.path, failure.value.errno) == (str(tmp_path / "none"), errno.ENOENT)


def test_paths_in_the_container_are_absolute(box: pyrt.Popen[bytes], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="source is 'etc', not an absolute path"):
        box.copy_out("etc", tmp_path / "out")
    with pytest.raises(ValueError, match="target is 'etc', not an absolute path"):
        box.copy_in(tmp_path, "etc")


def test_a_read_only_root_takes_no_copies(rootfs: Path, tmp_path: Path) -> None:
    (tmp_path / "source").touch()
    with pyrt.Popen(["sleep", "1000"], rootfs=rootfs, read_only=True) as box, pytest.raises(pyrt.Error) as failure:
        box.copy_in(tmp_path / "source", "/there")
    assert failure.value.errno == errno.EROFS


def test_a_container_with_state_is_copied_into_and_out_of(running: pyrt.Container, tmp_path: Path) -> None:
    (tmp_path / "source").write_text("in")
    running.copy_in(tmp_path / "source", "/dev/shm/there")
    running.copy_out("/dev/shm/there", tmp_path / "back")
    assert (tmp_path / "back").read_text() == "in"
    running.kill("KILL")
    running.wait(timeout=SOON)
    with pytest.raises(pyrt.InvalidState, match="cannot copy files of container"):
        running.copy_out("/dev/shm/there", tmp_path / "again")


@requires("user namespaces")
def test_in_a_user_namespace_copies_belong_to_its_root(rootfs: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for above in (tmp_path, *tmp_path.parents):
        if above != Path("/"):
            os.chmod(above, os.stat(above).st_mode | 0o055)
    (tmp_path / "source").touch()
    mapping: dict[Literal["uid", "gid"], list[tuple[int, int, int]]] = {"uid": [(0, 100_000, 65536)], "gid": [(0, 200_000, 65536)]}
    with pyrt.Popen(["sleep", "1000"], rootfs=rootfs, overlay=False, user_namespace=mapping) as box:
        box.copy_in(tmp_path / "source", "/dev/shm/there")
        status = inside(box, "/dev/shm/there").stat()
    assert (status.st_uid, status.st_gid) == (100_000, 200_000)
