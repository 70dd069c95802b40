"""Limits that cannot be: refused before the container starts, with file and value where it was the kernel; no cgroup stays.

Neighbours: test_bad_input.py (what is wrong in the form), test_cgroups.py (limits too small for the init, controllers that the host lacks).
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

import pyrt
from helpers import cgroups, hosts
from helpers.bundles import Bundle
from helpers.commands import PYRT, Command
from helpers.hosts import requires

MEBIBYTE = 1 << 20
PURE = hosts.has("pure cgroup v2")


def refused(command: Command, bundle: Bundle, resources: dict[str, Any]) -> str:
    """The one line that says why."""
    bundle.linux["resources"] = resources
    name = f"cgroups-refused-{os.getpid()}"
    for verb in ("create", "run"):
        done = command(verb, "--bundle", bundle.args("true").path, name)
        assert done.status == 1, verb
        assert done.stderr.count("\n") == 1, done.stderr
        assert not cgroups.exists(f"/pyrt-{name}"), verb
    return done.stderr


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        ({"memory": {"limit": -2}}, "linux.resources.memory.limit: -2 is no number of bytes, nor -1"),
        (
            {"memory": {"limit": 64 * MEBIBYTE, "swap": MEBIBYTE}},
            "linux.resources.memory.swap: 1048576 is memory plus swap and cannot be below",
        ),
        ({"memory": {"swap": MEBIBYTE}}, "linux.resources.memory.swap: is memory plus swap, so it needs"),
        ({"cpu": {"cpus": "0-x"}}, 'linux.resources.cpu.cpus: "0-x" is not a list like 0-3,7'),
        ({"cpu": {"quota": 10, "period": 100_000}}, "linux.resources.cpu.quota: 10 is below the kernel's least, 1000 microseconds"),
        ({"blockIO": {"weight": 5}}, "linux.resources.blockIO.weight: 5 is not between 10 and 1000"),
        ({"unified": {"../memory.max": "1"}}, 'linux.resources.unified["../memory.max"]: is not a cgroup2 file'),
        ({"unified": {"cgroup.procs": "1"}}, 'linux.resources.unified["cgroup.procs"]: is no limit'),
    ],
)
def test_a_value_out_of_range_is_named_with_its_place(command: Command, bundle: Bundle, resources: dict[str, Any], said: str) -> None:
    assert said in refused(command, bundle, resources)


@requires("cpuset controller")
def test_a_cpu_that_the_machine_lacks_is_named_with_the_file(command: Command, bundle: Bundle) -> None:
    message = refused(command, bundle, {"cpu": {"cpus": "4000"}})
    assert 'write "4000" to ' in message
    assert "/cpuset.cpus: invalid argument (EINVAL); not a list of CPUs that this machine has" in message or "(ERANGE)" in message


@requires("io controller")
def test_a_device_that_is_not_there_is_named_with_the_file(command: Command, bundle: Bundle) -> None:
    message = refused(command, bundle, {"blockIO": {"throttleReadBpsDevice": [{"major": 4000, "minor": 7, "rate": 1000}]}})
    assert f"/{'io.max' if PURE else 'blkio.throttle.read_bps_device'}: no such device (ENODEV); no such block device" in message


@requires("hybrid cgroups", "memory controller")
def test_a_unified_file_of_a_controller_that_v1_has_is_refused(command: Command, bundle: Bundle) -> None:
    message = refused(command, bundle, {"unified": {"memory.max": "1000000"}})
    assert 'limit linux.resources.unified["memory.max"]: cgroup2 has no memory controller on this host' in message


@requires("pure cgroup v2")
@pytest.mark.parametrize(
    ("resources", "path"),
    [
        ({"memory": {"swappiness": 10}}, "memory.swappiness"),
        ({"memory": {"disableOOMKiller": True}}, "memory.disableOOMKiller"),
        ({"blockIO": {"leafWeight": 100}}, "blockIO.leafWeight"),
        ({"network": {"classID": 7}}, "network.classID"),
    ],
)
def test_what_only_v1_has_is_refused_on_v2(command: Command, bundle: Bundle, resources: dict[str, Any], path: str) -> None:
    message = refused(command, bundle, resources)
    assert f"linux.resources.{path}" in message


@requires("cgroup2")
def test_a_place_below_a_threaded_cgroup_is_refused_by_its_type(command: Command, bundle: Bundle) -> None:
    mount = hosts.cgroup_mounts().cgroup2
    assert mount is not None
    name = f"pyrt-cgroups-threaded-{os.getpid()}"
    (mount / name / "inner").mkdir(parents=True)
    try:
        (mount / name / "inner/cgroup.type").write_text("threaded")
        bundle.linux["cgroupsPath"] = f"/{name}/inner/container"
        done = command("run", "--bundle", bundle.args("true").path, f"cgroups-threaded-{os.getpid()}")
        assert done.status == 1
        assert f"make cgroup {mount}/{name}/inner/container: its type would be" in done.stderr
        assert "choose a path outside the threaded cgroup" in done.stderr
        assert not (mount / name / "inner/container").exists()
    finally:
        (mount / name / "inner").rmdir()
        (mount / name).rmdir()


@requires("unshare")
def test_a_read_only_cgroup_mount_is_said_to_be_that(command: Command, bundle: Bundle) -> None:
    script = 'for m in $(findmnt -nrt cgroup,cgroup2 -o TARGET); do mount -o remount,bind,ro $m || exit 99; done; exec "$@"'
    words = [str(PYRT), "--root", str(command.root), "run", "--bundle", str(bundle.args("true").path), f"cgroups-ro-{os.getpid()}"]
    line = ["unshare", "--mount", "sh", "-c", script, "sh", *words]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "make cgroup" in done.stderr
    assert "the cgroup file system is mounted read-only" in done.stderr
    assert done.stderr.count("\n") == 1


@requires("memory controller", "pids controller", "cpuset controller")
def test_an_update_that_is_refused_half_way_changes_nothing(running: pyrt.Container) -> None:
    running.update(pyrt.Limits(memory="64M", pids=20))
    before = running.stats()
    with pytest.raises(pyrt.Error, match=r"/cpuset\.cpus"):
        running.update({"memory": {"limit": 32 * MEBIBYTE}, "pids": {"limit": 10}, "cpu": {"shares": 512, "cpus": "4000"}})
    after = running.stats()
    assert before.memory is not None
    assert after.memory is not None
    assert after.memory.limit_bytes == before.memory.limit_bytes == 64 * MEBIBYTE
    assert before.pids is not None
    assert after.pids is not None
    assert after.pids.limit == before.pids.limit == 20
    if hosts.controller("cpu"):
        weight = cgroups.value(running.pid, "cpu", v1="cpu.shares", v2="cpu.weight")
        assert weight == ("100" if PURE else "1024")


@requires("memory controller")
def test_a_limit_below_what_is_in_use_is_refused_where_the_config_asks_to_look(running: pyrt.Container) -> None:
    running.update(pyrt.Limits(memory="64M"))
    with pytest.raises(pyrt.Error, match="are in use, and checkBeforeUpdate is set") as failure:
        running.update({"memory": {"limit": 4096, "checkBeforeUpdate": True}})
    assert "(EBUSY)" in str(failure.value)
    stats = running.stats()
    assert stats.memory is not None
    assert stats.memory.limit_bytes == 64 * MEBIBYTE
    assert Path(f"/proc/{running.pid}").exists()
