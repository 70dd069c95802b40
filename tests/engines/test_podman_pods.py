"""podman's pods over pyrt: containers that join the namespaces of the pod's first one, and are stopped and counted together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.engines import IMAGE, SHARE, Podman, environment, states
from helpers.hosts import requires

pytestmark = requires("root", "busybox", "podman")

# `podman pod create` has no --ulimit for the first container: see helpers.engines.ULIMITS.
LIMITS = '\n[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]\n'
LOOP = 'trap "exit 3" TERM; echo started; while :; do sleep 0.1; done'


@pytest.fixture
def pod(podman: Podman) -> Iterator[Podman]:
    """podman with a pod named `pod`, without a network."""
    configuration = podman.path / "pods.conf"
    configuration.write_text((SHARE / "containers.conf.d/50-pyrt.conf").read_text() + LIMITS)
    podman.env = environment(CONTAINERS_CONF=str(configuration))
    first = ["--infra-image", IMAGE, "--infra-command", "sleep 1000000"]
    podman("pod", "create", "--name", "pod", *first, "--network", "none").ok()
    yield podman
    podman("pod", "rm", "--force", "--time", "0", "pod").ok()


def test_its_containers_share_network_ipc_and_host_name_but_not_their_processes(pod: Podman) -> None:
    script = "for kind in net ipc uts pid; do readlink /proc/self/ns/$kind; done"
    told = [pod("run", "--rm", "--pod", "pod", IMAGE, "sh", "-c", script).ok().stdout.split() for _ in range(2)]
    assert told[0][:3] == told[1][:3]
    pod("run", "--detach", "--name", "one", "--pod", "pod", IMAGE, "sh", "-c", LOOP).ok()
    pod.until("started", "logs", "one")
    inside = pod("exec", "one", "sh", "-c", script).ok().stdout.split()
    assert inside[:3] == told[0][:3]
    # `sh` is the first process of its own PID namespace, not the one below the pod's.
    assert pod("run", "--rm", "--pod", "pod", IMAGE, "sh", "-c", "echo $$").ok().stdout == "1\n"


def test_processes_are_shared_where_a_pod_says_so(pod: Podman) -> None:
    first = ["--infra-image", IMAGE, "--infra-command", "sleep 1000000"]
    pod("pod", "create", "--name", "close", "--share", "pid,ipc,uts", *first).ok()
    try:
        told = pod("run", "--rm", "--pod", "close", "--network", "none", IMAGE, "sh", "-c", "echo $$; cat /proc/1/cmdline").ok().stdout
        number, first_process = told.split("\n", 1)
        assert int(number) > 1
        assert first_process == "sleep\x001000000\x00"
    finally:
        pod("pod", "rm", "--force", "--time", "0", "close").ok()


def test_stopping_the_pod_stops_each(pod: Podman) -> None:
    for name in ("one", "two"):
        pod("run", "--detach", "--name", name, "--pod", "pod", IMAGE, "sh", "-c", LOOP).ok()
        pod.until("started", "logs", name)
    pod("pod", "stop", "--time", "5", "pod").ok()
    told = [pod("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", name).ok().stdout.strip() for name in ("one", "two")]
    assert told == ["exited 3", "exited 3"]


def test_pausing_the_pod_freezes_each(pod: Podman) -> None:
    pod("run", "--detach", "--name", "one", "--pod", "pod", IMAGE, "sh", "-c", LOOP).ok()
    pod("pod", "pause", "pod").ok()
    assert pod("inspect", "--format", "{{.State.Status}}", "one").ok().stdout == "paused\n"
    pod("pod", "unpause", "pod").ok()
    assert pod("exec", "one", "true").status == 0


def test_removing_the_pod_leaves_nothing(pod: Podman, podman_directory: Path) -> None:
    pod("run", "--detach", "--pod", "pod", IMAGE, "sleep", "1000").ok()
    pod("pod", "rm", "--force", "--time", "0", "pod").ok()
    assert pod("ps", "--all", "--quiet").ok().stdout == ""
    assert not states(podman_directory)
    pod("pod", "create", "--name", "pod", "--infra=false").ok()
