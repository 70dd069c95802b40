"""The engine form in one line: write a bundle, `pyrt run` it under one id, and read what it printed.

Neighbours: `commands` is the command itself, `bundles` the bundle; `proc` understands what was printed.
"""

from __future__ import annotations

import os
from typing import Any

from helpers.bundles import Bundle
from helpers.commands import Command, Result

ID = f"container-{os.getpid()}"
"""The test run's own, as the cgroup at the root is."""


def run(command: Command, bundle: Bundle, *args: str, options: tuple[str | os.PathLike[str], ...] = (), **more: Any) -> Result:
    """`pyrt run` with these process.args (those of the bundle where there are none). options: of the verb. more: as `Command` takes it."""
    if args:
        bundle.process["args"] = list(args)
    return command("run", "--bundle", bundle.write(), *options, ID, **more)


def shell(command: Command, bundle: Bundle, script: str, **more: Any) -> Result:
    """The same with a shell that runs script."""
    return run(command, bundle, "sh", "-c", script, **more)


def refused(result: Result) -> str:
    """The one line with which pyrt itself failed (exit status 1), without its `pyrt: `."""
    assert result.status == 1, f"exit status {result.status}: {result.stdout}{result.stderr}"
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("pyrt: "), result.stderr
    return lines[0].removeprefix("pyrt: ")
