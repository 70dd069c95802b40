"""podman of an ordinary user, with pyrt as his runtime. He and his subordinate ids exist only in namespaces of the test's own.

Neighbours: `engines` (podman of root), `ordinary` (what such a user can start), `confined`; tests/engines/test_podman_user.py.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from helpers import ordinary
from helpers.confined import Confined
from helpers.engines import IMAGE, SHARE, Engine

NAME = "engineer"
UID = 750_000
RANGE = 800_000
"""The first of his 65,536 subordinate ids."""
FILES = {
    "passwd": f"{NAME}:x:{UID}:{UID}::{{path}}:/bin/sh\n",
    "group": f"{NAME}:x:{UID}:\n",
    "subuid": f"{NAME}:{RANGE}:65536\n",
    "subgid": f"{NAME}:{RANGE}:65536\n",
}
# /dev of a host without /dev/mqueue, which podman binds into a container with the host's IPC namespace.
SETUP = """for file in passwd group subuid subgid; do mount --bind "{path}/etc/$file" "/etc/$file"; done
if ! [ -d /dev/mqueue ]; then
  mount -t tmpfs none {path}/dev
  mkdir {path}/dev/pts {path}/dev/shm {path}/dev/mqueue
  for device in null zero full random urandom tty fuse; do ! [ -e "/dev/$device" ] || cp -a "/dev/$device" {path}/dev; done
  ln -s /proc/self/fd {path}/dev/fd
  mount --rbind /dev/pts {path}/dev/pts
  mount -t mqueue mqueue {path}/dev/mqueue
  mount --move {path}/dev /dev
fi
mount -t tmpfs -o mode=1777 none /dev/shm
"""


class PodmanOfUser(Engine):
    """A line of his podman. path: his home, which others may enter; he owns it."""

    def __init__(self, path: Path, archive: Path) -> None:
        interpreter = ordinary.python()
        assert interpreter is not None, "a test of this kind @requires ordinary users"
        for name in ("bin", "dev", "etc", "run"):
            (path / name).mkdir()
        for name, line in FILES.items():
            host = Path("/etc") / name
            (path / "etc" / name).write_text((host.read_text() if host.exists() else "") + line.format(path=path))
        (path / "lib").mkdir()
        library = ordinary.library(path / "lib")
        (path / "bin/pyrt").write_text(f'#!/bin/sh\nPYTHONPATH={library} exec {interpreter} -m pyrt "$@"\n')
        (path / "bin/pyrt").chmod(0o755)
        shutil.copy(SHARE / "containers.conf.d/50-pyrt.conf", path / "containers.conf")
        shutil.copy(archive, path / "image.tar")
        for owned in (path, path / "run", path / "image.tar", path / "containers.conf"):
            shutil.chown(owned, UID, UID)
        (path / "run").chmod(0o700)
        self.confined = Confined(SETUP.format(path=path))
        user = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--inh-caps=-all", "env"]
        directories = [f"--root={path}/storage", f"--runroot={path}/run/containers", f"--tmpdir={path}/run/tmp"]
        choices = ["--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--events-backend=file", "--runtime=pyrt"]
        env = {
            "PATH": f"{path}/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(path),
            "XDG_RUNTIME_DIR": f"{path}/run",
            "CONTAINERS_CONF": f"{path}/containers.conf",
        }
        super().__init__(path, *self.confined.enter, f"--wd={path}", *user, "podman", *directories, *choices, env=env)
        try:
            self("import", f"{path}/image.tar", IMAGE).ok()
        except BaseException:
            self.confined.end()
            raise

    def end(self) -> None:
        """Remove his containers, then end what podman keeps running for him."""
        try:
            self("rm", "--all", "--force", "--time", "0").ok()
        finally:
            self.confined.end()
