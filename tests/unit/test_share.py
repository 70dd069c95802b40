"""share/pyrt: the engines' configuration files that no engine of tests/engines reads are at least well formed, with keys that it knows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from helpers.engines import SHARE

CRIO_RUNTIME_KEYS = {
    "runtime_path", "runtime_type", "runtime_root", "runtime_config_path", "privileged_without_host_devices", "allowed_annotations",
    "monitor_path", "monitor_cgroup", "monitor_exec_cgroup", "monitor_env", "platform_runtime_paths", "container_min_memory",
    "no_sync_log", "default_annotations",
}  # fmt: skip
"""Of crio.conf(5), "CRIO.RUNTIME.RUNTIMES TABLE"."""


def table(name: str) -> dict[str, Any]:
    tomllib: Any = pytest.importorskip("tomllib", reason="Python 3.10 has no TOML parser")
    read: dict[str, Any] = tomllib.loads((SHARE / name).read_text())
    return read


def test_crio_finds_pyrt_in_its_path_by_the_handlers_name() -> None:
    runtimes = table("crio.conf.d/50-pyrt.conf")["crio"]["runtime"]["runtimes"]
    assert list(runtimes) == ["pyrt"]
    assert set(runtimes["pyrt"]) <= CRIO_RUNTIME_KEYS
    assert (runtimes["pyrt"]["runtime_path"], runtimes["pyrt"]["runtime_type"]) == ("", "oci")


def test_the_runtime_class_has_the_handler_of_both_cri_runtimes() -> None:
    lines = (SHARE / "kubernetes/runtime-class.yaml").read_text().splitlines()
    assert "handler: pyrt" in lines
    assert "pyrt" in table("crio.conf.d/50-pyrt.conf")["crio"]["runtime"]["runtimes"]
    assert "pyrt" in table("containerd/config.toml")["plugins"]["io.containerd.grpc.v1.cri"]["containerd"]["runtimes"]


def test_containerds_file_alone_names_its_default_runtime_too() -> None:
    assert "runc" in table("containerd/config.toml")["plugins"]["io.containerd.grpc.v1.cri"]["containerd"]["runtimes"]


def test_every_line_of_slurms_file_names_the_same_container_and_state_directory() -> None:
    lines = [line for line in (SHARE / "slurm/oci.conf").read_text().splitlines() if line and not line.startswith("#")]
    assert sorted(line.split("=", 1)[0] for line in lines) == ["RunTimeDelete", "RunTimeKill", "RunTimeQuery", "RunTimeRun"]
    assert all("--root=/run/user/$(id -u %u)/pyrt " in line and line.endswith(' %n.%u.%j.%s.%t"') for line in lines)


def test_dockers_file_is_json() -> None:
    assert json.loads((SHARE / "docker/daemon.json").read_text())["runtimes"]["pyrt"]["path"] == "pyrt"
