"""More ids than his own for a user other than root: the ranges of /etc/subuid and /etc/subgid, by newuidmap(1) and newgidmap(1).

Neighbours: test_rootless.py (his own id alone), test_user_namespaces.py (what root maps).
"""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from helpers.hosts import requires

if TYPE_CHECKING:
    from helpers.ordinary import Ordinary

pytestmark = requires("ordinary users", "newuidmap", "useradd")

FIRST, COUNT = 900_000_000, 1000
"""Ids that nobody else has."""


@pytest.fixture
def ranged(ordinary: Ordinary) -> Iterator[Ordinary]:
    """The user with a name and ranges, as useradd(8) and usermod(8) give them; both are gone afterwards."""
    name = f"pyrt-{ordinary.uid}"
    ids = f"{FIRST}-{FIRST + COUNT - 1}"
    make = ["useradd", "--no-create-home", "--no-log-init", "--user-group", "--uid", str(ordinary.uid), "-K", "SUB_UID_COUNT=0"]
    subprocess.run([*make, "-K", "SUB_GID_COUNT=0", name], check=True, capture_output=True)
    try:
        subprocess.run(["usermod", "--add-subuids", ids, "--add-subgids", ids, name], check=True)
        user = replace(ordinary, gid=pwd.getpwnam(name).pw_gid)
        os.chown(user.directory, user.uid, user.gid)
        yield user
    finally:
        subprocess.run(["userdel", name], check=True, capture_output=True)


def shown(user: Ordinary, script: str, options: str = "{}", before: str = "") -> list[str]:
    """Words of a script's standard output; it succeeds."""
    code = "done = pyrt.run(['sh', '-c', sys.argv[1]], capture_output=True, text=True, **eval(sys.argv[2]))\n"
    status, stdout, stderr = user.told(code + "print(json.dumps([done.returncode, done.stdout, done.stderr]))", script, options)
    assert (status, stderr) == (0, "")
    return str(stdout).split()


def test_subids_map_the_ranges_behind_the_callers_own_id(ranged: Ordinary) -> None:
    said = shown(ranged, "cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups", "dict(user_namespace='subids')")
    ranges = ["1", str(FIRST), str(COUNT)]
    assert said == ["0", str(ranged.uid), "1", *ranges, "0", str(ranged.gid), "1", *ranges, "allow"]


def test_another_user_is_one_of_the_range(ranged: Ordinary) -> None:
    (ranged.directory / "shared").mkdir(mode=0o777)
    (ranged.directory / "shared").chmod(0o777)
    options = "dict(user=7, extra_groups=[8, 9], mounts=[f'type=bind,src={os.getcwd()}/shared,dst=/mnt/out'])"
    assert shown(ranged, "id -u; id -G; touch /mnt/out/made", options) == ["7", "7", "8", "9"]
    assert (ranged.directory / "shared/made").stat().st_uid == FIRST + 6


def test_without_another_user_no_range_is_taken(ranged: Ordinary) -> None:
    assert shown(ranged, "cat /proc/self/uid_map") == ["0", str(ranged.uid), "1"]


def test_another_user_without_a_range_is_refused_with_the_way_out(ordinary: Ordinary) -> None:
    code = "try:\n    pyrt.run(['true'], user=7)\nexcept pyrt.HostError as error:\n    print(json.dumps(str(error)))"
    assert ordinary.told(code) == (
        "map more ids than the caller's own: it has no range /etc/subuid; a line USER:FIRST:COUNT for this user in /etc/subuid and in "
        "/etc/subgid gives it ids (usermod --add-subuids, --add-subgids)"
    )


def test_an_id_outside_the_range_is_the_helpers_to_refuse(ranged: Ordinary) -> None:
    code = "try:\n    pyrt.run(['true'], user_namespace={'uid': [(0, os.geteuid(), 1), (1, 5, 1)], 'gid': [(0, os.getegid(), 1)]})\n"
    code += "except pyrt.Error as error:\n    print(json.dumps(str(error)))"
    said = ranged.told(code)
    assert said.startswith("write uid_map by newuidmap /usr/bin/newuidmap; it ended with status 1 and said 'newuidmap: uid range")
    assert said.endswith("/etc/subuid gives the ranges that may be mapped")


def test_without_the_helpers_the_package_is_named(ranged: Ordinary) -> None:
    code = "os.environ['PATH'] = '/nowhere'\n"
    code += "try:\n    pyrt.run(['true'], user_namespace='subids')\nexcept pyrt.HostError as error:\n    print(json.dumps(str(error)))"
    assert ranged.told(code) == (
        "write uid_map by newuidmap; newuidmap (Debian package uidmap) is not in $PATH; without it only the caller's own id can be mapped"
    )
