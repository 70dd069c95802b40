"""Spec: parse, build, edit, check, write; and that what `default_spec` writes is what config.json wants.

Neighbours: tests/integration/test_command_line.py (`pyrt spec`), rust/core/src/oci (the strict check itself).
"""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrt import Limits, Mount, NotFound, Rlimit, Spec, SpecError, _native, default_spec, defaults

NUMBERS = st.integers(-(1 << 63), (1 << 64) - 1) | st.floats(allow_nan=False, allow_infinity=False)
# Surrogates alone are no Unicode, and no JSON of ours.
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(st.none() | st.booleans() | NUMBERS | TEXT, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=20)


def test_a_spec_goes_to_json_and_back() -> None:
    spec = default_spec()
    assert Spec.from_json(spec.to_json()) == spec
    assert Spec.from_bytes(spec.to_bytes()) == spec
    assert Spec.from_json(spec.to_json(indent=True)) == spec


def test_a_spec_is_read_from_a_file_or_its_bundle(tmp_path: Path) -> None:
    spec = default_spec()
    (tmp_path / "config.json").write_text(spec.to_json())
    assert Spec.from_file(tmp_path) == Spec.from_file(tmp_path / "config.json") == spec


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        Spec.from_file(tmp_path / "nothing.json")
    assert caught.value.path == f"{tmp_path}/nothing.json"


@pytest.mark.parametrize(
    ("text", "where"), [("{", "line 1 column 1"), ('{\n"a": 1,\n}', "line 3 column 1"), ("", "line 1 column 0"), ("nul", "line 1")]
)
def test_what_is_no_json_is_named_by_line_and_column(text: str, where: str) -> None:
    with pytest.raises(SpecError, match=where):
        Spec.from_json(text)


@pytest.mark.parametrize("text", ["[]", "1", '"a"', "null"])
def test_json_that_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="is not a JSON object"):
        Spec.from_json(text)


@given(JSON)
def test_the_native_json_is_python_s(value: Any) -> None:
    assert json.loads(_native.json_dumps(value)) == value
    assert _native.json_loads(json.dumps(value).encode()) == value
    assert _native.json_loads(_native.json_dumps(value, indent=True).encode()) == value


@pytest.mark.parametrize("value", [{1: 2}, object(), {"a": {1}}, b"bytes", float("nan"), float("inf"), 1 << 64, "\ud800"])
def test_what_json_has_not_is_refused(value: object) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError)):
        _native.json_dumps(value)


def test_json_nested_too_deep_is_refused_in_both_directions() -> None:
    with pytest.raises(SpecError, match="recursion limit"):
        _native.json_loads(b"[" * 1000 + b"]" * 1000)
    deep: list[Any] = []
    for _ in range(1000):
        deep = [deep]
    with pytest.raises(RecursionError):
        _native.json_dumps(deep)


# Editing


def test_what_is_edited_most_has_properties() -> None:
    spec = Spec({})
    assert (spec.args, spec.env, spec.cwd, spec.terminal, spec.hostname, spec.rootfs, spec.read_only) == (
        [],
        {},
        None,
        False,
        None,
        None,
        False,
    )
    assert (spec.mounts, spec.capabilities, spec.rlimits, spec.namespaces) == ([], [], [], {})
    spec.args, spec.env, spec.cwd, spec.terminal = ["sh", "-c", "id"], {"A": "b=c"}, "/srv", True
    spec.hostname, spec.rootfs, spec.read_only = "web", Path("/root"), True
    spec.mounts = [Mount.tmpfs("/tmp")]
    spec.capabilities, spec.rlimits = ["net_admin"], [Rlimit("NOFILE", 5)]
    spec.namespaces = {"pid": None, "network": "/proc/1/ns/net"}
    assert spec.config == {
        "process": {
            "args": ["sh", "-c", "id"],
            "env": ["A=b=c"],
            "cwd": "/srv",
            "terminal": True,
            "capabilities": {kind: ["CAP_NET_ADMIN"] for kind in ("bounding", "effective", "permitted")},
            "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 5, "hard": 5}],
        },
        "hostname": "web",
        "root": {"path": "/root", "readonly": True},
        "mounts": [Mount.tmpfs("/tmp").to_config()],
        "linux": {"namespaces": [{"type": "pid"}, {"type": "network", "path": "/proc/1/ns/net"}]},
    }
    assert (spec.env, spec.capabilities, spec.namespaces) == ({"A": "b=c"}, ["CAP_NET_ADMIN"], {"pid": None, "network": "/proc/1/ns/net"})
    assert spec.mounts == [Mount.tmpfs("/tmp")]


def test_limits_are_laid_over_those_that_are_there() -> None:
    spec = Spec({"linux": {"resources": {"memory": {"limit": 1, "swap": 2}, "devices": []}}})
    spec.limit(Limits(memory="1K", pids=3))
    assert spec.config["linux"]["resources"] == {"memory": {"limit": 1024, "swap": 2}, "devices": [], "pids": {"limit": 3}}


@pytest.mark.parametrize(
    "again", [Spec.copy, copy.copy, copy.deepcopy, lambda spec: pickle.loads(pickle.dumps(spec)), lambda spec: Spec(spec.config)]
)
def test_a_copy_shares_nothing(again: Any) -> None:
    spec = default_spec()
    other = again(spec)
    other.config["linux"]["namespaces"].clear()
    other.config["process"]["args"].append("more")
    assert other != spec
    assert spec == default_spec()


def test_the_defaults_are_never_changed_by_an_edit() -> None:
    before = copy.deepcopy(defaults.MOUNTS)
    spec = Spec.for_run(["true"])
    spec.config["mounts"][0]["options"].append("nonsense")
    spec.config["process"]["capabilities"]["bounding"].clear()
    default_spec().config["mounts"][0]["options"].clear()
    assert before == defaults.MOUNTS
    assert Spec.for_run(["true"]).capabilities == list(defaults.LIBRARY_CAPABILITIES)


def test_repr_shows_what_was_chosen() -> None:
    said = repr(default_spec())
    assert said.startswith("Spec(args=['sh'], rootfs='rootfs', read_only=True, cwd='/'")
    assert "'CAP_KILL'" in said


# Checking


def test_the_default_spec_is_without_fault_or_warning() -> None:
    assert default_spec().check("/bundle") == []
    assert default_spec(rootless=True).check("/bundle") == []


@pytest.mark.parametrize(
    ("edit", "json_path"),
    [
        ({"process": {"args": "sh"}}, "process.args"),
        ({"process": {"args": []}}, "process.args"),
        ({"process": {"args": ["sh", 1]}}, "process.args[1]"),
        ({"process": {"cwd": "relative"}}, "process.cwd"),
        ({"process": {"env": ["A\0B=c"]}}, "process.env[0]"),
        ({"process": {"user": {"uid": -1}}}, "process.user.uid"),
        ({"root": {"path": 5}}, "root.path"),
        ({"linux": {"namespaces": [{"type": "nonsense"}]}}, "linux.namespaces[0].type"),
        ({"ociVersion": "2.0.0"}, "ociVersion"),
        ({"ociVersion": 1}, "ociVersion"),
    ],
    ids=str,
)
def test_a_fault_is_named_by_its_place(edit: dict[str, Any], json_path: str) -> None:
    spec = default_spec()
    for section, value in edit.items():
        if isinstance(value, dict):
            spec.config[section].update(value)
        else:
            spec.config[section] = value
    with pytest.raises(SpecError) as caught:
        spec.check()
    assert caught.value.json_path == json_path
    assert str(caught.value).startswith(f"config.json: {json_path}: ")
    assert "\n" not in str(caught.value)


def test_an_unknown_key_is_a_warning_with_its_place() -> None:
    spec = default_spec()
    spec.config["process"]["nonsense"] = 1
    (warning,) = spec.check()
    assert "process.nonsense" in warning


def test_a_newer_minor_version_is_a_warning_at_most_and_every_1_x_is_taken() -> None:
    for version in ("1.0.0", "1.0.2-dev", "1.99.0"):
        spec = default_spec()
        spec.config["ociVersion"] = version
        assert len(spec.check()) <= 1
