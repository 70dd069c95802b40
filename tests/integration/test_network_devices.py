"""linux.netDevices: devices of the host move into the container, are renamed, keep their addresses, and are up (config-linux.md).

One end of a veth(4) pair moves; the other stays, and tells whether the first is still there.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from helpers import engine
from helpers.bundles import Bundle
from helpers.commands import Command
from helpers.hosts import requires

pytestmark = requires("ip", "veth")
ADDRESSES = ["10.213.7.1/24", "fd00:213::1/64"]


def ip(*words: str) -> list[dict[str, Any]]:
    done = subprocess.run(["ip", "-json", *words], capture_output=True, text=True, check=True)
    found: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    return found


def addresses(name: str) -> list[str]:
    """Of global scope, as the host has them."""
    [device] = ip("address", "show", "dev", name)
    return [f"{one['local']}/{one['prefixlen']}" for one in device["addr_info"] if one.get("scope") == "global"]


@pytest.fixture
def device() -> Iterator[str]:
    """One end of a new pair, up and with ADDRESSES. Yields its name."""
    name = f"spec{os.getpid() % 100_000}"
    ip("link", "add", name, "type", "veth", "peer", "name", f"{name}p")
    try:
        for address in ADDRESSES:
            ip("address", "add", address, "dev", name, *(["nodad"] if ":" in address else []))
        ip("link", "set", name, "up")
        yield name
    finally:
        subprocess.run(["ip", "link", "delete", f"{name}p"], capture_output=True, check=False)


def test_a_device_is_inside_with_its_name_and_addresses_and_up(command: Command, bundle: Bundle, device: str) -> None:
    bundle.linux["netDevices"] = {device: {}}
    said = engine.run(command, bundle, "ip", "address", "show", "dev", device).ok().stdout
    for address in ADDRESSES:
        assert f" {address} " in said
    assert "UP" in said.splitlines()[0].partition("<")[2].partition(">")[0].split(",")


def test_a_device_has_another_name_inside(command: Command, bundle: Bundle, device: str) -> None:
    bundle.linux["netDevices"] = {device: {"name": "eth0"}}
    said = engine.shell(command, bundle, "ip -o address show dev eth0; ls /sys/class/net").ok().stdout
    assert ADDRESSES[0] in said
    assert device not in said.split()


def test_the_host_does_not_have_it_any_more(command: Command, bundle: Bundle, device: str) -> None:
    bundle.linux["netDevices"] = {device: {}}
    command("create", "--bundle", bundle.args("true").path, "devices").ok()
    try:
        assert device not in [one["ifname"] for one in ip("link", "show")]
        assert f"{device}p" in [one["ifname"] for one in ip("link", "show")]
    finally:
        command("delete", "--force", "devices").ok()


def test_in_a_user_namespace_it_moves_too(command: Command, bundle: Bundle, device: str) -> None:
    bundle.linux["namespaces"].append({"type": "user"})
    mapping = [{"containerID": 0, "hostID": 0, "size": 65_536}]
    bundle.linux.update(netDevices={device: {"name": "eth0"}}, uidMappings=mapping, gidMappings=mapping)
    assert ADDRESSES[0] in engine.run(command, bundle, "ip", "-o", "address", "show", "dev", "eth0").ok().stdout


def test_after_a_create_that_fails_the_host_has_it_as_it_was(command: Command, bundle: Bundle, device: str) -> None:
    bundle.linux["netDevices"] = {device: {"name": "eth0"}}
    line = engine.refused(engine.run(command, bundle, "no-such-program"))
    assert line == 'exec: "no-such-program": executable file not found in $PATH'
    assert addresses(device) == ADDRESSES
    [link] = ip("link", "show", "dev", device)
    assert "UP" in link["flags"]


def test_a_device_that_is_missing_is_named_and_the_others_stay(command: Command, bundle: Bundle, device: str) -> None:
    bundle.linux["netDevices"] = {device: {}, "zz-no-such": {}}
    assert engine.refused(engine.run(command, bundle, "true")) == "find network device zz-no-such: no such device (ENODEV)"
    assert addresses(device) == ADDRESSES


def test_a_name_that_is_taken_inside_is_refused_by_the_kernel(command: Command, bundle: Bundle, device: str) -> None:
    bundle.linux["netDevices"] = {device: {"name": "lo"}}
    assert engine.refused(engine.run(command, bundle, "true")) == f"move network device {device}: file exists (EEXIST)"
    assert addresses(device) == ADDRESSES


@pytest.mark.parametrize("name", ["a/b", "a b", "a:b", "..", "sixteen-letters-"])
def test_a_name_that_no_device_can_have_is_refused(command: Command, bundle: Bundle, name: str) -> None:
    bundle.linux["netDevices"] = {"eth0": {"name": name}}
    line = engine.refused(engine.run(command, bundle, "true"))
    assert line == f'config.json: linux.netDevices.eth0.name: "{name}" is not the name of a network device'


def test_two_devices_with_one_name_are_refused(command: Command, bundle: Bundle) -> None:
    bundle.linux["netDevices"] = {"a": {"name": "eth0"}, "b": {"name": "eth0"}}
    line = engine.refused(engine.run(command, bundle, "true"))
    assert line == 'config.json: linux.netDevices.b.name: "eth0" is there twice'


def test_without_a_network_namespace_there_is_nowhere_to_move_to(command: Command, bundle: Bundle) -> None:
    bundle.without_namespace("network")
    bundle.linux["netDevices"] = {"eth0": {}}
    line = engine.refused(engine.run(command, bundle, "true"))
    assert line == "config.json: linux.netDevices: needs a network namespace in linux.namespaces to move them to"
