"""Spec's typed sections: read, edit, build, and what the runtime-spec does not know.

Neighbours: test_spec.py (the short ways), test_model.py (that no field is missing).
"""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

import pyrt
from pyrt import oci


@pytest.fixture
def spec() -> pyrt.Spec:
    return pyrt.default_spec()


def test_a_value_that_is_not_said_is_none_or_empty() -> None:
    spec = pyrt.Spec({})
    assert spec.linux.resources.memory.limit is None
    assert list(spec.process.args) == []
    assert dict(spec.annotations) == {}
    assert not spec.linux
    assert spec.config == {}, "reading makes nothing"


def test_writing_makes_what_is_above_it() -> None:
    spec = pyrt.Spec({})
    spec.linux.resources.memory.limit = 1 << 28
    spec.hooks.create_runtime.append(oci.Hook(path="/bin/hook", timeout=3))
    spec.annotations["key"] = "value"
    assert spec.config == {
        "linux": {"resources": {"memory": {"limit": 1 << 28}}},
        "hooks": {"createRuntime": [{"path": "/bin/hook", "timeout": 3}]},
        "annotations": {"key": "value"},
    }


def test_null_is_as_if_it_were_not_there() -> None:
    spec = pyrt.Spec({"process": None, "linux": {"sysctl": None, "resources": {"cpu": None}}})
    assert spec.process.cwd is None
    spec.process.cwd = "/"
    spec.linux.resources.cpu.shares = 2
    spec.linux.sysctl["kernel.msgmax"] = "1"
    assert spec.config["process"] == {"cwd": "/"}
    assert spec.config["linux"] == {"sysctl": {"kernel.msgmax": "1"}, "resources": {"cpu": {"shares": 2}}}


def test_lists_are_edited_in_place(spec: pyrt.Spec) -> None:
    spec.process.args.append("-c")
    spec.process.args[0] = "bash"
    spec.process.args.extend(["true"])
    assert spec.args == ["bash", "-c", "true"]
    del spec.process.args[1:]
    assert spec.config["process"]["args"] == ["bash"]
    spec.process.rlimits[0].soft = 7
    assert spec.config["process"]["rlimits"][0]["soft"] == 7
    spec.process.rlimits[:] = []
    assert spec.config["process"]["rlimits"] == []


def test_an_object_that_is_given_is_the_configs_own(spec: pyrt.Spec) -> None:
    hook = oci.Hook(path="/bin/one")
    spec.hooks = oci.Hooks(prestart=[hook])
    hook.path = "/bin/two"
    assert spec.config["hooks"] == {"prestart": [{"path": "/bin/two"}]}


def test_none_removes_a_value(spec: pyrt.Spec) -> None:
    spec.process.capabilities = None
    spec.process.terminal = None
    spec.hooks = None
    del spec.process.rlimits
    assert not {"capabilities", "terminal", "rlimits"} & spec.config["process"].keys()


def test_a_whole_container_is_built() -> None:
    process = oci.Process(
        args=["sleep", "1"],
        cwd="/",
        user=oci.User(uid=0, gid=0, additional_gids=[5]),
        rlimits=[oci.Rlimit(type="RLIMIT_NOFILE", soft=1, hard=2)],
    )
    linux = oci.Linux(
        namespaces=[oci.Namespace(type=kind) for kind in ("pid", "mount", "network")],
        resources=oci.Resources(pids=oci.Pids(limit=5), cpu=oci.CPU(shares=512)),
        net_devices={"eth0": oci.NetDevice(name="net0")},
        sysctl={"net.ipv4.ip_forward": "1"},
    )
    config = oci.Config(oci_version="1.3.0", process=process, root=oci.Root(path="/"), linux=linux)
    spec = pyrt.Spec(config.data)
    assert spec.check() == []
    assert spec.config["linux"]["netDevices"] == {"eth0": {"name": "net0"}}
    assert spec.config["process"]["user"] == {"uid": 0, "gid": 0, "additionalGids": [5]}


def test_unknown_keys_stay_through_reading_editing_and_writing() -> None:
    text = (
        '{"process": {"args": ["sh"], "x-own": {"deep": [1, {"a": null}]}}, "hooks": {"prestart": [{"path": "/a", "x": 1}]}, "x-top": 1.5}'
    )
    spec = pyrt.Spec.from_json(text)
    spec.process.cwd = "/"
    spec.hooks.prestart[0].timeout = 3
    assert (spec.process.unknown, spec.hooks.prestart[0].unknown) == (["x-own"], ["x"])
    written = pyrt.Spec.from_json(spec.to_json()).config
    assert written["process"]["x-own"] == {"deep": [1, {"a": None}]}
    assert written["hooks"] == {"prestart": [{"path": "/a", "x": 1, "timeout": 3}]}
    assert written["x-top"] == 1.5


@pytest.mark.parametrize(
    ("config", "path", "reason"),
    [
        ({"process": []}, "process", "is not an object"),
        ({"process": {"args": "sh"}}, "process.args", "is not a list"),
        ({"process": {"args": ["sh", 1]}}, "process.args[1]", "is not a string"),
        ({"process": {"terminal": 1}}, "process.terminal", "is not true or false"),
        ({"process": {"user": {"uid": True}}}, "process.user.uid", "is not a number"),
        ({"hooks": {"poststop": [{"path": "/a"}, 3]}}, "hooks.poststop[1]", "is not an object"),
        ({"linux": {"netDevices": {"eth0": {"name": 1}}}}, "linux.netDevices.eth0.name", "is not a string"),
        ({"annotations": {"a": 1}}, "annotations.a", "is not a string"),
    ],
)
def test_a_wrong_type_is_refused_by_its_path(config: dict[str, Any], path: str, reason: str) -> None:
    with pytest.raises(pyrt.SpecError) as refused:
        pyrt.Spec.from_json(pyrt.Spec(config).to_json())
    assert (refused.value.json_path, str(refused.value)) == (path, f"config.json: {path}: {reason}")


def test_a_wrong_argument_is_a_type_error(spec: pyrt.Spec) -> None:
    before = copy.deepcopy(spec)
    with pytest.raises(TypeError, match=r"process\.cwd takes str, not int"):
        spec.process.cwd = 3  # type: ignore[assignment]
    with pytest.raises(TypeError, match=r"process\.args\[1\] takes str, not bytes"):
        spec.process.args = ["a", b"b"]  # type: ignore[list-item]
    with pytest.raises(TypeError, match=r"process\.user takes User, not dict"):
        spec.process.user = {"uid": 0}  # type: ignore[assignment]
    with pytest.raises(TypeError, match=r"takes bool, not int"):
        spec.process.terminal = 1  # type: ignore[assignment]
    with pytest.raises(TypeError, match="Hook has no field 'pth'"):
        oci.Hook(pth="/a")  # type: ignore[call-arg]
    with pytest.raises(AttributeError):
        spec.process.cwdd = "/"  # type: ignore[attr-defined]
    assert spec == before


def test_sections_compare_by_content_and_show_what_they_say(spec: pyrt.Spec) -> None:
    assert spec.process.user == oci.User(uid=0, gid=0)
    assert spec.process.user != oci.User(uid=1, gid=0)
    assert repr(oci.Hook(path="/a", args=["x"])) == "Hook(path='/a', args=['x'])"


def test_a_spec_with_typed_edits_copies_and_pickles(spec: pyrt.Spec) -> None:
    spec.linux.personality = oci.Personality(domain="LINUX32")
    other = copy.copy(spec)
    other.linux.personality.domain = "LINUX"
    assert spec.linux.personality.domain == "LINUX32"
    assert pickle.loads(pickle.dumps(spec)) == spec
