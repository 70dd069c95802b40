"""Slurm on one host, as the tests run it: munged, slurmctld and slurmd of the tests' own, with share/pyrt's oci.conf beside slurm.conf.

They live in namespaces of their own: Slurm's ports, /run/user, host name and /etc/hosts are nobody else's.
Neighbours: `engines`, whose Engine this is, and `confined`; tests/engines/test_slurm.py makes it.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from helpers.confined import Confined
from helpers.engines import DAEMON_SECONDS, SHARE, Engine, environment

# An address that is no loopback one, though on `lo`: Slurm resolves names with AI_ADDRCONFIG, which does not count those.
ADDRESS = "192.0.2.1"
NODE = "pyrt-node"
KILL_WAIT_SECONDS = 2
"""Between SIGTERM and SIGKILL of a cancelled job: the least that Slurm's `KillWait` takes."""
DAEMONS = ("munged", "slurmctld", "slurmscriptd", "slurmd")
CONFIGURATION = """ClusterName=pyrt
SlurmctldHost={node}({address})
SlurmUser=root
AuthInfo=socket={path}/munge/socket
StateSaveLocation={path}/state
SlurmdSpoolDir={path}/spool
SlurmctldPidFile={path}/slurmctld.pid
SlurmdPidFile={path}/slurmd.pid
SlurmdLogFile={path}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
KillWait={kill_wait}
NodeName={node} NodeAddr={address} CPUs=4 State=UNKNOWN
PartitionName=all Nodes={node} Default=YES State=UP
"""
SETUP = """hostname {node}
ip address add {address}/32 dev lo
mount --bind {path}/hosts /etc/hosts
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/user
"""


class Slurm(Engine):
    """`slurm("srun", ...)` runs one of its commands in the daemons' namespaces. state: directory of the containers of root's jobs there."""

    state = "/run/user/0/pyrt"

    def __init__(self, path: Path) -> None:
        for name in ("munge", "state", "spool"):
            (path / name).mkdir(mode=0o700)
        (path / "munge/key").write_bytes(os.urandom(1024))
        (path / "munge/key").chmod(0o400)
        (path / "hosts").write_text(f"127.0.0.1 localhost\n{ADDRESS} {NODE}\n")
        (path / "slurm.conf").write_text(CONFIGURATION.format(path=path, node=NODE, address=ADDRESS, kill_wait=KILL_WAIT_SECONDS))
        (path / "oci.conf").symlink_to(SHARE / "slurm/oci.conf")
        self.daemons: list[subprocess.Popen[bytes]] = []
        self.confined = Confined(SETUP.format(path=path, node=NODE, address=ADDRESS))
        super().__init__(path, *self.confined.enter, f"--wd={path}", env=environment(SLURM_CONF=f"{path}/slurm.conf"))
        try:
            self.start_daemons()
        except BaseException:
            self.end()
            raise

    def start_daemons(self) -> None:
        """munged first: both daemons of Slurm speak through it. Slurm is ready when its node is."""
        files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "seed-file": "seed", "log-file": "log"}
        self.start("munged", "--foreground", "--force", *(f"--{option}={self.path}/munge/{name}" for option, name in files.items()))
        self.until("MUNGE:", "munge", "--no-input", "--socket", f"{self.path}/munge/socket")
        self.start("slurmctld", "-D")
        self.start("slurmd", "-D", "-N", NODE)
        self.until("idle", "sinfo", "--noheader", "--format", "%T")

    def start(self, *daemon: str) -> None:
        with (self.path / f"{daemon[0]}.output").open("w") as output:
            line = [*self.words, *daemon]
            self.daemons.append(subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=self.env))

    def popen(self, *words: str) -> subprocess.Popen[str]:
        """One of its commands, not waited for."""
        pipe = subprocess.PIPE
        return subprocess.Popen([*self.words, *words], stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True, env=self.env)

    def nothing_left(self) -> None:
        """Waits until no container, no bundle of Slurm's and no slurmstepd is left: srun returns before slurmd has cleaned up."""
        deadline = time.monotonic() + DAEMON_SECONDS
        while True:
            states = self("find", "/run/user", "-name", "state.json").stdout.split()
            bundles = [path.name for path in (self.path / "spool").glob("oci-job*")]
            processes = self.confined.processes(but=DAEMONS)
            if not (states or bundles or processes):
                return
            assert time.monotonic() < deadline, f"still there: {states} {bundles} {processes}"
            time.sleep(0.1)

    def end(self) -> None:
        """End the daemons, then whatever else is in the namespaces, then these."""
        for process in reversed(self.daemons):
            process.terminate()
            try:
                process.wait(DAEMON_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.confined.end()
