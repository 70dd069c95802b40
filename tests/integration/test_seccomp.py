"""seccomp: profiles in config.json and the library's default one, on the real kernel."""

from __future__ import annotations

import json
import platform
import signal
from pathlib import Path
from typing import Any

import pytest

import pyrt
from helpers.bundles import Bundle
from helpers.commands import Command
from helpers.proc import status
from helpers.waiting import SOON

EVERYTHING = {"defaultAction": "SCMP_ACT_ALLOW"}
FILTERED = "2"
"""Seccomp in /proc/PID/status: SECCOMP_MODE_FILTER."""


def denying(*names: str, **more: Any) -> dict[str, Any]:
    return {**EVERYTHING, "syscalls": [{"names": list(names), "action": "SCMP_ACT_ERRNO", **more}]}


@pytest.mark.parametrize("no_new_privileges", [True, False])
@pytest.mark.parametrize("uid", [0, 1000])
def test_a_profile_binds_the_program(bundle: Bundle, command: Command, no_new_privileges: bool, uid: int) -> None:
    bundle.process["noNewPrivileges"] = no_new_privileges
    bundle.process["user"] = {"uid": uid, "gid": uid}
    bundle.linux["seccomp"] = denying("mkdir", "mkdirat", errnoRet=95)
    bundle.shell("mkdir /tmp/made; grep -E 'Seccomp:|CapPrm|NoNewPrivs' /proc/self/status")
    done = command("run", "--bundle", bundle.path, f"seccomp-{uid}-{no_new_privileges}").ok()
    assert "Operation not supported" in done.stderr
    found = status(done.stdout)
    assert found["Seccomp"] == FILTERED
    assert found["NoNewPrivs"] == str(int(no_new_privileges))


def test_what_loads_the_filter_leaves_no_capability_behind(bundle: Bundle, command: Command) -> None:
    bundle.process["noNewPrivileges"] = False
    bundle.process["capabilities"] = {"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"]}
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    bundle.linux["seccomp"] = EVERYTHING
    bundle.shell("grep Cap /proc/self/status")
    found = status(command("run", "--bundle", bundle.path, "seccomp-capabilities").ok().stdout)
    assert (int(found["CapPrm"], 16), int(found["CapEff"], 16), int(found["CapBnd"], 16)) == (0, 0, 1 << 5)


def test_a_created_container_is_filtered_when_it_starts(bundle: Bundle, runtime: pyrt.Runtime) -> None:
    bundle.process["noNewPrivileges"] = False
    bundle.linux["seccomp"] = denying("mkdir", "mkdirat")
    bundle.shell("mkdir /tmp/made && exit 1; exit 7")
    container = runtime.create("seccomp-created", bundle=bundle.path)
    container.start()
    assert container.wait(timeout=SOON) == 7
    container.delete()


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_a_profile_that_forbids_what_the_runtime_itself_calls_still_starts(
    bundle: Bundle, command: Command, no_new_privileges: bool
) -> None:
    bundle.process["noNewPrivileges"] = no_new_privileges
    bundle.linux["seccomp"] = denying("execve", "execveat", "capset", "prctl", "sendmsg", "recvmsg", "close_range", "seccomp", "setresuid")
    bundle.shell("echo runs; /bin/true || echo cannot execute")
    done = command("run", "--bundle", bundle.path, "seccomp-strict").ok()
    assert done.stdout == "runs\ncannot execute\n"


def test_a_program_that_cannot_be_executed_is_reported_through_a_filter(bundle: Bundle, command: Command) -> None:
    (bundle.rootfs / "bin/broken").write_text("#!/no/such\n")
    (bundle.rootfs / "bin/broken").chmod(0o755)
    bundle.process["noNewPrivileges"] = True
    bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_KILL_PROCESS"}
    bundle.args("/bin/broken")
    done = command("run", "--bundle", bundle.path, "seccomp-broken")
    assert 'exec: "/bin/broken": no such file or directory' in done.stderr


def test_a_profile_that_allows_nothing_kills_at_the_first_call(bundle: Bundle, runtime: pyrt.Runtime) -> None:
    bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_KILL_PROCESS"}
    container = runtime.create("seccomp-nothing", bundle=bundle.args("true").path)
    container.start()
    assert container.wait(timeout=SOON) == -signal.SIGSYS
    container.delete()


def test_a_killed_command_has_the_cause_seccomp(rootfs: Path) -> None:
    profile = {**EVERYTHING, "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"}]}
    done = pyrt.run(["mkdir", "/tmp/made"], rootfs=rootfs, seccomp=profile)
    assert (done.returncode, done.cause) == (-signal.SIGSYS, pyrt.Cause.SECCOMP)


@pytest.mark.parametrize(
    ("profile", "path", "reason"),
    [
        ({}, "linux.seccomp", "missing field `defaultAction`"),
        ({"defaultAction": "SCMP_ACT_MAYBE"}, "linux.seccomp.defaultAction", "unknown variant `SCMP_ACT_MAYBE`"),
        ({**EVERYTHING, "defaultErrnoRet": 1}, "linux.seccomp.defaultErrnoRet", "SCMP_ACT_ALLOW takes no errno"),
        ({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4096}, "linux.seccomp.defaultErrnoRet", "4096 is above 4095"),
        ({**EVERYTHING, "listenerMetadata": "x"}, "linux.seccomp.listenerMetadata", "listenerPath, which is not set"),
        ({**EVERYTHING, "flags": ["SECCOMP_FILTER_FLAG_X"]}, "linux.seccomp.flags[0]", "unknown variant"),
        (
            {**EVERYTHING, "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]},
            "linux.seccomp.flags[0]",
            "no action is SCMP_ACT_NOTIFY",
        ),
        ({**EVERYTHING, "architectures": ["SCMP_ARCH_Z80"]}, "linux.seccomp.architectures[0]", "unknown variant"),
        (denying(), "linux.seccomp.syscalls[0].names", "at least one system call"),
        (denying(""), "linux.seccomp.syscalls[0].names[0]", "is empty"),
        (
            denying("read", args=[{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]),
            "linux.seccomp.syscalls[0].args[0].index",
            "6 is above 5",
        ),
        (denying("read", args=[{"index": 0, "value": -1, "op": "SCMP_CMP_EQ"}]), "linux.seccomp.syscalls[0].args[0].value", "expected u64"),
        (denying("read", args=[{"index": 0, "value": 1, "op": "SCMP_CMP_X"}]), "linux.seccomp.syscalls[0].args[0].op", "unknown variant"),
        (
            {**EVERYTHING, "syscalls": [{"names": ["read"], "action": "SCMP_ACT_KILL", "errnoRet": 1}]},
            "linux.seccomp.syscalls[0].errnoRet",
            "SCMP_ACT_KILL takes no errno",
        ),
    ],
)
def test_a_wrong_value_is_refused_by_its_path(bundle: Bundle, profile: dict[str, Any], path: str, reason: str) -> None:
    bundle.linux["seccomp"] = profile
    with pytest.raises(pyrt.SpecError, match=reason.replace("[", r"\[")) as refused:
        pyrt.Spec(bundle.spec).check(bundle.path)
    assert refused.value.json_path == path


def test_a_name_that_no_architecture_has_is_a_warning(bundle: Bundle) -> None:
    bundle.linux["seccomp"] = denying("read", "raed", "riscv_flush_icache")
    (warning,) = pyrt.Spec(bundle.spec).check(bundle.path)
    assert warning == "config.json: linux.seccomp.syscalls: no system call is known as raed: ignored"


def test_the_librarys_default_forbids_new_user_namespaces(rootfs: Path) -> None:
    done = pyrt.run(["unshare", "-U", "true"], rootfs=rootfs, capture_output=True, text=True)
    assert (done.returncode, "Operation not permitted" in done.stderr) == (1, True)


def test_without_a_profile_new_user_namespaces_can_be_made(rootfs: Path) -> None:
    assert pyrt.run(["unshare", "-U", "true"], rootfs=rootfs, seccomp=None).returncode == 0
    assert pyrt.run(["unshare", "-U", "true"], rootfs=rootfs, seccomp="unconfined").returncode == 0


def test_a_profile_may_be_a_file_in_dockers_format(rootfs: Path, tmp_path: Path) -> None:
    here = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    rules = [
        {"name": "mkdir", "action": "SCMP_ACT_ERRNO", "includes": {"arches": [here]}},
        {"names": ["mkdirat"], "action": "SCMP_ACT_ERRNO", "includes": {"minKernel": "4.8"}},
        {"names": ["write"], "action": "SCMP_ACT_KILL", "excludes": {"caps": ["CAP_KILL"]}},
        {"names": ["read"], "action": "SCMP_ACT_KILL", "includes": {"caps": ["CAP_SYS_BOOT"]}},
    ]
    file = tmp_path / "profile.json"
    file.write_text(json.dumps({**EVERYTHING, "syscalls": rules}))
    done = pyrt.run(["mkdir", "/tmp/made"], rootfs=rootfs, seccomp=file, capture_output=True, text=True)
    assert done.stderr == "mkdir: can't create directory '/tmp/made': Operation not permitted\n"


def test_a_profile_that_is_not_there_is_named(tmp_path: Path, rootfs: Path) -> None:
    with pytest.raises(pyrt.Error, match="read seccomp profile") as missing:
        pyrt.run(["true"], rootfs=rootfs, seccomp=tmp_path / "missing.json")
    assert missing.value.path == str(tmp_path / "missing.json")


def test_a_bundle_gets_no_profile_that_it_does_not_name(bundle: Bundle, command: Command) -> None:
    bundle.shell("grep Seccomp: /proc/self/status")
    assert status(command("run", "--bundle", bundle.path, "seccomp-none").ok().stdout)["Seccomp"] == "0"


def test_what_a_given_profile_says_in_vain_is_a_warning(rootfs: Path) -> None:
    profile = {**denying("raed"), "rules": []}
    assert pyrt.run(["true"], rootfs=rootfs, seccomp=profile).warnings == [
        "config.json: linux.seccomp.rules: unknown key, ignored",
        "config.json: linux.seccomp.syscalls: no system call is known as raed: ignored",
    ]
