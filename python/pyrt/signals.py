"""Signals by name or number (signal(7), kill(1)), without the signal module: it imports enum, which costs half of an interpreter's start.

The names are in rust/core/src/signal.rs. ``Container.kill`` and ``pyrt kill`` take what ``number`` understands; the command's foreground
forms ``hold`` signals.
"""

from pyrt import _native

__all__ = ["hold", "number"]

# The two between are the C library's own.
_KNOWN = {*range(1, 32), *range(34, 65)}
# As in rust/core/src/terminal.rs: they tell of our own faults, or of nothing that concerns a container.
_OWN = ("CHLD", "SEGV", "BUS", "FPE", "ILL", "TRAP", "SYS", "PIPE")


def hold() -> None:
    """Let signals to this process wait until a foreground wait reads them and passes them on; for good.

    Without this, one that comes between the launch and that wait would end the command and not the container.
    """
    import _signal  # type: ignore[import-not-found]  # typeshed has only signal

    _signal.pthread_sigmask(_signal.SIG_BLOCK, _KNOWN - {number(name) for name in _OWN})


def number(signal: str | int) -> int:
    """Return the number of a signal: an int (signal.Signals too), "15", "TERM", "SIGTERM", "SIGRTMIN+3"; case does not matter.

    0 sends nothing and only asks whether the process is there. Raises SpecError for anything else, and beyond 0..64.
    """
    return _native.signal_number(str(int(signal)) if isinstance(signal, int) else signal)
