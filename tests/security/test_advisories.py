"""Published attacks on runc, crun and youki that are neither a link in the root nor a race (the table is in docs/security.md).

Neighbours: test_hostile_rootfs.py (links), test_races.py, test_launch_attacks.py and test_exec_attacks.py (memory, descriptors).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pyrt
from helpers import engine
from helpers.bundles import Bundle, map_ids
from helpers.commands import PYRT, Command
from helpers.hosts import cgroup_mounts, requires
from helpers.proc import mask, status
from pyrt import _native
from pyrt.spec import default_spec

FILE_CAPABILITY = struct.pack("<5I", 0x02000000, 0, 0xFFFFFFFF, 0, 0xFFFFFFFF)
"""VFS_CAP_REVISION_2 of linux/capability.h with every capability inheritable and none permitted."""
HOST_ID = 320_000
"""A host id that nobody has."""


@pytest.fixture
def with_file_capabilities(bundle: Bundle) -> Bundle:
    """The image's /bin/elevated shows its own status, and gains whatever is inheritable."""
    elevated = bundle.rootfs / "bin/elevated"
    shutil.copy(bundle.rootfs / "bin/busybox", elevated)
    os.setxattr(elevated, "security.capability", FILE_CAPABILITY)
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    return bundle


ELEVATED = ("sh", "-c", "exec -a cat /bin/elevated /proc/self/status")


def permitted(said: str) -> int:
    return int(status(said)["CapPrm"], 16)


def test_nothing_is_inheritable_for_a_program_of_the_image_to_gain(command: Command, with_file_capabilities: Bundle) -> None:
    """CVE-2022-29162."""
    said = engine.run(command, with_file_capabilities, *ELEVATED).ok().stdout
    assert permitted(said) == 0
    assert int(status(said)["CapInh"], 16) == 0


def test_what_a_config_makes_inheritable_is_gained(command: Command, with_file_capabilities: Bundle) -> None:
    """The control of the tests around it."""
    with_file_capabilities.process["capabilities"]["inheritable"] = ["CAP_KILL"]
    with_file_capabilities.process["noNewPrivileges"] = False
    assert permitted(engine.run(command, with_file_capabilities, *ELEVATED).ok().stdout) == int(mask(["CAP_KILL"]), 16)


@pytest.mark.parametrize("asked", [(), ("--cap", "CAP_KILL")])
def test_exec_makes_nothing_inheritable(command: Command, with_file_capabilities: Bundle, asked: tuple[str, ...]) -> None:
    """CVE-2022-29162 and CVE-2025-27612, where exec alone did, with --cap in runc's case."""
    bundle = with_file_capabilities
    bundle.process["noNewPrivileges"] = False
    name = f"elevated-{os.getpid()}"
    command("create", "--bundle", bundle.args("sleep", "1000").path, name).ok()
    try:
        command("start", name).ok()
        said = command("exec", *asked, "--user", "1000:1000", name, *ELEVATED).ok().stdout
    finally:
        command("delete", "--force", name).ok()
    assert permitted(said) == 0
    assert int(status(said)["CapInh"], 16) == 0


@pytest.mark.parametrize("size", [65_536, 65_536 + 16, 1_000_000])
@pytest.mark.parametrize("field", ["source", "destination", "namespace", "hostname", "env"])
def test_a_text_that_is_longer_than_16_bits_can_say_is_only_text(command: Command, bundle: Bundle, field: str, size: int) -> None:
    """CVE-2021-43784: the length of a path wrapped around, and the rest of the path was read as what to do, such as no namespaces."""
    word = struct.pack("<Q", 4).decode("latin-1").replace("\0", "\x01")
    text = "/" + (word * (size // len(word) + 1))[: size - 1]
    match field:
        case "source":
            bundle.mount("/mnt", "bind", text, ["bind"])
        case "destination":
            bundle.mount(text, "tmpfs", "tmpfs")
        case "namespace":
            bundle.without_namespace("network")
            bundle.linux["namespaces"].append({"type": "network", "path": text})
        case "hostname":
            bundle.spec["hostname"] = text
        case "env":
            bundle.process["env"].append(f"LONG={text}")
    said = engine.run(command, bundle, "true")
    if field == "env" and size < 131_072 - 16:
        # execve(2), MAX_ARG_STRLEN: the kernel takes it.
        said.ok()
        return
    words, _, _ = engine.refused(said).partition("; ")
    assert words.endswith(("file name too long (ENAMETOOLONG)", "invalid argument (EINVAL)", "argument list too long")), words[-200:]


def test_a_program_that_is_the_runtime_itself_cannot_be_written_by_those_beside_it(runtime: pyrt.Runtime, bundle: Bundle) -> None:
    """CVE-2019-5736, the second way: the image's shell is a script of /proc/self/exe, and somebody inside waits for whoever executes it."""
    programs = (Path(sys.executable), Path(_native.__file__), PYRT)
    before = [hashlib.sha256(path.read_bytes()).digest() for path in programs]
    bundle.spec["root"]["readonly"] = False
    for names in bundle.process["capabilities"].values():
        names += ["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"]
    trap = bundle.rootfs / "bin/trap"
    trap.write_text("#!/proc/self/exe\n")
    trap.chmod(0o755)
    each = "for exe in /proc/[0-9]*/exe; do [ $exe = /proc/1/exe ] || echo x >> $exe; done"
    writer = f"while :; do {each}; touch /srv/round; done 2>/dev/null"
    container = runtime.create(f"trapped-{os.getpid()}", bundle=bundle.shell(writer).path)
    try:
        container.start()
        for _ in range(20):
            container.exec(["/bin/trap"], capture_output=True)
        assert container.exec(["test", "-e", "/srv/round"]).returncode == 0, "the attack never ran"
        assert container.exec(["true"]).returncode == 0
    finally:
        container.delete(force=True)
    assert before == [hashlib.sha256(path.read_bytes()).digest() for path in programs]


@pytest.fixture
def host_directory() -> Iterator[int]:
    """A descriptor of the host's root that a child inherits unless somebody sees to it."""
    descriptor = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    os.set_inheritable(descriptor, True)
    yield descriptor
    os.close(descriptor)


def test_exec_cannot_start_in_a_descriptor_of_the_host(running: pyrt.Container, host_directory: int) -> None:
    """CVE-2024-21626, the attack on exec."""
    for descriptor in sorted({*range(3, 16), host_directory}):
        with pytest.raises(pyrt.Error) as refused:
            running.exec(["pwd"], cwd=f"/proc/self/fd/{descriptor}")
        assert refused.value.operation == "change directory to"
        assert refused.value.path == f"/proc/self/fd/{descriptor}"


def names_that_pyrt_makes() -> list[str]:
    devices = ["null", "zero", "full", "random", "urandom", "tty", "console", "ptmx", "fd", "stdin", "stdout", "stderr", "core"]
    return [*(f"dev/{name}" for name in devices), ".krun_config.json", "srv/file", "run/host/notify"]


@pytest.mark.parametrize("exists", [True, False])
def test_whatever_is_made_in_the_root_is_not_made_where_a_link_leads(
    command: Command, bundle: Bundle, tmp_path: Path, exists: bool
) -> None:
    """CVE-2025-24965, CVE-2019-18837, CVE-2026-41579: every name that a runtime makes in a root is a link to a file of the host."""
    outside, source = tmp_path / "outside", tmp_path / "source"
    outside.mkdir()
    source.write_text("of the container")
    bundle.spec["root"]["readonly"] = False
    bundle.spec["mounts"] = [mount for mount in bundle.spec["mounts"] if not mount["destination"].startswith("/dev")]
    bundle.mount("/srv/file", "bind", str(source), ["bind"])
    for name in names_that_pyrt_makes():
        target = outside / name.replace("/", "-")
        if exists:
            target.write_text("of the host")
            target.chmod(0o640)
        (bundle.rootfs / name).parent.mkdir(parents=True, exist_ok=True)
        (bundle.rootfs / name).symlink_to(target)
    engine.run(command, bundle, "true")
    found = {path.name: (path.read_text(), path.stat().st_mode & 0o7777, path.stat().st_uid) for path in outside.iterdir()}
    wanted = {name.replace("/", "-"): ("of the host", 0o640, 0) for name in names_that_pyrt_makes()} if exists else {}
    assert found == wanted


def test_stdio_is_never_opened_anew_through_the_images_dev(command: Command, bundle: Bundle) -> None:
    """CVE-2026-88265: /dev/null, opened after the pivot for stdio, led to a file, which was then given to the container's user."""
    taken = bundle.rootfs / "etc/taken"
    bundle.spec["mounts"] = [mount for mount in bundle.spec["mounts"] if not mount["destination"].startswith("/dev")]
    for name in ("null", "fd", "stdin", "stdout", "stderr"):
        (bundle.rootfs / "dev" / name).symlink_to("/etc/taken")
    taken.write_text("of the image\n")
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    said = engine.run(command, bundle, "true")
    assert engine.refused(said) == "make device /dev/null: file exists (EEXIST)"
    (bundle.rootfs / "dev/null").unlink()
    assert engine.run(command, bundle, "cat", input="from outside\n").ok().stdout == "from outside\n"
    assert (taken.read_text(), taken.stat().st_uid) == ("of the image\n", 0)


def test_a_dev_null_of_the_host_that_is_a_file_is_refused(bundle: Bundle, root_dir: Path, tmp_path: Path) -> None:
    """What masks are made of is checked, also where the caller's own /dev is not what it should be."""
    fake = tmp_path / "null"
    fake.write_text("of the host\n")
    (bundle.rootfs / "etc/secret").write_text("secret")
    bundle.linux["maskedPaths"] = ["/etc/secret"]
    bundle.args("cat", "/etc/secret")
    script = f"mount --bind {fake} /dev/null && exec {PYRT} --root {root_dir} run --bundle {bundle.path} fake-{os.getpid()}"
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    done = pyrt_in_namespace(command)
    assert done.stdout == ""
    assert done.stderr.startswith("pyrt: mask /etc/secret: no such device (ENODEV)"), done.stderr
    assert done.returncode == 1


def pyrt_in_namespace(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, stdin=subprocess.PIPE, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def owned() -> Iterator[str]:
    """Cgroups that belong to the user whom the container's root is, as a service manager hands them to users. Yields their name."""
    name = f"owned-{os.getpid()}"
    made = [root / name for root in cgroup_mounts().roots if root.name in ("pids", "unified", "cgroup")]
    for group in made:
        group.mkdir()
        for path in [group, *group.iterdir()]:
            os.chown(path, HOST_ID, HOST_ID)
    yield name
    for group in made:
        group.rmdir()


def rootless_sys() -> list[dict[str, Any]]:
    return [mount for mount in default_spec(rootless=True).config["mounts"] if mount["destination"].startswith("/sys")]


@pytest.mark.parametrize("kind", ["the cgroup mount", "sysfs of the host's network", "pyrt spec --rootless"])
def test_cgroups_of_the_host_are_not_writable_in_a_user_namespace(command: Command, bundle: Bundle, owned: str, kind: str) -> None:
    """CVE-2023-25809: without a cgroup namespace the host's hierarchy shows, with those cgroups that the user owns."""
    map_ids(bundle, 0, HOST_ID, 65_536)
    bundle.without_namespace("cgroup")
    if kind != "the cgroup mount":
        bundle.without_namespace("network")
        bundle.spec["mounts"] = [mount for mount in bundle.spec["mounts"] if mount["destination"] != "/sys/fs/cgroup"]
    if kind == "pyrt spec --rootless":
        bundle.spec["mounts"] = [mount for mount in bundle.spec["mounts"] if mount["destination"] != "/sys"] + rootless_sys()
    files = "find /sys/fs/cgroup -name cgroup.procs -o -name tasks"
    said = engine.shell(command, bundle, f"{files} | while read file; do echo 0 2>&1 > $file && echo entered $file; echo $file; done").ok()
    if kind != "the cgroup mount":
        # So that the attack can fail: they are there to be tried.
        assert owned in said.stdout
    assert "entered" not in said.stdout


@requires("AppArmor")
def test_an_apparmor_label_does_not_go_through_a_proc_of_the_bundle(command: Command, bundle: Bundle, tmp_path: Path) -> None:
    """CVE-2019-16884, CVE-2025-62596: a fake attr/exec would swallow the label, and the program run without one."""
    fake = tmp_path / "fake"
    for name in ("self/attr/apparmor", "self/attr", "thread-self/attr/apparmor"):
        (fake / name).mkdir(parents=True, exist_ok=True)
        (fake / name / "exec").write_text("")
    bundle.spec["mounts"] = [mount for mount in bundle.spec["mounts"] if mount["destination"] != "/proc"]
    bundle.mount("/proc", "bind", str(fake), ["bind"])
    bundle.linux.update(maskedPaths=[], readonlyPaths=[])
    bundle.process["apparmorProfile"] = "no-such"
    # The kernel is asked, and knows better.
    assert engine.refused(engine.run(command, bundle, "true")).startswith("set the AppArmor profile no-such: no such file or directory")
    assert [path.read_text() for path in fake.rglob("exec")] == ["", "", ""]
