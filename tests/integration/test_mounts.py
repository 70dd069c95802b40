"""What config.json's `mounts` become: every kind, every common option, in order, and nothing of it on the host.

Neighbours: test_rootfs.py (what is mounted at /), test_devices.py (/dev), test_masked_paths.py.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from helpers import engine, hosts, mountinfo
from helpers.bundles import Bundle
from helpers.commands import Command
from helpers.hosts import requires
from helpers.mountinfo import MOUNTINFO, Mount


def output(command: Command, bundle: Bundle, script: str) -> str:
    """What a shell script prints in a container of this bundle."""
    return command("run", "--bundle", bundle.shell(script).path, "mounts").ok().stdout


def mounted(command: Command, bundle: Bundle, point: str) -> Mount:
    return mountinfo.at(output(command, bundle, f"cat {MOUNTINFO}"), point)


def refused(command: Command, bundle: Bundle) -> str:
    """The one line that says why no container came of this bundle."""
    done = command("run", "--bundle", bundle.args("true").path, "mounts")
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


# Binds


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory of the host with a file in it."""
    path = tmp_path / "source"
    path.mkdir()
    (path / "file").write_text("of the host\n")
    return path


def test_a_bind_mount_shows_a_directory_of_the_host_and_writes_to_it(command: Command, bundle: Bundle, source: Path) -> None:
    bundle.mount("/mnt", "bind", str(source), ["bind"])
    assert output(command, bundle, "cat /mnt/file; echo inside > /mnt/new") == "of the host\n"
    assert (source / "new").read_text() == "inside\n"


def test_the_option_bind_is_enough_whatever_the_type_says(command: Command, bundle: Bundle, source: Path) -> None:
    bundle.mount("/mnt", "none", str(source), ["bind"])
    assert output(command, bundle, "cat /mnt/file") == "of the host\n"


def test_the_type_bind_is_enough_without_the_option(command: Command, bundle: Bundle, source: Path) -> None:
    bundle.mount("/mnt", "bind", str(source))
    assert output(command, bundle, "cat /mnt/file") == "of the host\n"


def test_a_relative_source_starts_from_the_bundle(command: Command, bundle: Bundle) -> None:
    (bundle.path / "beside").mkdir()
    (bundle.path / "beside/file").write_text("beside config.json\n")
    bundle.mount("/mnt", "bind", "beside", ["bind"])
    assert output(command, bundle, "cat /mnt/file") == "beside config.json\n"


def test_a_tmpfs_without_a_mode_has_that_of_the_directory_that_it_covers(command: Command, bundle: Bundle) -> None:
    """As under runc and crun; a directory that is made for it has the kernel's default."""
    (bundle.rootfs / "srv").chmod(0o2750)
    bundle.mount("/srv", "tmpfs", "tmpfs", ["ro"])
    bundle.mount("/home", "tmpfs", "tmpfs", ["mode=711"])
    bundle.mount("/made", "tmpfs", "tmpfs")
    assert output(command, bundle, "stat -c %a /srv /home /made") == "2750\n711\n1777\n"


def test_a_relative_destination_starts_from_the_root_with_a_warning(command: Command, bundle: Bundle) -> None:
    """config.md, "Mounts": deprecated, and the runtime MUST take it so."""
    bundle.mount("made/../rel", "tmpfs", "tmpfs", ["mode=700"])
    done = engine.run(command, bundle, "stat", "-c", "%a", "/rel").ok()
    place = f"mounts[{len(bundle.spec['mounts']) - 1}].destination"
    said = f'pyrt: warning: config.json: {place}: "made/../rel" is not absolute: taken from the root\n'
    assert (done.stdout, done.stderr) == ("700\n", said)


def test_a_file_is_bound_over_a_file_that_is_made_for_it(command: Command, bundle: Bundle, source: Path) -> None:
    bundle.mount("/etc/new/deeper/file", "bind", str(source / "file"), ["bind", "ro"])
    assert output(command, bundle, "cat /etc/new/deeper/file; echo x > /etc/new/deeper/file || echo refused") == "of the host\nrefused\n"


def test_a_file_is_bound_over_one_that_exists(command: Command, bundle: Bundle, source: Path) -> None:
    bundle.mount("/etc/passwd", "bind", str(source / "file"), ["bind"])
    assert output(command, bundle, "cat /etc/passwd") == "of the host\n"
    assert "root:x:0:0" in (bundle.rootfs / "etc/passwd").read_text()


@pytest.fixture
def nested(tmp_path: Path) -> Path:
    """A directory of the host with a tmpfs mounted below it."""
    path = tmp_path / "nested"
    (path / "below").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "below", path / "below"], check=True)
    (path / "below/file").write_text("below\n")
    return path


@pytest.fixture
def _nested_unmounted(nested: Path) -> object:
    yield
    subprocess.run(["umount", nested / "below"], check=True)


@pytest.mark.usefixtures("_nested_unmounted")
def test_bind_leaves_out_what_is_mounted_below_and_rbind_takes_it(command: Command, bundle: Bundle, nested: Path) -> None:
    bundle.mount("/mnt", "bind", str(nested), ["bind"])
    bundle.mount("/srv", "bind", str(nested), ["rbind"])
    assert output(command, bundle, "ls /mnt/below; echo; ls /srv/below") == "\nfile\n"


@pytest.mark.usefixtures("_nested_unmounted")
def test_ro_is_of_the_mount_alone_and_rro_of_all_below_it(command: Command, bundle: Bundle, nested: Path) -> None:
    bundle.mount("/mnt", "bind", str(nested), ["rbind", "ro"])
    bundle.mount("/srv", "bind", str(nested), ["rbind", "rro"])
    info = output(command, bundle, f"cat {MOUNTINFO}")
    shown = {point: "ro" in mountinfo.at(info, point).options for point in ("/mnt", "/mnt/below", "/srv", "/srv/below")}
    assert shown == {"/mnt": True, "/mnt/below": False, "/srv": True, "/srv/below": True}


def test_a_read_only_bind_refuses_writes_and_the_host_s_own_mount_stays_writable(command: Command, bundle: Bundle, source: Path) -> None:
    bundle.mount("/mnt", "bind", str(source), ["bind", "ro"])
    assert "Read-only file system" in output(command, bundle, "touch /mnt/new 2>&1 || true")
    (source / "new").write_text("by the host")


def test_a_bind_keeps_nothing_of_the_source_s_own_flags_but_what_is_asked_for(command: Command, bundle: Bundle, source: Path) -> None:
    bundle.mount("/mnt", "bind", str(source), ["bind", "nosuid", "nodev", "noexec", "noatime"])
    assert mounted(command, bundle, "/mnt").options >= {"rw", "nosuid", "nodev", "noexec", "noatime"}


def test_noexec_keeps_a_program_from_running(command: Command, bundle: Bundle) -> None:
    bundle.mount("/mnt", "bind", str(bundle.rootfs / "bin"), ["bind", "noexec"])
    assert "Permission denied" in output(command, bundle, "/mnt/true 2>&1 || true")


def test_a_source_that_is_missing_is_named(command: Command, bundle: Bundle, tmp_path: Path) -> None:
    bundle.mount("/mnt", "bind", str(tmp_path / "missing"), ["bind"])
    line = refused(command, bundle)
    assert "no such file or directory (ENOENT)" in line
    assert str(tmp_path / "missing") in line
    assert "/mnt" in line


def test_a_directory_bound_over_a_file_says_so(command: Command, bundle: Bundle, source: Path) -> None:
    bundle.mount("/etc/passwd", "bind", str(source), ["bind"])
    line = refused(command, bundle)
    assert "not a directory (ENOTDIR)" in line
    assert "/etc/passwd" in line


# File systems


def test_a_tmpfs_has_the_size_and_mode_that_were_asked_for(command: Command, bundle: Bundle) -> None:
    bundle.mount("/mnt", "tmpfs", "tmpfs", ["nosuid", "size=1m", "mode=1770"])
    text = output(command, bundle, "stat -c %a /mnt; dd if=/dev/zero of=/mnt/file bs=64k count=32 2>&1; stat -c %s /mnt/file")
    mode, *_, size = text.splitlines()
    assert (mode, int(size)) == ("1770", 1 << 20)
    assert "No space left on device" in text


def test_the_default_mounts_are_the_runtime_spec_s(command: Command, bundle: Bundle) -> None:
    info = output(command, bundle, f"cat {MOUNTINFO}")
    points = [mount["destination"] for mount in bundle.spec["mounts"]]
    kinds = {point: mountinfo.at(info, point).kind for point in points}
    cgroup = "cgroup2" if hosts.has("pure cgroup v2") else "tmpfs"
    assert kinds == {
        "/proc": "proc",
        "/dev": "tmpfs",
        "/dev/pts": "devpts",
        "/dev/shm": "tmpfs",
        "/dev/mqueue": "mqueue",
        "/sys": "sysfs",
        "/sys/fs/cgroup": cgroup,
    }


def test_proc_shows_the_container_s_own_processes(command: Command, bundle: Bundle) -> None:
    assert output(command, bundle, "echo /proc/[0-9]*; cat /proc/1/comm; true").split() == ["/proc/1", "sh"]


def test_devpts_is_an_instance_of_its_own(command: Command, bundle: Bundle) -> None:
    assert output(command, bundle, "ls /dev/pts").split() == ["ptmx"]


def test_sysfs_is_read_only_and_shows_the_container_s_network(command: Command, bundle: Bundle) -> None:
    assert output(command, bundle, "ls /sys/class/net; touch /sys/new 2>/dev/null || echo refused").split() == ["lo", "refused"]


def test_mqueue_is_the_container_s_own(command: Command, bundle: Bundle) -> None:
    info = mounted(command, bundle, "/dev/mqueue")
    assert (info.kind, info.options >= {"nosuid", "nodev", "noexec"}) == ("mqueue", True)
    assert output(command, bundle, "ls /dev/mqueue") == ""


@requires("hybrid cgroups")
def test_the_cgroup_mount_of_a_hybrid_host_holds_each_hierarchy_that_was_joined(command: Command, bundle: Bundle) -> None:
    info = output(command, bundle, f"cat {MOUNTINFO}")
    below = {mount.point.removeprefix("/sys/fs/cgroup/"): mount for mount in mountinfo.parse(info) if "/sys/fs/cgroup/" in mount.point}
    assert {"memory", "cpu", "cpuacct", "pids", "blkio", "cpuset", "devices", "freezer", "unified"} >= below.keys()
    assert below.keys() >= {"memory", "pids", "unified"}
    assert below["unified"].kind == "cgroup2"
    assert {mount.kind for name, mount in below.items() if name != "unified"} == {"cgroup"}
    assert {mount.root for mount in below.values()} == {"/"}, "a cgroup namespace shows the container's own as the root"
    assert all("ro" in mount.options for mount in below.values())


@requires("pure cgroup v2")
def test_the_cgroup_mount_of_a_v2_host_is_the_container_s_cgroup(command: Command, bundle: Bundle) -> None:
    info = mounted(command, bundle, "/sys/fs/cgroup")
    assert (info.kind, info.root, "ro" in info.options) == ("cgroup2", "/", True)


def test_the_cgroup_mount_shows_the_container_s_own_processes(command: Command, bundle: Bundle) -> None:
    unified = "/sys/fs/cgroup" if hosts.has("pure cgroup v2") else "/sys/fs/cgroup/unified"
    assert output(command, bundle, f"cat {unified}/cgroup.procs").split()[0] == "1"


def test_the_cgroup_mount_shows_the_container_s_own_cgroup_without_a_cgroup_namespace_too(command: Command, bundle: Bundle) -> None:
    bundle.without_namespace("cgroup")
    unified = "/sys/fs/cgroup" if hosts.has("pure cgroup v2") else "/sys/fs/cgroup/unified"
    assert output(command, bundle, f"cat {unified}/cgroup.procs").split()[0] == "1"


def test_an_unknown_file_system_is_named_with_errno(command: Command, bundle: Bundle) -> None:
    bundle.mount("/mnt", "nosuchfs")
    line = refused(command, bundle)
    assert "mount nosuchfs on /mnt: no such device (ENODEV)" in line


def test_an_option_that_the_file_system_does_not_know_is_refused(command: Command, bundle: Bundle) -> None:
    bundle.mount("/mnt", "tmpfs", "tmpfs", ["nosuchoption=1"])
    line = refused(command, bundle)
    assert "mount tmpfs on /mnt" in line
    assert "invalid argument (EINVAL)" in line


# Order and propagation


def test_a_target_inside_an_earlier_mount_is_made_there(command: Command, bundle: Bundle, source: Path) -> None:
    bundle.mount("/mnt", "tmpfs", "tmpfs")
    bundle.mount("/mnt/a/b", "tmpfs", "tmpfs")
    bundle.mount("/mnt/a/b/c", "bind", str(source), ["bind"])
    assert output(command, bundle, "cat /mnt/a/b/c/file") == "of the host\n"
    assert not (bundle.rootfs / "mnt/a").exists(), "the target belongs to the tmpfs, not to the root file system"


def test_a_later_mount_covers_an_earlier_one(command: Command, bundle: Bundle, source: Path) -> None:
    bundle.mount("/mnt", "bind", str(source), ["bind"])
    bundle.mount("/mnt", "tmpfs", "tmpfs")
    assert output(command, bundle, "ls /mnt") == ""


@pytest.mark.parametrize("propagation", ["private", "slave", "shared", "unbindable"])
def test_the_propagation_of_a_mount_is_what_was_asked_for(command: Command, bundle: Bundle, source: Path, propagation: str) -> None:
    bundle.mount("/mnt", "bind", str(source), ["bind", propagation])
    # A slave of what is shared with nobody is private.
    expected = {"slave": ("slave", "private")}.get(propagation, (propagation,))
    assert mounted(command, bundle, "/mnt").propagation in expected


@pytest.mark.usefixtures("_nested_unmounted")
@pytest.mark.parametrize(("propagation", "expected"), [("rprivate", "private"), ("rshared", "shared"), ("runbindable", "unbindable")])
def test_a_recursive_propagation_reaches_what_is_below(
    command: Command, bundle: Bundle, nested: Path, propagation: str, expected: str
) -> None:
    bundle.mount("/mnt", "bind", str(nested), ["rbind", propagation])
    info = output(command, bundle, f"cat {MOUNTINFO}")
    assert [mountinfo.at(info, point).propagation for point in ("/mnt", "/mnt/below")] == [expected, expected]


def test_mounts_made_inside_do_not_come_out(command: Command, bundle: Bundle, source: Path) -> None:
    capabilities = bundle.process["capabilities"]
    for name in ("bounding", "effective", "permitted"):
        capabilities[name] = [*capabilities[name], "CAP_SYS_ADMIN"]
    bundle.mount("/mnt", "bind", str(source), ["rbind"])
    before = Path(MOUNTINFO).read_text()
    assert output(command, bundle, "mkdir /mnt/on && mount -t tmpfs inside /mnt/on && touch /mnt/on/file && ls /mnt/on") == "file\n"
    assert Path(MOUNTINFO).read_text() == before
    assert list((source / "on").iterdir()) == []


def test_the_host_has_no_mount_more_while_a_container_runs(command: Command, bundle: Bundle) -> None:
    bundle.mount("/mnt", "tmpfs", "tmpfs")
    before = Path(MOUNTINFO).read_text()
    command("create", "--bundle", bundle.args("sleep", "100").path, "mounts").ok()
    assert Path(MOUNTINFO).read_text() == before
    command("start", "mounts").ok()
    assert Path(MOUNTINFO).read_text() == before
    pid = json.loads(command("state", "mounts").ok().stdout)["pid"]
    assert mountinfo.at(Path(f"/proc/{pid}/mountinfo").read_text(), "/mnt").kind == "tmpfs"
    command("delete", "--force", "mounts").ok()
    assert Path(MOUNTINFO).read_text() == before
