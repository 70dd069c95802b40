"""The five capability sets (capabilities(7)), as /proc/self/status shows them inside.

Neighbours: test_user_namespaces.py (there init holds everything), test_process.py (user and groups).
"""

from __future__ import annotations

from pathlib import Path

import pytest

import pyrt
from helpers import engine
from helpers.bundles import Bundle
from helpers.commands import Command
from helpers.proc import CAPABILITY_SETS, NUMBERS, held, mask, status

WANTED = ("CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT")
LIBRARY = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
)
"""docker's default set less CAP_MKNOD, written down anew."""


def sets(text: str) -> dict[str, str]:
    fields = status(text)
    return {name: fields[field] for name, field in CAPABILITY_SETS.items()}


def inside(command: Command, bundle: Bundle) -> dict[str, str]:
    return sets(engine.run(command, bundle, "cat", "/proc/self/status").ok().stdout)


def masks(**wanted: tuple[str, ...]) -> dict[str, str]:
    return {name: mask(wanted.get(name, ())) for name in CAPABILITY_SETS}


def test_a_config_without_capabilities_gives_none(command: Command, bundle: Bundle) -> None:
    del bundle.process["capabilities"]
    assert inside(command, bundle) == masks()


def test_root_has_what_is_permitted_and_in_the_bounding_set(command: Command, bundle: Bundle) -> None:
    bundle.process["capabilities"] = {"bounding": WANTED, "permitted": WANTED, "effective": WANTED}
    assert inside(command, bundle) == masks(bounding=WANTED, permitted=WANTED, effective=WANTED)


def test_an_execve_gives_root_the_whole_bounding_set(command: Command, bundle: Bundle) -> None:
    """The kernel's rule, which the config cannot change: what root shall not have must not be in the bounding set."""
    bundle.process.update(capabilities={"bounding": WANTED}, noNewPrivileges=False)
    assert inside(command, bundle) == masks(bounding=WANTED, permitted=WANTED, effective=WANTED)


def test_inheritable_and_ambient_sets_are_as_the_config_says(command: Command, bundle: Bundle) -> None:
    ambient = WANTED[:2]
    bundle.process["capabilities"] = dict.fromkeys(CAPABILITY_SETS, WANTED) | {"ambient": ambient}
    assert inside(command, bundle) == masks(bounding=WANTED, permitted=WANTED, effective=WANTED, inheritable=WANTED, ambient=ambient)


def test_a_user_other_than_root_has_only_what_is_ambient(command: Command, bundle: Bundle) -> None:
    ambient = WANTED[:1]
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    bundle.process["capabilities"] = dict.fromkeys(CAPABILITY_SETS, WANTED) | {"ambient": ambient}
    assert inside(command, bundle) == masks(bounding=WANTED, permitted=ambient, effective=ambient, inheritable=WANTED, ambient=ambient)


def test_a_user_other_than_root_without_ambient_ones_has_none(command: Command, bundle: Bundle) -> None:
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    bundle.process["capabilities"] = {"bounding": WANTED, "permitted": WANTED, "effective": WANTED}
    assert inside(command, bundle) == masks(bounding=WANTED)


def test_every_capability_that_the_caller_holds_can_be_granted(command: Command, bundle: Bundle) -> None:
    every = tuple(sorted(held(), key=NUMBERS.__getitem__))
    bundle.process["capabilities"] = dict.fromkeys(CAPABILITY_SETS, every)
    assert inside(command, bundle) == {name: mask(every) for name in CAPABILITY_SETS}


def test_one_that_the_caller_lacks_is_dropped_with_a_warning(command: Command, bundle: Bundle) -> None:
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    lacking = next((name for name, number in NUMBERS.items() if name not in held() and number <= last), None)
    if lacking is None:
        pytest.skip("this host's root holds every capability")
    bundle.process["capabilities"] = {"bounding": ["CAP_CHOWN", lacking], "permitted": ["CAP_CHOWN", lacking], "effective": ["CAP_CHOWN"]}
    result = engine.run(command, bundle, "cat", "/proc/self/status").ok()
    chown = ("CAP_CHOWN",)
    assert sets(result.stdout) == masks(bounding=chown, permitted=chown, effective=chown)
    assert result.stderr.count(f"config.json: process.capabilities: {lacking} cannot be granted: the caller does not hold it\n") == 1


def test_an_unknown_one_is_a_warning_with_its_place(command: Command, bundle: Bundle) -> None:
    bundle.process["capabilities"] = {"bounding": ["CAP_CHOWN", "CAP_TELEPORT"], "permitted": ["CAP_CHOWN"], "effective": ["CAP_CHOWN"]}
    result = engine.run(command, bundle, "cat", "/proc/self/status").ok()
    assert sets(result.stdout)["bounding"] == mask(["CAP_CHOWN"])
    assert 'config.json: process.capabilities.bounding[1]: unknown capability "CAP_TELEPORT", ignored' in result.stderr


def test_a_set_that_is_no_list_is_refused(command: Command, bundle: Bundle) -> None:
    bundle.process["capabilities"] = {"bounding": "CAP_CHOWN"}
    assert engine.refused(engine.run(command, bundle, "true")).startswith("config.json: process.capabilities.bounding: must be an array")


def test_the_library_gives_dockers_set_without_mknod(rootfs: Path) -> None:
    said = pyrt.run(["cat", "/proc/self/status"], rootfs=rootfs, capture_output=True, text=True, check=True).stdout
    assert sets(said) == masks(bounding=LIBRARY, permitted=LIBRARY, effective=LIBRARY)
    assert status(said)["NoNewPrivs"] == "1"


def test_the_library_gives_a_user_other_than_root_none(rootfs: Path) -> None:
    said = pyrt.run(["cat", "/proc/self/status"], rootfs=rootfs, user=1000, capture_output=True, text=True, check=True).stdout
    assert {name: value for name, value in sets(said).items() if name != "bounding"} == dict.fromkeys(
        CAPABILITY_SETS.keys() - {"bounding"}, mask([])
    )


def test_the_library_gives_a_user_what_is_asked_for_by_name(rootfs: Path) -> None:
    wanted = ["net_bind_service"]
    done = pyrt.run(["cat", "/proc/self/status"], rootfs=rootfs, user=1000, capabilities=wanted, capture_output=True, text=True, check=True)
    said = done.stdout
    assert sets(said) == dict.fromkeys(CAPABILITY_SETS, mask(["CAP_NET_BIND_SERVICE"]))


def test_the_pid_1_that_stays_keeps_only_the_right_to_signal(rootfs: Path) -> None:
    kill = mask(["CAP_KILL"])
    # It gives the others up while the command, which got its own from it, is running already.
    script = f"until grep -q 'CapPrm:.*{kill}' /proc/1/status; do :; done; cat /proc/1/status"
    said = pyrt.run(["sh", "-c", script], rootfs=rootfs, timeout=20, capture_output=True, text=True, check=True).stdout
    assert {name: value for name, value in sets(said).items() if name != "bounding"} == {
        "inheritable": mask([]),
        "permitted": kill,
        "effective": kill,
        "ambient": mask([]),
    }
