"""What the kernel gives the program, and how it shows itself: scheduler, io priority, memory policy, personality.

Sources: config.md "Linux Process", config-linux.md "Memory Policy", "Personality"; sched(7),
ioprio_set(2), set_mempolicy(2), personality(2).
Read from outside while the program runs, or from what it sees itself. What is real-time joins no cgroup of its own: with
CONFIG_RT_GROUP_SCHED a new one of v1 has no real-time bandwidth.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pyrt
from helpers import engine
from helpers.bundles import Bundle
from helpers.commands import Command
from helpers.hosts import requires
from helpers.proc import held

needs_nice = pytest.mark.skipif("CAP_SYS_NICE" not in held(), reason="CAP_SYS_NICE is missing")
needs_numa = pytest.mark.skipif(not Path("/proc/self/numa_maps").exists(), reason="this kernel has no CONFIG_NUMA")


Start = Callable[..., int]


@pytest.fixture
def scheduled(runtime: pyrt.Runtime, bundle: Bundle) -> Iterator[Start]:
    """Starts a container of the bundle as it then is. Returns the program's PID."""
    made: list[pyrt.Container] = []

    def start(*, cgroups: bool = True) -> int:
        made.append(runtime.create("scheduled", bundle=bundle.args("sleep", "1000").path, cgroups=cgroups))
        made[0].start()
        pid = made[0].pid
        assert pid
        return pid

    yield start
    for container in made:
        container.delete(force=True)


@needs_nice
@pytest.mark.parametrize(
    ("scheduler", "policy", "priority"),
    [
        ({"policy": "SCHED_OTHER"}, os.SCHED_OTHER, 0),
        ({"policy": "SCHED_BATCH"}, os.SCHED_BATCH, 0),
        ({"policy": "SCHED_IDLE"}, os.SCHED_IDLE, 0),
        ({"policy": "SCHED_FIFO", "priority": 3}, os.SCHED_FIFO, 3),
        ({"policy": "SCHED_RR", "priority": 9}, os.SCHED_RR, 9),
    ],
    ids=lambda value: value["policy"] if isinstance(value, dict) else "",
)
def test_the_program_has_the_scheduling_policy(
    bundle: Bundle, scheduled: Start, scheduler: dict[str, Any], policy: int, priority: int
) -> None:
    bundle.process["scheduler"] = scheduler
    pid = scheduled(cgroups=False)
    assert os.sched_getscheduler(pid) == policy
    assert os.sched_getparam(pid).sched_priority == priority


@needs_nice
@pytest.mark.parametrize("nice", [-5, 0, 7])
def test_the_program_has_the_nice_value(bundle: Bundle, scheduled: Start, nice: int) -> None:
    bundle.process["scheduler"] = {"policy": "SCHED_OTHER", "nice": nice}
    assert os.getpriority(os.PRIO_PROCESS, scheduled()) == nice


@needs_nice
def test_the_flag_reset_on_fork_is_set(bundle: Bundle, scheduled: Start) -> None:
    bundle.process["scheduler"] = {"policy": "SCHED_FIFO", "priority": 1, "flags": ["SCHED_RESET_ON_FORK"]}
    assert os.sched_getscheduler(scheduled(cgroups=False)) == os.SCHED_FIFO | os.SCHED_RESET_ON_FORK


@needs_nice
def test_the_program_has_the_deadline_policy_with_its_flags(command: Command, bundle: Bundle) -> None:
    """A deadline task may not fork: the program itself prints."""
    times = {"runtime": 1_000_000, "deadline": 10_000_000, "period": 10_000_000}
    bundle.process["scheduler"] = {"policy": "SCHED_DEADLINE", "flags": ["SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_RECLAIM"], **times}
    done = engine.run(command, bundle, "cat", "/proc/self/stat").ok()
    # proc(5): field 41 is the policy.
    assert done.stdout.rpartition(")")[2].split()[38] == "6"


@pytest.mark.parametrize(("policy", "said"), [("IOPRIO_CLASS_BE", "best-effort: prio 3"), ("IOPRIO_CLASS_IDLE", "idle")])
def test_the_program_has_the_io_priority(bundle: Bundle, scheduled: Start, policy: str, said: str) -> None:
    bundle.process["ioPriority"] = {"class": policy, "priority": 3}
    done = subprocess.run(["ionice", "-p", str(scheduled())], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == said


@needs_numa
@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({"mode": "MPOL_BIND", "nodes": "0"}, "bind:0"),
        ({"mode": "MPOL_INTERLEAVE", "nodes": "0"}, "interleave:0"),
        ({"mode": "MPOL_PREFERRED", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}, "prefer=static:0"),
        ({"mode": "MPOL_LOCAL"}, "local"),
    ],
    ids=lambda value: value["mode"] if isinstance(value, dict) else "",
)
def test_the_program_has_the_memory_policy(bundle: Bundle, scheduled: Start, policy: dict[str, Any], said: str) -> None:
    bundle.linux["memoryPolicy"] = policy
    lines = Path(f"/proc/{scheduled()}/numa_maps").read_text().splitlines()
    assert {line.split()[1] for line in lines if "heap" in line or "stack" in line} == {said}


@needs_numa
def test_a_node_that_is_not_there_is_refused_by_the_kernel_in_words(command: Command, bundle: Bundle) -> None:
    bundle.linux["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "1023"}
    line = engine.refused(engine.run(command, bundle, "true"))
    assert line.startswith("set the memory policy: invalid argument (EINVAL); no node of it is online"), line


def test_the_personality_linux32_is_that_of_the_program(bundle: Bundle, scheduled: Start) -> None:
    bundle.linux["personality"] = {"domain": "LINUX32"}
    assert int(Path(f"/proc/{scheduled()}/personality").read_text(), 16) == 0x08


def test_the_personality_linux_is_that_of_the_program(bundle: Bundle, scheduled: Start) -> None:
    bundle.linux["personality"] = {"domain": "LINUX"}
    assert int(Path(f"/proc/{scheduled()}/personality").read_text(), 16) == 0x00


WRONG = [
    ("process", "ioPriority", {"class": "IOPRIO_CLASS_BE", "priority": 8}, "process.ioPriority.priority: 8 is not in 0 to 7"),
    ("process", "ioPriority", {"class": "IOPRIO_CLASS_BE", "priority": -1}, "process.ioPriority.priority: -1 is not in 0 to 7"),
    ("process", "ioPriority", {"class": "IOPRIO_CLASS_LUCK", "priority": 1}, "process.ioPriority.class: unknown variant"),
    ("process", "scheduler", {"policy": "SCHED_OTHER", "nice": 20}, "process.scheduler.nice: 20 is not in -20 to 19"),
    ("process", "scheduler", {"policy": "SCHED_FIFO"}, "process.scheduler.priority: 0 is not in 1 to 99, as SCHED_FIFO has it"),
    ("process", "scheduler", {"policy": "SCHED_OTHER", "priority": 1}, "process.scheduler.priority: 1 is not in 0 to 0, as SCHED_OTHER"),
    ("process", "scheduler", {"policy": "SCHED_LUCK"}, "process.scheduler.policy: unknown variant"),
    (
        "process",
        "scheduler",
        {"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_UTIL_CLAMP_MIN"]},
        "process.scheduler.flags[0]: config.json has no field for the value",
    ),
    ("linux", "memoryPolicy", {"mode": "MPOL_BIND"}, "linux.memoryPolicy.nodes: MPOL_BIND needs at least one node"),
    ("linux", "memoryPolicy", {"mode": "MPOL_LOCAL", "nodes": "0"}, "linux.memoryPolicy.nodes: MPOL_LOCAL takes no nodes"),
    ("linux", "memoryPolicy", {"mode": "MPOL_BIND", "nodes": "zero"}, 'linux.memoryPolicy.nodes: "zero" is neither a node nor a range'),
    ("linux", "memoryPolicy", {"mode": "MPOL_BIND", "nodes": "3-1"}, 'linux.memoryPolicy.nodes: "3-1" is not a range of nodes'),
    (
        "linux",
        "memoryPolicy",
        {"mode": "MPOL_BIND", "nodes": "1024"},
        'linux.memoryPolicy.nodes: "1024" is not a range of nodes below 1024',
    ),
    ("linux", "personality", {"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}, "linux.personality.flags: the runtime-spec has none"),
    ("linux", "personality", {"domain": "BSD"}, "linux.personality.domain: unknown variant"),
]


@pytest.mark.parametrize(("part", "field", "value", "text"), WRONG, ids=[f"{field}={value}" for _, field, value, _ in WRONG])
def test_a_wrong_value_is_refused_with_its_place(
    command: Command, bundle: Bundle, part: str, field: str, value: dict[str, Any], text: str
) -> None:
    bundle.spec[part][field] = value
    assert engine.refused(engine.run(command, bundle, "true")).startswith(f"config.json: {text}")


@requires("two processors")
@pytest.mark.parametrize(
    ("affinity", "allowed"),
    [({"initial": "0"}, "0"), ({"final": "0,1"}, "0-1"), ({"initial": "0", "final": "1"}, "1")],
    ids=str,
)
def test_what_exec_runs_has_the_cpu_affinity_and_the_program_has_not(
    runtime: pyrt.Runtime, bundle: Bundle, affinity: dict[str, str], allowed: str
) -> None:
    bundle.process["execCPUAffinity"] = affinity
    container = runtime.create("scheduled", bundle=bundle.args("sleep", "1000").path)
    try:
        container.start()
        done = container.exec(["grep", "Cpus_allowed_list", "/proc/self/status"], capture_output=True, text=True)
        assert container.pid
        assert os.sched_getaffinity(container.pid) == os.sched_getaffinity(0)
    finally:
        container.delete(force=True)
    assert done.stdout.split() == ["Cpus_allowed_list:", allowed]


def test_an_affinity_to_cpus_that_are_not_there_is_named(runtime: pyrt.Runtime, bundle: Bundle) -> None:
    bundle.process["execCPUAffinity"] = {"final": "1000"}
    container = runtime.create("scheduled", bundle=bundle.args("sleep", "1000").path)
    try:
        container.start()
        with pytest.raises(pyrt.Error, match=r"set the CPU affinity: invalid argument \(EINVAL\); no CPU of it is there"):
            container.exec(["true"])
    finally:
        container.delete(force=True)
