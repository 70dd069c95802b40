"""The pyrt command as a test runs it: with a state directory of its own, and output in files.

Files, since the container inherits standard output and error: a pipe would be open as long as a detached container runs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from helpers.waiting import SOON

PYRT = Path(sysconfig.get_path("scripts")) / "pyrt"
TIMEOUT = SOON
"""Seconds after which a command counts as hanging."""


@dataclass(frozen=True)
class Result:
    """What a command left: status as subprocess has it (minus the signal), and both outputs."""

    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)

    def ok(self) -> Result:
        """Itself, if the exit status is 0; else AssertionError with standard error."""
        assert self.status == 0, f"exit status {self.status}: {self.stderr or self.stdout}"
        return self


class Command:
    """`command("run", "--bundle", bundle.path, "id")` runs pyrt with this state directory and waits for it."""

    def __init__(self, root: Path, prefix: Sequence[str] = ()) -> None:
        """prefix: words before the command's, of a program that executes it."""
        self.root = root
        self.prefix = prefix

    def __call__(
        self,
        *arguments: str | os.PathLike[str],
        input: str = "",
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        global_options: Sequence[str] = (),
        timeout: float = TIMEOUT,
    ) -> Result:
        """input: standard input. env: added to the environment. global_options: before the verb. timeout: seconds."""
        with tempfile.TemporaryFile("w+") as stdin, tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
            stdin.write(input)
            stdin.seek(0)
            process = self.start(
                *arguments, stdin=stdin, stdout=stdout, stderr=stderr, cwd=cwd, env=env, pass_fds=pass_fds, global_options=global_options
            )
            try:
                status = process.wait(timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise
            stdout.seek(0)
            stderr.seek(0)
            return Result(status, stdout.read(), stderr.read())

    def start(
        self,
        *arguments: str | os.PathLike[str],
        stdin: int | IO[str] = subprocess.DEVNULL,
        stdout: int | IO[str] = subprocess.DEVNULL,
        stderr: int | IO[str] = subprocess.DEVNULL,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        global_options: Sequence[str] = (),
    ) -> subprocess.Popen[str]:
        """The same without waiting: the caller ends and waits for what is returned."""
        line = [*self.prefix, str(PYRT), "--root", str(self.root), *global_options, *(os.fspath(argument) for argument in arguments)]
        environment = {**os.environ, **(env or {})}
        return subprocess.Popen(line, stdin=stdin, stdout=stdout, stderr=stderr, cwd=cwd, env=environment, pass_fds=pass_fds, text=True)
