"""User namespaces that deny setgroups(2), as whoever writes a gid_map without CAP_SETGID must have it (user_namespaces(7)).

Neighbours: test_joining_namespaces.py (given namespaces), test_rootless.py (an ordinary user's own).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import pyrt
from helpers import engine
from helpers.bundles import Bundle
from helpers.commands import PYRT, Command
from helpers.hosts import requires
from helpers.proc import status

pytestmark = requires("unshare", "user namespaces")

GROUP = 4321
"""A supplementary group of the caller, which nobody inside should have."""
DENIED = "config.json: process.user.additionalGids: groups cannot be set: the user namespace denies setgroups(2)"


@pytest.fixture
def namespace() -> Iterator[Path]:
    """Yields the file of such a namespace, in which the host's root is root and nobody else is anybody."""
    line = ["unshare", "--user", "--map-root-user", "sh", "-c", "echo made; exec sleep 1000"]
    with subprocess.Popen(line, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"made\n"
        assert Path(f"/proc/{holder.pid}/setgroups").read_text() == "deny\n"
        yield Path(f"/proc/{holder.pid}/ns/user")
        holder.kill()


@pytest.fixture
def joining(bundle: Bundle, namespace: Path) -> Bundle:
    bundle.linux["namespaces"].append({"type": "user", "path": str(namespace)})
    for mount in bundle.spec["mounts"]:
        # devpts' gid=5 is nobody's there.
        mount["options"] = [option for option in mount["options"] if not option.startswith("gid=")]
    for above in [bundle.rootfs, *bundle.rootfs.parents][:-2]:
        above.chmod(above.stat().st_mode | 0o011)
    return bundle


@pytest.fixture
def group() -> Iterator[int]:
    own = os.getgroups()
    os.setgroups([*own, GROUP])
    yield GROUP
    os.setgroups(own)


def test_a_container_runs_there_without_the_callers_groups(command: Command, joining: Bundle, group: int) -> None:
    said = status(engine.run(command, joining, "cat", "/proc/self/status").ok().stdout)
    assert (said["Uid"], said["Groups"]) == ("0 0 0 0", "")


def test_groups_of_its_own_are_refused_by_their_place(command: Command, joining: Bundle) -> None:
    joining.process["user"]["additionalGids"] = [0]
    assert engine.refused(engine.run(command, joining, "true")) == DENIED


def test_exec_runs_there_without_the_callers_groups_and_cannot_have_others(runtime: pyrt.Runtime, joining: Bundle, group: int) -> None:
    container = runtime.create(f"denied-{os.getpid()}", bundle=joining.args("sleep", "1000").path)
    try:
        container.start()
        done = container.exec(["cat", "/proc/self/status"], capture_output=True, text=True)
        assert status(done.stdout)["Groups"] == ""
        with pytest.raises(pyrt.SpecError) as refused:
            container.exec(["true"], extra_groups=[5])
    finally:
        container.delete(force=True)
    assert str(refused.value) == DENIED


def test_a_caller_who_is_in_one_himself_keeps_his_groups_and_can_set_none(bundle: Bundle, root_dir: Path, group: int) -> None:
    """pyrt as root of `unshare --user --map-root-user --mount`: all that is below denies it too."""
    bundle.linux["namespaces"] = [
        entry for entry in bundle.linux["namespaces"] if entry["type"] in ("mount", "pid", "uts", "ipc", "network")
    ]
    bundle.linux.pop("resources")
    bundle.spec["mounts"] = [entry for entry in bundle.spec["mounts"] if entry["destination"] in ("/proc", "/tmp")]
    bundle.args("cat", "/proc/self/status")
    done = inside(bundle, root_dir)
    assert done.returncode == 0, done.stderr
    # A group that is not mapped is shown as the overflow group.
    assert status(done.stdout)["Groups"] == "65534"
    bundle.process["user"]["additionalGids"] = [5]
    bundle.write()
    done = inside(bundle, root_dir)
    assert (done.returncode, done.stderr) == (1, f"pyrt: {DENIED}\n")


def inside(bundle: Bundle, root_dir: Path) -> subprocess.CompletedProcess[str]:
    pyrt_line = [str(PYRT), "--root", str(root_dir), "--cgroup-manager", "disabled", "run", "--bundle", str(bundle.path), engine.ID]
    line = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--mount-proc", *pyrt_line]
    return subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60)
