"""pyrt under podman of an ordinary user: it is root in podman's user namespace, and nobody in particular outside."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.engines import IMAGE, states
from helpers.hosts import requires
from helpers.podman_user import RANGE, UID, PodmanOfUser

pytestmark = requires("root", "busybox", "podman", "ordinary users", "newuidmap", "setpriv", "nsenter", "ip")

# As Ray starts the image of a runtime environment (`image_uri`).
RAY = ["--network=host", "--pid=host", "--ipc=host", "--userns=keep-id"]
LOOP = 'echo started; trap "exit 3" TERM; while :; do sleep 0.1; done'


@pytest.fixture(scope="module")
def of_user(image: Path) -> Iterator[PodmanOfUser]:
    # pytest's own directories are closed to others.
    with tempfile.TemporaryDirectory(prefix="pyrt-podman-", dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        podman = PodmanOfUser(Path(directory), image)
        yield podman
        podman.end()


@pytest.fixture
def podman(of_user: PodmanOfUser) -> Iterator[PodmanOfUser]:
    """His podman; containers are removed after each test, and so is their state."""
    yield of_user
    of_user("rm", "--all", "--force", "--time", "0").ok()
    assert not states(of_user.path / "run")


def test_its_root_is_the_user(podman: PodmanOfUser) -> None:
    script = "cat /proc/self/uid_map; id -u; exit 7"
    done = podman("run", "--rm", "--network", "none", IMAGE, "sh", "-c", script)
    assert (done.status, done.stdout.split()) == (7, ["0", str(UID), "1", "1", str(RANGE), "65536", "0"])


def test_with_rays_flags_it_is_the_user_among_the_hosts_processes(podman: PodmanOfUser) -> None:
    shared = podman.path / "run/ray"
    script = "id -u; for kind in pid ipc net; do readlink /proc/self/ns/$kind; done; touch /tmp/ray/written; echo $SESSION"
    podman("unshare", "mkdir", str(shared)).ok()
    done = podman("run", "--rm", "-v", f"{shared}:/tmp/ray", *RAY, "--env", "SESSION=one", IMAGE, "sh", "-c", script).ok()
    own = [os.readlink(f"/proc/self/ns/{kind}") for kind in ("pid", "ipc")]
    assert done.stdout.split() == [str(UID), *own, f"net:[{podman.confined.network}]", "one"]
    assert (shared / "written").stat().st_uid == UID


def test_exec_and_stop_with_rays_flags(podman: PodmanOfUser) -> None:
    podman("run", "--detach", "--name", "worker", *RAY, IMAGE, "sh", "-c", LOOP).ok()
    podman.until("started", "logs", "worker")
    done = podman("exec", "worker", "sh", "-c", "id -u; exit 5")
    assert (done.status, done.stdout) == (5, f"{UID}\n")
    podman("stop", "--time", "20", "worker").ok()
    assert podman("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "worker").ok().stdout == "exited 3\n"


def test_a_user_namespace_inside_podmans_is_made(podman: PodmanOfUser) -> None:
    maps = ["--uidmap", "0:1:1000", "--gidmap", "0:1:1000"]
    done = podman("run", "--rm", "--network", "none", *maps, IMAGE, "sh", "-c", "cat /proc/self/uid_map; id -u").ok()
    assert done.stdout.split() == ["0", "1", "1000", "0"]
