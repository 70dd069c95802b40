"""Delegation of cgroup2: a caller makes room in the cgroup that it sits in, and a container's user gets the container's own cgroup.

Neighbours: test_limits_refused.py (limits that cannot be), test_cgroups.py (where a cgroup is).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers import bundles, cgroups, hosts, waiting
from helpers.bundles import Bundle
from helpers.commands import PYRT, Command
from helpers.hosts import requires

NAME = f"pyrt-cgroups-delegated-{os.getpid()}"
LIMIT = {"unified": {"hugetlb.2MB.max": "0"}}
"""Of a controller that cgroup2 has on hybrid hosts too, where nothing mounts it as v1."""
NEEDED = requires("hugetlb controller of cgroup2")

ENTER = 'echo $$ > "$0/cgroup.procs" && "$@"'
ENTER_ALONE = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
UNDER_SYSTEMD = "mount -t tmpfs none /run && mkdir -p /run/systemd/system && " + ENTER_ALONE


@pytest.fixture
def delegated() -> Iterator[Path]:
    """A cgroup2 directory, which processes soon have left at the end."""
    mount = hosts.cgroup_mounts().cgroup2
    assert mount is not None
    directory = mount / NAME
    directory.mkdir()
    yield directory
    # The caller's watcher ends after it.
    waiting.until(lambda: "populated 0" in (directory / "cgroup.events").read_text(), f"the end of what is in {directory}")
    for below in sorted(directory.glob("**/"), key=lambda path: len(path.parts), reverse=True):
        below.rmdir()


def run_in(delegated: Path, how: str, command: Command, *words: str, inner: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    line = [*inner, "sh", "-c", how, str(delegated), str(PYRT), "--root", str(command.root), *words]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def limited(bundle: Bundle) -> Bundle:
    bundle.linux.update(cgroupsPath=f"/{NAME}/container", resources=LIMIT)
    return bundle.shell("cat /proc/self/cgroup")


@NEEDED
def test_a_caller_that_alone_is_in_the_way_moves_into_a_leaf(command: Command, limited: Bundle, delegated: Path) -> None:
    done = run_in(delegated, ENTER_ALONE, command, "run", "--bundle", str(limited.path), f"cgroups-alone-{os.getpid()}")
    assert (done.returncode, done.stderr) == (0, "")
    assert "hugetlb" in (delegated / "cgroup.subtree_control").read_text().split()
    assert [path.name for path in delegated.glob("*/")] == ["pyrt-caller"]


@NEEDED
def test_another_process_in_the_way_is_named_and_the_caller_stays(command: Command, limited: Bundle, delegated: Path) -> None:
    with subprocess.Popen(["sleep", "1000"]) as other:
        (delegated / "cgroup.procs").write_text(str(other.pid))
        done = run_in(delegated, ENTER_ALONE, command, "run", "--bundle", str(limited.path), f"cgroups-other-{os.getpid()}")
        other.kill()
    assert done.returncode == 1
    assert f'write "+hugetlb" to {delegated}/cgroup.subtree_control: device or resource busy (EBUSY)' in done.stderr
    assert f"; process {other.pid} is in that cgroup itself; move them into a cgroup below it" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(delegated.glob("*/")) == []


@NEEDED
def test_the_shell_that_waits_for_the_command_is_another_process(command: Command, limited: Bundle, delegated: Path) -> None:
    done = run_in(delegated, ENTER + "; true", command, "run", "--bundle", str(limited.path), f"cgroups-shell-{os.getpid()}")
    assert "(EBUSY)" in done.stderr
    assert "is in that cgroup itself" in done.stderr


@requires("unshare")
@NEEDED
def test_a_cgroup_that_systemd_did_not_delegate_is_left_alone(command: Command, limited: Bundle, delegated: Path) -> None:
    words = ("run", "--bundle", str(limited.path), f"cgroups-systemd-{os.getpid()}")
    done = run_in(delegated, UNDER_SYSTEMD, command, *words, inner=("unshare", "--mount"))
    assert done.returncode == 1
    assert "the caller is in that cgroup itself, which systemd has not delegated; set Delegate=yes in its unit" in done.stderr
    assert list(delegated.glob("*/")) == []
    os.setxattr(delegated, "user.delegate", b"1")
    done = run_in(delegated, UNDER_SYSTEMD, command, *words, inner=("unshare", "--mount"))
    assert (done.returncode, done.stderr) == (0, "")


@requires("unshare")
@NEEDED
def test_what_lies_in_a_delegated_cgroup_is_delegated_too(command: Command, limited: Bundle, delegated: Path) -> None:
    os.setxattr(delegated, "user.delegate", b"1")
    (delegated / "inner").mkdir()
    limited.linux["cgroupsPath"] = f"/{NAME}/inner/container"
    words = ("run", "--bundle", str(limited.write()), f"cgroups-inner-{os.getpid()}")
    done = run_in(delegated / "inner", UNDER_SYSTEMD, command, *words, inner=("unshare", "--mount"))
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.name for path in (delegated / "inner").glob("*/")] == ["pyrt-caller"]


LIBRARY = """
import os, sys, pyrt
rootfs, bundle, directory = sys.argv[1:]
open(f"{directory}/cgroup.procs", "w").write(str(os.getpid()))
assert pyrt.run(["true"], rootfs=rootfs).returncode == 0
print(len(open(f"{directory}/cgroup.procs").read().split()))
done = pyrt.run(["echo", "ran"], bundle=bundle, capture_output=True, text=True)
print(done.stdout, end="")
print(len(open(f"{directory}/pyrt-caller/cgroup.procs").read().split()), open(f"{directory}/cgroup.procs").read())
"""


@NEEDED
def test_a_caller_s_watcher_moves_with_it(bundle: Bundle, delegated: Path) -> None:
    bundle.linux.update(cgroupsPath=f"/{NAME}/container", resources=LIMIT)
    line = [sys.executable, "-c", LIBRARY, str(bundle.rootfs), str(bundle.write()), str(delegated)]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=120)
    assert (done.stdout, done.stderr) == ("2\nran\n2 \n", "")


# Ownership

FILES = set(Path("/sys/kernel/cgroup/delegate").read_text().split()) if Path("/sys/kernel/cgroup/delegate").exists() else set()


def owners(command: Command, bundle: Bundle, name: str) -> tuple[int, dict[str, int], set[str]]:
    """Of a created container's cgroup2 directory: its owner, the owners of its files, and which of them are FILES."""
    command("create", "--bundle", bundle.args("sleep", "1000").path, name).ok()
    pid = command("state", name).ok().json["pid"]
    directory = cgroups.directory(cgroups.of(pid)[cgroups.UNIFIED], "cgroup")
    files = {path.name: path.stat().st_uid for path in directory.iterdir() if path.is_file()}
    return directory.stat().st_uid, files, FILES & files.keys()


@pytest.fixture
def writable(bundle: Bundle) -> Bundle:
    """As `bundle`, for user 7, with a writable cgroup mount."""
    for mount in bundle.spec["mounts"]:
        if mount["destination"] == "/sys/fs/cgroup":
            mount["options"] = [option for option in mount["options"] if option != "ro"]
    bundle.process["user"] = {"uid": 7, "gid": 7}
    return bundle


@requires("pure cgroup v2")
def test_the_user_of_a_writable_cgroup_owns_it_and_the_delegated_files(command: Command, writable: Bundle) -> None:
    directory, files, delegated = owners(command, writable, f"cgroups-owned-{os.getpid()}")
    assert {"cgroup.procs", "cgroup.subtree_control", "cgroup.threads"} <= delegated
    assert directory == 7
    assert {name for name, owner in files.items() if owner == 7} == delegated
    assert set(files.values()) == {0, 7}


@requires("pure cgroup v2")
def test_under_a_user_namespace_it_is_whom_the_user_is_outside(command: Command, writable: Bundle) -> None:
    bundles.map_ids(writable, 0, 300_000, 1000)
    writable.process["user"] = {"uid": 7, "gid": 7}
    directory, files, delegated = owners(command, writable, f"cgroups-mapped-{os.getpid()}")
    assert directory == 300_007
    assert {name for name, owner in files.items() if owner == 300_007} == delegated


@requires("pure cgroup v2")
def test_under_a_user_namespace_that_is_joined_it_is_so_too(command: Command, writable: Bundle) -> None:
    with subprocess.Popen(["unshare", "--user", "sleep", "1000"]) as holder:
        while Path(f"/proc/{holder.pid}/comm").read_text() != "sleep\n":
            pass
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{holder.pid}/{name}").write_text("0 400000 1000")
        for path, _, _ in os.walk(writable.rootfs):
            os.chown(path, 400_000, 400_000)
        for above in [writable.rootfs, *writable.rootfs.parents][:-2]:
            above.chmod(above.stat().st_mode | 0o011)
        writable.linux["namespaces"].append({"type": "user", "path": f"/proc/{holder.pid}/ns/user"})
        directory, files, delegated = owners(command, writable, f"cgroups-joined-{os.getpid()}")
        holder.kill()
    assert directory == 400_007
    assert {name for name, owner in files.items() if owner == 400_007} == delegated


@requires("pure cgroup v2")
def test_the_user_can_make_and_limit_cgroups_of_its_own(command: Command, writable: Bundle) -> None:
    script = "cd /sys/fs/cgroup; mkdir a && echo $$ > a/cgroup.procs && echo +pids > cgroup.subtree_control && cat a/pids.current"
    done = command("run", "--bundle", writable.shell(script).path, f"cgroups-inner-{os.getpid()}").ok()
    assert int(done.stdout) >= 1
    writable.shell("echo 1000 > /sys/fs/cgroup/pids.max")
    refused = command("run", "--bundle", writable.path, f"cgroups-own-limit-{os.getpid()}")
    assert refused.status == 1, "its own limits are not its to change"


@requires("cgroup2")
@pytest.mark.parametrize("without", ["a writable mount", "any mount", "a cgroup namespace"])
def test_without_all_of_that_it_stays_the_caller_s(command: Command, bundle: Bundle, without: str) -> None:
    bundle.process["user"] = {"uid": 7, "gid": 7}
    if without == "any mount":
        bundle.spec["mounts"] = [mount for mount in bundle.spec["mounts"] if mount["destination"] != "/sys/fs/cgroup"]
    elif without == "a cgroup namespace":
        bundle.without_namespace("cgroup")
        for mount in bundle.spec["mounts"]:
            mount["options"] = [option for option in mount["options"] if option != "ro"]
    directory, files, _ = owners(command, bundle, f"cgroups-kept-{os.getpid()}")
    assert (directory, set(files.values())) == (0, {0})


@requires("hybrid cgroups")
def test_beside_cgroup_v1_it_stays_the_caller_s(command: Command, writable: Bundle) -> None:
    directory, files, _ = owners(command, writable, f"cgroups-hybrid-{os.getpid()}")
    assert (directory, set(files.values())) == (0, {0})


FROM_A_KILLED_CGROUP = """
import os, sys, pyrt
open(f"{sys.argv[2]}/cgroup.procs", "w").write(str(os.getpid()))
done = pyrt.run(["cat", "/proc/self/cgroup"], rootfs=sys.argv[1], capture_output=True, text=True)
print(done.returncode, [line for line in done.stdout.splitlines() if line.startswith("0:")])
"""


@requires("cgroup2")
def test_a_caller_whose_own_cgroup_was_killed_before_it_came_launches_all_the_same(bundle: Bundle, delegated: Path) -> None:
    (delegated / "cgroup.kill").write_text("1")
    line = [sys.executable, "-c", FROM_A_KILLED_CGROUP, str(bundle.rootfs), str(delegated)]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=120)
    assert (done.stdout, done.stderr) == ("0 ['0::/']\n", "")
