"""The table of docs/resources.md, row by row: which file each field of linux.resources becomes, and what stands in it.

Neighbours: test_limits_act.py (that limits bite), test_limits_refused.py (those that cannot be), test_device_rules.py (devices).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import pyrt
from helpers import cgroups, hosts
from helpers.hosts import requires
from pyrt import _native

MEBIBYTE = 1 << 20
PURE = hosts.has("pure cgroup v2")
TABLE = (Path(__file__).parents[2] / "docs/resources.md").read_text()


@dataclass(frozen=True)
class Row:
    """A field of config.json, and the file that it becomes: on v2, and on v1 of a hybrid host; None where that refuses it."""

    field: str
    resources: dict[str, Any]
    controller: str
    v2: tuple[str, str] | None
    v1: tuple[str, str] | None

    def __str__(self) -> str:
        return f"{self.field}-{ROWS.index(self)}"


def memory(**fields: object) -> dict[str, Any]:
    return {"memory": {"limit": 64 * MEBIBYTE, **fields}}


def cpu(**fields: object) -> dict[str, Any]:
    return {"cpu": fields}


BYTES = str(64 * MEBIBYTE)
ROWS = [
    Row("memory.limit", memory(), "memory", ("memory.max", BYTES), ("memory.limit_in_bytes", BYTES)),
    Row("memory.limit", {"memory": {"limit": -1}}, "memory", ("memory.max", "max"), ("memory.limit_in_bytes", "9223372036854771712")),
    Row(
        "memory.swap",
        memory(swap=96 * MEBIBYTE),
        "memory",
        ("memory.swap.max", str(32 * MEBIBYTE)),
        ("memory.memsw.limit_in_bytes", str(96 * MEBIBYTE)),
    ),
    Row("memory.swap", memory(swap=64 * MEBIBYTE), "memory", ("memory.swap.max", "0"), ("memory.memsw.limit_in_bytes", BYTES)),
    Row("memory.swap", memory(swap=-1), "memory", ("memory.swap.max", "max"), ("memory.memsw.limit_in_bytes", "9223372036854771712")),
    Row(
        "memory.reservation",
        memory(reservation=32 * MEBIBYTE),
        "memory",
        ("memory.low", str(32 * MEBIBYTE)),
        ("memory.soft_limit_in_bytes", str(32 * MEBIBYTE)),
    ),
    Row("memory.swappiness", memory(swappiness=7), "memory", None, ("memory.swappiness", "7")),
    Row("memory.disableOOMKiller", memory(disableOOMKiller=True), "memory", None, ("memory.oom_control", "oom_kill_disable 1")),
    Row("cpu.shares", cpu(shares=1024), "cpu", ("cpu.weight", "100"), ("cpu.shares", "1024")),
    Row("cpu.shares", cpu(shares=512), "cpu", ("cpu.weight", "59"), ("cpu.shares", "512")),
    Row("cpu.quota", cpu(quota=20_000), "cpu", ("cpu.max", "20000 100000"), ("cpu.cfs_quota_us", "20000")),
    Row("cpu.period", cpu(quota=20_000, period=50_000), "cpu", ("cpu.max", "20000 50000"), ("cpu.cfs_period_us", "50000")),
    Row("cpu.burst", cpu(quota=20_000, burst=5_000), "cpu", ("cpu.max.burst", "5000"), ("cpu.cfs_burst_us", "5000")),
    Row("cpu.idle", cpu(idle=1), "cpu", ("cpu.idle", "1"), ("cpu.idle", "1")),
    Row("cpu.cpus", cpu(cpus="0"), "cpuset", ("cpuset.cpus", "0"), ("cpuset.cpus", "0")),
    Row("cpu.mems", cpu(mems="0"), "cpuset", ("cpuset.mems", "0"), ("cpuset.mems", "0")),
    Row("pids.limit", {"pids": {"limit": 44}}, "pids", ("pids.max", "44"), ("pids.max", "44")),
    Row("pids.limit", {"pids": {"limit": -1}}, "pids", ("pids.max", "max"), ("pids.max", "max")),
    Row("blockIO.leafWeight", {"blockIO": {"leafWeight": 100}}, "io", None, None),
    Row("network.classID", {"network": {"classID": 0x10001}}, "net_cls", None, None),
    Row("network.priorities", {"network": {"priorities": [{"name": "lo", "priority": 3}]}}, "net_prio", None, None),
    Row("unified", {"unified": {"cgroup.max.depth": "3"}}, "cgroup", ("cgroup.max.depth", "3"), ("cgroup.max.depth", "3")),
    Row("unified", {"unified": {"memory.high": BYTES}}, "memory", ("memory.high", BYTES), None),
    Row("unified", {"unified": {"memory.min": str(MEBIBYTE)}}, "memory", ("memory.min", str(MEBIBYTE)), None),
    Row("unified", {"unified": {"memory.oom.group": "1"}}, "memory", ("memory.oom.group", "1"), None),
]
# Realtime budgets must be given down from the root, which nobody here does.
UNCHECKED = {
    "memory.kernel",
    "memory.checkBeforeUpdate",
    "memory.useHierarchy",
    "cpu.realtimeRuntime",
    "devices",
    "rdma",
}


@contextmanager
def made(resources: dict[str, Any]) -> Iterator[_native.Cgroup]:
    """A cgroup with these resources, made as a container's is: that takes a hundredth of a launch."""
    path = f"/pyrt-cgroups-table-{os.getpid()}"
    try:
        group = _native.Cgroup.create(path, resources)
        yield group
        group.remove()
    finally:
        assert not cgroups.exists(path)


def first_line(resources: dict[str, Any], file: str) -> str:
    """Of that file, in the hierarchy that has it, in a cgroup with these resources."""
    with made(resources) as group:
        [found] = [path for path in (Path(directory) / file for directory in group.paths.values()) if path.exists()]
        return found.read_text().split("\n")[0]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_field_becomes_the_file_that_the_table_has(row: Row) -> None:
    if row.controller in hosts.CONTROLLERS and not hosts.controller(row.controller):
        pytest.skip(f"this host lacks: {row.controller} controller")
    expected = row.v2 if PURE else row.v1
    if expected is None:
        with pytest.raises(pyrt.Error) as failure, made(row.resources):
            pass
        assert f"linux.resources.{row.field}" in str(failure.value)
        return
    if "memsw" in expected[0] and not hosts.has("swap accounting"):
        pytest.skip("this host lacks: swap accounting")
    assert first_line(row.resources, expected[0]) == expected[1]


def test_the_table_names_every_file_that_is_checked() -> None:
    for row in ROWS:
        line = next((line for line in TABLE.splitlines() if line.startswith("|") and f"`{row.field}`" in line.split("|")[1]), None)
        assert line is not None, row.field
        for expected, column in ((row.v2, 2), (row.v1, 3)):
            told = line.split("|")[2 if "the same name" in line.split("|")[column] else column]
            if row.field != "unified" and (expected is not None or column == 2):
                assert (expected[0] if expected else "refused") in told, line


@requires("hugetlb controller of cgroup2")
def test_huge_pages_are_limited_in_use_and_in_reservation_and_counted() -> None:
    limit = 4 * MEBIBYTE
    resources = {"hugepageLimits": [{"pageSize": "2MB", "limit": limit}]}
    assert {first_line(resources, f"hugetlb.2MB.{name}") for name in ("max", "rsvd.max")} == {str(limit)}
    with made(resources) as group:
        counted = group.statistics()["hugetlb"]["2MB"]
    assert counted == {"current_bytes": 0, "limit_bytes": limit, "limit_hits": 0}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[str]:
    """The number of a block device, as cgroup files have it."""
    image = tmp_path / "image"
    image.write_bytes(bytes(MEBIBYTE))
    device = Path(subprocess.run(["losetup", "--find", "--show", image], capture_output=True, text=True, check=True).stdout.strip())
    number = device.stat().st_rdev
    yield f"{os.major(number)}:{os.minor(number)}"
    subprocess.run(["losetup", "--detach", device], check=True)


@requires("io controller", "loop device", "losetup")
def test_rates_of_a_device_are_one_line_on_v2_and_a_file_each_on_v1(disk: str) -> None:
    major, minor = map(int, disk.split(":"))
    fields = {
        "throttleReadBpsDevice": 1001,
        "throttleWriteBpsDevice": 1002,
        "throttleReadIOPSDevice": 1003,
        "throttleWriteIOPSDevice": 1004,
    }
    resources = {"blockIO": {field: [{"major": major, "minor": minor, "rate": rate}] for field, rate in fields.items()}}
    if PURE:
        assert first_line(resources, "io.max") == f"{disk} rbps=1001 wbps=1002 riops=1003 wiops=1004"
        return
    for file, rate in zip(("read_bps", "write_bps", "read_iops", "write_iops"), fields.values(), strict=True):
        assert first_line(resources, f"blkio.throttle.{file}_device") == f"{disk} {rate}"


@requires("pure cgroup v2", "io controller")
def test_a_weight_is_io_weight_and_with_bfq_its_own() -> None:
    resources = {"blockIO": {"weight": 500}}
    if "bfq" not in Path("/proc/modules").read_text():
        assert first_line(resources, "io.weight") == "default 4950"
    if subprocess.run(["modprobe", "bfq"], check=False).returncode:
        pytest.skip("this host lacks: the bfq module")
    with_bfq = first_line(resources, "io.bfq.weight")
    subprocess.run(["modprobe", "--remove", "bfq"], check=True)
    assert with_bfq.split()[-1] == "500"


@requires("pure cgroup v2")
@pytest.mark.parametrize(
    ("resources", "file", "value"),
    [
        ({"rdma": {"mlx5_0": {"hcaHandles": 2, "hcaObjects": 2000}}}, "rdma.max", "mlx5_0 hca_handle=2 hca_object=2000"),
        ({"unified": {"misc.max": "sev 1"}}, "misc.max", "sev 1"),
        ({"hugepageLimits": [{"pageSize": "4MB", "limit": 4096}]}, "hugetlb.4MB.max", ""),
    ],
    ids=["rdma", "misc", "hugetlb"],
)
def test_what_the_machine_has_no_device_or_page_size_for_is_named_with_its_file(resources: dict[str, Any], file: str, value: str) -> None:
    with pytest.raises(pyrt.Error) as failure, made(resources):
        pass
    said = str(failure.value)
    assert (f'write "{value}" to ' in said and f"/{file}: " in said) if value else f"this kernel has no {file} in" in said


@requires("cgroup2")
def test_pressure_is_percent_and_time_where_the_kernel_counts_it(running: pyrt.Container) -> None:
    directory = cgroups.directory(cgroups.of(running.pid)[cgroups.UNIFIED], cgroups.UNIFIED)
    pressure = running.stats().pressure
    if not (directory / "cpu.pressure").exists():
        assert pressure is None
        return
    assert pressure is not None
    some = pressure["cpu"].some
    assert some is not None
    assert 0 <= some.avg10_percent <= 100
    assert some.total_usec >= 0


def test_every_field_of_the_table_is_checked_somewhere() -> None:
    fields = {line.split("`")[1] for line in TABLE.splitlines() if line.startswith("| `")}
    elsewhere = {"blockIO.weight", "blockIO.weightDevice", "blockIO.throttle...Device", "hugepageLimits"}
    assert fields - {row.field for row in ROWS} - elsewhere == UNCHECKED
