"""What a container can put into its root against whoever reads its changes or copies from it: links, devices, races, names, depth.

Neighbours: ../integration/test_changes.py, ../integration/test_copies.py; test_hostile_rootfs.py (images).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

import pytest

import pyrt

SECRET = "of the host"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file of the host, outside any container."""
    path = tmp_path / "secret"
    path.write_text(SECRET)
    return path


def started(script: str, rootfs: Path) -> pyrt.Popen[str]:
    box = pyrt.Popen(["sh", "-c", f"{script}\necho ready\nexec sleep 1000"], rootfs=rootfs, keep_changes=True, stdout=pyrt.PIPE, text=True)
    assert box.stdout is not None
    assert box.stdout.readline() == "ready\n"
    return box


def test_links_are_followed_inside_only(rootfs: Path, secret: Path, tmp_path: Path) -> None:
    climb = "../" * 40
    with started(f"ln -s {secret} /absolute; ln -s {climb}{secret} /relative; ln -s {climb}/etc /etc2", rootfs) as box:
        for name in ("/absolute", "/relative"):
            with pytest.raises(pyrt.Error) as failure:
                box.copy_out(name, tmp_path / "out")
            assert failure.value.errno == errno.ENOENT
        box.copy_out("/etc2/passwd", tmp_path / "passwd")
    assert (tmp_path / "passwd").read_bytes() == (rootfs / "etc/passwd").read_bytes()


def test_links_that_lead_out_of_what_is_copied_stay_behind(rootfs: Path, secret: Path, tmp_path: Path) -> None:
    script = f"""
    mkdir -p /srv/top/sub; cd /srv/top; touch file
    ln -s {secret} absolute; ln -s ../../x climbing; ln -s sub/../../../x sneaking; ln -s .. up; ln -s file good; ln -s ../file sub/good
    """
    with started(script, rootfs) as box:
        left = box.copy_out("/srv/top", tmp_path / "out")
    assert sorted(left) == ["absolute", "climbing", "sneaking", "up"]
    assert sorted(os.listdir(tmp_path / "out")) == ["file", "good", "sub"]
    assert os.listdir(tmp_path / "out" / "sub") == ["good"]


def test_a_link_in_the_place_of_a_target_is_replaced_and_not_followed(rootfs: Path, secret: Path, tmp_path: Path) -> None:
    (tmp_path / "source").write_text("new")
    with started(f"ln -s {secret} /srv/file; ln -s {secret.parent} /srv/directory", rootfs) as box:
        box.copy_in(tmp_path / "source", "/srv/file")
        assert stat.S_ISREG(os.lstat(f"/proc/{box.pid}/root/srv/file").st_mode)
        # Of a directory in the path a link is followed, inside: nothing is there.
        for source, target in (("source", "/srv/directory/made"), ("bundle", "/srv/directory")):
            with pytest.raises(pyrt.Error) as failure:
                box.copy_in(tmp_path / source, target)
            assert failure.value.errno == errno.ELOOP, target
    assert secret.read_text() == SECRET
    assert sorted(os.listdir(tmp_path)) == ["bundle", "secret", "source"]


def test_devices_fifos_and_the_kernels_files_are_not_opened(rootfs: Path, tmp_path: Path) -> None:
    with started("mkfifo /srv/fifo", rootfs) as box:
        for name in ("/srv/fifo", "/dev/null", "/dev/ptmx", "/proc/kmsg", "/sys/kernel/notes"):
            with pytest.raises(pyrt.Error) as failure:
                box.copy_out(name, tmp_path / "out")
            assert (failure.value.path, failure.value.errno) in ((name, errno.EINVAL), (name, errno.ENOENT)), name
        assert box.copy_out("/srv", tmp_path / "srv") == ["fifo"]
        with pytest.raises(pyrt.Error) as failure:
            box.copy_out("/proc/1/root/etc/passwd", tmp_path / "out")
        assert failure.value.errno == errno.ELOOP
    assert not (tmp_path / "out").exists()


def test_a_tree_that_is_renamed_all_the_time_never_gives_anything_of_the_host(rootfs: Path, secret: Path, tmp_path: Path) -> None:
    """A directory and a link to the host's take turns at one name while it is read."""
    script = f"""
    mkdir -p /srv/tree/real /srv/away; echo inside > /srv/tree/real/secret; ln -s {secret.parent} /srv/away/link
    cd /srv
    (while :; do mv tree/real away/real; mv away/link tree/real; mv tree/real away/link; mv away/real tree/real; done) &
    """
    with started(script, rootfs) as box:
        failed: set[int | None] = set()
        for turn in range(100):
            out = tmp_path / f"out{turn}"
            try:
                box.copy_out("/srv/tree", out)
            except pyrt.Error as error:
                failed.add(error.errno)
                assert not out.exists()
                continue
            found = out / "real" / "secret"
            assert not out.joinpath("real").is_symlink()
            assert not found.exists() or found.read_text() == "inside\n"
            box.changes()
    assert failed <= {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.EAGAIN}


def test_directories_nested_without_end_are_refused_by_a_copy_and_told_by_changes(rootfs: Path, tmp_path: Path) -> None:
    nest = "cd /srv; i=0; while [ $i -lt 1200 ]; do mkdir d && cd d || break; i=$((i+1)); done"
    with started(nest, rootfs) as box:
        with pytest.raises(pyrt.Error) as failure:
            box.copy_out("/srv", tmp_path / "out")
        assert failure.value.errno == errno.ELOOP
        assert not (tmp_path / "out").exists()
        added = box.changes().added
    assert len(added) == 1200
    assert added[-1] == "/srv" + "/d" * 1200


def test_a_container_cannot_hide_what_it_deleted_by_attributes_of_its_own(rootfs: Path) -> None:
    with started("rm /etc/group; mkdir /srv/new; touch /srv/new/a", rootfs) as box:
        # Through the root, as a process inside with every capability could try: refused, or kept under another name (Linux 6.7).
        with contextlib.suppress(OSError):
            os.setxattr(f"/proc/{box.pid}/root/etc", "trusted.overlay.opaque", b"y")
        changes = box.changes()
    assert changes.deleted == ["/etc/group"]
    assert changes.added == ["/srv/new", "/srv/new/a"]


def test_what_is_committed_is_read_without_following_links(rootfs: Path, secret: Path, tmp_path: Path) -> None:
    with started(f"ln -s {secret} /srv/link; rm -r /etc; ln -s {secret.parent} /etc", rootfs) as box:
        box.commit(tmp_path / "layer")
    assert os.readlink(tmp_path / "layer" / "srv" / "link") == str(secret)
    assert os.readlink(tmp_path / "layer" / "etc") == str(secret.parent)
    assert secret.read_text() == SECRET
