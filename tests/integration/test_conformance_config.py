"""config.md of the runtime-spec 1.3, "Process" and "POSIX-platform Hooks": a test for each MUST, named after it.

Neighbours: test_hooks.py, test_hook_programs.py (what pyrt does beyond the spec); test_conformance_runtime.py.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from helpers import engine
from helpers.bundles import Bundle
from helpers.commands import Command
from helpers.hooked import OUTSIDE, STAGES, Hooked
from helpers.proc import namespaces_of

LIMIT = {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}


# Process


def test_console_size_is_ignored_without_a_terminal(command: Command, bundle: Bundle) -> None:
    bundle.process["consoleSize"] = {"height": 10, "width": 20}
    assert engine.run(command, bundle, "echo", "ran").ok().stdout == "ran\n"


@pytest.mark.parametrize("cwd", ["", "relative", "./x"])
def test_cwd_is_absolute(command: Command, bundle: Bundle, cwd: str) -> None:
    bundle.process["cwd"] = cwd
    assert engine.refused(engine.run(command, bundle, "true")) == f'config.json: process.cwd: "{cwd}" is not an absolute path'


def test_an_rlimit_that_the_kernel_does_not_have_is_an_error(command: Command, bundle: Bundle) -> None:
    bundle.process["rlimits"] = [{**LIMIT, "type": "RLIMIT_NO_SUCH"}]
    said = engine.refused(engine.run(command, bundle, "true"))
    assert said.startswith("config.json: process.rlimits[0].type: unknown variant `RLIMIT_NO_SUCH`")


def test_soft_and_hard_limits_match(command: Command, bundle: Bundle) -> None:
    bundle.process["rlimits"] = [LIMIT]
    assert engine.shell(command, bundle, "ulimit -S -n; ulimit -H -n").ok().stdout == "100\n200\n"


def test_a_type_of_rlimit_twice_is_an_error(command: Command, bundle: Bundle) -> None:
    bundle.process["rlimits"] = [LIMIT, {**LIMIT, "soft": 50}]
    assert engine.refused(engine.run(command, bundle, "true")) == "config.json: process.rlimits[1]: RLIMIT_NOFILE is there twice"


def test_a_capability_that_cannot_be_granted_is_a_warning(command: Command, bundle: Bundle) -> None:
    bundle.process["capabilities"]["bounding"] = ["CAP_KILL", "CAP_NO_SUCH"]
    result = engine.run(command, bundle, "echo", "ran").ok()
    assert result.stdout == "ran\n"
    assert "CAP_NO_SUCH" in result.stderr


def test_oom_score_adj_is_the_given_value_or_the_callers(command: Command, bundle: Bundle) -> None:
    own = int(Path("/proc/self/oom_score_adj").read_text())
    bundle.process.pop("oomScoreAdj", None)
    assert engine.run(command, bundle, "cat", "/proc/self/oom_score_adj").ok().stdout == f"{own}\n"
    bundle.process["oomScoreAdj"] = own + 100
    assert engine.run(command, bundle, "cat", "/proc/self/oom_score_adj").ok().stdout == f"{own + 100}\n"


# Hooks


@pytest.mark.parametrize("stage", STAGES)
def test_the_path_of_a_hook_is_absolute(command: Command, hooked: Hooked, stage: str) -> None:
    hooked.bundle.spec["hooks"][stage][0]["path"] = "bin/hook"
    said = engine.refused(engine.run(command, hooked.bundle, "true"))
    assert said == f'config.json: hooks.{stage}[0].path: "bin/hook" is not an absolute path'


@pytest.mark.parametrize("stage", STAGES)
def test_the_timeout_of_a_hook_is_greater_than_zero(command: Command, hooked: Hooked, stage: str) -> None:
    hooked.bundle.spec["hooks"][stage][0]["timeout"] = 0
    assert engine.refused(engine.run(command, hooked.bundle, "true")) == f"config.json: hooks.{stage}[0].timeout: must be above 0"


def test_the_path_of_a_hook_resolves_where_the_spec_says(command: Command, hooked: Hooked) -> None:
    """One path, two programs: all stages but startContainer find the runtime's."""
    name = f"/run/pyrt-process-{os.getpid()}"
    shutil.copy(hooked.script, name)
    inside = hooked.bundle.rootfs / name.removeprefix("/")
    shutil.copy(hooked.script, inside)
    inside.write_text(inside.read_text().replace("stage $stage", "stage inside-$stage"))
    try:
        for stage in STAGES:
            hooked.bundle.spec["hooks"][stage][0]["path"] = name
        engine.run(command, hooked.bundle, "true").ok()
    finally:
        Path(name).unlink()
    assert sorted(hooked.stages()) == sorted([*(stage for stage in STAGES if stage != "startContainer"), "inside-startContainer"])


def test_each_stage_is_executed_in_the_namespace_that_the_spec_says(command: Command, hooked: Hooked) -> None:
    host = os.readlink("/proc/self/ns/mnt")
    command("create", "--bundle", hooked.bundle.args("sleep", "1000").path, "c").ok()
    command("start", "c").ok()
    container = f"mnt:[{namespaces_of(command('state', 'c').json['pid'])['mount']}]"
    command("delete", "--force", "c").ok()
    found = {entry.stage: entry.mount for entry in hooked.entries()}
    assert found == {stage: host if stage in OUTSIDE else container for stage in STAGES}


def test_hooks_are_called_in_the_listed_order(command: Command, hooked: Hooked) -> None:
    for stage in STAGES:
        numbered = [hooked.entry(stage) for _ in range(3)]
        for number, entry in enumerate(numbered):
            entry["args"][2] = f"{stage}-{number}"
        hooked.bundle.spec["hooks"][stage] = numbered
    engine.run(command, hooked.bundle, "true").ok()
    found = hooked.stages()
    for stage in STAGES:
        assert [name for name in found if name.startswith(f"{stage}-")] == [f"{stage}-{number}" for number in range(3)]


@pytest.mark.parametrize("stage", ["prestart", "createRuntime", "createContainer"])
def test_hooks_of_create_are_called_when_all_is_mounted_and_before_the_pivot(command: Command, hooked: Hooked, stage: str) -> None:
    mounts = hooked.directory / "mounts"
    pid = "$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/')" if stage != "createContainer" else "self"
    hooked.fail(stage, f"cat /proc/{pid}/mountinfo > {mounts}")
    hooked.bundle.spec["hooks"][stage][0]["env"] = ["PATH=/bin:/usr/bin"]
    command("create", "--bundle", hooked.bundle.args("true").path, "c").ok()
    command("delete", "--force", "c").ok()
    types = {line.partition(" - ")[2].split()[0] for line in mounts.read_text().splitlines()}
    assert {"devpts", "mqueue", "proc", "sysfs"} <= types
    # The host's root is still there: after the pivot nothing of it would be.
    assert len(mounts.read_text().splitlines()) > len(Path("/proc/self/mountinfo").read_text().splitlines())


def test_start_container_is_called_in_start_and_before_the_program(command: Command, hooked: Hooked) -> None:
    command("create", "--bundle", hooked.bundle.shell("cp /home/log /home/at-the-start; sleep 1000").path, "c").ok()
    assert "startContainer" not in hooked.stages()
    command("start", "c").ok()
    copy = hooked.bundle.rootfs / "home/at-the-start"
    while not (copy.exists() and copy.read_text()):
        assert command("state", "c").json["status"] == "running"
    assert copy.read_text().startswith("stage startContainer\n")
    command("delete", "--force", "c").ok()


def test_poststart_is_called_after_the_program_was_executed_and_before_start_returns(command: Command, hooked: Hooked) -> None:
    exe = hooked.directory / "exe"
    hooked.fail("poststart", f"readlink /proc/$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/')/exe > {exe}")
    hooked.bundle.spec["hooks"]["poststart"][0]["env"] = ["PATH=/bin:/usr/bin"]
    command("create", "--bundle", hooked.bundle.args("sleep", "1000").path, "c").ok()
    assert not exe.exists()
    command("start", "c").ok()
    assert exe.read_text() == "/bin/busybox\n"
    command("delete", "--force", "c").ok()


def test_poststop_is_called_after_the_container_is_deleted_and_before_delete_returns(command: Command, hooked: Hooked) -> None:
    found, pid = hooked.directory / "found", hooked.directory / "pid"
    hooked.fail("poststop", f"readlink /proc/$(cat {pid})/exe > {found} || echo ended > {found}")
    hooked.bundle.spec["hooks"]["poststop"][0]["env"] = ["PATH=/bin:/usr/bin"]
    command("create", "--bundle", hooked.bundle.args("sleep", "1000").path, "c").ok()
    pid.write_text(str(command("state", "c").json["pid"]))
    command("delete", "--force", "c").ok()
    # Whoever adopted it may not have reaped it yet.
    assert found.read_text() == "ended\n"
