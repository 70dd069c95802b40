"""Root file systems and OCI bundles for tests: busybox for most, a Debian for those that want a real one."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CACHE = Path(os.environ.get("PYRT_TESTS_CACHE", "/var/cache/pyrt-tests"))
BUSYBOX = Path("/bin/busybox")
DIRECTORIES = ("bin", "dev", "etc", "home", "mnt", "proc", "root", "run", "srv", "sys", "tmp", "usr", "var")
PASSWD = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n"
GROUP = "root:x:0:\nuser:x:1000:\nextra:x:2000:user\n"


def busybox_rootfs(path: Path) -> Path:
    """A root file system of Debian's static busybox, with a symbolic link for each of its commands. Returns path."""
    for name in DIRECTORIES:
        (path / name).mkdir(parents=True, exist_ok=True)
    (path / "tmp").chmod(0o1777)
    shutil.copy(BUSYBOX, path / "bin/busybox")
    for applet in subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split():
        if applet != "busybox":
            (path / "bin" / applet).symlink_to("busybox")
    (path / "etc/passwd").write_text(PASSWD)
    (path / "etc/group").write_text(GROUP)
    return path


def debian_rootfs() -> Path:
    """A minimal Debian of the host's own release by debootstrap, kept below CACHE. Never write into it: tests share it."""
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)["VERSION_CODENAME"]
    rootfs = CACHE / f"debian-{release}"
    if rootfs.exists():
        return rootfs
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not rootfs.exists():
            targets = subprocess.run(
                ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"], capture_output=True, text=True, check=True
            ).stdout.split()
            mirror = next(target for target in targets if target.endswith("/debian/"))
            unfinished = CACHE / f"debian-{release}.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            subprocess.run(["debootstrap", "--variant=minbase", release, str(unfinished), mirror], capture_output=True, check=True)
            unfinished.rename(rootfs)
    return rootfs


@dataclass
class Bundle:
    """An OCI bundle that a test edits and then writes.

    path: its directory. spec: what `write` makes config.json of; at first `pyrt spec`'s default without a terminal.
    """

    path: Path
    spec: dict[str, Any]

    @property
    def rootfs(self) -> Path:
        return self.path / str(self.spec["root"]["path"])

    @property
    def process(self) -> dict[str, Any]:
        process: dict[str, Any] = self.spec["process"]
        return process

    @property
    def linux(self) -> dict[str, Any]:
        linux: dict[str, Any] = self.spec["linux"]
        return linux

    def args(self, *args: str) -> Bundle:
        """Set process.args. Returns itself, written."""
        self.process["args"] = list(args)
        self.write()
        return self

    def shell(self, script: str) -> Bundle:
        """Set process.args to a shell that runs script. Returns itself, written."""
        return self.args("sh", "-c", script)

    def mount(self, destination: str, type: str, source: str = "none", options: list[str] | None = None) -> None:
        self.spec["mounts"].append({"destination": destination, "type": type, "source": source, "options": options or []})

    def without_namespace(self, kind: str) -> None:
        self.linux["namespaces"] = [entry for entry in self.linux["namespaces"] if entry["type"] != kind]

    def write(self) -> Path:
        """Write config.json as it now is. Returns the bundle's directory."""
        (self.path / "config.json").write_text(json.dumps(self.spec, indent=2))
        return self.path


def map_ids(bundle: Bundle, container: int, host: int, size: int) -> None:
    """A new user namespace with this one mapping for users and groups, and the root file system owned by whom it makes root."""
    bundle.linux["namespaces"].append({"type": "user"})
    mapping = [{"containerID": container, "hostID": host, "size": size}]
    bundle.linux.update(uidMappings=mapping, gidMappings=mapping)
    bundle.process["user"] = {"uid": container, "gid": container}
    if not container <= 5 < container + size:
        # devpts' gid=5 is nobody's there.
        for mount in bundle.spec["mounts"]:
            mount["options"] = [option for option in mount["options"] if not option.startswith("gid=")]
    # init makes what is missing, as that user; pytest's directories above are 0700.
    for directory, _, _ in os.walk(bundle.rootfs):
        os.chown(directory, host, host)
    for above in [bundle.rootfs, *bundle.rootfs.parents][:-2]:
        above.chmod(above.stat().st_mode | 0o011)
