"""Cgroups that are made on the way to a container's own: they go with the last one in them, and what others made stays.

Neighbours: test_cgroups.py (where a cgroup is), test_every_ending.py (callers that are killed).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

import pyrt
from helpers import cgroups, hosts, waiting
from helpers.bundles import Bundle
from helpers.commands import Command

NAME = f"pyrt-cgroups-above-{os.getpid()}"
THERE = [True, True, True]


def there() -> list[bool]:
    """The three cgroups on the way, and none below."""
    return [cgroups.exists(f"/{NAME}{below}") for below in ("", "/b", "/b/c")]


@pytest.fixture
def nested(bundle: Bundle) -> Bundle:
    bundle.linux["cgroupsPath"] = f"/{NAME}/b/c/container"
    return bundle.args("sleep", "1000")


def test_what_was_made_above_a_container_s_cgroup_goes_with_it(command: Command, nested: Bundle) -> None:
    command("create", "--bundle", nested.path, "one").ok()
    before = there()
    command("delete", "--force", "one").ok()
    assert (before, there()) == (THERE, [False] * 3)


def test_it_stays_until_the_last_container_in_it_has_gone(command: Command, nested: Bundle) -> None:
    command("create", "--bundle", nested.path, "first").ok()
    nested.linux["cgroupsPath"] = f"/{NAME}/b/other"
    command("create", "--bundle", nested.write(), "last").ok()
    command("delete", "--force", "first").ok()
    between = there()
    command("delete", "--force", "last").ok()
    assert (between, there()) == ([True, True, False], [False] * 3)


@pytest.fixture
def others() -> Iterator[str]:
    """A cgroup that somebody else made in every hierarchy."""
    directories = [root / NAME for root in hosts.cgroup_mounts().roots]
    for directory in directories:
        directory.mkdir()
    yield f"/{NAME}"
    for directory in directories:
        directory.rmdir()


def test_a_cgroup_above_that_somebody_else_made_stays(command: Command, nested: Bundle, others: str) -> None:
    command("create", "--bundle", nested.path, "one").ok()
    command("delete", "--force", "one").ok()
    assert there() == [True, False, False]


def test_one_that_was_made_on_the_way_is_no_longer_when_a_container_takes_it(command: Command, bundle: Bundle) -> None:
    command("create", "--bundle", bundle.args("sleep", "1000").path, "holder").ok()
    joined = cgroups.matching("pyrt-holder")
    directories = [directory.with_name(NAME) for directory in joined]
    for directory in directories:
        directory.mkdir()
        os.setxattr(directory, "user.pyrt.made-above", b"")
    bundle.linux["cgroupsPath"] = f"/{NAME}"
    command("create", "--bundle", bundle.write(), "taker").ok()
    assert [os.listxattr(directory) for directory in directories] == [[]] * len(directories)


def test_a_launch_that_fails_leaves_nothing_of_it(command: Command, nested: Bundle) -> None:
    done = command("create", "--bundle", nested.args("/no/such").path, "failing")
    assert done.status == 1
    assert "/no/such" in done.stderr
    assert there() == [False] * 3


def test_a_cgroup_object_leaves_nothing_above_it_either() -> None:
    with pyrt.Cgroup.create(f"/{NAME}/b/c"):
        assert there() == THERE
        with pyrt.Cgroup.create(f"/{NAME}/d"):
            pass
        assert there() == THERE
    assert there() == [False] * 3


KILLED = """
import os, sys, pyrt
pyrt.Popen(["sleep", "1000"], rootfs=sys.argv[1], cgroup=sys.argv[2])
os.kill(os.getpid(), 9)
"""


def test_a_caller_that_is_killed_leaves_nothing_of_it(bundle: Bundle) -> None:
    line = [sys.executable, "-c", KILLED, str(bundle.rootfs), f"/{NAME}/b/c"]
    assert subprocess.run(line, check=False).returncode == -signal.SIGKILL
    waiting.until(lambda: not any(there()), "the removal of what it made")
