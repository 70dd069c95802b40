"""What a start costs from a Pool that is full, against a launch, and against a bare posix_spawn of the same program, in turns.

    .venv/bin/python benches/pool.py [--iterations N]

A start is over when the program was executed: for Pool.Popen and Popen their return; posix_spawn is timed to the program's end, since it
returns before. Each start from the pool waits until it is full, so that no refill runs beside what is timed. A turn is a row of starts, as
a program makes them: after one of another kind, or a pause, the first would find cold caches and a processor that sleeps.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

import pyrt

PROGRAM = "/bin/true"
ROW = 20
"""Starts in a turn."""


def milliseconds(begin: float) -> float:
    return (time.perf_counter() - begin) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description="Times of a start: a full Pool, a launch, a bare process.")
    parser.add_argument("--iterations", type=int, default=200)
    iterations: int = parser.parse_args().iterations
    times: dict[str, list[float]] = {"Pool.Popen": [], "Popen": [], "posix_spawn and wait": []}
    with pyrt.Pool(2) as pool:
        for _ in range(max(1, iterations // ROW)):
            for _ in range(ROW):
                pool.wait_ready()
                begin = time.perf_counter()
                box = pool.Popen([PROGRAM])
                times["Pool.Popen"].append(milliseconds(begin))
                box.close()
            for _ in range(ROW):
                begin = time.perf_counter()
                box = pyrt.Popen([PROGRAM])
                times["Popen"].append(milliseconds(begin))
                box.close()
            for _ in range(ROW):
                begin = time.perf_counter()
                os.waitpid(os.posix_spawn(PROGRAM, [PROGRAM], {}), 0)
                times["posix_spawn and wait"].append(milliseconds(begin))
    base = statistics.median(times["posix_spawn and wait"])
    for name, all_times in times.items():
        middle = statistics.median(all_times)
        print(f"{name:22} least {min(all_times):6.3f} ms, median {middle:6.3f} ms, {middle / base:5.2f} of posix_spawn")


if __name__ == "__main__":
    main()
