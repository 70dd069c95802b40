"""An ordinary user of this host who calls pyrt: a number without an entry of passwd(5), or a user that useradd(8) made for the test.

His processes are started by setpriv(1) with all rights given up before the interpreter begins, so that it is his own from the first
instruction, as a login's is. Neither the interpreter nor pyrt may lie where he cannot go.
"""

from __future__ import annotations

import functools
import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyrt
from helpers import bundles

TIMEOUT = 120
"""Seconds after which a child counts as hanging."""
PREAMBLE = "import json, os, sys\nimport pyrt\n"
ARGUMENTS = '"$@"'
NEXT = f"\nexec {ARGUMENTS}"
NUMBER = 700_000
"""An id that nobody on the host has, and no range of /etc/subuid."""


def _setpriv(uid: int, gid: int) -> list[str]:
    # By env(1): setpriv's own execve still has rights.
    return ["setpriv", "--reuid", str(uid), "--regid", str(gid), "--clear-groups", "--inh-caps=-all", "env"]


def inside(program: str, script: str) -> str:
    """For `before`: go on in what the program makes or enters (unshare(1), nsenter(1)), where root runs the script first."""
    return f"exec {program} sh -ec {shlex.quote(script + NEXT)} sh {ARGUMENTS}"


@functools.cache
def python() -> str | None:
    """An interpreter that everybody may start: below /root there is none."""
    for path in (sys.executable, "/usr/bin/python3", shutil.which("python3")):
        check = [*_setpriv(NUMBER, NUMBER), str(path), "-c", "import json, sys; sys.exit(sys.version_info < (3, 10))"]
        if path is not None and subprocess.run(check, capture_output=True, check=False, cwd="/").returncode == 0:
            return path
    return None


def library(directory: Path) -> Path:
    """Where everybody can import pyrt from: its own place, or a copy in `directory`."""
    package = Path(pyrt.__file__).parent
    if all(parent.stat().st_mode & 0o005 == 0o005 for parent in (package, *package.parents)):
        return package.parent
    shutil.copytree(package, directory / "pyrt", ignore=shutil.ignore_patterns("__pycache__"))
    return directory


@dataclass(frozen=True)
class Ordinary:
    """uid and gid, and a directory that is his: home, working directory and $XDG_RUNTIME_DIR."""

    uid: int
    gid: int
    directory: Path
    library: Path

    def command(self, *arguments: str, before: str = "") -> list[str]:
        """The words that start `arguments` as this user. before: shell commands that root runs in the same process, ahead of that."""
        words = [*_setpriv(self.uid, self.gid), *arguments]
        return ["sh", "-ec", before + NEXT, "sh", *words] if before else words

    @property
    def environment(self) -> dict[str, str]:
        own = {"HOME": self.directory, "XDG_RUNTIME_DIR": self.directory, "PYTHONPATH": self.library}
        return {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "PYTHONDONTWRITEBYTECODE": "1", **{name: str(path) for name, path in own.items()}}

    def run(self, code: str, *words: str | os.PathLike[str], before: str = "") -> subprocess.CompletedProcess[str]:
        """Run Python code that finds `pyrt` imported, and words in sys.argv from 1 on."""
        interpreter = python()
        assert interpreter is not None, "a test of this kind @requires a Python that everybody may start"
        line = self.command(interpreter, "-c", PREAMBLE + code, *(os.fspath(word) for word in words), before=before)
        return subprocess.run(line, capture_output=True, text=True, timeout=TIMEOUT, cwd=self.directory, env=self.environment, check=False)

    def told(self, code: str, *words: str | os.PathLike[str], before: str = "") -> Any:
        """What the code prints last, as JSON. It must succeed."""
        done = self.run(code, *words, before=before)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    def verb(self, *words: str | os.PathLike[str]) -> subprocess.CompletedProcess[str]:
        """`pyrt WORDS`, in his directory. Output goes through files, since a container that stays holds them open."""
        interpreter = python()
        assert interpreter is not None, "a test of this kind @requires a Python that everybody may start"
        line = self.command(interpreter, "-m", "pyrt", *(os.fspath(word) for word in words))
        outputs = [self.directory / name for name in ("stdout", "stderr")]
        with outputs[0].open("w") as stdout, outputs[1].open("w") as stderr:
            status = subprocess.run(
                line,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                timeout=TIMEOUT,
                cwd=self.directory,
                env=self.environment,
                check=False,
            )
        return subprocess.CompletedProcess(line, status.returncode, *(path.read_text() for path in outputs))

    def owned(self, path: Path) -> Path:
        """Give him the whole tree."""
        for directory, names, files in os.walk(path):
            for name in (".", *names, *files):
                os.chown(os.path.join(directory, name), self.uid, self.gid, follow_symlinks=False)
        return path

    def rootfs(self) -> Path:
        return self.owned(bundles.busybox_rootfs(self.directory / "rootfs"))
