"""Given namespaces: joined by path, alone and in every mix that takes path B (docs/architecture.md), also from a caller with threads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import pyrt
from helpers import engine
from helpers.bundles import Bundle
from helpers.commands import Command
from helpers.hosts import requires
from helpers.proc import NAMESPACES, SHOW_NAMESPACES, namespaces_of, printed_namespaces

MAPPINGS = [{"containerID": 0, "hostID": 0, "size": 65536}]
OTHER_ID = 300_000
THREADS = 4
EACH = 5


def give(bundle: Bundle, kind: str, path: str) -> None:
    """The namespace at path instead of a new one. A uts namespace of others keeps the name that it has."""
    entries = [entry for entry in bundle.linux["namespaces"] if entry["type"] != kind]
    bundle.linux["namespaces"] = [*entries, {"type": kind, "path": path}]
    if kind == "uts":
        bundle.spec.pop("hostname", None)


def give_those_of(bundle: Bundle, pid: int, *kinds: str) -> None:
    for kind in kinds:
        give(bundle, kind, f"/proc/{pid}/ns/{NAMESPACES[kind]}")


def map_user(bundle: Bundle, host: int = 0) -> None:
    bundle.linux["namespaces"].append({"type": "user"})
    mapping = [{"containerID": 0, "hostID": host, "size": 65536}]
    bundle.linux.update(uidMappings=mapping, gidMappings=mapping)


def inside(command: Command, bundle: Bundle) -> dict[str, int]:
    return printed_namespaces(engine.shell(command, bundle, SHOW_NAMESPACES).ok().stdout)


def sleeping(runtime: pyrt.Runtime, path: Path, config: dict[str, Any], rootfs: Path) -> pyrt.Container:
    """A running container beside the one that is tested, made of the same root file system."""
    path.mkdir()
    other = Bundle(path, config)
    other.spec["root"]["path"] = str(rootfs)
    container = runtime.create("other", bundle=other.args("sleep", "1000").path)
    container.start()
    return container


@pytest.fixture
def other(runtime: pyrt.Runtime, bundle: Bundle, tmp_path: Path) -> Iterator[pyrt.Container]:
    """A running container with all namespaces but a user namespace of its own."""
    spec = pyrt.default_spec()
    spec.terminal = False
    spec.config["linux"]["namespaces"].append({"type": "time"})
    container = sleeping(runtime, tmp_path / "other", spec.config, bundle.rootfs)
    yield container
    container.delete(force=True)


@pytest.fixture
def other_user(runtime: pyrt.Runtime, bundle: Bundle, tmp_path: Path) -> Iterator[pyrt.Container]:
    """A running container with a user namespace of its own, too, whose root is OTHER_ID on the host."""
    spec = pyrt.default_spec()
    spec.terminal = False
    for above in [bundle.rootfs, *bundle.rootfs.parents][:-2]:
        above.chmod(above.stat().st_mode | 0o011)
    made = Bundle(tmp_path / "unused", spec.config)
    map_user(made, OTHER_ID)
    container = sleeping(runtime, tmp_path / "other", spec.config, bundle.rootfs)
    yield container
    container.delete(force=True)


@pytest.mark.parametrize("kind", ["cgroup", "ipc", "network", "pid", "time", "uts"])
def test_one_namespace_of_another_container_is_joined(command: Command, bundle: Bundle, other: pyrt.Container, kind: str) -> None:
    give_those_of(bundle, other.pid, kind)
    theirs, mine = namespaces_of(other.pid), inside(command, bundle)
    assert mine[kind] == theirs[kind]
    assert all(mine[name] != theirs[name] for name in NAMESPACES.keys() - {kind, "user", "time"})


def test_network_ipc_and_uts_of_another_container_are_joined_together(command: Command, bundle: Bundle, other: pyrt.Container) -> None:
    """A pod, as engines make it."""
    give_those_of(bundle, other.pid, "network", "ipc", "uts")
    theirs, mine = namespaces_of(other.pid), inside(command, bundle)
    assert {kind for kind in NAMESPACES if mine[kind] == theirs[kind]} == {"network", "ipc", "uts", "user"}


def test_in_a_given_pid_namespace_the_others_processes_are_seen(command: Command, bundle: Bundle, other: pyrt.Container) -> None:
    give_those_of(bundle, other.pid, "pid")
    said = engine.shell(command, bundle, "tr '\\0' ' ' </proc/1/cmdline; echo; test $$ -gt 1 && echo not PID 1").ok().stdout
    assert said.splitlines() == ["sleep 1000 ", "not PID 1"]


def test_a_container_in_a_given_pid_namespace_ends_without_ending_the_other(
    runtime: pyrt.Runtime, bundle: Bundle, other: pyrt.Container
) -> None:
    give_those_of(bundle, other.pid, "pid")
    container = runtime.create("guest", bundle=bundle.args("sleep", "1000").path)
    container.start()
    container.delete(force=True)
    assert other.status == "running"
    assert Path(f"/proc/{other.pid}/task/{other.pid}/children").read_text() == ""


def test_a_program_in_a_given_pid_namespace_reports_its_exit_status(command: Command, bundle: Bundle, other: pyrt.Container) -> None:
    give_those_of(bundle, other.pid, "pid")
    assert engine.shell(command, bundle, "exit 7").status == 7


def test_the_mount_namespace_of_another_container_is_taken_as_it_is(command: Command, bundle: Bundle, other: pyrt.Container) -> None:
    """Its root, and what is mounted in it; nothing of this bundle's."""
    (bundle.rootfs / "etc/marker").write_text("of the shared root\n")
    give_those_of(bundle, other.pid, "mount", "pid")
    before = Path(f"/proc/{other.pid}/mountinfo").read_text()
    bundle.spec["mounts"] = []
    del bundle.linux["maskedPaths"], bundle.linux["readonlyPaths"]
    said = engine.shell(command, bundle, "readlink /proc/self/ns/mnt; cat /etc/marker").ok().stdout.splitlines()
    assert said == [os.readlink(f"/proc/{other.pid}/ns/mnt"), "of the shared root"]
    assert Path(f"/proc/{other.pid}/mountinfo").read_text() == before


def test_the_hosts_network_beside_a_new_user_namespace(command: Command, bundle: Bundle) -> None:
    give(bundle, "network", "/proc/self/ns/net")
    map_user(bundle)
    mine, hosts = inside(command, bundle), namespaces_of("self")
    assert mine["network"] == hosts["network"]
    assert mine["user"] != hosts["user"]


def test_the_network_of_another_container_beside_a_new_user_namespace(command: Command, bundle: Bundle, other: pyrt.Container) -> None:
    give_those_of(bundle, other.pid, "network", "ipc", "uts")
    map_user(bundle)
    # Only the owner of an ipc namespace may mount its message queues.
    bundle.spec["mounts"] = [mount for mount in bundle.spec["mounts"] if mount["type"] != "mqueue"]
    theirs, mine = namespaces_of(other.pid), inside(command, bundle)
    assert {kind for kind in NAMESPACES if mine[kind] == theirs[kind]} == {"network", "ipc", "uts"}


def test_user_network_and_pid_of_another_container(command: Command, bundle: Bundle, other_user: pyrt.Container) -> None:
    give_those_of(bundle, other_user.pid, "user", "network", "pid")
    theirs, mine = namespaces_of(other_user.pid), inside(command, bundle)
    assert {kind for kind in NAMESPACES if mine[kind] == theirs[kind]} >= {"user", "network", "pid"}
    assert mine["mount"] != theirs["mount"]


def test_the_user_namespace_of_another_container_alone(command: Command, bundle: Bundle, other_user: pyrt.Container) -> None:
    give_those_of(bundle, other_user.pid, "user")
    theirs, mine = namespaces_of(other_user.pid), inside(command, bundle)
    assert {kind for kind in NAMESPACES if mine[kind] == theirs[kind]} - {"time"} == {"user"}


def test_every_namespace_of_another_container(command: Command, bundle: Bundle, other_user: pyrt.Container) -> None:
    give_those_of(bundle, other_user.pid, *(NAMESPACES.keys() - {"time"}))
    bundle.spec["mounts"] = []
    del bundle.linux["maskedPaths"], bundle.linux["readonlyPaths"]
    theirs, mine = namespaces_of(other_user.pid), inside(command, bundle)
    assert mine == theirs


def test_the_network_of_the_host_beside_the_user_namespace_of_another(command: Command, bundle: Bundle, other_user: pyrt.Container) -> None:
    """One owned outside goes first: the given user namespace has no right to it."""
    give(bundle, "network", "/proc/self/ns/net")
    give_those_of(bundle, other_user.pid, "user")
    mine = inside(command, bundle)
    assert mine["network"] == namespaces_of("self")["network"]
    assert mine["user"] == namespaces_of(other_user.pid)["user"]


@requires("Linux 6.1")
def test_the_time_namespace_of_another_container_is_joined_with_its_offsets(command: Command, bundle: Bundle) -> None:
    with pyrt.Namespaces.create("time", boottime_offset=5000.0) as made:
        give(bundle, "time", f"/proc/{os.getpid()}/fd/{made.time.fd}")
        said = engine.run(command, bundle, "cat", "/proc/self/timens_offsets").ok().stdout
    assert said.split()[3:] == ["boottime", "5000", "0"]


def test_a_namespace_whose_processes_are_gone_is_joined_by_its_bind_mount_or_descriptor(rootfs: Path) -> None:
    with pyrt.Namespaces.create("net") as made:
        done = pyrt.run(["readlink", "/proc/self/ns/net"], rootfs=rootfs, namespaces=made, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == f"net:[{made.net.inode}]"


def test_the_callers_own_user_namespace_is_refused_with_the_way_out(command: Command, bundle: Bundle) -> None:
    """setns(2) into it is EINVAL, and the mounts and devices would be planned for another one."""
    give(bundle, "user", "/proc/self/ns/user")
    last = len(bundle.linux["namespaces"]) - 1
    assert engine.refused(engine.run(command, bundle, "true")) == (
        f"config.json: linux.namespaces[{last}].path: /proc/self/ns/user is the user namespace of pyrt itself; "
        "leave it out: it is the one without any"
    )


@pytest.mark.parametrize("kind", ["cgroup", "ipc", "network", "uts"])
def test_the_callers_own_namespace_of_another_kind_may_be_given(command: Command, bundle: Bundle, kind: str) -> None:
    give(bundle, kind, f"/proc/self/ns/{NAMESPACES[kind]}")
    assert inside(command, bundle)[kind] == namespaces_of("self")[kind]


@pytest.mark.parametrize("kind", ["network", "pid", "user", "mount"])
def test_a_path_of_another_type_of_namespace_is_refused_by_its_place(command: Command, bundle: Bundle, kind: str) -> None:
    give(bundle, kind, "/proc/self/ns/ipc")
    if kind == "mount":
        bundle.spec["mounts"] = []
    last = len(bundle.linux["namespaces"]) - 1
    said = engine.refused(engine.run(command, bundle, "true"))
    assert said == f"config.json: linux.namespaces[{last}].path: /proc/self/ns/ipc is of kind ipc, not {kind}"


def test_a_path_that_is_no_namespace_is_refused_by_its_place(command: Command, bundle: Bundle) -> None:
    give(bundle, "network", "/etc/passwd")
    last = len(bundle.linux["namespaces"]) - 1
    said = engine.refused(engine.run(command, bundle, "true"))
    assert said == f"config.json: linux.namespaces[{last}].path: /etc/passwd is no namespace"


def test_a_path_that_is_not_there_is_named(command: Command, bundle: Bundle, tmp_path: Path) -> None:
    give(bundle, "network", str(tmp_path / "gone"))
    said = engine.refused(engine.run(command, bundle, "true"))
    assert str(tmp_path / "gone") in said
    assert "no such file or directory (ENOENT)" in said


def test_a_path_that_is_not_absolute_is_refused(command: Command, bundle: Bundle) -> None:
    give(bundle, "network", "ns/net")
    last = len(bundle.linux["namespaces"]) - 1
    said = engine.refused(engine.run(command, bundle, "true"))
    assert said == f'config.json: linux.namespaces[{last}].path: "ns/net" is not an absolute path'


def test_mappings_beside_a_given_user_namespace_change_nothing_of_it(command: Command, bundle: Bundle, other_user: pyrt.Container) -> None:
    """podman writes them too."""
    give_those_of(bundle, other_user.pid, "user")
    bundle.linux.update(uidMappings=MAPPINGS, gidMappings=MAPPINGS)
    said = engine.run(command, bundle, "cat", "/proc/self/uid_map").ok().stdout
    assert said.split() == ["0", str(OTHER_ID), "65536"]


MIXES = {
    "new ones": (),
    "network, ipc, uts": ("network", "ipc", "uts"),
    "pid": ("pid",),
    "user, network, pid": ("user", "network", "pid"),
}


@pytest.mark.parametrize("kinds", MIXES.values(), ids=MIXES)
def test_threads_of_one_caller_launch_at_once(rootfs: Path, other_user: pyrt.Container, kinds: tuple[str, ...]) -> None:
    theirs = namespaces_of(other_user.pid)
    given = {kind: f"/proc/{other_user.pid}/ns/{NAMESPACES[kind]}" for kind in kinds}

    def launch(number: int) -> None:
        done = pyrt.run(
            ["sh", "-c", f"{SHOW_NAMESPACES}; exit {number}"],
            rootfs=rootfs,
            overlay=False,
            namespaces=given,
            capture_output=True,
            text=True,
        )
        assert done.returncode == number, done
        mine = printed_namespaces(done.stdout)
        assert all(mine[kind] == theirs[kind] for kind in kinds)
        assert mine["mount"] != theirs["mount"]

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(launch, range(THREADS * EACH)))
