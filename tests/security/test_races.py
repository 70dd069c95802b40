"""Races: somebody who shares the root file system, or a volume in it, exchanges names while the container is made.

Losing a race is an error, or a mount elsewhere inside, never an escape. Neighbours: test_hostile_rootfs.py (the same standing still),
test_advisories.py; the table in docs/security.md.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from pathlib import Path

import pytest

import pyrt
from helpers import engine
from helpers.bundles import Bundle
from helpers.commands import Command
from helpers.swapping import SECONDS, race, swapped
from helpers.terminals import Console

NULL_DEVICE = os.makedev(1, 3)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory of the host that nothing may reach."""
    path = tmp_path / "outside"
    path.mkdir()
    return path


def lines(container: pyrt.Container) -> list[list[str]]:
    """Its mountinfo: number, parent, device, root, point, ..."""
    return [line.split() for line in Path(f"/proc/{container.pid}/mountinfo").read_text().splitlines()]


def test_a_target_that_is_exchanged_all_the_time_never_leads_out(runtime: pyrt.Runtime, bundle: Bundle, outside: Path) -> None:
    """CVE-2021-30465: a directory on the way to the target is a directory now and a link out then."""
    (bundle.rootfs / "mnt/way").mkdir()
    (bundle.rootfs / "mnt/other").symlink_to(outside)
    for number in range(8):
        bundle.mount(f"/mnt/way/deep/{number}", "tmpfs", "tmpfs")

    def look(container: pyrt.Container) -> None:
        assert len([fields for fields in lines(container) if "/deep/" in fields[4]]) == 8

    with swapped(bundle.rootfs / "mnt/way", bundle.rootfs / "mnt/other"):
        outcome = race(runtime, bundle, look)
    assert outcome.refused <= {"mount tmpfs on"}
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_nothing_is_made_on_the_host_for_a_target_in_a_volume(
    runtime: pyrt.Runtime, bundle: Bundle, outside: Path, tmp_path: Path, kind: str
) -> None:
    """CVE-2024-45310: the empty file or directory that a mount needs, made in a volume that another container changes meanwhile."""
    volume, source = tmp_path / "volume", tmp_path / "source"
    (volume / "way").mkdir(parents=True)
    (volume / "link").symlink_to(outside)
    source.touch() if kind == "file" else source.mkdir()
    bundle.mount("/srv", "bind", str(volume), ["rbind", "rw"])
    for number in range(8):
        bundle.mount(f"/srv/way/{number}", "bind", str(source), ["bind"])

    def look(container: pyrt.Container) -> None:
        """The next one has to make them again."""
        for number in range(8):
            with contextlib.suppress(OSError):
                (os.unlink if kind == "file" else os.rmdir)(volume / "way" / str(number))

    with swapped(volume / "way", volume / "link"):
        outcome = race(runtime, bundle, look)
    assert outcome.refused <= {f"bind mount {source} on"}
    assert list(outside.iterdir()) == []


def test_a_proc_that_is_exchanged_is_never_without_its_masks(runtime: pyrt.Runtime, bundle: Bundle) -> None:
    """CVE-2019-19921, CVE-2023-27561, CVE-2023-28642: what hides parts of /proc is not looked for anywhere but in that procfs."""
    (bundle.rootfs / "way").symlink_to("/srv")
    hiding = [path for path in bundle.linux["maskedPaths"] + bundle.linux["readonlyPaths"] if path.startswith("/proc/")]
    wanted = len([path for path in hiding if Path(path).exists()])
    assert wanted > 3

    def look(container: pyrt.Container) -> None:
        mounts = lines(container)
        (proc,) = [fields[0] for fields in mounts if "proc" in fields[6:] and fields[3] == "/"]
        assert len([fields for fields in mounts if fields[1] == proc]) == wanted, mounts

    with swapped(bundle.rootfs / "proc", bundle.rootfs / "way"):
        outcome = race(runtime, bundle, look)
    assert outcome.refused <= {"mount proc on"}
    assert outcome.made, outcome


def test_a_dev_null_that_is_exchanged_is_never_a_mask(runtime: pyrt.Runtime, bundle: Bundle) -> None:
    """CVE-2025-31133, CVE-2025-62161: in a root without a /dev of its own the image's null is a device now and a link then."""
    bundle.spec["mounts"] = [mount for mount in bundle.spec["mounts"] if not mount["destination"].startswith("/dev")]
    os.mknod(bundle.rootfs / "dev/null", 0o666 | stat.S_IFCHR, NULL_DEVICE)
    (bundle.rootfs / "dev/link").symlink_to("/proc/sys/kernel/core_pattern")
    (bundle.rootfs / "etc/secret").write_text("secret")
    bundle.linux["maskedPaths"] = ["/etc/secret", "/proc/timer_list"]

    def look(container: pyrt.Container) -> None:
        assert os.stat(f"/proc/{container.pid}/root/etc/secret").st_rdev == NULL_DEVICE

    with swapped(bundle.rootfs / "dev/null", bundle.rootfs / "dev/link"):
        outcome = race(runtime, bundle, look)
    assert outcome.refused <= {"make device"}


def test_a_dev_console_that_is_exchanged_never_covers_anything_of_proc(command: Command, bundle: Bundle, tmp_path: Path) -> None:
    """CVE-2025-52565: the terminal would be writable above a mask, or above a file that nobody may write."""
    bundle.process["terminal"] = True
    bundle.spec["mounts"] = [mount for mount in bundle.spec["mounts"] if mount["destination"] not in ("/dev", "/dev/shm", "/dev/mqueue")]
    (bundle.rootfs / "dev/console").touch()
    (bundle.rootfs / "dev/link").symlink_to("/proc/sys/kernel/core_pattern")
    bundle.args("true")
    made = 0
    with swapped(bundle.rootfs / "dev/console", bundle.rootfs / "dev/link"):
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            with Console(tmp_path / f"console-{made}") as console:
                result = command("create", "--bundle", bundle.path, "--console-socket", console.path, engine.ID)
                made += 1
                if result.status != 0:
                    assert engine.refused(result).startswith("open the terminal /dev/pts/ptmx, /dev/console: ")
                    continue
                _, descriptors = console.receive()
                for descriptor in descriptors:
                    os.close(descriptor)
                mounts = Path(f"/proc/{command('state', engine.ID).json['pid']}/mountinfo").read_text().splitlines()
                command("delete", engine.ID).ok()
            above_proc = [line for line in mounts if " - devpts " in line and "/proc" in line.split()[4]]
            assert above_proc == []


def test_a_kernel_parameter_never_goes_through_what_is_exchanged(runtime: pyrt.Runtime, command: Command, bundle: Bundle) -> None:
    """CVE-2025-52881, CVE-2025-62596: writes to /proc go through a procfs of the caller, which no image has a name for."""
    fake = bundle.rootfs / "srv/fake/sys/net/ipv4/ip_default_ttl"
    fake.parent.mkdir(parents=True)
    fake.write_text("fake")
    (bundle.rootfs / "way").symlink_to("/srv/fake")
    bundle.linux["sysctl"] = {"net.ipv4.ip_default_ttl": "42"}

    def look(container: pyrt.Container) -> None:
        assert fake.read_text() == "fake"

    with swapped(bundle.rootfs / "proc", bundle.rootfs / "way"):
        outcome = race(runtime, bundle, look)
    assert outcome.refused <= {"mount proc on"}
    assert fake.read_text() == "fake"
    assert engine.run(command, bundle, "cat", "/proc/sys/net/ipv4/ip_default_ttl").ok().stdout == "42\n"
