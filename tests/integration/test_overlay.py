"""Copy-on-write roots: the upper layer thrown away, kept below a directory, limited in size; and Overlay, the mount without a container.

Neighbours: test_rootfs.py (without an overlay), test_host_view.py (the host as the lower layer).
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pyrt
from helpers.bundles import Bundle
from helpers.commands import Command
from helpers.hosts import requires
from helpers.mountinfo import MOUNTINFO
from helpers.waiting import SOON

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from pyrt.options import ContainerOptions


def tree(directory: Path) -> dict[str, tuple[int, int, float]]:
    """Mode, size and time of change of everything below a directory."""
    found = {}
    for top, directories, files in os.walk(directory):
        for name in (*directories, *files):
            status = os.lstat(os.path.join(top, name))
            found[os.path.join(top, name)] = (status.st_mode, status.st_size, status.st_ctime)
    return found


def shell(script: str, **options: Unpack[ContainerOptions]) -> pyrt.CompletedProcess[str]:
    return pyrt.run(["sh", "-c", script], capture_output=True, text=True, **options)


CHANGE = "echo new > /new; echo changed > /etc/passwd; rm /etc/group; rm -r /srv; mkdir /bin/deeper; chmod 700 /tmp"


def test_what_a_run_changes_is_thrown_away(rootfs: Path) -> None:
    before = tree(rootfs)
    assert shell(f"{CHANGE}; cat /new /etc/passwd; ls /etc/group", rootfs=rootfs).stdout == "new\nchanged\n"
    assert tree(rootfs) == before
    assert shell("ls /new; cat /etc/group", rootfs=rootfs).stdout.startswith("root:x:0:")


def test_a_bundle_can_have_an_overlay_too(bundle: Bundle) -> None:
    bundle.spec["root"]["readonly"] = False
    bundle.shell(f"{CHANGE}; cat /new")
    before = tree(bundle.rootfs)
    done = pyrt.run(bundle=bundle.path, overlay=True, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "new\n")
    assert tree(bundle.rootfs) == before


def test_without_an_overlay_a_run_writes_to_the_root_file_system_itself(rootfs: Path) -> None:
    assert shell("echo new > /new", rootfs=rootfs, overlay=False).returncode == 0
    assert (rootfs / "new").read_text() == "new\n"


def test_changes_are_kept_below_a_directory_and_are_there_again(rootfs: Path, tmp_path: Path) -> None:
    before, kept = tree(rootfs), tmp_path / "kept"
    assert shell(CHANGE, rootfs=rootfs, overlay=kept).returncode == 0
    assert tree(rootfs) == before
    assert (kept / "upper/new").read_text() == "new\n"
    assert (kept / "upper/etc/group").is_char_device(), "a whiteout"
    assert sorted(path.name for path in kept.iterdir()) == ["upper", "work"]
    again = shell("cat /new /etc/passwd; ls /etc/group /srv 2>/dev/null", rootfs=rootfs, overlay=kept)
    assert again.stdout == "new\nchanged\n"


def test_a_runtime_s_container_has_an_overlay_where_it_has_a_rootfs(runtime: pyrt.Runtime, rootfs: Path) -> None:
    before = tree(rootfs)
    container = runtime.create("overlay", ["sh", "-c", CHANGE], rootfs=rootfs)
    container.start()
    assert container.wait(timeout=SOON) == 0
    container.delete()
    assert tree(rootfs) == before


def test_the_size_limits_what_may_be_written(rootfs: Path) -> None:
    done = shell("dd if=/dev/zero of=/file bs=64k count=64; stat -c %s /file", rootfs=rootfs, size="1M")
    assert "No space left on device" in done.stderr
    assert 0 < int(done.stdout) <= 1 << 20


def test_the_size_is_one_gibibyte_unless_said(rootfs: Path) -> None:
    blocks = shell("stat -f -c '%b %S' /", rootfs=rootfs).stdout.split()
    assert int(blocks[0]) * int(blocks[1]) == 1 << 30


def test_the_size_is_the_memory_limit_where_there_is_one(rootfs: Path) -> None:
    blocks = shell("stat -f -c '%b %S' /", rootfs=rootfs, memory="64M").stdout.split()
    assert int(blocks[0]) * int(blocks[1]) == 64 << 20


def test_a_read_only_root_is_read_only_over_an_overlay_too(rootfs: Path) -> None:
    assert "Read-only file system" in shell("touch /new", rootfs=rootfs, read_only=True).stderr


def test_a_path_with_a_colon_and_a_comma_is_one_layer(tmp_path: Path, rootfs: Path) -> None:
    odd = tmp_path / "a:b,c\\d"
    rootfs.rename(odd)
    try:
        assert shell("ls -d /bin/busybox", rootfs=odd).stdout == "/bin/busybox\n"
    finally:
        odd.rename(rootfs)


def test_a_missing_rootfs_is_named_with_errno(tmp_path: Path) -> None:
    with pytest.raises(pyrt.Error) as failure:
        pyrt.run(["true"], rootfs=tmp_path / "missing")
    assert failure.value.errno == errno.ENOENT
    assert str(tmp_path / "missing") in str(failure.value)
    assert "no such file or directory (ENOENT)" in str(failure.value)


def test_a_rootfs_that_is_a_file_is_named_with_errno(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(pyrt.Error) as failure:
        pyrt.run(["true"], rootfs=tmp_path / "file")
    assert failure.value.errno == errno.ENOTDIR
    assert str(tmp_path / "file") in str(failure.value)


# pyrt.Overlay


def test_an_overlay_object_is_a_writable_view_that_the_host_has_no_mount_of(rootfs: Path) -> None:
    before, mounts = tree(rootfs), Path(MOUNTINFO).read_text()
    with pyrt.Overlay(lower=[rootfs]) as overlay:
        assert Path(MOUNTINFO).read_text() == mounts
        passwd = Path(overlay.path / "etc/passwd")
        passwd.write_text("changed\n")
        assert passwd.read_text() == "changed\n"
        assert sorted(os.listdir(overlay.path)) == sorted(os.listdir(rootfs))
        path = os.fspath(overlay.path)
    assert tree(rootfs) == before
    assert not os.path.exists(os.path.join(path, "etc"))


def test_an_overlay_object_lays_directories_over_each_other_the_first_on_top(tmp_path: Path) -> None:
    for name in ("top", "bottom"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "both").write_text(name)
        (tmp_path / name / name).touch()
    with pyrt.Overlay(lower=[tmp_path / "top", tmp_path / "bottom"]) as overlay:
        assert sorted(os.listdir(overlay.path)) == ["both", "bottom", "top"]
        assert Path(overlay.path / "both").read_text() == "top"


def test_an_overlay_object_keeps_its_changes_where_it_is_told(rootfs: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    with pyrt.Overlay(lower=[rootfs], upper=kept) as overlay:
        Path(overlay.path / "new").write_text("kept\n")
    assert (kept / "upper/new").read_text() == "kept\n"
    with pyrt.Overlay(lower=[rootfs], upper=kept) as overlay:
        assert Path(overlay.path / "new").read_text() == "kept\n"


def test_an_overlay_object_limits_what_is_thrown_away(rootfs: Path) -> None:
    with pyrt.Overlay(lower=[rootfs], size="1M") as overlay, pytest.raises(OSError, match="No space left") as failure:
        Path(overlay.path / "file").write_bytes(bytes(2 << 20))
    assert failure.value.errno == errno.ENOSPC


@requires("Linux 6.15")
def test_a_container_runs_in_an_overlay_object_and_its_changes_are_seen_there(rootfs: Path) -> None:
    before = tree(rootfs)
    with pyrt.Overlay(lower=[rootfs]) as overlay:
        assert shell("echo inside > /new", rootfs=overlay).returncode == 0
        assert Path(overlay.path / "new").read_text() == "inside\n"
        assert shell("cat /new", rootfs=overlay.path).stdout == "inside\n"
    assert tree(rootfs) == before


def test_a_closed_overlay_says_so(rootfs: Path) -> None:
    overlay = pyrt.Overlay(lower=[rootfs])
    overlay.close()
    with pytest.raises(pyrt.InvalidState, match="Overlay is closed"):
        os.fspath(overlay.path)


def test_an_overlay_of_a_directory_that_is_missing_names_it(tmp_path: Path) -> None:
    with pytest.raises(pyrt.Error) as failure:
        pyrt.Overlay(lower=[tmp_path / "missing"])
    assert failure.value.errno == errno.ENOENT
    assert str(tmp_path / "missing") in str(failure.value)


def test_the_people_s_form_throws_changes_away_and_writes_through_where_asked(command: Command, rootfs: Path) -> None:
    command("run", "--rootfs", rootfs, "--", "touch", "/thrown-away").ok()
    assert not (rootfs / "thrown-away").exists()
    command("run", "--rootfs", rootfs, "--no-overlay", "--", "touch", "/kept").ok()
    assert (rootfs / "kept").exists()
