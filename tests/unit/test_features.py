"""`pyrt.features()`, `pyrt features` and `pyrt --version`: what they say is true of this build."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

import pyrt
from helpers import schema
from helpers.commands import Command
from helpers.hosts import kernel
from helpers.proc import NUMBERS
from pyrt import _native


def planned(config: dict[str, Any]) -> list[str]:
    """The warnings about it; SpecError where it is refused."""
    return pyrt.Spec(config).check("/")


def config(**sections: Any) -> dict[str, Any]:
    made = pyrt.default_spec().config
    for name, section in sections.items():
        made[name] = {**made.get(name, {}), **section} if isinstance(section, dict) else section
    return made


def test_the_document_is_as_the_schema_wants_it() -> None:
    assert schema.problems("features-schema.json", pyrt.features()) == []


def test_the_verb_prints_what_the_library_returns(command: Command) -> None:
    assert command("features").ok().json == pyrt.features()


@pytest.mark.parametrize("name", ["ociVersionMin", "ociVersionMax"])
def test_both_versions_are_accepted(name: str) -> None:
    assert planned(config(ociVersion=pyrt.features()[name])) == []


def test_every_hook_is_recognized() -> None:
    hooks = pyrt.features()["hooks"]
    assert planned(config(hooks={name: [{"path": "/bin/true"}] for name in hooks})) == []
    assert set(hooks) == set(schema.load("config-schema.json")["properties"]["hooks"]["properties"])


def test_every_mount_option_is_recognized() -> None:
    """None of them is left to the file system."""
    found = pyrt.features()["mountOptions"]
    assert found == sorted(set(found))
    for option in found:
        mounts = [{"destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": [option]}]
        if option in ("idmap", "ridmap"):
            mounts = [{"destination": "/mnt", "type": "bind", "source": "/usr", "options": ["bind", option]}]
            mapping = [{"containerID": 0, "hostID": 1000, "size": 10}]
            mounts[0] |= {"uidMappings": mapping, "gidMappings": mapping}
        planned(config(mounts=mounts))


def test_every_namespace_is_recognized_and_none_is_missing() -> None:
    found = pyrt.features()["linux"]["namespaces"]
    assert set(found) == set(schema.load("defs-linux.json")["definitions"]["NamespaceType"]["enum"])
    linux = {"namespaces": [{"type": kind} for kind in found], "uidMappings": [{"containerID": 0, "hostID": 0, "size": 1}]}
    linux["gidMappings"] = linux["uidMappings"]
    assert planned(config(linux=linux)) == []


def test_every_capability_of_the_kernel_is_there() -> None:
    assert pyrt.features()["linux"]["capabilities"] == list(NUMBERS)


def test_every_action_and_operator_of_seccomp_is_compiled() -> None:
    seccomp = pyrt.features()["linux"]["seccomp"]
    definitions = schema.load("defs-linux.json")["definitions"]
    assert set(seccomp["actions"]) == set(definitions["SeccompAction"]["enum"])
    assert set(seccomp["operators"]) == set(definitions["SeccompOperators"]["enum"])
    for action in seccomp["actions"]:
        rules = [
            {"names": ["read"], "action": action, "args": [{"index": 0, "value": 1, "valueTwo": 1, "op": operator}]}
            for operator in seccomp["operators"]
        ]
        profile = {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/listener", "syscalls": rules}
        assert _native.seccomp_compile(profile)


def test_the_flags_of_seccomp_are_those_of_the_spec_and_of_the_running_kernel() -> None:
    seccomp = pyrt.features()["linux"]["seccomp"]
    assert set(seccomp["knownFlags"]) == set(schema.load("defs-linux.json")["definitions"]["SeccompFlag"]["enum"])
    newer = set() if kernel(5, 19) else {"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"}
    assert set(seccomp["supportedFlags"]) == set(seccomp["knownFlags"]) - newer


def test_every_architecture_of_seccomp_is_compiled() -> None:
    for name in pyrt.features()["linux"]["seccomp"]["archs"]:
        assert _native.seccomp_compile({"defaultAction": "SCMP_ACT_ALLOW", "architectures": [name]}, architecture="x86_64")


def test_modes_and_flags_of_memory_policies_are_the_specs() -> None:
    policy = pyrt.features()["linux"]["memoryPolicy"]
    definitions = schema.load("defs-linux.json")["definitions"]
    assert set(policy["modes"]) == set(definitions["MemoryPolicyMode"]["enum"])
    assert set(policy["flags"]) == set(definitions["MemoryPolicyFlag"]["enum"])


def test_what_is_not_enabled_is_refused_by_name() -> None:
    assert pyrt.features()["linux"]["intelRdt"]["enabled"] is False
    with pytest.raises(pyrt.HostError, match=r"linux\.intelRdt"):
        planned(config(linux={"intelRdt": {"closID": "x"}}))


def test_what_is_enabled_is_not() -> None:
    linux = pyrt.features()["linux"]
    assert linux["netDevices"]["enabled"]
    assert linux["mountExtensions"]["idmap"]["enabled"]
    assert planned(config(linux={"netDevices": {"eth0": {"name": "net0"}}})) == []


def test_the_commit_is_the_one_that_was_built() -> None:
    root = Path(__file__).parent.parent.parent
    tracked = subprocess.run(["git", "-C", root, "rev-list", "--all"], capture_output=True, text=True, check=False)
    if _native.COMMIT is None:
        pytest.skip("built outside a checkout")
    assert tracked.returncode != 0 or _native.COMMIT in tracked.stdout.split()
    assert pyrt.features()["annotations"]["org.pyrt.commit"] == _native.COMMIT
