"""/dev: the default devices and links, those that config.json adds, and that a default library container opens no other.

Neighbours: test_mounts.py (what /dev is a mount of), test_masked_paths.py.
"""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import pyrt
from helpers.bundles import Bundle
from helpers.commands import Command
from helpers.hosts import requires

DEFAULT_DEVICES = {
    "/dev/null": (1, 3),
    "/dev/zero": (1, 5),
    "/dev/full": (1, 7),
    "/dev/random": (1, 8),
    "/dev/urandom": (1, 9),
    "/dev/tty": (5, 0),
}
"""runtime-spec, config-linux.md, "Default Devices": major and minor numbers."""
LINKS = {
    "/dev/fd": "/proc/self/fd",
    "/dev/stdin": "/proc/self/fd/0",
    "/dev/stdout": "/proc/self/fd/1",
    "/dev/stderr": "/proc/self/fd/2",
    "/dev/ptmx": "pts/ptmx",
}
"""The same, runtime-linux.md, "Dev symbolic links"."""
SECTOR = b"a sector that only the host's root may read".ljust(512, b".")


def output(command: Command, bundle: Bundle, script: str) -> str:
    return command("run", "--bundle", bundle.shell(script).path, "devices").ok().stdout


def devices(text: str) -> dict[str, tuple[int, int]]:
    """What `stat -c '%n %t %T'` printed: numbers by path."""
    return {name: (int(major, 16), int(minor, 16)) for name, major, minor in (line.split() for line in text.splitlines())}


def test_the_default_devices_have_their_numbers_and_are_everybody_s(command: Command, bundle: Bundle) -> None:
    names = " ".join(DEFAULT_DEVICES)
    assert devices(output(command, bundle, f"stat -c '%n %t %T' {names}")) == DEFAULT_DEVICES
    assert set(output(command, bundle, f"stat -c '%F %a %u:%g' {names}").splitlines()) == {"character special file 666 0:0"}


def test_the_default_devices_work(command: Command, bundle: Bundle) -> None:
    script = "echo x > /dev/null; head -c 4 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c; echo x > /dev/full || echo full"
    assert output(command, bundle, script).split() == ["4", "4", "full"]


def test_the_links_lead_where_the_specification_says(command: Command, bundle: Bundle) -> None:
    script = "; ".join(f"echo {path} $(readlink {path})" for path in LINKS)
    assert dict(line.split() for line in output(command, bundle, script).splitlines()) == LINKS


def test_a_new_terminal_can_be_opened_through_dev_ptmx(command: Command, bundle: Bundle) -> None:
    assert output(command, bundle, "exec 3<>/dev/ptmx && ls /dev/pts").split() == ["0", "ptmx"]


def test_devices_of_config_json_are_made_as_it_says(command: Command, bundle: Bundle) -> None:
    bundle.linux["devices"] = [
        {"path": "/dev/made", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 1000, "gid": 2000},
        {"path": "/dev/new/block", "type": "b", "major": 7, "minor": 300},
        {"path": "/dev/fifo", "type": "p", "fileMode": 0o600},
    ]
    text = output(command, bundle, "stat -c '%n %F %t:%T %a %u:%g' /dev/made /dev/new/block /dev/fifo")
    assert text.splitlines() == [
        "/dev/made character special file 1:3 640 1000:2000",
        "/dev/new/block block special file 7:12c 666 0:0",
        "/dev/fifo fifo 0:0 600 0:0",
    ]


def test_a_default_device_that_config_json_describes_is_made_as_it_says(command: Command, bundle: Bundle) -> None:
    bundle.linux["devices"] = [{"path": "/dev/tty", "type": "c", "major": 5, "minor": 0, "fileMode": 0o600}]
    assert output(command, bundle, "stat -c '%a %t:%T' /dev/tty") == "600 5:0\n"


@pytest.mark.parametrize("kind", ["a", "x"])
def test_a_device_of_another_type_is_refused_with_its_place(command: Command, bundle: Bundle, kind: str) -> None:
    bundle.linux["devices"] = [{"path": "/dev/odd", "type": kind, "major": 1, "minor": 3}]
    done = command("run", "--bundle", bundle.args("true").path, "devices")
    assert done.status == 1
    assert "config.json: linux.devices[0].type: " in done.stderr


def test_a_bind_of_the_host_s_dev_is_left_as_it_is(command: Command, bundle: Bundle) -> None:
    bundle.spec["mounts"] = [mount for mount in bundle.spec["mounts"] if not mount["destination"].startswith("/dev")]
    bundle.mount("/dev", "bind", "/dev", ["rbind"])
    before = {entry.name: entry.stat(follow_symlinks=False).st_ctime for entry in os.scandir("/dev")}
    output(command, bundle, "true")
    assert {entry.name: entry.stat(follow_symlinks=False).st_ctime for entry in os.scandir("/dev")} == before


@pytest.fixture
def user_namespace(bundle: Bundle, tmp_path: Path) -> Bundle:
    """The bundle with a user namespace, whose root is the host's 100000."""
    bundle.linux["namespaces"].append({"type": "user"})
    mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    bundle.linux["uidMappings"] = bundle.linux["gidMappings"] = mapping
    for path in (bundle.rootfs, *bundle.rootfs.rglob("*")):
        os.chown(path, 100000, 100000, follow_symlinks=False)
    for parent in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        parent.chmod(parent.stat().st_mode | 0o011)
    return bundle


@requires("user namespaces")
def test_under_a_user_namespace_the_default_devices_are_the_host_s_own_bound(command: Command, user_namespace: Bundle) -> None:
    names = " ".join(DEFAULT_DEVICES)
    script = f"stat -c '%n %t %T' {names}; cat /proc/self/mountinfo"
    lines = output(command, user_namespace, script).splitlines()
    assert devices("\n".join(lines[: len(DEFAULT_DEVICES)])) == DEFAULT_DEVICES
    points = {line.split()[4] for line in lines[len(DEFAULT_DEVICES) :]}
    assert points >= set(DEFAULT_DEVICES)


@requires("user namespaces")
def test_under_a_user_namespace_the_default_devices_work(command: Command, user_namespace: Bundle) -> None:
    assert output(command, user_namespace, "echo x > /dev/null; head -c 4 /dev/zero | wc -c") == "4\n"


# No other device


@pytest.fixture
def loop_device(tmp_path: Path) -> Iterator[Path]:
    """A block device that the host's root can open, with SECTOR in its first sector."""
    image = tmp_path / "image"
    image.write_bytes(SECTOR * 128)
    device = Path(subprocess.run(["losetup", "--find", "--show", image], capture_output=True, text=True, check=True).stdout.strip())
    yield device
    subprocess.run(["losetup", "--detach", device], check=True)


READ_DEVICE = """
import os, stat, sys
path, number = sys.argv[1], int(sys.argv[2])
def attempt(what):
    try:
        print(what())
    except OSError as error:
        print(error.strerror)
attempt(lambda: os.mknod("/tmp/made", 0o600 | stat.S_IFBLK, number))
attempt(lambda: os.read(os.open(path, os.O_RDONLY), 43).decode())
"""


def attempts(device: Path, number: int) -> list[str]:
    """What making that device, and opening it by its name, comes to in a default container."""
    done = pyrt.run(["python3", "-c", READ_DEVICE, device, str(number)], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@requires("loop device", "losetup")
def test_the_default_container_opens_no_device_of_the_host_though_the_host_s_root_does(loop_device: Path, rootfs: Path) -> None:
    number = os.stat(loop_device).st_rdev
    # The control: the host's root reads it, by its own node and by one that it makes in the container's future root.
    os.mknod(rootfs / "node", 0o666 | stat.S_IFBLK, number)
    for path in (loop_device, rootfs / "node"):
        descriptor = os.open(path, os.O_RDONLY)
        assert os.read(descriptor, len(SECTOR)) == SECTOR
        os.close(descriptor)
    # None is shown, none can be made.
    assert attempts(loop_device, number) == ["Operation not permitted", "No such file or directory"]
    # One that an image brings, or a shown directory holds, cannot be opened: the root is mounted nodev.
    image = pyrt.run(["head", "-c", "43", "/node"], rootfs=rootfs, capture_output=True, text=True)
    assert (image.returncode, image.stdout, "Permission denied" in image.stderr) == (1, "", True)
    shown = pyrt.run(["head", "-c", "43", f"{rootfs}/node"], host_view=pyrt.HostView(show=[rootfs]), capture_output=True, text=True)
    assert (shown.returncode, shown.stdout, "Permission denied" in shown.stderr) == (1, "", True)


@requires("loop device", "losetup")
def test_a_directory_that_is_mounted_into_the_default_container_opens_no_device(loop_device: Path, rootfs: Path) -> None:
    source = rootfs.parent / "source"
    source.mkdir()
    os.mknod(source / "node", 0o666 | stat.S_IFBLK, os.stat(loop_device).st_rdev)
    mount = f"type=bind,src={source},dst=/mnt"
    done = pyrt.run(["head", "-c", "43", "/mnt/node"], rootfs=rootfs, mounts=[mount], capture_output=True, text=True)
    assert (done.returncode, done.stdout, "Permission denied" in done.stderr) == (1, "", True)


def test_the_default_container_makes_no_device(rootfs: Path) -> None:
    script = "mknod /tmp/node c 1 3; mknod /dev/node c 1 3; mknod /dev/shm/node c 1 3"
    done = pyrt.run(["sh", "-c", script], rootfs=rootfs, capture_output=True, text=True)
    assert done.stderr.count("Operation not permitted") == 3


def test_the_default_container_s_dev_holds_the_default_devices_and_no_more(rootfs: Path) -> None:
    done = pyrt.run(["find", "/dev", "(", "-type", "c", "-o", "-type", "b", ")"], rootfs=rootfs, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {*DEFAULT_DEVICES, "/dev/pts/ptmx"}
