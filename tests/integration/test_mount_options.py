"""Every option word of config.md "Linux mount options": what each makes of a file system, of a bind mount, and of the mounts below it.

Neighbour: test_mounts.py (kinds of mounts, targets, sources). What is looked at is the
mount's own line in the container's /proc/self/mountinfo (proc(5)), never what pyrt says.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers import engine
from helpers.bundles import Bundle
from helpers.commands import Command

SHOWN = {
    "ro": "ro",
    "nosuid": "nosuid",
    "nodev": "nodev",
    "noexec": "noexec",
    "noatime": "noatime",
    "nodiratime": "nodiratime",
    "nosymfollow": "nosymfollow",
    "relatime": "relatime",
}
"""Words that set something, and how mountinfo shows that."""
OPPOSITES = {
    "ro": "rw",
    "nosuid": "suid",
    "nodev": "dev",
    "noexec": "exec",
    "nodiratime": "diratime",
    "nosymfollow": "symfollow",
    "noatime": "strictatime",
    "relatime": "norelatime",
}
PROPAGATIONS = {"private": "", "rprivate": "", "slave": "", "rslave": "", "shared": "shared:", "rshared": "shared:"}


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """A directory that is a mount, with another mount below it; both tmpfs with nothing set."""
    outer = tmp_path / "tree"
    outer.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "strictatime", "outer", outer], check=True)
    try:
        (outer / "below").mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "strictatime", "inner", outer / "below"], check=True)
        yield outer
    finally:
        subprocess.run(["umount", "--recursive", outer], check=True)


def fields(command: Command, bundle: Bundle, *targets: str) -> list[tuple[set[str], str]]:
    """For each target inside: its mount's options, and its optional fields (shared:N, master:N) as one string."""
    lines = engine.run(command, bundle, "cat", "/proc/self/mountinfo").ok().stdout.splitlines()
    found = {line.split()[4]: line.partition(" - ")[0].split() for line in lines}
    return [(set(found[target][5].split(",")), " ".join(found[target][6:])) for target in targets]


@pytest.mark.parametrize("word", SHOWN)
def test_a_file_system_has_the_option(command: Command, bundle: Bundle, word: str) -> None:
    bundle.mount("/mnt", "tmpfs", "tmpfs", [word])
    [(options, _)] = fields(command, bundle, "/mnt")
    assert SHOWN[word] in options


@pytest.mark.parametrize("word", ["sync", "dirsync", "lazytime", "mand"])
def test_a_file_system_has_the_superblock_flag(command: Command, bundle: Bundle, word: str) -> None:
    bundle.mount("/mnt", "tmpfs", "tmpfs", [word])
    lines = engine.run(command, bundle, "cat", "/proc/self/mountinfo").ok().stdout.splitlines()
    [line] = [line for line in lines if line.split()[4] == "/mnt"]
    assert word in line.split()[-1].split(",")


def test_a_file_system_takes_the_words_that_change_nothing(command: Command, bundle: Bundle) -> None:
    bundle.mount("/mnt", "tmpfs", "tmpfs", ["async", "nolazytime", "nomand", "noiversion", "silent", "loud", "defaults"])
    [(options, _)] = fields(command, bundle, "/mnt")
    assert options == {"rw", "relatime"}


@pytest.mark.parametrize(("word", "opposite"), OPPOSITES.items())
def test_the_last_of_two_opposites_wins(command: Command, bundle: Bundle, tree: Path, word: str, opposite: str) -> None:
    bundle.mount("/mnt", "bind", str(tree), ["bind", word, opposite])
    bundle.mount("/srv", "bind", str(tree), ["bind", opposite, word])
    (first, _), (second, _) = fields(command, bundle, "/mnt", "/srv")
    assert SHOWN[word] not in first
    assert SHOWN[word] in second


@pytest.mark.parametrize("word", SHOWN)
def test_a_plain_option_of_a_recursive_bind_is_the_top_mounts_alone(command: Command, bundle: Bundle, tree: Path, word: str) -> None:
    bundle.mount("/mnt", "bind", str(tree), ["rbind", word])
    (top, _), (below, _) = fields(command, bundle, "/mnt", "/mnt/below")
    assert SHOWN[word] in top
    assert SHOWN[word] not in below


@pytest.mark.parametrize("word", SHOWN)
def test_a_recursive_attribute_is_that_of_every_mount_below(command: Command, bundle: Bundle, tree: Path, word: str) -> None:
    bundle.mount("/mnt", "bind", str(tree), ["rbind", f"r{word}"])
    for options, _ in fields(command, bundle, "/mnt", "/mnt/below"):
        assert SHOWN[word] in options


@pytest.mark.parametrize(("word", "opposite"), OPPOSITES.items())
def test_a_recursive_attribute_is_taken_back_everywhere(command: Command, bundle: Bundle, tree: Path, word: str, opposite: str) -> None:
    bundle.mount("/mnt", "bind", str(tree), ["rbind", f"r{word}", f"r{opposite}"])
    for options, _ in fields(command, bundle, "/mnt", "/mnt/below"):
        assert SHOWN[word] not in options


@pytest.mark.parametrize("word", PROPAGATIONS)
def test_a_file_system_has_the_propagation(command: Command, bundle: Bundle, word: str) -> None:
    bundle.mount("/mnt", "tmpfs", "tmpfs", [word])
    [(_, optional)] = fields(command, bundle, "/mnt")
    assert optional.startswith(PROPAGATIONS[word])
    assert bool(optional) == bool(PROPAGATIONS[word])


@pytest.mark.parametrize(("word", "below"), [("shared", False), ("rshared", True)])
def test_the_recursive_propagation_of_a_bind_reaches_the_mounts_below(
    command: Command, bundle: Bundle, tree: Path, word: str, below: bool
) -> None:
    bundle.mount("/mnt", "bind", str(tree), ["rbind", word])
    (_, top), (_, inner) = fields(command, bundle, "/mnt", "/mnt/below")
    assert "shared:" in top
    assert ("shared:" in inner) == below
