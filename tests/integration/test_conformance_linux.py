"""config-linux.md and the rest of config.md of the runtime-spec 1.3: the MUSTs that no subject's own file shows, named after them.

Which test shows which MUST is a table of docs/conformance.md. Neighbours: test_conformance_config.py, test_conformance_runtime.py.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

import pyrt
from helpers import cgroups, engine
from helpers.bundles import Bundle
from helpers.commands import Command
from helpers.hosts import requires
from helpers.terminals import Console


def test_an_unknown_annotation_is_no_error(command: Command, bundle: Bundle) -> None:
    """config.md, "Annotations"."""
    bundle.spec["annotations"] = {"org.example.unknown": "value", "": "a key without a name"}
    assert engine.run(command, bundle, "true").ok().stderr == ""


def test_a_socket_is_bound(command: Command, bundle: Bundle, tmp_path: Path) -> None:
    """config.md, "Mounts": a bind is of whatever the source is."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        bundle.mount("/run/deep/socket", "bind", str(tmp_path / "socket"), ["bind"])
        assert engine.run(command, bundle, "stat", "-c", "%F", "/run/deep/socket").ok().stdout == "socket\n"


def test_an_overlay_is_mounted_with_the_options_of_the_config(command: Command, bundle: Bundle, tmp_path: Path) -> None:
    """config.md, "Mounts": options of the file system are its own."""
    for name in ("lower", "upper", "work"):
        (tmp_path / name).mkdir()
    (tmp_path / "lower/file").write_text("of the lower layer\n")
    layers = [f"{key}dir={tmp_path / key}" for key in ("lower", "upper", "work")]
    bundle.mount("/srv", "overlay", "overlay", layers)
    assert engine.shell(command, bundle, "cat /srv/file; echo changed > /srv/file").ok().stdout == "of the lower layer\n"
    assert (tmp_path / "lower/file").read_text() == "of the lower layer\n"
    assert (tmp_path / "upper/file").read_text() == "changed\n"


@pytest.mark.parametrize("there", ["file", "other device"])
def test_a_file_where_a_device_is_wanted_is_an_error(command: Command, bundle: Bundle, there: str) -> None:
    """config-linux.md, "Devices": a file at the path that does not match the device."""
    bundle.spec["root"]["readonly"] = False
    path = bundle.rootfs / "srv/device"
    path.write_text("") if there == "file" else os.mknod(path, 0o20600, os.makedev(1, 5))
    bundle.linux["devices"] = [{"path": "/srv/device", "type": "c", "major": 1, "minor": 3}]
    assert engine.refused(engine.run(command, bundle, "true")) == "make device /srv/device: file exists (EEXIST)"


def test_a_device_that_is_there_already_is_taken(command: Command, bundle: Bundle) -> None:
    """The other half of the above."""
    os.mknod(bundle.rootfs / "srv/device", 0o20600, os.makedev(1, 3))
    bundle.linux["devices"] = [{"path": "/srv/device", "type": "c", "major": 1, "minor": 3}]
    assert engine.run(command, bundle, "stat", "-c", "%t:%T", "/srv/device").ok().stdout == "1:3\n"


def test_the_console_is_there_with_a_terminal_only(command: Command, bundle: Bundle, tmp_path: Path) -> None:
    """config-linux.md, "Default Devices"."""
    assert engine.shell(command, bundle, "test -e /dev/console || echo none").ok().stdout == "none\n"
    bundle.process["terminal"] = True
    with Console(tmp_path / "console") as console:
        bundle.shell("stat -c %F /dev/console")
        command("run", "--detach", "--bundle", bundle.path, "--console-socket", console.path, engine.ID).ok()
        _, (master,) = console.receive()
    try:
        assert b"character special file" in os.read(master, 100)
    finally:
        os.close(master)
        command("delete", "--force", engine.ID).ok()


@requires("cgroup2")
@pytest.mark.parametrize("path", ["/pyrt-spec-{0}/below", "pyrt-spec-relative-{0}"])
def test_the_same_cgroups_path_is_the_same_place(runtime: pyrt.Runtime, bundle: Bundle, path: str) -> None:
    """config-linux.md, "Cgroups Path": an absolute one starts from the mount point; the same value leads to the same place."""
    bundle.linux["cgroupsPath"] = path.format(os.getpid())
    places = []
    for _ in range(2):
        container = runtime.create(f"place-{os.getpid()}", bundle=bundle.args("true").path)
        places.append(cgroups.of(container.pid)[cgroups.UNIFIED])
        container.delete()
    assert places[0] == places[1]
    assert str(places[0]).endswith(path.format(os.getpid()))


@requires("cgroup2")
def test_a_unified_file_of_a_controller_that_is_not_there_is_an_error(command: Command, bundle: Bundle) -> None:
    """config-linux.md, "Unified"."""
    bundle.linux["resources"]["unified"] = {"gravity.max": "1"}
    assert "gravity" in engine.refused(engine.run(command, bundle, "true"))


def test_intel_rdt_without_resctrl_is_an_error(command: Command, bundle: Bundle) -> None:
    """config-linux.md, "IntelRdt": without a mounted resctrl, an error."""
    bundle.linux["intelRdt"] = {"closID": "guaranteed", "schemata": ["L3:0=f"]}
    said = engine.refused(engine.run(command, bundle, "true"))
    assert said.startswith("config.json: linux.intelRdt: ")
