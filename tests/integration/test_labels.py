"""Security labels: process.apparmorProfile, process.selinuxLabel, linux.mountLabel; refused where the kernel has no such module.

AppArmor is in the virtual machine (tests/vm/run); SELinux is nowhere here, so of it only the refusal is shown.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import pyrt
from helpers import engine
from helpers.bundles import Bundle
from helpers.commands import Command
from helpers.hosts import requires

PROFILE = "pyrt-test"
RULES = f"profile {PROFILE} flags=(attach_disconnected, mediate_deleted) {{ file, deny /dev/shm/denied w, capability, network, signal, }}\n"
SECURITY = Path("/sys/kernel/security")
needs_apparmor = requires("AppArmor", "apparmor_parser")


@pytest.fixture
def profile() -> Iterator[str]:
    """A profile that forbids one file is loaded. Yields its name."""
    mounted = (SECURITY / "apparmor").exists()
    if not mounted:
        subprocess.run(["mount", "-t", "securityfs", "securityfs", SECURITY], check=True)
    parser = ["apparmor_parser", "--skip-cache"]
    subprocess.run([*parser, "--add"], input=RULES, text=True, check=True)
    yield PROFILE
    subprocess.run([*parser, "--remove"], input=RULES, text=True, check=True)
    if not mounted:
        subprocess.run(["umount", SECURITY], check=True)


@needs_apparmor
@pytest.mark.parametrize("no_new_privileges", [False, True])
def test_the_program_runs_under_the_apparmor_profile(command: Command, bundle: Bundle, profile: str, no_new_privileges: bool) -> None:
    bundle.process.update(apparmorProfile=profile, noNewPrivileges=no_new_privileges)
    done = engine.shell(command, bundle, "cat /proc/self/attr/apparmor/current; echo > /dev/shm/denied")
    assert done.stdout == f"{profile} (enforce)\n"
    assert "can't create /dev/shm/denied: Permission denied" in done.stderr


@needs_apparmor
def test_exec_runs_under_the_containers_profile_or_its_own(command: Command, bundle: Bundle, runtime: pyrt.Runtime, profile: str) -> None:
    bundle.process["apparmorProfile"] = profile
    container = runtime.create("labelled", bundle=bundle.args("sleep", "1000").path)
    try:
        container.start()
        done = container.exec(["cat", "/proc/self/attr/apparmor/current"], capture_output=True, text=True)
    finally:
        container.delete(force=True)
    assert done.stdout == f"{profile} (enforce)\n"


@needs_apparmor
def test_an_apparmor_profile_that_is_not_loaded_is_named(command: Command, bundle: Bundle) -> None:
    bundle.process["apparmorProfile"] = "no-such"
    assert engine.refused(engine.run(command, bundle, "true")) == (
        "set the AppArmor profile no-such: no such file or directory (ENOENT); no such profile is loaded: see apparmor_parser(8)"
    )


def test_unconfined_is_what_everything_is_without_apparmor(command: Command, bundle: Bundle) -> None:
    bundle.process["apparmorProfile"] = "unconfined"
    assert engine.run(command, bundle, "echo", "ran").ok().stdout == "ran\n"


@requires("no AppArmor")
def test_a_profile_without_apparmor_is_refused(command: Command, bundle: Bundle) -> None:
    bundle.process["apparmorProfile"] = "docker-default"
    assert engine.refused(engine.run(command, bundle, "true")) == (
        "config.json: process.apparmorProfile: this kernel runs without AppArmor; remove the field, or enable it at boot (lsm=)"
    )


@requires("no SELinux")
@pytest.mark.parametrize(("section", "field"), [("process", "selinuxLabel"), ("linux", "mountLabel")])
def test_a_label_without_selinux_is_refused(command: Command, bundle: Bundle, section: str, field: str) -> None:
    bundle.spec[section][field] = "system_u:object_r:container_file_t:s0:c1,c2"
    assert engine.refused(engine.run(command, bundle, "true")) == (
        f"config.json: {section}.{field}: this kernel runs without SELinux; remove the field, or enable it at boot (lsm=)"
    )
