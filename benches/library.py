"""What the library costs its caller: import, `run` over the native core, memory for each running container, 500 containers in one event
loop, and containers a second against `subprocess.run` of runc and podman, from the same process.

    .venv/bin/python benches/library.py [--iterations N] [--containers N] [--only import,core,memory,loop,rate]

What is compared is timed in one interleaved run. Needs root and busybox-static; runc and podman where they are to be compared.
Neighbours: compare.py (one launch of each runtime), pool.py (a start from a pool), contenders.py (the bundle).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import contenders
import pyrt
from contenders import Unavailable
from engines import PodmanRunc
from pyrt import _native
from pyrt.configuration import configure
from pyrt.stdio import DEVNULL, Stdio

THREADS = 4
"""That ask for containers at once, for the rate."""
PARTS = ("import", "core", "memory", "loop", "rate")


def milliseconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return (time.perf_counter() - begin) * 1000


def interleaved(works: dict[str, Callable[[], object]], iterations: int) -> dict[str, float]:
    """Milliseconds of each, in the median; one untimed round before."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(iterations + 1):
        for name, work in works.items():
            took = milliseconds(work)
            if number:
                times[name].append(took)
    return {name: statistics.median(all_times) for name, all_times in times.items()}


def imports(iterations: int) -> None:
    def python(code: str) -> Callable[[], object]:
        return lambda: contenders.command(sys.executable, "-I", "-c", code)

    times = interleaved({"": python("pass"), "import pyrt": python("import pyrt"), "pyrt.run": python("import pyrt; pyrt.run")}, iterations)
    for name in ("import pyrt", "pyrt.run"):
        print(f"import: {name}: {times[name] - times['']:.2f} ms over the interpreter's {times['']:.2f}")


def core(bundle: Path, iterations: int) -> None:
    """`run` beside what the core does for it: a plan that is there, its launch, wait, usage and removal."""
    configuration = configure(None, {"bundle": bundle})

    def native(plan: _native.LaunchPlan) -> None:
        stdio = Stdio(DEVNULL, DEVNULL, DEVNULL)
        process = plan.launch(stdio=stdio.inside)
        stdio.close_inside()
        assert process.wait() == 0
        if (cgroup := process.cgroup) is not None:
            cgroup.usage()
            cgroup.remove()
        process.close()

    def planned() -> None:
        native(configuration.plan())

    plan = configuration.plan()
    works: dict[str, Callable[[], object]] = {
        "launch": lambda: native(plan),
        "plan and launch": planned,
        "run": lambda: pyrt.run(bundle=bundle, stdout=DEVNULL, stderr=DEVNULL),
    }
    times = interleaved(works, iterations)
    print(
        f"core: launch, wait, usage, remove {times['launch']:.3f} ms, with the plan {times['plan and launch']:.3f}, "
        f"pyrt.run {times['run']:.3f}: {times['run'] - times['plan and launch']:.3f} ms over the core"
    )


def own_memory() -> int:
    """Bytes that are this process's alone (Pss_Anon in smaps_rollup of proc(5))."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss_Anon:"))


def memory(rootfs: Path, containers: int) -> None:
    def sleeper() -> pyrt.Popen[bytes]:
        return pyrt.Popen(["sleep", "1000"], rootfs=rootfs, stdout=pyrt.PIPE, memory="64M")

    async def in_a_loop() -> int:
        async def start() -> pyrt.aio.Process:
            return await pyrt.aio.create_subprocess_exec("sleep", "1000", rootfs=rootfs, stdout=pyrt.PIPE, memory="64M")

        boxes = [await start() for _ in range(3)]
        before = own_memory()
        boxes += [await start() for _ in range(containers)]
        grown = own_memory() - before
        for box in boxes:
            await box.aclose()
        return grown

    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(sleeper())
        before = own_memory()
        for _ in range(containers):
            stack.enter_context(sleeper())
        grown = own_memory() - before
    print(f"memory: {grown / containers / 1024:.1f} KiB of the caller's for each Popen that runs, of {containers}")
    print(f"memory: {asyncio.run(in_a_loop()) / containers / 1024:.1f} KiB of the caller's for each process of aio, of {containers}")


def loop(rootfs: Path, containers: int) -> None:
    async def work() -> tuple[float, float, int]:
        gate, ours = os.pipe()
        theirs, said = os.pipe()
        words = ["sh", "-c", "echo; read line; exit 5"]
        begin = time.perf_counter()
        boxes = [asyncio.ensure_future(pyrt.aio.run(words, rootfs=rootfs, stdin=gate, stdout=said)) for _ in range(containers)]
        answers, threads = 0, 0
        os.set_blocking(theirs, False)
        while answers < containers:
            for box in boxes:
                if box.done():
                    box.result()
            await asyncio.sleep(0.02)
            threads = max(threads, threading.active_count())
            try:
                answers += len(os.read(theirs, containers))
            except BlockingIOError:
                continue
        running = time.perf_counter() - begin
        # All of them run now.
        os.close(ours)
        codes = [done.returncode for done in await asyncio.gather(*boxes)]
        assert codes == [5] * containers, "each ended as it was told"
        for descriptor in (gate, theirs, said):
            os.close(descriptor)
        return running, time.perf_counter() - begin, threads - 1

    running, whole, threads = asyncio.run(work())
    print(
        f"loop: {containers} containers in one event loop: all run after {running:.2f} s, all are gone after {whole:.2f}; {threads} threads"
    )


def rate(bundles: Path, work: Path, iterations: int) -> None:
    """Containers a second, one after the other and from THREADS threads."""
    bundle = bundles / "true"
    ids = iter(range(1 << 30))

    def runc() -> None:
        words: list[str | Path] = [runc_path, "--root", work / "runc", "run", "--bundle", bundle, f"library-{os.getpid()}-{next(ids)}"]
        subprocess.run(words, check=True, stdin=DEVNULL, stdout=DEVNULL)

    def podman() -> None:
        subprocess.run(podman_run.words, check=True, stdin=DEVNULL, stdout=DEVNULL)

    with ExitStack() as stack:
        pool = stack.enter_context(pyrt.Pool(8, bundle=bundle))
        pool.wait_ready()
        works: dict[str, Callable[[], object]] = {
            "pyrt.run": lambda: pyrt.run(bundle=bundle, stdout=DEVNULL, check=True),
            "Pool.run": lambda: pool.run(["true"], stdout=DEVNULL, check=True),
        }
        try:
            runc_path = contenders.program("runc")
            works["subprocess.run of runc run"] = runc
            podman_run = PodmanRunc(bundles, work)
            stack.callback(podman_run.close)
            works["subprocess.run of podman run"] = podman
        except (Unavailable, subprocess.CalledProcessError) as reason:
            print(f"rate: not compared with the rest: {reason}")

        def several(work: Callable[[], object], number: int) -> Callable[[], object]:
            return lambda: [work() for _ in range(number)]

        def at_once(work: Callable[[], object], number: int) -> Callable[[], object]:
            return lambda: list(threads.map(lambda _: work(), range(number)))

        threads = stack.enter_context(ThreadPoolExecutor(THREADS))
        rounds = max(2, iterations // 20)
        for how, spread in (("one after the other", several), (f"from {THREADS} threads", at_once)):
            # As many of each as take about as long, so that one meets no better moments than the other.
            counts = {name: 2 if "podman" in name else 8 if "runc" in name else 64 for name in works}
            times = interleaved({name: spread(work, counts[name]) for name, work in works.items()}, rounds)
            rates = {name: counts[name] / times[name] * 1000 for name in works}
            for name, per_second in rates.items():
                others = [f"{per_second / rates[other]:.1f} of {other}" for other in rates if other.startswith("sub") and name[:3] != "sub"]
                print(f"rate: {how}: {name}: {per_second:.1f} a second{''.join(f', {other}' for other in others)}")


def main() -> None:
    parser = argparse.ArgumentParser(description="What the library costs its caller.")
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--containers", type=int, default=500, help="that run at once, for memory and loop (default: %(default)s)")
    parser.add_argument("--only", metavar="PARTS", default=",".join(PARTS), help="default: %(default)s")
    options = parser.parse_args()
    parts: list[str] = options.only.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"--only: unknown {', '.join(sorted(unknown))}; choose from {', '.join(PARTS)}")
    # Some six descriptors for each container that runs.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory(prefix="pyrt-library.", dir="/dev/shm") as name:
        bundles, work = Path(name, "bundles"), Path(name, "work")
        contenders.make_bundles(bundles)
        work.mkdir()
        whole: dict[str, Callable[[], object]] = {
            "import": lambda: imports(options.iterations),
            "core": lambda: core(bundles / "true", options.iterations),
            "memory": lambda: memory(bundles / "rootfs", options.containers),
            "loop": lambda: loop(bundles / "rootfs", options.containers),
            "rate": lambda: rate(bundles, work, options.iterations),
        }
        for part in parts:
            whole[part]()


if __name__ == "__main__":
    main()
