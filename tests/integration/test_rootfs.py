"""What becomes `/`: a plain bind of the bundle's root file system, read-only or not, entered with and without pivot_root(2).

Neighbours: test_overlay.py (copy-on-write), test_host_view.py (without a root file system), test_mounts.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers import mountinfo
from helpers.bundles import Bundle
from helpers.commands import Command
from helpers.mountinfo import MOUNTINFO


def output(command: Command, bundle: Bundle, script: str, *flags: str) -> str:
    return command("run", "--bundle", bundle.shell(script).path, *flags, "root").ok().stdout


def test_a_bundle_writes_to_its_root_file_system_itself(command: Command, bundle: Bundle) -> None:
    bundle.spec["root"]["readonly"] = False
    output(command, bundle, "echo inside > /srv/file")
    assert (bundle.rootfs / "srv/file").read_text() == "inside\n"


def test_an_absolute_root_path_is_taken_as_it_is(command: Command, bundle: Bundle) -> None:
    bundle.spec["root"]["path"] = str(bundle.rootfs)
    assert output(command, bundle, "ls -d /bin/busybox") == "/bin/busybox\n"


def test_a_read_only_root_refuses_writes_but_its_mounts_take_them(command: Command, bundle: Bundle) -> None:
    bundle.spec["root"]["readonly"] = True
    bundle.mount("/mnt", "tmpfs", "tmpfs")
    text = output(command, bundle, "touch /file 2>&1; touch /mnt/file && echo written")
    assert "Read-only file system" in text
    assert text.endswith("written\n")
    assert not (bundle.rootfs / "file").exists()


def test_a_read_only_root_is_read_only_in_mountinfo(command: Command, bundle: Bundle) -> None:
    bundle.spec["root"]["readonly"] = True
    assert "ro" in mountinfo.at(output(command, bundle, f"cat {MOUNTINFO}"), "/").options


def test_nothing_of_the_old_root_can_be_reached(command: Command, bundle: Bundle) -> None:
    wanted = {"/", *(mount["destination"] for mount in bundle.spec["mounts"])}
    hidden = {*bundle.linux["maskedPaths"], *bundle.linux["readonlyPaths"]}
    points = {mount.point for mount in mountinfo.parse(output(command, bundle, f"cat {MOUNTINFO}"))}
    foreign = {point for point in points - wanted - hidden if not point.startswith("/sys/fs/cgroup/")}
    assert foreign == set()


@pytest.mark.parametrize("flags", [(), ("--no-pivot",)], ids=["pivot_root", "no-pivot"])
def test_the_parent_of_the_root_is_the_root(command: Command, bundle: Bundle, flags: tuple[str, ...]) -> None:
    script = "cd /; cd ../../..; pwd; ls -di / /.. | awk '{print $1}' | uniq | wc -l; ls -d /proc/1/root/bin/busybox"
    assert output(command, bundle, script, *flags).split() == ["/", "1", "/proc/1/root/bin/busybox"]


def test_without_pivot_the_container_works_and_is_read_only_where_asked(command: Command, bundle: Bundle) -> None:
    bundle.spec["root"]["readonly"] = True
    assert (
        output(command, bundle, "touch /file 2>/dev/null || echo refused; ls /proc/self/comm", "--no-pivot") == "refused\n/proc/self/comm\n"
    )


def test_without_pivot_the_host_s_proc_and_sys_cannot_be_reached(command: Command, bundle: Bundle) -> None:
    points = [mount.point for mount in mountinfo.parse(output(command, bundle, f"cat {MOUNTINFO}", "--no-pivot"))]
    assert points.count("/proc") <= 1, points


@pytest.mark.parametrize(("asked", "expected"), [("private", "private"), ("unbindable", "unbindable"), ("shared", "shared")])
def test_the_root_has_the_propagation_that_was_asked_for(command: Command, bundle: Bundle, asked: str, expected: str) -> None:
    bundle.linux["rootfsPropagation"] = asked
    assert mountinfo.at(output(command, bundle, f"cat {MOUNTINFO}"), "/").propagation == expected


def test_an_unknown_propagation_is_named_with_its_place(command: Command, bundle: Bundle) -> None:
    bundle.linux["rootfsPropagation"] = "outwards"
    done = command("run", "--bundle", bundle.write(), "root")
    assert done.status == 1
    assert done.stderr.startswith('pyrt: config.json: linux.rootfsPropagation: "outwards" is none of')


def test_a_missing_root_file_system_is_named_with_errno(command: Command, bundle: Bundle) -> None:
    bundle.spec["root"]["path"] = "missing"
    done = command("run", "--bundle", bundle.write(), "root")
    assert done.status == 1
    assert "no such file or directory (ENOENT)" in done.stderr
    assert str(bundle.path / "missing") in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_root_file_system_that_is_a_file_is_refused(command: Command, bundle: Bundle) -> None:
    (bundle.path / "file").touch()
    bundle.spec["root"]["path"] = "file"
    done = command("run", "--bundle", bundle.write(), "root")
    assert done.status == 1
    assert "not a directory (ENOTDIR)" in done.stderr
    assert str(bundle.path / "file") in done.stderr


def test_a_config_without_a_root_says_so(command: Command, bundle: Bundle) -> None:
    del bundle.spec["root"]
    done = command("run", "--bundle", bundle.write(), "root")
    assert (done.status, done.stderr) == (1, "pyrt: config.json: root: is missing\n")


def test_a_root_file_system_below_a_directory_that_only_root_enters_is_mounted(command: Command, bundle: Bundle, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    assert output(command, bundle, "ls -d /bin/busybox") == "/bin/busybox\n"
