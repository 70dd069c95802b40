"""seccomp profiles: from what `seccomp=` takes to the compiled linux.seccomp of a launch.

docker's format has, beside the spec's, archMap, and rules that are in or out by capability, architecture and kernel (`includes`,
`excludes`); `resolve` decides them as docker does (github.com/moby/profiles/seccomp). `seccomp_default` is the profile that the library
uses. The native side checks what comes out, and compiles it.
"""

import os

from pyrt import _native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from typing import Any

    from pyrt.options import StrPath

UNCONFINED = "unconfined"

_MACHINES = {"x86_64": ("SCMP_ARCH_X86_64", "amd64"), "aarch64": ("SCMP_ARCH_AARCH64", "arm64")}
"""Of uname(2): the name in archMap, and docker's, in `arches`."""

_default: "tuple[frozenset[str], _native.SeccompProfile] | None" = None


def default(bounding: "Collection[str]") -> "_native.SeccompProfile":
    """docker's profile for a container with these capabilities in its bounding set: compiled when they are others than the last time."""
    global _default
    wanted = frozenset(bounding)
    if _default is None or _default[0] != wanted:
        _default = wanted, _native.SeccompProfile(resolve(docker(), wanted))
    return _default[1]


def profile(given: "Mapping[str, Any] | StrPath | None", bounding: "Collection[str]") -> "_native.SeccompProfile | None":
    """What `seccomp=` asks for: a profile, the file of one, or None and "unconfined" for none. Raises Error, SpecError, ValueError."""
    resolved = _resolve_given(given, bounding)
    return None if resolved is None else _native.SeccompProfile(resolved)


def asking(names: "Iterable[str]", given: "Mapping[str, Any] | StrPath | None", bounding: "Collection[str]") -> "_native.SeccompProfile":
    """A profile that has the caller asked about these calls; what else `given` says stays. Raises as `profile` does."""
    names = list(names)
    for name in names:
        _native.seccomp_number(name)  # raises where no architecture has it
    resolved = _resolve_given(given, bounding)
    if resolved is None:
        # By every architecture of the machine: a call by another one than those listed kills.
        resolved = resolve({"defaultAction": "SCMP_ACT_ALLOW", "archMap": docker()["archMap"]}, bounding)
    if resolved.get("listenerPath"):
        raise ValueError("on_syscall= answers what the profile asks, and its listenerPath names somebody else who does")
    # First: of several rules without conditions that one counts.
    rules = [{"names": names, "action": "SCMP_ACT_NOTIFY"}, *(resolved.get("syscalls") or ())]
    return _native.SeccompProfile({**resolved, "syscalls": rules}, answers=True)


def docker() -> "dict[str, Any]":
    """docker's profile, in its format."""
    from pyrt.seccomp_default import PROFILE

    return PROFILE


def _resolve_given(given: "Mapping[str, Any] | StrPath | None", bounding: "Collection[str]") -> "dict[str, Any] | None":
    if given is None or given == UNCONFINED:
        return None
    return resolve(_read(os.fspath(given)) if isinstance(given, (str, os.PathLike)) else given, bounding)


def resolve(profile: "Mapping[str, Any]", bounding: "Collection[str]") -> "dict[str, Any]":
    """The OCI profile that a profile in docker's format (or the OCI's own) means on this host."""
    release, machine = os.uname().release, os.uname().machine
    native, arch = _MACHINES.get(machine, (None, machine))
    resolved = {name: value for name, value in profile.items() if name not in ("archMap", "syscalls")}
    if arch_map := profile.get("archMap"):
        if resolved.get("architectures"):
            raise ValueError("a seccomp profile has architectures or archMap, not both")
        found = next((entry for entry in arch_map if entry["architecture"] == native), None)
        if found is not None:
            resolved["architectures"] = [native, *(found.get("subArchitectures") or ())]
    resolved["syscalls"] = [
        _rule(rule)
        for rule in profile.get("syscalls") or ()
        if _included(rule.get("includes") or {}, bounding, arch, release)
        and not _excluded(rule.get("excludes") or {}, bounding, arch, release)
    ]
    return resolved


def _rule(rule: "Mapping[str, Any]") -> "dict[str, Any]":
    """Without what only docker knows. `name` is docker's older form."""
    made = {name: value for name, value in rule.items() if name not in ("includes", "excludes", "comment", "name")}
    if name := rule.get("name"):
        if made.get("names"):
            raise ValueError("a rule of a seccomp profile has name or names, not both")
        made["names"] = [name]
    return made


def _included(condition: "Mapping[str, Any]", bounding: "Collection[str]", arch: str, release: str) -> bool:
    """All of it must hold: every capability, one of the architectures, the kernel."""
    arches, kernel = condition.get("arches"), condition.get("minKernel")
    return (
        (not arches or arch in arches)
        and all(capability in bounding for capability in condition.get("caps") or ())
        and (not kernel or _version(release) >= _version(kernel))
    )


def _excluded(condition: "Mapping[str, Any]", bounding: "Collection[str]", arch: str, release: str) -> bool:
    """Any of it is enough."""
    kernel = condition.get("minKernel")
    return (
        arch in (condition.get("arches") or ())
        or any(capability in bounding for capability in condition.get("caps") or ())
        or bool(kernel and _version(release) >= _version(kernel))
    )


def _version(text: str) -> tuple[int, int]:
    """Major and minor of "6.1.0-12-amd64"."""
    major, _, rest = text.partition(".")
    minor = rest[: next((place for place, letter in enumerate(rest) if not letter.isdigit()), len(rest))]
    try:
        return int(major), int(minor)
    except ValueError:
        raise ValueError(f"{text!r} is no version of a kernel such as 4.8") from None


def _read(path: str) -> "Mapping[str, Any]":
    from pyrt.errors import SpecError, from_os_error
    from pyrt.paths import absolute

    try:
        with open(path, "rb") as file:
            loaded = _native.json_loads(file.read())
    except OSError as error:
        raise from_os_error("read seccomp profile", error, absolute(path), "it is a JSON file, in docker's format or the OCI's") from error
    if not isinstance(loaded, dict):
        raise SpecError(f"{path} holds no seccomp profile: a profile is a JSON object")
    return loaded
