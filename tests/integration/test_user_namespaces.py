"""New user namespaces: id mappings, the identity and capabilities inside, and what is mounted there differently.

Maps without the host's 0 too, with and without a uid 0 of the container.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from helpers import engine
from helpers.bundles import Bundle, map_ids
from helpers.commands import Command
from helpers.proc import NUMBERS, mask, status

HOST_ID = 200_000
"""A host id that nobody has."""
SIZE = 65_536
MAPS = {
    "host 0": (0, 0, SIZE),
    "without host 0": (0, HOST_ID, SIZE),
    "without container 0": (1000, HOST_ID, 10),
}
DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}


@pytest.fixture(params=MAPS)
def mapped(request: pytest.FixtureRequest, bundle: Bundle) -> tuple[Bundle, int, int]:
    """A bundle with one of MAPS; the first id inside, and the same on the host."""
    container, host, size = MAPS[request.param]
    map_ids(bundle, container, host, size)
    return bundle, container, host


def test_the_mapping_is_what_the_config_says(command: Command, mapped: tuple[Bundle, int, int]) -> None:
    bundle, container, host = mapped
    size = bundle.linux["uidMappings"][0]["size"]
    said = engine.run(command, bundle, "cat", "/proc/self/uid_map", "/proc/self/gid_map").ok().stdout
    assert [line.split() for line in said.splitlines()] == [[str(container), str(host), str(size)]] * 2


def test_the_process_has_the_user_and_group_of_the_config(command: Command, mapped: tuple[Bundle, int, int]) -> None:
    bundle, container, _ = mapped
    bundle.process["user"] |= {"uid": container + 3, "gid": container + 4, "additionalGids": [container + 6]}
    said = status(engine.run(command, bundle, "cat", "/proc/self/status").ok().stdout)
    assert said["Uid"] == " ".join([str(container + 3)] * 4)
    assert said["Gid"] == " ".join([str(container + 4)] * 4)
    assert said["Groups"] == str(container + 6)


def test_what_it_makes_belongs_to_the_mapped_id_on_the_host(command: Command, mapped: tuple[Bundle, int, int]) -> None:
    bundle, _, host = mapped
    bundle.spec["root"]["readonly"] = False
    engine.shell(command, bundle, "echo content > /home/made").ok()
    made = (bundle.rootfs / "home/made").stat()
    assert (made.st_uid, made.st_gid) == (host, host)


def test_capabilities_are_the_configs_and_nothing_is_inheritable(command: Command, mapped: tuple[Bundle, int, int]) -> None:
    """CVE-2022-29162: init needs inheritable and ambient sets to survive its own exec; the container must not see them."""
    bundle, container, _ = mapped
    wanted = ["CAP_CHOWN", "CAP_NET_ADMIN", "CAP_SYS_ADMIN"]
    bundle.process["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), wanted)
    bundle.process["noNewPrivileges"] = False
    said = status(engine.run(command, bundle, "cat", "/proc/self/status").ok().stdout)
    # An execve of a user other than root keeps only what is ambient.
    kept = mask(wanted) if container == 0 else mask([])
    assert {name: said[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {
        "CapInh": mask([]),
        "CapPrm": kept,
        "CapEff": kept,
        "CapBnd": mask(wanted),
        "CapAmb": mask([]),
    }


def test_every_capability_may_be_granted_even_those_that_the_caller_lacks(command: Command, bundle: Bundle) -> None:
    map_ids(bundle, 0, HOST_ID, SIZE)
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    every = [name for name, number in NUMBERS.items() if number <= last]
    bundle.process["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted", "inheritable", "ambient"), every)
    result = engine.run(command, bundle, "cat", "/proc/self/status").ok()
    said = status(result.stdout)
    assert {said[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {mask(every)}
    assert result.stderr == ""


def test_ambient_capabilities_reach_a_user_other_than_root(command: Command, bundle: Bundle) -> None:
    map_ids(bundle, 1000, HOST_ID, 10)
    wanted = ["CAP_NET_BIND_SERVICE"]
    bundle.process["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted", "inheritable", "ambient"), wanted)
    said = status(engine.run(command, bundle, "cat", "/proc/self/status").ok().stdout)
    assert said["CapEff"] == said["CapAmb"] == mask(wanted)


def test_default_devices_are_the_hosts_own_and_work(command: Command, mapped: tuple[Bundle, int, int]) -> None:
    """mknod(2) is refused there, so they are bind mounted."""
    bundle, _, _ = mapped
    names = " ".join(DEVICES)
    script = f"cd /dev; for name in {names}; do stat -c '%t,%T' $name; done; echo x > null && head -c 3 zero | wc -c"
    said = engine.shell(command, bundle, script).ok().stdout.split()
    assert said[: len(DEVICES)] == [f"{major:x},{minor:x}" for major, minor in DEVICES.values()]
    assert said[len(DEVICES) :] == ["3"]


def test_proc_and_sys_are_mounted_anew(command: Command, mapped: tuple[Bundle, int, int]) -> None:
    bundle, _, _ = mapped
    said = engine.shell(command, bundle, "echo $$; ls -d /proc/[0-9]*; ls /sys/class/net").ok().stdout.split()
    assert said[:2] == ["1", "/proc/1"]
    assert said[-1] == "lo"


def test_sysfs_of_the_callers_network_is_the_hosts(command: Command, bundle: Bundle) -> None:
    map_ids(bundle, 0, HOST_ID, SIZE)
    bundle.without_namespace("network")
    said = engine.run(command, bundle, "ls", "/sys/class/net").ok().stdout.split()
    assert said == sorted(os.listdir("/sys/class/net"))


@pytest.mark.skipif(not os.path.ismount("/dev/mqueue"), reason="this host has no mqueue mounted")
def test_mqueue_of_the_callers_ipc_is_the_hosts(command: Command, bundle: Bundle) -> None:
    map_ids(bundle, 0, HOST_ID, SIZE)
    bundle.without_namespace("ipc")
    engine.run(command, bundle, "ls", "/dev/mqueue").ok()


def test_a_source_below_a_closed_directory_can_be_bind_mounted(command: Command, bundle: Bundle, tmp_path: Path) -> None:
    """The caller opens it: from inside, root of the user namespace may not even look there."""
    map_ids(bundle, 0, HOST_ID, SIZE)
    closed = tmp_path / "closed"
    (closed / "source").mkdir(parents=True)
    (closed / "source/file").write_text("reached\n")
    closed.chmod(0o700)
    bundle.mount("/mnt", "bind", str(closed / "source"), ["bind", "ro"])
    assert engine.run(command, bundle, "cat", "/mnt/file").ok().stdout == "reached\n"


def test_a_file_of_an_unmapped_owner_cannot_be_opened(command: Command, bundle: Bundle, tmp_path: Path) -> None:
    map_ids(bundle, 0, HOST_ID, SIZE)
    secret = tmp_path / "secret"
    secret.write_text("secret\n")
    secret.chmod(0o600)
    bundle.mount("/mnt/secret", "bind", str(secret), ["bind"])
    result = engine.run(command, bundle, "cat", "/mnt/secret")
    assert (result.status, result.stdout) == (1, "")
    assert result.stderr == "cat: can't open '/mnt/secret': Permission denied\n"


def test_devices_cannot_be_made_inside(command: Command, bundle: Bundle) -> None:
    map_ids(bundle, 0, HOST_ID, SIZE)
    sets = bundle.process["capabilities"]
    bundle.process["capabilities"] = {name: [*names, "CAP_MKNOD"] for name, names in sets.items()}
    result = engine.run(command, bundle, "mknod", "/dev/mine", "c", "1", "3")
    assert result.status == 1
    assert "Operation not permitted" in result.stderr


def test_the_waiting_init_is_in_the_namespace_as_its_root(command: Command, bundle: Bundle) -> None:
    map_ids(bundle, 0, HOST_ID, SIZE)
    command("create", "--bundle", bundle.args("true").path, "waiting").ok()
    pid = command("state", "waiting").ok().json["pid"]
    assert Path(f"/proc/{pid}/uid_map").read_text().split() == ["0", str(HOST_ID), str(SIZE)]
    assert Path(f"/proc/{pid}/status").read_text().split("Uid:")[1].split()[0] == str(HOST_ID)
    assert stat.S_IMODE(os.stat(f"/proc/{pid}/root/dev/null").st_mode) == 0o666
    command("delete", "waiting").ok()


@pytest.mark.parametrize("field", ["uidMappings", "gidMappings"])
def test_a_user_namespace_without_mappings_is_refused(command: Command, bundle: Bundle, field: str) -> None:
    map_ids(bundle, 0, HOST_ID, SIZE)
    del bundle.linux[field]
    assert engine.refused(engine.run(command, bundle, "true")) == (
        "config.json: linux.uidMappings: a new user namespace needs uidMappings and gidMappings"
    )


def test_mappings_without_a_user_namespace_are_refused(command: Command, bundle: Bundle) -> None:
    bundle.linux["uidMappings"] = [{"containerID": 0, "hostID": 0, "size": 1}]
    assert engine.refused(engine.run(command, bundle, "true")).startswith("config.json: linux.uidMappings: needs a user namespace")


def test_a_mapping_of_size_0_is_refused(command: Command, bundle: Bundle) -> None:
    map_ids(bundle, 0, HOST_ID, SIZE)
    bundle.linux["gidMappings"] = [{"containerID": 0, "hostID": 0, "size": 0}]
    assert engine.refused(engine.run(command, bundle, "true")) == "config.json: linux.gidMappings[0].size: must be above 0"


def test_mappings_that_overlap_are_the_kernels_to_refuse(command: Command, bundle: Bundle) -> None:
    map_ids(bundle, 0, HOST_ID, SIZE)
    bundle.linux["uidMappings"] = [{"containerID": 0, "hostID": HOST_ID, "size": 5}, {"containerID": 3, "hostID": 1000, "size": 5}]
    said = engine.refused(engine.run(command, bundle, "true"))
    assert said.startswith("write uid_map /proc/")
    assert said.endswith("/uid_map: invalid argument (EINVAL)")


def test_a_user_who_is_not_mapped_is_refused_by_number(command: Command, bundle: Bundle) -> None:
    map_ids(bundle, 0, HOST_ID, 10)
    bundle.process["user"] = {"uid": 77, "gid": 0}
    said = engine.refused(engine.run(command, bundle, "true"))
    assert said.startswith("become user 77 group 0: invalid argument (EINVAL)")
