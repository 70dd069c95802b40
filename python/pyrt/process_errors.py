"""The exceptions of the subprocess-like calls that are subprocess's own at the same time.

Apart from errors.py, which hands them out, because importing subprocess takes longer than a launch.
"""

import subprocess
from typing import Any

from pyrt.errors import Error

__all__ = ["ContainerFailed", "ContainerTimeout"]


class ContainerTimeout(Error, subprocess.TimeoutExpired):
    """The time limit passed, and what ran inside was ended (by ``Container.wait``: it still runs).

    The attributes are those of subprocess.TimeoutExpired (cmd, timeout in seconds, output, stdout, stderr); result is the whole
    result, cause and usage included, None where there is none (``Container.wait``).
    """

    # Text where text was asked for; typeshed knows only bytes.
    stdout: Any
    stderr: Any

    def __init__(self, cmd: Any, timeout: float, output: Any = None, stderr: Any = None, *, result: Any = None) -> None:
        Error.__init__(self, f"{_name(cmd)} timed out after {timeout} seconds")
        self.args = (cmd, timeout, output, stderr)
        self.cmd = cmd
        self.timeout = timeout
        self.output = output
        self.stderr = stderr
        self.result = result


class ContainerFailed(Error, subprocess.CalledProcessError):
    """The command ended with a status other than 0, and ``check=True`` was asked for.

    The attributes are those of subprocess.CalledProcessError (returncode, cmd, output, stdout, stderr); result is the whole
    result, cause and usage included.
    """

    def __init__(self, returncode: int, cmd: Any, output: Any = None, stderr: Any = None, *, result: Any = None) -> None:
        how = f"was ended by signal {-returncode}" if returncode < 0 else f"failed with exit status {returncode}"
        Error.__init__(self, f"{_name(cmd)} {how}", hint=_explanation(result))
        self.args = (returncode, cmd, output, stderr)
        self.returncode = returncode
        self.cmd = cmd
        self.output = output
        self.stderr = stderr
        self.result = result


def _explanation(result: Any) -> str | None:
    """What the status does not show: that the kernel did it, and the figures."""
    from pyrt.causes import TOLD

    return result.explanation if result is not None and result.cause in TOLD else None


def _name(cmd: Any) -> str:
    """The command as the text calls it: the program, or the container's id."""
    if isinstance(cmd, str):
        return cmd
    return str(cmd[0]) if cmd else "the command"
