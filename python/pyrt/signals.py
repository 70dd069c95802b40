"""Signals by name or number (signal(7), kill(1)), without the signal module: it imports enum, which costs half of an interpreter's start.

The names are in rust/core/src/signal.rs. ``Container.kill`` and ``pyrt kill`` take what ``number`` understands.
"""

from pyrt import _native

__all__ = ["number"]


def number(signal: str | int) -> int:
    """Return the number of a signal: an int (signal.Signals too), "15", "TERM", "SIGTERM", "SIGRTMIN+3"; case does not matter.

    0 sends nothing and only asks whether the process is there. Raises SpecError for anything else, and beyond 0..64.
    """
    return _native.signal_number(str(int(signal)) if isinstance(signal, int) else signal)
