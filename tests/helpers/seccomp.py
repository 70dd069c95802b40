"""libseccomp by ctypes, as runc uses it, and an evaluator of classic BPF: the oracle that pyrt's own compiler is held to."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import struct
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

ARCHITECTURES = {
    "x86_64": (0xC000003E, 0xC000003E),
    "x86": (0x40000003, 0x40000003),
    "x32": (0x4000003E, 0xC000003E),
    "aarch64": (0xC00000B7, 0xC00000B7),
    "arm": (0x40000028, 0x40000028),
}
"""libseccomp's number, and the kernel's AUDIT_ARCH_*."""
SERVED = {"x86_64": ("x86_64", "x86", "x32"), "aarch64": ("aarch64", "arm")}
ACTIONS = {
    "SCMP_ACT_KILL": 0,
    "SCMP_ACT_KILL_THREAD": 0,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
}
ALLOW = ACTIONS["SCMP_ACT_ALLOW"]
ENOSYS = ACTIONS["SCMP_ACT_ERRNO"] | 38
OPERATORS = {name: number for number, name in enumerate(("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"), 1)}
PERMISSIVE = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE")

Program = list[tuple[int, int, int, int]]


class _Comparison(ctypes.Structure):
    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("datum_a", ctypes.c_uint64), ("datum_b", ctypes.c_uint64))


def library() -> ctypes.CDLL | None:
    name = ctypes.util.find_library("seccomp")
    if name is None:
        return None
    found = ctypes.CDLL(name)
    found.seccomp_init.restype = ctypes.c_void_p
    return found


def resolve(libseccomp: ctypes.CDLL, name: str, architecture: str) -> int:
    return int(libseccomp.seccomp_syscall_resolve_name_arch(ctypes.c_uint32(ARCHITECTURES[architecture][0]), name.encode()))


def action_value(action: str, errno: int | None) -> int:
    return ACTIONS[action] | ((1 if errno is None else errno) if action in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE") else 0)


class Oracle:
    """What libseccomp decides for a profile on one native architecture, with runc's ENOSYS for younger calls before it."""

    def __init__(self, libseccomp: ctypes.CDLL, profile: Mapping[str, Any], native: str) -> None:
        self.program, self.largest, self.permissive = _export(libseccomp, profile, native), {}, profile["defaultAction"] in PERMISSIVE
        names = [name for rule in profile["syscalls"] for name in rule["names"]]
        for architecture in listed(profile, native):
            numbers = [number for name in names if (number := resolve(libseccomp, name, architecture)) >= 0]
            if numbers:
                self.largest[architecture] = max(numbers)

    def __call__(self, architecture: str, number: int, arguments: Sequence[int]) -> int:
        largest = self.largest.get(architecture)
        if not self.permissive and largest is not None and number > largest:
            return ENOSYS
        return run(self.program, ARCHITECTURES[architecture][1], number, arguments)


def listed(profile: Mapping[str, Any], native: str) -> list[str]:
    names = {name.removeprefix("SCMP_ARCH_").lower() for name in profile.get("architectures", ())}
    return [name for name in SERVED[native] if name == native or name in names]


def _export(libseccomp: ctypes.CDLL, profile: Mapping[str, Any], native: str) -> Program:
    default = action_value(profile["defaultAction"], profile.get("defaultErrnoRet"))
    context = ctypes.c_void_p(libseccomp.seccomp_init(ctypes.c_uint32(default)))
    for architecture in listed(profile, native):
        libseccomp.seccomp_arch_add(context, ctypes.c_uint32(ARCHITECTURES[architecture][0]))
    if native not in listed(profile, "x86_64"):
        libseccomp.seccomp_arch_remove(context, ctypes.c_uint32(ARCHITECTURES["x86_64"][0]))
    libseccomp.seccomp_attr_set(context, 8, ctypes.c_uint32(2))  # SCMP_FLTATR_CTL_OPTIMIZE: a binary tree
    for rule in profile["syscalls"]:
        action = action_value(rule["action"], rule.get("errnoRet"))
        if action == default:
            continue
        arguments = rule.get("args", [])
        sets = [[one] for one in arguments] if len({one["index"] for one in arguments}) < len(arguments) else [arguments]
        for name in rule["names"]:
            number = resolve(libseccomp, name, "x86_64")
            if number == -1:
                continue
            for conditions in sets:
                compared = (_Comparison * max(len(conditions), 1))()
                for slot, one in zip(compared, conditions, strict=False):
                    slot.arg, slot.op = one["index"], OPERATORS[one["op"].removeprefix("SCMP_CMP_")]
                    slot.datum_a, slot.datum_b = one["value"], one.get("valueTwo", 0)
                done = libseccomp.seccomp_rule_add_array(context, ctypes.c_uint32(action), number, len(conditions), compared)
                assert done in (0, -17), (name, conditions, done)  # EEXIST: said before
    with tempfile.TemporaryFile() as file:
        assert libseccomp.seccomp_export_bpf(context, file.fileno()) == 0
        libseccomp.seccomp_release(context)
        file.seek(0)
        return parse(file.read())


def parse(program: bytes) -> Program:
    return list(struct.iter_unpack("=HBBI", program))


def run(program: Program, arch: int, number: int, arguments: Sequence[int]) -> int:
    """What the kernel would return (linux/filter.h, linux/seccomp.h)."""
    data = struct.unpack("=16I", struct.pack("=IIQ6Q", number & 0xFFFFFFFF, arch, 0, *arguments))
    at = accumulator = 0
    while True:
        code, if_true, if_false, value = program[at]
        at += 1
        if code == 0x20:
            accumulator = data[value // 4]
        elif code == 0x54:
            accumulator &= value
        elif code == 0x05:
            at += value
        elif code == 0x15:
            at += if_true if accumulator == value else if_false
        elif code == 0x25:
            at += if_true if accumulator > value else if_false
        elif code == 0x35:
            at += if_true if accumulator >= value else if_false
        elif code == 0x06:
            return value
        else:
            raise AssertionError(f"instruction {code:#x}")


def machine() -> str:
    return os.uname().machine
