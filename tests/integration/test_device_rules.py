"""linux.resources.devices: what a container that may make any node can open, by cgroup2's eBPF program or by the v1 controller.

Every container here has CAP_MKNOD and a root that is not nodev, so nothing but the list stands between it and the host's devices. Nodes
are made in the root's /tmp, a plain directory. Neighbours: test_devices.py (/dev, and the containers that make no node at all),
rust/core/tests/cgroup_devices.rs (updates; cgroup2's program on hybrid hosts too).
"""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pyrt
from helpers import cgroups, engine
from helpers.bundles import Bundle
from helpers.commands import Command
from helpers.hosts import cgroup_mounts, requires

DENY_ALL: dict[str, Any] = {"allow": False, "access": "rwm"}
KMSG = (1, 11)
"""The kernel's log: every machine has it, and no container needs it. Reading it may need CAP_SYSLOG (kernel.dmesg_restrict)."""
REFUSED = "Operation not permitted"

pytestmark = pytest.mark.skipif(
    cgroup_mounts().cgroup2 is None and "devices" not in cgroup_mounts().v1, reason="this host lacks: cgroup2 and a v1 devices controller"
)


def character(numbers: tuple[int, int], access: str, *, allow: bool = True) -> dict[str, Any]:
    return {"allow": allow, "type": "c", "major": numbers[0], "minor": numbers[1], "access": access}


@pytest.fixture
def maker(bundle: Bundle) -> Bundle:
    """The default bundle, whose container may make any node, and read the kernel's log."""
    for kind in ("bounding", "effective", "permitted"):
        bundle.process["capabilities"][kind] += ["CAP_MKNOD", "CAP_SYSLOG"]
    bundle.spec["root"]["readonly"] = False
    return bundle


def attempt(command: Command, bundle: Bundle, *rules: dict[str, Any], script: str) -> str:
    """What the script says and is told, standard error too, in a container with this list."""
    bundle.linux["resources"]["devices"] = list(rules)
    done = engine.shell(command, bundle, f"exec 2>&1; {script}")
    return done.ok().stdout


def opened(path: str, how: str = "<") -> str:
    """A script that opens path for reading (<), writing (>) or both (<>), and says so."""
    return f"( : {how} {path} ) && echo opened"


KMSG_NODE = "mknod /tmp/kmsg c 1 11 && "


def test_the_default_list_lets_a_container_make_a_node_of_the_host_s_device_and_not_open_it(command: Command, maker: Bundle) -> None:
    assert maker.linux["resources"]["devices"] == [DENY_ALL]
    said = engine.shell(command, maker, f"{KMSG_NODE} echo made; {opened('/tmp/kmsg')}")
    assert (said.stdout, REFUSED in said.stderr, "/tmp/kmsg" in said.stderr) == ("made\n", True, True)


def test_a_list_that_denies_all_leaves_the_default_devices_and_terminals(command: Command, maker: Bundle) -> None:
    devices = [f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "ptmx")]
    script = "; ".join(opened(device, "<>") for device in devices)
    assert attempt(command, maker, DENY_ALL, script=script) == "opened\n" * len(devices)


def test_a_device_that_the_list_allows_after_all_are_denied_is_opened(command: Command, maker: Bundle) -> None:
    said = attempt(command, maker, DENY_ALL, character(KMSG, "rwm"), script=KMSG_NODE + opened("/tmp/kmsg", "<>"))
    assert said == "opened\n"


def test_a_device_that_is_allowed_before_all_are_denied_is_refused(command: Command, maker: Bundle) -> None:
    said = attempt(command, maker, character(KMSG, "rwm"), DENY_ALL, script=KMSG_NODE + opened("/tmp/kmsg") + " || true")
    assert (REFUSED in said, "opened" in said) == (True, False)


def test_a_device_that_may_be_read_is_not_written(command: Command, maker: Bundle) -> None:
    script = f"{KMSG_NODE} {opened('/tmp/kmsg')}; {opened('/tmp/kmsg', '>')}; {opened('/tmp/kmsg', '<>')}; true"
    said = attempt(command, maker, DENY_ALL, character(KMSG, "r"), script=script)
    assert (said.count("opened"), said.count(REFUSED)) == (1, 2), said


def test_writing_that_is_denied_after_all_is_allowed_is_refused_and_reading_is_not(command: Command, maker: Bundle) -> None:
    script = f"{KMSG_NODE} {opened('/tmp/kmsg')}; {opened('/tmp/kmsg', '>')} || true"
    said = attempt(command, maker, {"allow": True, "access": "rwm"}, character(KMSG, "w", allow=False), script=script)
    assert (said.count("opened"), said.count(REFUSED)) == (1, 1), said


def test_a_list_that_allows_all_opens_all(command: Command, maker: Bundle) -> None:
    assert attempt(command, maker, {"allow": True, "access": "rwm"}, script=KMSG_NODE + opened("/tmp/kmsg", "<>")) == "opened\n"


def test_a_device_of_config_json_is_made_though_the_list_denies_it(command: Command, maker: Bundle) -> None:
    maker.linux["devices"] = [{"path": "/dev/log", "type": "c", "major": 1, "minor": 11}]
    said = attempt(command, maker, DENY_ALL, script=f"stat -c %t:%T /dev/log; {opened('/dev/log')} || true")
    assert (said.startswith("1:b\n"), REFUSED in said) == (True, True), said


def test_a_list_with_a_wrong_access_is_refused_with_its_place(command: Command, maker: Bundle) -> None:
    maker.linux["resources"]["devices"] = [DENY_ALL, character(KMSG, "rx")]
    done = engine.run(command, maker, "true")
    assert done.status == 1
    assert 'config.json: linux.resources.devices[1].access: "rx"' in done.stderr


@pytest.fixture
def loop_device(tmp_path: Path) -> Iterator[Path]:
    """A block device of the host."""
    image = tmp_path / "image"
    image.write_bytes(bytes(65536))
    device = Path(subprocess.run(["losetup", "--find", "--show", image], capture_output=True, text=True, check=True).stdout.strip())
    yield device
    subprocess.run(["losetup", "--detach", device], check=True)


@requires("loop device", "losetup")
def test_a_disk_of_the_host_is_opened_only_where_the_list_allows_it(command: Command, maker: Bundle, loop_device: Path) -> None:
    number = os.stat(loop_device).st_rdev
    os.mknod(maker.rootfs / "disk", 0o600 | stat.S_IFBLK, number)
    rule = {"allow": True, "type": "b", "major": os.major(number), "minor": os.minor(number), "access": "r"}
    assert attempt(command, maker, DENY_ALL, rule, script=opened("/disk")) == "opened\n"
    # The same numbers of the other type are another device.
    said = attempt(command, maker, DENY_ALL, {**rule, "type": "c"}, script=opened("/disk") + " || true")
    assert (REFUSED in said, "opened" in said) == (True, False), said


def test_the_list_holds_for_what_joins_the_container_s_cgroup_later(runtime: pyrt.Runtime, maker: Bundle) -> None:
    maker.linux["resources"]["devices"] = [DENY_ALL]
    with Path("/dev/kmsg").open("rb"):
        pass  # The control: outside, it can be opened.
    container = runtime.create("later", bundle=maker.args("sleep", "1000").path)
    try:
        mine = cgroups.of(container.pid)
        controller = "devices" if "devices" in cgroup_mounts().v1 else cgroups.UNIFIED
        procs = cgroups.directory(mine[controller], controller) / "cgroup.procs"
        script = f"echo 0 > {procs} && echo joined && {opened('/dev/null')}; {opened('/dev/kmsg')}"
        done = subprocess.run(["/bin/busybox", "sh", "-c", script], capture_output=True, text=True, check=False)
        assert (done.stdout, REFUSED in done.stderr) == ("joined\nopened\n", True), done
    finally:
        container.delete(force=True)


def test_a_list_of_an_update_takes_the_place_of_the_one_before_for_what_exec_runs_too(runtime: pyrt.Runtime, maker: Bundle) -> None:
    os.mknod(maker.rootfs / "kmsg", 0o600 | stat.S_IFCHR, os.makedev(*KMSG))
    maker.linux["resources"] = {"devices": [DENY_ALL]}
    container = runtime.create(f"cgroups-list-{os.getpid()}", bundle=maker.args("sleep", "1000").path)
    container.start()
    said = []
    for rules in ([DENY_ALL], [DENY_ALL, character(KMSG, "r")], [DENY_ALL]):
        container.update({"devices": rules})
        done = container.exec(["sh", "-c", opened("/kmsg")], capture_output=True, text=True)
        said.append("opened" if done.stdout == "opened\n" else REFUSED if REFUSED in done.stderr else done.stderr)
    container.delete(force=True)
    assert said == [REFUSED, "opened", REFUSED]
