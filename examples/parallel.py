"""Many short jobs, a few at a time, with one budget for all of them. `python3 examples/parallel.py`."""

import asyncio
import os

import pyrt

JOBS = 50


async def job(number: int, group: pyrt.Cgroup, places: asyncio.Semaphore) -> int:
    async with places:
        done = await pyrt.aio.run(["sh", "-c", f"echo $(({number} * {number}))"], cgroup=group, stdout=pyrt.PIPE, text=True, check=True)
    return int(done.stdout)


async def main() -> None:
    places = asyncio.Semaphore(os.cpu_count() or 1)
    with pyrt.Cgroup.create(f"parallel-{os.getpid()}", pyrt.Limits(memory="1G", pids=512)) as group:
        results = await asyncio.gather(*(job(number, group, places) for number in range(JOBS)))
        used = group.usage()
    print(f"sum {sum(results)}; processor time of all: {(used.cpu_usec or 0) / 1e6:.2f} s")


if __name__ == "__main__":
    asyncio.run(main())
