"""What containers and cgroups count, their processes, new limits while they live; by the library and by update, ps and events.

Neighbour: test_cgroups.py (limits from the start, and the short usage of a result).
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

import pyrt
from helpers import cgroups, hosts
from helpers.bundles import Bundle
from helpers.commands import Command
from helpers.hosts import requires
from helpers.waiting import SOON
from pyrt.events import OutOfMemory
from pyrt.statistics import Statistics

MEBIBYTE = 1 << 20


def memory_limit(pid: int) -> str:
    return cgroups.value(pid, "memory", v1="memory.limit_in_bytes", v2="memory.max")


def pids_limit(pid: int) -> str:
    return cgroups.value(pid, "pids", v1="pids.max", v2="pids.max")


@requires("memory controller", "pids controller")
def test_stats_of_a_container_count_what_its_process_uses(running: pyrt.Container) -> None:
    running.update(pyrt.Limits(memory="64M", pids=20))
    stats = running.stats()
    assert stats.cpu is not None
    assert stats.cpu.usage_usec is not None
    assert stats.cpu.usage_usec > 0
    assert stats.memory is not None
    assert stats.memory.limit_bytes == 64 * MEBIBYTE
    assert stats.memory.current_bytes is not None
    assert 0 < stats.memory.current_bytes < 64 * MEBIBYTE
    assert stats.memory.events["oom_kill"] == 0
    assert len(stats.memory.stat) > 10
    assert stats.pids is not None
    assert (stats.pids.current, stats.pids.limit) == (1, 20)


def test_a_part_that_nothing_counts_is_none_with_a_reason(running: pyrt.Container) -> None:
    stats = running.stats()
    counted = {part: getattr(stats, part) is not None for part in ("cpu", "memory", "pids", "io", "hugetlb", "rdma", "pressure")}
    assert counted == {part: stats.reason(part) is None for part in counted}
    with pytest.raises(AttributeError, match="nonsense"):
        stats.reason("nonsense")


@requires("pids controller", "hybrid cgroups")
def test_a_cgroup_that_joined_few_controllers_counts_only_theirs() -> None:
    with pyrt.Cgroup.create("cgroups-statistics", pyrt.Limits(pids=5)) as group:
        stats = group.stats()
        assert stats.pids is not None
        assert (stats.pids.current, stats.pids.limit) == (0, 5)
        assert stats.rdma is None
        assert stats.reason("rdma") == "no rdma controller that was joined counts it"
        assert json.dumps(stats.to_dict())


def test_live_stats_end_with_the_container(running: pyrt.Container) -> None:
    looks = running.live_stats(interval=0.01)
    first, second = next(looks), next(looks)
    assert first.cpu is not None
    assert second.cpu is not None
    running.kill("KILL")
    assert len(list(looks)) < 1000
    with pytest.raises(pyrt.InvalidState, match=f"cannot read live statistics of container {running.id}: it is stopped"):
        next(running.live_stats())


def open_counters(path: str) -> list[str]:
    """Files of cgroups of that path which this process holds open, by name."""
    targets = (
        os.readlink(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{number}")
    )
    return sorted(os.path.basename(target) for target in targets if os.path.dirname(target).endswith(path))


def test_live_stats_hold_their_files_open_between_looks_and_no_longer(running: pyrt.Container) -> None:
    looks = running.live_stats(interval=0.01)
    held = []
    for _ in range(3):
        next(looks)
        held.append(open_counters(f"/pyrt-{running.id}"))
    assert {"cpu.stat", "cgroup.procs"} & set(held[0]) == {"cpu.stat"}
    if hosts.controller("pids"):
        assert "pids.current" in held[0]
    assert held[0] == held[1] == held[2]
    looks.close()  # type: ignore[attr-defined]
    assert open_counters(f"/pyrt-{running.id}") == []


@requires("memory controller")
def test_live_stats_see_a_limit_that_changes(running: pyrt.Container) -> None:
    looks = running.live_stats(interval=0.01)
    limits = []
    for limit in ("64M", "32M"):
        running.update(pyrt.Limits(memory=limit))
        memory = next(looks).memory
        assert memory is not None
        limits.append(memory.limit_bytes)
    assert limits == [64 * MEBIBYTE, 32 * MEBIBYTE]


def test_processes_are_those_inside_and_no_others(running: pyrt.Container) -> None:
    assert running.processes() == [running.pid]
    running.kill("KILL")
    running.wait(timeout=SOON)
    assert running.processes() == []


def test_stats_of_no_container_say_that_it_does_not_exist(runtime: pyrt.Runtime, command: Command) -> None:
    done = command("events", "--stats", "missing")
    assert done.status == 1
    assert "does not exist" in done.stderr


@requires("memory controller", "pids controller")
def test_update_by_flags_changes_what_they_name_and_nothing_else(running: pyrt.Container, command: Command) -> None:
    command("update", "--memory", "64M", "--pids-limit", "33", running.id).ok()
    command("update", "--pids-limit=44", running.id).ok()
    assert (memory_limit(running.pid), pids_limit(running.pid)) == (str(64 * MEBIBYTE), "44")


@requires("pids controller")
def test_update_reads_resources_from_a_file_and_from_stdin(running: pyrt.Container, command: Command, tmp_path: Path) -> None:
    (tmp_path / "resources.json").write_text('{"pids": {"limit": 21}}')
    command("update", "-r", tmp_path / "resources.json", running.id).ok()
    assert pids_limit(running.pid) == "21"
    command("update", "--resources", "-", running.id, input='{"pids": {"limit": 22}}').ok()
    assert pids_limit(running.pid) == "22"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--pids-limit", "many"], "--pids-limit takes a number, not 'many'"),
        (["--memory", "12Q"], "--memory: size '12Q' is not a number with B, K, M, G or T"),
        (["--l3-cache-schema", "L3:0=f"], "--l3-cache-schema: pyrt does not set Intel RDT"),
        (["--resources", "/no/such"], "read resources from /no/such: no such file or directory (ENOENT)"),
    ],
)
def test_update_refuses_what_it_cannot_do(running: pyrt.Container, command: Command, words: list[str], said: str) -> None:
    done = command("update", *words, running.id)
    assert done.status == 1
    assert said in done.stderr


def test_update_warns_of_obsolete_flags(running: pyrt.Container, command: Command) -> None:
    done = command("update", "--kernel-memory", "1M", running.id).ok()
    assert "--kernel-memory is ignored" in done.stderr


def test_update_of_an_ended_container_names_both_states(running: pyrt.Container) -> None:
    running.kill("KILL")
    running.wait(timeout=SOON)
    with pytest.raises(pyrt.InvalidState, match=f"cannot update container {running.id}: it is stopped, not created or running or paused"):
        running.update(pyrt.Limits(pids=5))


def test_ps_as_json_is_an_array_of_host_pids(running: pyrt.Container, command: Command) -> None:
    assert command("ps", "--format", "json", running.id).ok().json == [running.pid]


@requires("ps")
def test_ps_takes_options_of_ps_after_the_id(running: pyrt.Container, command: Command) -> None:
    lines = command("ps", running.id, "-e", "-o", "pid,comm").ok().stdout.splitlines()
    assert [line.split() for line in lines] == [["PID", "COMMAND"], [str(running.pid), "sleep"]]
    done = command("ps", running.id, "-e", "-o", "comm")
    assert done.status == 1
    assert "prints no column PID" in done.stderr


@requires("memory controller")
def test_events_stats_have_runc_s_layout(running: pyrt.Container, command: Command) -> None:
    event = command("events", "--stats", running.id).ok().json
    assert (event["type"], event["id"]) == ("stats", running.id)
    data = event["data"]
    assert set(data) == {"cpu", "memory", "pids", "blkio", "hugetlb", "intel_rdt", "network_interfaces"}
    assert data["cpu"]["usage"]["total"] >= 1000
    assert data["pids"]["current"] == 1
    usage = data["memory"]["usage"]
    assert 0 < usage["usage"] <= usage["limit"]
    assert data["memory"]["raw"]


def test_events_refuse_a_wrong_interval(running: pyrt.Container, command: Command) -> None:
    for interval in ("5", "0s", "s", "fast"):
        done = command("events", "--interval", interval, running.id)
        assert done.status == 1, interval
        assert "--interval takes a duration" in done.stderr, interval


def test_events_end_with_the_container(running: pyrt.Container, command: Command) -> None:
    process = command.start("events", "--interval", "100ms", running.id, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["type"] == "stats"
    running.kill("KILL")
    process.communicate(timeout=SOON)
    assert process.returncode == 0


HOG = "read line; x=0123456789abcdef; while :; do x=$x$x; done"


@pytest.fixture
def hog(runtime: pyrt.Runtime, bundle: Bundle) -> Iterator[tuple[pyrt.Container, IO[bytes]]]:
    """A container that takes more memory than it may when it reads a line, and who writes that."""
    bundle.linux["resources"] = {"memory": {"limit": 32 * MEBIBYTE}}
    go = bundle.path / "rootfs/go"
    os.mkfifo(go)
    container = runtime.create(f"cgroups-oom-{os.getpid()}", bundle=bundle.shell(f"sh -c '{HOG}' < go; exec sleep 1000").path)
    container.start()
    with go.open("wb", buffering=0) as file:
        yield container, file
    container.delete(force=True)


@requires("memory controller")
def test_events_tell_of_a_lack_of_memory_at_once(hog: tuple[pyrt.Container, IO[bytes]]) -> None:
    container, go = hog
    events = container.events(interval=1000)
    assert isinstance(next(events), Statistics)
    go.write(b"\n")
    assert isinstance(next(events), OutOfMemory), "long before the next look"
    container.kill("KILL")
    assert [event for event in events if isinstance(event, Statistics)] == []


@requires("memory controller")
def test_the_command_s_oom_event_comes_at_once(hog: tuple[pyrt.Container, IO[bytes]], command: Command) -> None:
    container, go = hog
    process = command.start("events", "--interval", "1000s", container.id, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["type"] == "stats"
    go.write(b"\n")
    assert json.loads(process.stdout.readline()) == {"type": "oom", "id": container.id}
    container.kill("KILL")
    process.communicate(timeout=SOON)
    assert process.returncode == 0


def test_events_without_a_lack_of_memory_are_statistics_only(running: pyrt.Container) -> None:
    events = running.events(interval=0.01)
    first = [next(events) for _ in range(3)]
    running.kill("KILL")
    assert {type(event) for event in [*first, *events]} == {Statistics}
