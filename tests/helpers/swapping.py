"""Races with a file system that changes: two names that trade places all the time, as a container that shares the directory would do it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyrt
from helpers.bundles import Bundle
from helpers.waiting import SOON

RENAME_EXCHANGE = 2
AT_FDCWD = -100
SECONDS = 1.0


@contextlib.contextmanager
def swapped(first: Path, second: Path) -> Iterator[None]:
    """While inside, first and second are exchanged (renameat2(2)) as often as one thread can; afterwards they are what they were."""
    libc = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(first), os.fsencode(second)
    stop = threading.Event()
    exchanges = 0

    def exchange() -> None:
        nonlocal exchanges
        while not stop.is_set() or exchanges % 2:
            assert libc.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE) == 0, os.strerror(ctypes.get_errno())
            exchanges += 1

    thread = threading.Thread(target=exchange)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert exchanges > 1, "nothing was exchanged"


@dataclass
class Outcome:
    """Of a race. made: how many containers there were. refused: the operations that failed instead."""

    made: int = 0
    refused: set[str] = field(default_factory=set)


def race(runtime: pyrt.Runtime, bundle: Bundle, look: Callable[[pyrt.Container], object]) -> Outcome:
    """Create containers for SECONDS, and until one was made; have `look` at each, and delete it."""
    bundle.args("true")
    outcome = Outcome()
    until = time.monotonic() + SECONDS
    patience = time.monotonic() + SOON
    while time.monotonic() < until or (not outcome.made and time.monotonic() < patience):
        try:
            container = runtime.create(f"raced-{os.getpid()}", bundle=bundle.path)
        except pyrt.Error as error:
            outcome.refused.add(error.operation)
            continue
        try:
            look(container)
        finally:
            container.delete()
        outcome.made += 1
    return outcome
