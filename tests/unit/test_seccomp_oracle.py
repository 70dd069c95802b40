"""pyrt's seccomp compiler against libseccomp: numbers, and decisions call by call and argument by argument, in a BPF evaluator."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from helpers import seccomp
from pyrt import _native
from pyrt.seccomp import resolve as profile_of
from pyrt.seccomp_default import PROFILE

LIBSECCOMP = seccomp.library()
pytestmark = pytest.mark.skipif(LIBSECCOMP is None, reason="this host lacks: libseccomp")

ALL_CAPABILITIES = ["CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_TIME"]
NAMES = sorted({name for rule in PROFILE["syscalls"] for name in rule["names"]} | {"io_uring_setup", "add_key", "bpf", "userfaultfd"})
VALUES = (0, 1, 2, 3, 8, 10, 38, 40, 0x20000, 0x7E020000, 0x10000, 0xFFFFFFFF, 1 << 32, (1 << 32) + 2, (1 << 64) - 1)
MULTIPLEXED = -1000
EDGES = (0, 4, 5, 6, (1 << 32) + 4, (1 << 32) + 5, (1 << 32) + 6, (2 << 32) + 5, (1 << 64) - 1)


def library() -> Any:
    assert LIBSECCOMP is not None
    return LIBSECCOMP


def compare(profile: dict[str, Any], native: str, names: list[str], arguments: list[list[int]]) -> None:
    oracle = seccomp.Oracle(library(), profile, native)
    program = seccomp.parse(_native.seccomp_compile(profile, architecture=native))
    for architecture in seccomp.SERVED[native]:
        audit = seccomp.ARCHITECTURES[architecture][1]
        found = {number for name in names if (number := _native.seccomp_number(name, architecture=architecture)) is not None}
        base = 0x40000000 if architecture == "x32" else 0
        numbers = found | set(range(base, base + 480)) | {0xFFFFFFFF} if architecture in seccomp.listed(profile, native) else {0, 1}
        for number in sorted(numbers):
            for six in arguments if number in found else arguments[:1]:
                ours, theirs = seccomp.run(program, audit, number, six), oracle(architecture_of(architecture, number), number, six)
                assert ours == theirs, f"{architecture} {number} {six}: {ours:#x}, libseccomp {theirs:#x}"


def architecture_of(architecture: str, number: int) -> str:
    """runc takes any number with the bit for x32."""
    return "x32" if architecture == "x86_64" and number & 0x40000000 else architecture


@functools.cache
def known_to_libseccomp(name: str) -> bool:
    """On every architecture that has it. The library's numbers below MULTIPLEXED are for calls that an architecture lacks."""
    there = [one for one in seccomp.ARCHITECTURES if _native.seccomp_number(name, architecture=one) is not None]
    resolved = [seccomp.resolve(library(), name, one) for one in there]
    return -1 not in resolved and all(number > MULTIPLEXED for number in resolved)


def reduced(profile: dict[str, Any]) -> dict[str, Any]:
    """Without the names that are younger than the library."""
    rules = [{**rule, "names": [name for name in rule["names"] if known_to_libseccomp(name)]} for rule in profile["syscalls"]]
    return {**profile, "syscalls": [rule for rule in rules if rule["names"]]}


@pytest.mark.parametrize("architecture", seccomp.ARCHITECTURES)
def test_numbers_are_those_of_libseccomp(architecture: str) -> None:
    for name in NAMES:
        theirs = seccomp.resolve(library(), name, architecture)
        # Negative: another architecture's, multiplexed, or younger than the library.
        if theirs >= 0:
            assert _native.seccomp_number(name, architecture=architecture) == theirs, name


@pytest.mark.parametrize("native", seccomp.SERVED)
@pytest.mark.parametrize("capabilities", [[], ALL_CAPABILITIES], ids=["no capabilities", "many capabilities"])
def test_the_default_profile_decides_as_libseccomp_has_it(native: str, capabilities: list[str]) -> None:
    architectures = [f"SCMP_ARCH_{name.upper()}" for name in seccomp.SERVED[native]]
    profile = {**reduced(profile_of(PROFILE, capabilities)), "architectures": architectures}
    names = [name for name in NAMES if known_to_libseccomp(name)]
    compare(profile, native, names, [[value] * 6 for value in VALUES])


@pytest.mark.parametrize("native", seccomp.SERVED)
@pytest.mark.parametrize("operator", seccomp.OPERATORS)
def test_an_operator_compares_as_libseccomp_does(native: str, operator: str) -> None:
    value, other = ((1 << 32) + 5, (1 << 32) + 5) if operator != "MASKED_EQ" else ((3 << 32) + 0xF, (1 << 32) + 5)
    names = ["openat", "ioctl", "sendto"]
    for index in (0, 1, 5):
        args = [{"index": index, "value": value, "valueTwo": other, "op": f"SCMP_CMP_{operator}"}]
        profile = {
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": [f"SCMP_ARCH_{name.upper()}" for name in seccomp.SERVED[native]],
            "syscalls": [{"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": 13, "args": args}],
        }
        compare(profile, native, names, [[edge if place == index else 7 for place in range(6)] for edge in EDGES])


def test_several_conditions_must_hold_together_and_several_rules_apart() -> None:
    def condition(index: int, value: int, operator: str = "EQ") -> dict[str, Any]:
        return {"index": index, "value": value, "op": f"SCMP_CMP_{operator}"}

    rules = [
        {"names": ["openat", "kill"], "action": "SCMP_ACT_ALLOW", "args": [condition(0, 1), condition(1, 2, "GT")]},
        {"names": ["openat"], "action": "SCMP_ACT_ALLOW", "args": [condition(2, 3)]},
        {"names": ["kill"], "action": "SCMP_ACT_ALLOW", "args": [condition(0, 5), condition(0, 6)]},
        {"names": ["read", "exit_group", "execve"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [condition(0, 9)]},
    ]
    # libseccomp has no key: what init calls is allowed.
    init = ["capset", "close", "prctl", "recvmsg", "sendmsg", "write", "openat2"]
    rules.append({"names": init, "action": "SCMP_ACT_ALLOW"})
    profile = {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 7, "architectures": ["SCMP_ARCH_X86"], "syscalls": rules}
    arguments = [[a, b, c, 0, 0, 0] for a in (0, 1, 5, 6, 9) for b in (0, 2, 3, 1 << 40) for c in (0, 3)]
    compare(profile, "x86_64", ["openat", "kill", "read", "execve", "write"], arguments)


@pytest.mark.parametrize("action", sorted(seccomp.ACTIONS))
def test_an_action_is_the_kernels(action: str) -> None:
    default = "SCMP_ACT_ERRNO" if action == "SCMP_ACT_ALLOW" else "SCMP_ACT_ALLOW"
    profile = {"defaultAction": default, "syscalls": [{"names": ["getpid", "getuid"], "action": action}]}
    program = seccomp.parse(_native.seccomp_compile(profile, architecture="x86_64"))
    audit = seccomp.ARCHITECTURES["x86_64"][1]
    assert seccomp.run(program, audit, 39, [0] * 6) == seccomp.action_value(action, None)
