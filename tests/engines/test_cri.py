"""pyrt as the handler of a Kubernetes RuntimeClass: containerd's CRI plugin with the shipped configuration, driven by crictl."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.cri import PLUGINS, Cri
from helpers.engines import states
from helpers.hosts import requires

pytestmark = [
    requires("root", "busybox", "containerd", "crictl", "veth", "nsenter"),
    pytest.mark.skipif(not (PLUGINS / "ptp").exists(), reason=f"this host lacks the CNI plugin {PLUGINS}/ptp"),
]

LOOP = 'trap "exit 3" TERM; echo started; while :; do sleep 0.1; done'


@pytest.fixture(scope="session")
def containerd_cri(tmp_path_factory: pytest.TempPathFactory, engine_rootfs: Path) -> Iterator[Cri]:
    cri = Cri(tmp_path_factory.mktemp("cri"), engine_rootfs)
    yield cri
    cri.end()


@pytest.fixture
def cri(containerd_cri: Cri) -> Iterator[Cri]:
    """A containerd with CRI; its pods are removed after each test, and nothing of theirs is left."""
    yield containerd_cri
    containerd_cri("rmp", "--all", "--force").ok()
    assert containerd_cri("ps", "--all", "--quiet").ok().stdout == ""
    assert not states(containerd_cri.path)
    containerd_cri.confined.nothing_but("containerd")


def status(cri: Cri, container: str) -> dict[str, Any]:
    found: dict[str, Any] = cri("inspect", container).ok().json["status"]
    return found


def test_the_handler_of_the_runtime_class_is_known(cri: Cri) -> None:
    config = json.loads(cri("info", "--output", "go-template", "--template", "{{json .config}}").ok().stdout)
    assert config["containerd"]["runtimes"]["pyrt"]["options"]["BinaryName"] == "pyrt"


def test_a_pod_runs_under_pyrt_with_an_address_of_its_own(cri: Cri) -> None:
    pod = cri.pod("web")
    told = cri("inspectp", pod.id).ok().json
    assert told["status"]["state"] == "SANDBOX_READY"
    assert told["status"]["runtimeHandler"] == "pyrt"
    container = cri.container(pod, "server", "sh", "-c", LOOP)
    addresses = cri("exec", container, "ip", "-4", "-o", "address", "show", "dev", "eth0").ok().stdout
    assert f"inet {told['status']['network']['ip']}/" in addresses


@pytest.mark.parametrize("processes", ["CONTAINER", "POD"])
def test_containers_of_a_pod_share_its_network_ipc_and_if_asked_its_processes(cri: Cri, processes: str) -> None:
    options = {"security_context": {"namespace_options": {"pid": ["POD", "CONTAINER"].index(processes)}}}
    pod = cri.pod("pair", linux=options)
    both = [cri.container(pod, name, "sh", "-c", LOOP, linux=options) for name in ("first", "second")]
    script = "for kind in net ipc pid; do readlink /proc/self/ns/$kind; done"
    told = [cri("exec", one, "sh", "-c", script).ok().stdout.split() for one in both]
    assert told[0][:2] == told[1][:2]
    assert told[0][0] != os.readlink("/proc/self/ns/net")
    assert (told[0][2] == told[1][2]) == (processes == "POD")


def test_logs_are_what_the_container_said(cri: Cri) -> None:
    pod = cri.pod("talking")
    container = cri.container(pod, "speaker", "sh", "-c", "echo out; echo err >&2; exit 5")
    cri.until("CONTAINER_EXITED", "inspect", container)
    logged = cri("logs", container).ok()
    assert (logged.stdout, logged.stderr) == ("out\n", "err\n")
    assert status(cri, container)["exitCode"] == 5


def test_exec_has_output_and_exit_status(cri: Cri) -> None:
    container = cri.container(cri.pod("host"), "one", "sh", "-c", LOOP)
    assert cri("exec", "--sync", container, "echo", "at once").ok().stdout.strip() == "at once"
    done = cri("exec", container, "sh", "-c", "echo in; exit 4")
    assert done.stdout == "in\n"
    assert "exit code 4" in done.stderr


def test_a_missing_program_is_told_in_pyrts_words(cri: Cri) -> None:
    pod = cri.pod("failing")
    with pytest.raises(AssertionError, match=r'exec: ."no-such.": executable file not found in \$PATH'):
        cri.container(pod, "absent", "no-such")


def test_stop_lets_it_end_by_itself(cri: Cri) -> None:
    container = cri.container(cri.pod("patient"), "one", "sh", "-c", LOOP)
    cri.until("started", "logs", container)
    cri("stop", "--timeout", "20", container).ok()
    assert (status(cri, container)["state"], status(cri, container)["exitCode"]) == ("CONTAINER_EXITED", 3)


def test_stop_kills_what_does_not_end(cri: Cri) -> None:
    container = cri.container(cri.pod("stubborn"), "one", "sh", "-c", 'trap "" TERM; echo started; while :; do sleep 0.1; done')
    cri.until("started", "logs", container)
    cri("stop", "--timeout", "1", container).ok()
    assert status(cri, container)["exitCode"] == 137


@requires("memory controller", "cpu controller")
def test_stats_are_the_containers_own(cri: Cri) -> None:
    limits = {"resources": {"memory_limit_in_bytes": 64 << 20}}
    container = cri.container(cri.pod("measured"), "one", "sh", "-c", LOOP, linux=limits)
    [stats] = cri("stats", "--output", "json", container).ok().json["stats"]
    assert stats["attributes"]["metadata"]["name"] == "one"
    assert 0 < int(stats["memory"]["workingSetBytes"]["value"]) < 64 << 20
    assert int(stats["cpu"]["usageCoreNanoSeconds"]["value"]) > 0


@requires("memory controller")
def test_a_limit_can_be_changed_while_it_runs(cri: Cri) -> None:
    container = cri.container(cri.pod("grown"), "one", "sh", "-c", LOOP, linux={"resources": {"memory_limit_in_bytes": 64 << 20}})
    cri("update", "--memory", str(128 << 20), container).ok()
    assert cri("inspect", container).ok().json["info"]["runtimeSpec"]["linux"]["resources"]["memory"]["limit"] == 128 << 20


def test_a_security_context_holds(cri: Cri) -> None:
    context = {
        "readonly_rootfs": True,
        "no_new_privs": True,
        "run_as_user": {"value": 1000},
        "capabilities": {"drop_capabilities": ["ALL"]},
    }
    script = "id -u; grep -E 'CapBnd|NoNewPrivs' /proc/self/status; touch /tmp/file"
    container = cri.container(cri.pod("strict"), "one", "sh", "-c", script, linux={"security_context": context})
    cri.until("CONTAINER_EXITED", "inspect", container)
    logged = cri("logs", container).ok()
    assert logged.stdout.split() == ["1000", "CapBnd:", "0" * 16, "NoNewPrivs:", "1"]
    assert logged.stderr == "touch: /tmp/file: Read-only file system\n"


def test_a_pod_of_the_hosts_network_has_it(cri: Cri) -> None:
    options = {"security_context": {"namespace_options": {"network": 2}}}
    container = cri.container(cri.pod("near", linux=options), "one", "sh", "-c", LOOP, linux=options)
    inside = cri("exec", container, "readlink", "/proc/self/ns/net").ok().stdout
    assert inside == f"net:[{cri.confined.network}]\n"
