"""Attacks by a root file system or bundle: links out of the root, fakes of /proc, /dev/null and /dev/console.

Neighbours: test_races.py (the same while it changes), test_launch_attacks.py; the table in docs/security.md.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import pyrt
from helpers import engine
from helpers.bundles import Bundle
from helpers.commands import Command
from helpers.terminals import Console


@pytest.mark.parametrize("name", ["proc", "sys"])
def test_a_proc_or_sys_that_is_a_symbolic_link_is_refused(command: Command, bundle: Bundle, name: str) -> None:
    """CVE-2019-19921, CVE-2025-54867: a fake procfs would swallow what is written for security."""
    (bundle.rootfs / name).rmdir()
    (bundle.rootfs / name).symlink_to("/tmp")
    kind = {"proc": "proc", "sys": "sysfs"}[name]
    said = engine.refused(engine.run(command, bundle, "true"))
    assert said.startswith(f"mount {kind} on /{name}: too many levels of symbolic links (ELOOP)")


def test_a_kernel_parameter_does_not_go_through_a_proc_of_the_bundle(command: Command, bundle: Bundle, tmp_path: Path) -> None:
    """CVE-2025-52881: it is written by a procfs that was verified before anything of the bundle was mounted."""
    fake = tmp_path / "fake"
    (fake / "sys/net/ipv4").mkdir(parents=True)
    parameter = fake / "sys/net/ipv4/ip_default_ttl"
    parameter.write_text("fake")
    bundle.spec["mounts"] = [mount for mount in bundle.spec["mounts"] if mount["destination"] != "/proc"]
    bundle.mount("/proc", "bind", str(fake), ["bind"])
    bundle.mount("/mnt", "proc", "proc")
    bundle.linux.update(sysctl={"net.ipv4.ip_default_ttl": "42"}, maskedPaths=[], readonlyPaths=[])
    assert engine.run(command, bundle, "cat", "/mnt/sys/net/ipv4/ip_default_ttl").ok().stdout == "42\n"
    assert parameter.read_text() == "fake"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory of the host that no mount may reach."""
    path = tmp_path / "outside"
    path.mkdir()
    return path


@pytest.mark.parametrize("kind", ["absolute", "relative", "magic"])
def test_a_mount_target_that_is_a_link_out_stays_inside(command: Command, bundle: Bundle, outside: Path, kind: str) -> None:
    """CVE-2021-30465: the link is resolved with the container's root as its root."""
    link = bundle.rootfs / "mnt/link"
    link.symlink_to({"absolute": str(outside), "relative": f"../../../../../../../../../..{outside}", "magic": "/proc/self/cwd"}[kind])
    bundle.mount("/mnt/link/below", "tmpfs", "tmpfs", ["mode=755"])
    (bundle.rootfs / str(outside).removeprefix("/")).mkdir(parents=True)
    result = engine.run(command, bundle, "cat", "/proc/self/mountinfo")
    assert list(outside.iterdir()) == []
    if kind == "magic":
        assert engine.refused(result).startswith("mount tmpfs on /mnt/link/below: ")
    else:
        points = [line.split()[4] for line in result.ok().stdout.splitlines()]
        assert f"{outside}/below" in points
        assert (bundle.rootfs / str(outside).removeprefix("/") / "below").is_dir()


def test_a_mount_target_that_is_a_link_to_nothing_inside_is_refused(command: Command, bundle: Bundle, outside: Path) -> None:
    (bundle.rootfs / "mnt/link").symlink_to(outside)
    bundle.mount("/mnt/link", "tmpfs", "tmpfs")
    said = engine.refused(engine.run(command, bundle, "true"))
    assert said == "mount tmpfs on /mnt/link: no such file or directory (ENOENT)"
    assert list(outside.iterdir()) == []


def test_a_device_or_link_target_that_is_a_link_out_stays_inside(command: Command, bundle: Bundle, outside: Path) -> None:
    bundle.spec["mounts"] = [mount for mount in bundle.spec["mounts"] if not mount["destination"].startswith("/dev")]
    (bundle.rootfs / "dev").rmdir()
    (bundle.rootfs / "dev").symlink_to(outside)
    (bundle.rootfs / str(outside).removeprefix("/")).mkdir(parents=True)
    engine.run(command, bundle, "true").ok()
    assert list(outside.iterdir()) == []
    assert (bundle.rootfs / str(outside).removeprefix("/") / "null").is_char_device()


@pytest.mark.parametrize("target", ["/etc/passwd", "/proc/sysrq-trigger"])
def test_a_dev_null_that_is_replaced_in_the_image_is_refused(command: Command, bundle: Bundle, target: str) -> None:
    """CVE-2025-31133: what it leads to would lie over each masked path, writable."""
    bundle.spec["mounts"] = [mount for mount in bundle.spec["mounts"] if not mount["destination"].startswith("/dev")]
    (bundle.rootfs / "dev/null").symlink_to(target)
    assert engine.refused(engine.run(command, bundle, "true")) == "make device /dev/null: file exists (EEXIST)"


def test_masks_are_the_hosts_null_device(command: Command, bundle: Bundle) -> None:
    (bundle.rootfs / "etc/secret").write_text("secret")
    bundle.linux["maskedPaths"].append("/etc/secret")
    said = engine.run(command, bundle, "stat", "-c", "%F %t,%T", "/etc/secret").ok().stdout
    assert said == "character special file 1,3\n"


def test_a_masked_path_that_is_a_link_masks_what_it_leads_to_inside(command: Command, bundle: Bundle, outside: Path) -> None:
    (outside / "file").write_text("the host's\n")
    (bundle.rootfs / "etc/secret").write_text("secret")
    (bundle.rootfs / "etc/link").symlink_to("secret")
    (bundle.rootfs / "etc/away").symlink_to(outside / "file")
    bundle.linux["maskedPaths"] += ["/etc/link", "/etc/away"]
    assert engine.run(command, bundle, "cat", "/etc/secret").ok().stdout == ""
    assert (outside / "file").read_text() == "the host's\n"


def test_a_dev_console_that_is_a_link_is_refused(command: Command, bundle: Bundle, tmp_path: Path) -> None:
    """CVE-2025-52565: the terminal would be mounted over whatever it leads to, and take the place of a mask."""
    bundle.process["terminal"] = True
    bundle.spec["mounts"] = [mount for mount in bundle.spec["mounts"] if mount["destination"] not in ("/dev", "/dev/shm", "/dev/mqueue")]
    (bundle.rootfs / "dev/console").symlink_to("/proc/sys/kernel/core_pattern")
    with Console(tmp_path / "console") as console:
        result = command("create", "--bundle", bundle.args("true").path, "--console-socket", console.path, "tty")
    assert engine.refused(result).startswith("open the terminal /dev/pts/ptmx, /dev/console: too many levels of symbolic links (ELOOP)")


def test_a_mount_below_proc_that_could_hide_something_is_refused(command: Command, bundle: Bundle) -> None:
    """CVE-2019-16884."""
    bundle.mount("/proc/self", "tmpfs", "tmpfs")
    assert engine.refused(engine.run(command, bundle, "true")).startswith("mount tmpfs on /proc/self: ")


def test_a_mount_over_the_root_is_refused(command: Command, bundle: Bundle, outside: Path) -> None:
    for destination in ("/", "/.", "/../"):
        bundle.spec["mounts"] = []
        bundle.mount(destination, "bind", str(outside), ["bind"])
        assert engine.refused(engine.run(command, bundle, "true")).startswith("config.json: mounts[0].destination: is the root itself")


def test_nothing_is_mounted_in_the_hosts_namespace(runtime: pyrt.Runtime, bundle: Bundle) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    bundle.linux["rootfsPropagation"] = "shared"
    container = runtime.create("mounts", bundle=bundle.args("true").path)
    during = Path("/proc/self/mountinfo").read_text()
    container.delete()
    assert during == before


def test_no_path_of_the_old_root_is_left(command: Command, bundle: Bundle) -> None:
    """After the pivot: no mount of the host, and no way up."""
    said = engine.shell(command, bundle, "cut -d ' ' -f 4,5 /proc/self/mountinfo; cd /../../..; pwd; ls /").ok().stdout
    names = set(said.split("\n/\n")[-1].split())
    assert names == {entry.name for entry in bundle.rootfs.iterdir()}
