#!/usr/bin/env python3
"""Compare what a launch costs: the floor, pyrt as library and as command, runc, crun, bubblewrap, sandlock, and Python's own start.

All do the same work (`contenders.py`) on one busybox bundle, in one interleaved run: every round times each of them once, in a new random
order, with a caller of 0 and of 1,024 MiB resident. The machine's noise then falls on all alike, and the ratios can be trusted where
the milliseconds cannot. Prints a table, writes JSON with every time, and draws one chart (`chart.py`).

Needs root, Debian's busybox-static, a Rust toolchain for the floor, and an installed pyrt: `.venv/bin/python benches/compare.py`.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

import chart
import contenders

BENCHES = Path(__file__).resolve().parent
FLOORS = {"library": "the floor: bare system calls", "engine": "the floor with an engine's cgroups"}
"""By form: pyrt's library joins two hierarchies of cgroup v1, its engine form all eight. Without cgroup v1 they are the same."""
GROUPS = ("floor", "library", "command", "runc", "crun", "bubblewrap", "sandlock", "python", "engines")
DEFAULT = ",".join(group for group in GROUPS if group != "engines")
"""The engines take hundreds of milliseconds: a run and a chart of their own."""
BALLASTS = (0, 1024)
"""Mebibytes that are resident in the caller."""
TABLE_WIDTH = 120
"""Columns, where the output is no terminal."""
WARM_UP_ROUNDS = 2
SEED = 1


@dataclass
class Series:
    """All times of one contender with one caller, in microseconds."""

    name: str
    group: str
    form: str
    ballast_mib: int
    microseconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.microseconds)

    @property
    def quartiles(self) -> tuple[float, float]:
        lower, _, upper = statistics.quantiles(self.microseconds, n=4, method="inclusive")
        return lower, upper


class Caller:
    """A process that makes one launch for each line it is sent, and answers with its microseconds."""

    def __init__(self, words: list[str | Path]) -> None:
        self.words = words
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def line(self) -> str:
        assert self.process.stdout is not None
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"benches/compare.py: {self.words[0]} ended with status {self.process.wait()}; see above")
        return answer

    def once(self, name: str) -> float:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{name}\n")
        self.process.stdin.flush()
        return float(self.line())

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", metavar="N", type=int, default=100, help="rounds (default: 100)")
    parser.add_argument("--only", metavar="NAMES", default=DEFAULT, help=f"some of {','.join(GROUPS)} (default: all but engines)")
    parser.add_argument("--json", metavar="FILE", type=Path, default=BENCHES / "results/comparison.json", help="default: %(default)s")
    parser.add_argument("--chart", metavar="FILE", type=Path, default=BENCHES / "results/comparison.svg", help="default: %(default)s")
    options = parser.parse_args()
    unknown = set(options.only.split(",")) - set(GROUPS)
    if unknown:
        parser.error(f"--only: unknown {', '.join(sorted(unknown))}; choose from {', '.join(GROUPS)}")
    if options.iterations < 2:
        parser.error("--iterations: a median with quartiles needs at least 2")
    if os.geteuid() != 0:
        parser.error("run as root: the floor, runc and pyrt's default spec need it")
    return options


def floor_program() -> Path:
    subprocess.run(["cargo", "build", "--quiet", "--release", "--bin", "floor"], cwd=BENCHES, check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR", BENCHES / "target")).resolve() / "release/floor"


def measure(options: argparse.Namespace, directory: Path, console: Console) -> tuple[list[Series], dict[str, str]]:
    bundles = directory / "bundles"
    contenders.make_bundles(bundles)
    series: dict[tuple[str, int], Series] = {}
    callers: dict[tuple[str, int], Caller] = {}
    unavailable: dict[str, str] = {}
    groups = options.only.split(",")
    with ExitStack() as stack:
        for ballast in BALLASTS:
            if "floor" in groups:
                for form, name in FLOORS.items():
                    words: list[str | Path] = [floor_program(), "--rootfs", bundles / "rootfs", "--stdin", "--form", form]
                    callers[name, ballast] = stack.enter_context(Caller([*words, "--ballast", str(ballast)]))
                    series[name, ballast] = Series(name, "floor", form, ballast)
            work = directory / f"caller-{ballast}"
            work.mkdir()
            words = [sys.executable, BENCHES / "contenders.py", "--bundles", bundles, "--work", work]
            words += ["--ballast", str(ballast), "--only", options.only]
            caller = stack.enter_context(Caller(words))
            hello = json.loads(caller.line())
            unavailable |= hello["unavailable"]
            for row in hello["ready"]:
                callers[row["name"], ballast] = caller
                series[row["name"], ballast] = Series(row["name"], row["group"], row["form"], ballast)
        order = list(callers)
        shuffle = random.Random(SEED).shuffle
        for number in track(range(WARM_UP_ROUNDS + options.iterations), "measuring", console=console, transient=True):
            shuffle(order)
            for key in order:
                microseconds = callers[key].once(key[0])
                if number >= WARM_UP_ROUNDS:
                    series[key].microseconds.append(microseconds)
    return list(series.values()), unavailable


def of_floor(entry: Series, series: list[Series]) -> float | None:
    """How many times the floor of the same form, with the same caller; None where it was not measured."""
    for other in series:
        if (other.group, other.form, other.ballast_mib) == ("floor", entry.form, entry.ballast_mib):
            return entry.median / other.median
    return None


def of_python(entry: Series, series: list[Series]) -> float | None:
    """How many times a bare start of Python, with the same caller; None where it was not measured."""
    for other in series:
        if (other.group, other.ballast_mib) == ("python", entry.ballast_mib):
            return entry.median / other.median
    return None


def table(series: list[Series], iterations: int) -> Table:
    made = Table(title=f"`true` in the container of `pyrt spec`, {iterations} interleaved rounds", title_justify="left")
    made.add_column("what", no_wrap=True)
    for heading in ("caller, MiB", "median, ms", "quartiles, ms", "of the floor", "of bare python"):
        made.add_column(heading, justify="right")
    for entry in series:
        ratios = [of_floor(entry, series), of_python(entry, series)]
        low, high = entry.quartiles
        made.add_row(
            entry.name,
            f"{entry.ballast_mib:,}",
            f"{entry.median / 1000:.2f}",
            f"{low / 1000:.2f} to {high / 1000:.2f}",
            *("" if value is None else f"{value:.2f}" for value in ratios),
            style="bold" if entry.group in ("library", "command") else "",
        )
    return made


def report(series: list[Series], unavailable: dict[str, str], iterations: int) -> dict[str, Any]:
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "host": {
            "kernel": platform.release(),
            "processors": os.cpu_count(),
            "python": platform.python_version(),
            "pyrt": importlib.metadata.version("pyrt-oci"),
        },
        "iterations": iterations,
        "unavailable": unavailable,
        "results": [
            {
                "name": entry.name,
                "group": entry.group,
                "form": entry.form,
                "ballast_mib": entry.ballast_mib,
                "median_usec": round(entry.median, 1),
                "quartiles_usec": [round(value, 1) for value in entry.quartiles],
                "ratio_to_floor": of_floor(entry, series),
                "ratio_to_python": of_python(entry, series),
                "microseconds": [round(value, 1) for value in entry.microseconds],
            }
            for entry in series
        ],
    }


def main() -> None:
    options = arguments()
    console = Console(width=None if sys.stdout.isatty() else TABLE_WIDTH)
    # State lies on a tmpfs, as below /run on every distribution.
    with tempfile.TemporaryDirectory(prefix="pyrt-compare.", dir="/dev/shm") as name:
        series, unavailable = measure(options, Path(name), console)
    series.sort(key=lambda entry: (entry.ballast_mib, GROUPS.index(entry.group)))
    console.print(table(series, options.iterations))
    for reason in dict.fromkeys(unavailable.values()):
        names = ", ".join(name for name, its_reason in unavailable.items() if its_reason == reason)
        console.print(f"not measured: {names}: {reason}", markup=False, highlight=False)
    result = report(series, unavailable, options.iterations)
    for path, text in ((options.json, json.dumps(result, indent=1) + "\n"), (options.chart, chart.svg(result))):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        console.print(f"written: {path}", markup=False, highlight=False)


if __name__ == "__main__":
    main()
