"""Every ending in every setting: afterwards nothing that was inside lives, and no cgroup, mount, file or descriptor stays.

Endings: a timeout, an exception, a cancellation, Ctrl-C, a dropped handle, SIGKILL of the caller at any step. Settings: the main
thread, a worker thread that has ended, with a forked child that stays, an event loop. Each pair is an interpreter of its own.
Neighbours: test_endings.py and test_popen.py (single cases, and what they return).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from helpers import callers
from helpers.waiting import until

PREAMBLE = """
import asyncio, gc, signal, warnings
warnings.simplefilter("ignore")
# Two shells with the marker among their arguments, one of them in a session of its own.
command = ["sh", "-c", 'setsid sh -c "sleep 1000; :" "$0" & echo up; sleep 1000; :', marker]

def soon(act):
    timer = threading.Timer(0.1, act)
    timer.start()
    return timer

def interrupt():
    # Whichever thread waits, Python gives Ctrl-C to the main one.
    os.kill(os.getpid(), signal.SIGINT)

def fork_that_stays():
    child = os.fork()
    if child == 0:
        os.close(1)
        while True:
            signal.pause()

def warm():
    pyrt.run(["true"])
    return set(os.listdir("/proc/self/fd"))

def over(before):
    # Helper threads and the loop's own descriptors are gone by now, too.
    gc.collect()
    print("ended", sorted(set(os.listdir("/proc/self/fd")) - before), flush=True)
    sys.stdout.close()
    while True:
        signal.pause()
"""

SYNCHRONOUS = """
def make():
    box = pyrt.Popen(command, stdout=pyrt.PIPE)
    assert box.stdout.readline() == b"up\\n"
    return box

def in_a_worker():
    made = []
    worker = threading.Thread(target=lambda: made.append(make()))
    worker.start()
    worker.join()
    return made.pop()

before = warm()
box = in_a_worker() if setting == "worker" else make()
if setting == "fork":
    fork_that_stays()
if ending == "timeout":
    try:
        box.communicate(timeout=0.1)
    except pyrt.ContainerTimeout:
        box.close()
elif ending == "exception":
    try:
        with box:
            raise LookupError
    except LookupError:
        pass
elif ending == "cancellation":
    timer = soon(pyrt.kill_all)
    assert box.wait() == -9
    timer.join()
    box.close()
elif ending == "ctrl-c":
    timer = soon(interrupt)
    try:
        with box:
            box.wait()
    except KeyboardInterrupt:
        pass
    timer.join()
assert ending == "dropped" or box.returncode == -9
del box
over(before)
"""

ASYNCHRONOUS = """
async def work():
    box = await pyrt.aio.create_subprocess_exec(*command, stdout=pyrt.PIPE)
    assert await box.stdout.readline() == b"up\\n"
    if ending == "timeout":
        try:
            await pyrt.aio.run(command, stdout=pyrt.PIPE, timeout=0.1)
        except pyrt.ContainerTimeout:
            await box.aclose()
    elif ending == "exception":
        try:
            async with box:
                raise LookupError
        except LookupError:
            pass
    elif ending == "cancellation":
        # Of one that runs, of one that is being launched, of one that has not begun, and twice.
        tasks = [asyncio.ensure_future(pyrt.aio.run(command, stdout=pyrt.PIPE)) for _ in range(5)]
        for pause in (0, 0.005, 0.1):
            await asyncio.sleep(pause)
            for task in tasks[:3]:
                task.cancel()
        for task in tasks:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in done), done
        await box.aclose()
    elif ending == "ctrl-c":
        soon(interrupt)
        async with box:
            await pyrt.aio.run(command, stdout=pyrt.PIPE)
    elif ending == "dropped":
        del box
        while threading.active_count() > 1:
            # The helper threads end with the last container.
            await asyncio.sleep(0.01)

before = warm()
try:
    asyncio.run(work())
except KeyboardInterrupt:
    assert ending == "ctrl-c"
over(before)
"""

KILLED = """
def launch():
    if setting == "fork":
        fork_that_stays()
    if setting == "asyncio":
        asyncio.run(pyrt.aio.run(command))
    elif setting == "worker":
        worker = threading.Thread(target=lambda: made.append(pyrt.Popen(command)))
        worker.start()
        worker.join()
    else:
        made.append(pyrt.Popen(command))
    while True:
        signal.pause()

made, callers = [], []
for step in range(steps):
    caller = os.fork()
    if caller == 0:
        os.setpgid(0, 0)
        null = os.open("/dev/null", os.O_RDWR)
        os.dup2(null, 1)
        os.dup2(null, 2)
        launch()
    callers.append(caller)
    time.sleep(0.001 + 0.004 * step)
    os.kill(caller, signal.SIGKILL)
    os.waitpid(caller, 0)
print(*callers, flush=True)
"""


@contextmanager
def caller(script: str, marker: str, **values: object) -> Iterator[str]:
    """What an interpreter says that runs it; in the block it still lives."""
    said = "".join(f"{name} = {value!r}\n" for name, value in values.items())
    with callers.start(PREAMBLE + said + script, marker) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline()
        finally:
            # With its forked child, which has its process group.
            os.killpg(process.pid, signal.SIGKILL)


def cgroups(pid: int) -> list[Path]:
    """What there is of the cgroups of containers that the process launched."""
    return [*Path("/sys/fs/cgroup").glob(f"pyrt-run-{pid}-*"), *Path("/sys/fs/cgroup").glob(f"*/pyrt-run-{pid}-*")]


@pytest.mark.parametrize("setting", ["main", "worker", "fork", "asyncio"])
@pytest.mark.parametrize("ending", ["timeout", "exception", "cancellation", "ctrl-c", "dropped"])
def test_nothing_stays(ending: str, setting: str) -> None:
    marker = callers.new_marker()
    script = ASYNCHRONOUS if setting == "asyncio" else SYNCHRONOUS
    with caller(script, marker, ending=ending, setting=setting) as said:
        assert said == "ended []\n"
        assert callers.marked(marker) == []


@pytest.mark.parametrize("setting", ["main", "worker", "fork", "asyncio"])
def test_nothing_stays_when_the_caller_is_killed_at_any_step(setting: str) -> None:
    marker, steps = callers.new_marker(), 12
    with caller(KILLED, marker, setting=setting, steps=steps) as said:
        pids = [int(word) for word in said.split()]
        try:
            assert len(pids) == steps
            until(lambda: callers.marked(marker) == [], "what was inside has ended")
            until(lambda: not any(cgroups(pid) for pid in pids), "the cgroups are removed")
        finally:
            # The forked children that stayed, in the groups of their callers.
            for pid in pids if setting == "fork" else ():
                with suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
