"""ExitReport: how and why a container ended, with what it had used; what `Container.exit_report` returns.

A result of `run` says the same by itself (`process`). Neighbours: causes.py (why), limits.py (what was used).
"""

from pyrt import _native
from pyrt.causes import Cause, explain
from pyrt.exchange import SIGSYS, cause_of
from pyrt.limits import Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ExitReport"]


class ExitReport:
    """The end of a container.

    returncode: the exit status of its init, or minus the signal; None where nobody can tell (``Container.exit_unknown``). cause: why it
    ended, None likewise. usage: what it had used, its whole life long. SIGKILL is Cause.OOM where the kernel killed a process of it for
    memory: the kernel does not tell which one.
    """

    __slots__ = ("cause", "returncode", "usage")

    def __init__(self, returncode: int | None, max_rss_bytes: int | None, counters: "Mapping[str, int | None]", config: bytes) -> None:
        """For `Container`. counters: as ``_native.Cgroup.usage``. config: its config.json."""
        self.returncode = returncode
        self.usage = Usage(counters, max_rss_bytes)
        self.cause: Cause | None = None
        if returncode is not None:
            filtered = returncode == -SIGSYS and bool(_native.json_loads(config).get("linux", {}).get("seccomp"))
            self.cause = Cause[cause_of(returncode, self.usage, filtered=filtered)]

    @property
    def explanation(self) -> str:
        """The cause in words, with its figures: limit and peak where the kernel ended it for memory."""
        if self.cause is None or self.returncode is None:
            return "its exit status is unknown"
        return explain(self.cause, self.returncode, self.usage)

    def __repr__(self) -> str:
        return f"ExitReport(returncode={self.returncode}, cause={self.cause and self.cause.name}, usage={self.usage!r})"
