"""Signals by name or number (signal(7), kill(1)), without the signal module: it imports enum, which costs half of an interpreter's start.

Neighbours: ``Container.kill`` and ``pyrt kill`` take what ``number`` understands; the command's foreground forms ``hold`` signals.
"""

from pyrt.errors import SpecError

__all__ = ["LAST", "hold", "number"]

LAST = 64
"""SIGRTMAX: no signal of Linux on x86-64 or aarch64 has a higher number."""

# The C library keeps 32 and 33 for itself, so SIGRTMIN is what programs see.
_FIRST_REAL_TIME = 34
# fmt: off
_NAMES = (
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE",
    "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM", "STKFLT",
    "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU",
    "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
)
# fmt: on
_ALIASES = {"IOT": "ABRT", "CLD": "CHLD", "POLL": "IO"}


# As in rust/core/src/terminal.rs: they tell of our own faults, or of nothing that concerns a container.
_OWN = ("CHLD", "SEGV", "BUS", "FPE", "ILL", "TRAP", "SYS", "PIPE")


def hold() -> None:
    """Let signals to this process wait until a foreground wait reads them and passes them on; for good.

    Without this, one that comes between the launch and that wait would end the command and not the container.
    """
    import _signal  # type: ignore[import-not-found]  # typeshed has only signal

    # The two between are the C library's own.
    known = {*range(1, len(_NAMES) + 1), *range(_FIRST_REAL_TIME, LAST + 1)}
    _signal.pthread_sigmask(_signal.SIG_BLOCK, known - {number(name) for name in _OWN})


def number(signal: str | int) -> int:
    """Return the number of a signal: an int (signal.Signals too), "15", "TERM", "SIGTERM", "SIGRTMIN+3"; case does not matter.

    0 sends nothing and only asks whether the process is there. Raises SpecError for anything else, and beyond 0..64.
    """
    value = int(signal) if isinstance(signal, int) else _named(signal)
    if value is None or not 0 <= value <= LAST:
        raise SpecError(f"unknown signal {signal!r}", hint="give a name such as TERM or SIGTERM, or a number from 0 to 64")
    return value


def _named(text: str) -> int | None:
    if text.isascii() and text.isdigit():
        return int(text) if len(text) <= len(str(LAST)) else None
    name = text.upper().removeprefix("SIG")
    name = _ALIASES.get(name, name)
    if name in _NAMES:
        return _NAMES.index(name) + 1
    return _real_time(name)


def _real_time(name: str) -> int | None:
    """RTMIN, RTMIN+n, RTMAX, RTMAX-n."""
    for base, sign, start in (("RTMIN", "+", _FIRST_REAL_TIME), ("RTMAX", "-", LAST)):
        if name == base:
            return start
        distance = name.removeprefix(base + sign)
        if distance != name and distance.isascii() and distance.isdigit() and len(distance) <= len(str(LAST)):
            value = start + int(sign + distance)
            return value if _FIRST_REAL_TIME <= value <= LAST else None
    return None
