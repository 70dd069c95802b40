"""A real systemd as PID 1 of namespaces of its own, for as long as the block lasts: with a message bus, and little else.

Everything of it is below one cgroup, which is the root of its cgroup namespace, so nothing of the machine is changed by it. For the
virtual machine: it wants cgroup2 alone, and a /run that it may take.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.commands import Command
from helpers.hosts import cgroup_mounts

if TYPE_CHECKING:
    from helpers.ordinary import Ordinary

SYSTEMD = Path("/lib/systemd/systemd")
CGROUP = "pyrt-systemd-test"
SECONDS_TO_START = 120.0
"""The virtual machine's processor is emulated."""
UNITS = {
    "dbus.socket": """
        [Unit]
        DefaultDependencies=no
        [Socket]
        ListenStream=/run/dbus/system_bus_socket
    """,
    "dbus.service": """
        [Unit]
        DefaultDependencies=no
        Requires=dbus.socket
        [Service]
        Type=notify
        ExecStart=/usr/bin/dbus-daemon --system --address=systemd: --nofork --nopidfile --systemd-activation
    """,
    "test.target": """
        [Unit]
        DefaultDependencies=no
        Wants=dbus.socket dbus.service
    """,
}
"""What stands for Debian's own units, which want the whole of a boot first."""

START = r"""
echo 0 >"$1/callers/cgroup.procs" && exec setsid unshare --fork --pid --mount --mount-proc --kill-child sh -c '
echo 0 >"$1/cgroup.procs" && exec unshare --cgroup sh -c "
mount -t tmpfs -o mode=755 run /run && mkdir -p /run/systemd/system && cp $2/* /run/systemd/system &&
umount /sys/fs/cgroup && mount -t cgroup2 -o nsdelegate,memory_recursiveprot cgroup2 /sys/fs/cgroup &&
exec env container=test $3 --unit=test.target --log-target=console --show-status=no"' sh "$1" "$2" "$3"
"""


@dataclass(frozen=True)
class Systemd:
    """pid: its number outside. cgroup: the directory that is the root of all cgroups to it."""

    pid: int
    cgroup: Path

    @property
    def prefix(self) -> list[str]:
        """Words before a command's that execute it where this systemd is PID 1."""
        enter = 'echo 0 >"$1/callers/cgroup.procs" && pid=$2 && shift 2 && exec nsenter --target "$pid" --mount --pid --cgroup -- "$@"'
        return ["sh", "-c", enter, "sh", str(self.cgroup), str(self.pid)]

    def before(self) -> str:
        """The same for what `Ordinary` starts as a user."""
        enter = f"nsenter --target {self.pid} --mount --pid --cgroup --"
        return f'echo 0 >"{self.cgroup}/callers/cgroup.procs"\nset -- {enter} "$@"'

    @contextmanager
    def of_user(self, user: Ordinary) -> Iterator[str]:
        """A `systemd --user` of his, as logind would start it, for which he gets a name. The path of its cgroup."""
        name = f"pyrt-{user.uid}"
        subprocess.run(["groupadd", "--gid", str(user.gid), name], check=True, capture_output=True)
        make = ["useradd", "--no-create-home", "--no-log-init", "--uid", str(user.uid), "--gid", str(user.gid)]
        subprocess.run([*make, "--home-dir", user.directory, name], check=True, capture_output=True)
        unit = f"user-{user.uid}.service"
        variables = [f"--setenv={name}={user.directory}" for name in ("XDG_RUNTIME_DIR", "HOME")]
        properties = [f"--property={setting}" for setting in ("Delegate=yes", "Type=notify", "DefaultDependencies=no")]
        ids = [f"--uid={user.uid}", f"--gid={user.gid}"]
        line = ["systemd-run", f"--unit={unit}", *ids, *properties, *variables, str(SYSTEMD), "--user", "--unit=paths.target"]
        try:
            started = self.run(*line)
            assert started.returncode == 0, started.stderr
            yield f"/system.slice/{unit}"
        finally:
            self.run("systemctl", "stop", unit)
            subprocess.run(["userdel", name], check=True, capture_output=True)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*self.prefix, *words], capture_output=True, text=True, check=False)

    def command(self, root: Path) -> Command:
        return Command(root, self.prefix)

    def properties(self, unit: str, *names: str) -> dict[str, str]:
        """As systemctl shows them."""
        shown = self.run("systemctl", "show", unit, *(f"--property={name}" for name in names))
        assert shown.returncode == 0, shown.stderr
        return dict(line.split("=", 1) for line in shown.stdout.splitlines())

    def scopes(self) -> list[str]:
        """Units that are loaded, in whatever state, but the one of systemd itself."""
        listed = self.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "--type=scope")
        assert listed.returncode == 0, listed.stderr
        return [line.split()[0] for line in listed.stdout.splitlines() if not line.startswith("init.scope")]


@contextmanager
def systemd() -> Iterator[Systemd]:
    mount = cgroup_mounts().cgroup2
    assert mount is not None
    top = mount / CGROUP
    # Whoever is not systemd's: the root of all its cgroups must be free of processes, or nothing below gets controllers.
    (top / "callers").mkdir(parents=True)
    with tempfile.TemporaryDirectory() as units, tempfile.TemporaryFile("w+") as log:
        for name, text in UNITS.items():
            (Path(units) / name).write_text(text.replace("    ", ""))
        process = subprocess.Popen(
            ["sh", "-c", START, "sh", str(top), units, str(SYSTEMD)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            yield _started(process, top, time.monotonic() + SECONDS_TO_START)
        except TimeoutError:
            log.seek(0)
            raise AssertionError(f"systemd did not start; it said:\n{log.read()[-2000:]}") from None
        finally:
            (top / "cgroup.kill").write_text("1")
            process.wait()
            for directory, _, _ in os.walk(top, topdown=False):
                _remove(Path(directory))


def _started(process: subprocess.Popen[bytes], top: Path, deadline: float) -> Systemd:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while time.monotonic() < deadline and process.poll() is None:
        for pid in children.read_text().split():
            if Path(f"/proc/{pid}/comm").read_text().strip() == "systemd":
                found = Systemd(int(pid), top)
                if found.run("systemctl", "is-active", "dbus.service").stdout.strip() == "active":
                    return found
        time.sleep(0.1)
    raise TimeoutError


def _remove(directory: Path) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            return directory.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
