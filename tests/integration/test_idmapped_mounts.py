"""Mounts with other ids: `idmap`, `ridmap`, `uidMappings`, `gidMappings` (config.md "Linux mount options", mount_setattr(2)).

Neighbours: test_mount_options.py (every other word), test_user_namespaces.py. The source is a tmpfs with another one below it,
whose files belong to ids that no mapping leaves as they are.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers import engine
from helpers.bundles import Bundle, map_ids
from helpers.commands import Command
from helpers.hosts import requires

HOST_ID = 300_000
"""A host id that nobody has."""
SIZE = 65_536
MAPPING = [{"containerID": 0, "hostID": HOST_ID, "size": SIZE}]

pytestmark = requires("Linux 6.5")


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs with `file` of user 1, group 2, and another tmpfs with the same on `below`."""
    outer = tmp_path / "source"
    outer.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=1777", "outer", outer], check=True)
    try:
        (outer / "below").mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "inner", outer / "below"], check=True)
        for directory in (outer, outer / "below"):
            (directory / "file").touch()
            os.chown(directory / "file", 1, 2)
        yield outer
    finally:
        subprocess.run(["umount", "--recursive", outer], check=True)


def bind(bundle: Bundle, source: Path, *options: str, destination: str = "/mnt", **mappings: list[dict[str, int]]) -> str:
    """One more mount. Returns where config.json has it."""
    bundle.spec["mounts"].append(
        {"destination": destination, "type": "bind", "source": str(source), "options": ["rbind", *options], **mappings}
    )
    return f"mounts[{len(bundle.spec['mounts']) - 1}]"


def owners(command: Command, bundle: Bundle, *paths: str) -> list[str]:
    """user:group of each path, as the container sees it."""
    return engine.run(command, bundle, "stat", "-c", "%u:%g", *paths).ok().stdout.split()


MAPPED, AS_IT_IS = f"{HOST_ID + 1}:{HOST_ID + 2}", "1:2"


@pytest.mark.parametrize(
    ("words", "below"), [((), AS_IT_IS), (("idmap",), AS_IT_IS), (("ridmap",), MAPPED)], ids=["no word", "idmap", "ridmap"]
)
def test_a_mount_has_the_ids_of_its_mappings(command: Command, bundle: Bundle, source: Path, words: tuple[str, ...], below: str) -> None:
    bind(bundle, source, *words, uidMappings=MAPPING, gidMappings=MAPPING)
    assert owners(command, bundle, "/mnt/file", "/mnt/below/file") == [MAPPED, below]


def test_users_and_groups_are_mapped_apart(command: Command, bundle: Bundle, source: Path) -> None:
    groups = [{"containerID": 2, "hostID": 7, "size": 1}]
    bind(bundle, source, uidMappings=MAPPING, gidMappings=groups)
    assert owners(command, bundle, "/mnt/file") == [f"{HOST_ID + 1}:7"]


def test_without_mappings_idmap_takes_those_of_the_containers_user_namespace(command: Command, bundle: Bundle, source: Path) -> None:
    map_ids(bundle, 0, HOST_ID, SIZE)
    bind(bundle, source, "idmap")
    done = engine.shell(command, bundle, "stat -c %u:%g /mnt/file /mnt/below/file; touch /mnt/new").ok()
    assert done.stdout.split() == [AS_IT_IS, "65534:65534"]
    made = (source / "new").stat()
    assert (made.st_uid, made.st_gid) == (0, 0)


def test_without_mappings_idmap_takes_those_of_a_given_user_namespace(command: Command, bundle: Bundle, source: Path) -> None:
    map_ids(bundle, 0, HOST_ID, SIZE)
    with subprocess.Popen(["unshare", "--user", "sh", "-c", "echo; read line"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        holder.stdout.readline()
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{holder.pid}/{name}").write_text(f"0 {HOST_ID} {SIZE}\n")
        bundle.linux["namespaces"][-1]["path"] = f"/proc/{holder.pid}/ns/user"
        del bundle.linux["uidMappings"], bundle.linux["gidMappings"]
        bind(bundle, source, "idmap")
        found = owners(command, bundle, "/mnt/file")
        holder.communicate(b"\n")
    assert found == [AS_IT_IS]


def test_one_source_is_mounted_twice_with_different_ids(command: Command, bundle: Bundle, source: Path) -> None:
    map_ids(bundle, 0, HOST_ID, SIZE)
    for destination in ("/mnt", "/srv"):
        bind(bundle, source, "idmap", destination=destination)
    bind(bundle, source, destination="/home")
    bind(bundle, source, destination="/opt")
    assert owners(command, bundle, "/mnt/file", "/srv/file", "/home/file", "/opt/file") == [AS_IT_IS] * 2 + ["65534:65534"] * 2


def test_a_mapped_mount_takes_the_other_options_too(command: Command, bundle: Bundle, source: Path) -> None:
    bind(bundle, source, "idmap", "rro", uidMappings=MAPPING, gidMappings=MAPPING)
    done = engine.shell(command, bundle, "touch /mnt/new")
    assert "Read-only file system" in done.stderr


def test_a_file_system_that_cannot_be_mapped_is_named(command: Command, bundle: Bundle) -> None:
    bind(bundle, Path("/sys/kernel"), uidMappings=MAPPING, gidMappings=MAPPING)
    assert engine.refused(engine.run(command, bundle, "true")) == (
        "map the ids of /sys/kernel: invalid argument (EINVAL); a file system there does not support idmapped mounts (mount_setattr(2))"
    )


@pytest.mark.parametrize("word", ["idmap", "ridmap"])
def test_without_mappings_and_user_namespace_there_is_nothing_to_take(command: Command, bundle: Bundle, source: Path, word: str) -> None:
    place = bind(bundle, source, word)
    line = engine.refused(engine.run(command, bundle, "true"))
    assert line.startswith(f"config.json: {place}.options: idmap and ridmap need uidMappings and gidMappings beside them")


@pytest.mark.parametrize(("given", "missing"), [("uidMappings", "gidMappings"), ("gidMappings", "uidMappings")])
def test_one_of_the_two_mappings_alone_is_refused(command: Command, bundle: Bundle, source: Path, given: str, missing: str) -> None:
    place = bind(bundle, source)
    bundle.spec["mounts"][-1][given] = MAPPING
    line = engine.refused(engine.run(command, bundle, "true"))
    assert line == f"config.json: {place}.{missing}: is missing; {given} alone map nothing"


def test_an_empty_range_is_refused(command: Command, bundle: Bundle, source: Path) -> None:
    empty = [{"containerID": 0, "hostID": 1, "size": 0}]
    place = bind(bundle, source, uidMappings=MAPPING, gidMappings=empty)
    line = engine.refused(engine.run(command, bundle, "true"))
    assert line == f"config.json: {place}.gidMappings[0].size: must be above 0"


def test_only_a_bind_mount_can_be_mapped(command: Command, bundle: Bundle) -> None:
    bundle.mount("/mnt", "tmpfs", "tmpfs")
    bundle.spec["mounts"][-1].update(uidMappings=MAPPING, gidMappings=MAPPING)
    line = engine.refused(engine.run(command, bundle, "true"))
    assert line == f"config.json: mounts[{len(bundle.spec['mounts']) - 1}]: only a bind mount can have its ids mapped"
