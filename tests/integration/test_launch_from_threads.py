"""Callers with threads and forks: containers outlive the thread that launched them, never the process, and many launch at once.

Neighbours: test_nothing_stays.py (what is left when the caller is killed).
"""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import pyrt
from helpers import callers
from helpers.bundles import Bundle
from helpers.waiting import SOON, runs, until

LAUNCHES, THREADS = 40, 8


def test_a_container_outlives_the_thread_that_launched_it(runtime: pyrt.Runtime, bundle: Bundle) -> None:
    made: list[pyrt.Container] = []
    thread = threading.Thread(target=lambda: made.append(runtime.create("thread", bundle=bundle.args("sleep", "100").path)))
    thread.start()
    thread.join()
    (container,) = made
    container.start()
    assert container.status == "running"
    container.kill("KILL")
    assert container.wait(timeout=SOON) == -signal.SIGKILL
    container.delete()


def test_a_library_container_outlives_the_thread_that_launched_it(rootfs: Path) -> None:
    from pyrt.configuration import configure
    from pyrt.launch import Launch
    from pyrt.stdio import DEVNULL, Stdio

    launches: list[Launch] = []

    def launch() -> None:
        plan = configure(["sleep", "100"], {"rootfs": rootfs}).plan()
        launches.append(Launch(plan, Stdio(DEVNULL, DEVNULL, DEVNULL)))

    thread = threading.Thread(target=launch)
    thread.start()
    thread.join()
    with launches[0] as running:
        assert running.process.wait(0.1) is None, "PR_SET_PDEATHSIG would have followed the thread"


def test_many_threads_launch_at_once(rootfs: Path) -> None:
    def launch(number: int) -> int:
        script = f"echo {number}; exit {number}"
        done = pyrt.run(["sh", "-c", script], rootfs=rootfs, capture_output=True, text=True)
        assert done.stdout == f"{number}\n"
        return done.returncode

    with ThreadPoolExecutor(THREADS) as pool:
        assert list(pool.map(launch, range(LAUNCHES))) == list(range(LAUNCHES))


def test_many_threads_create_and_delete_in_one_state_directory(runtime: pyrt.Runtime, bundle: Bundle) -> None:
    bundle.shell("exit 3")

    def life(number: int) -> int | None:
        container = runtime.create(f"many-{number}", bundle=bundle.path)
        container.start()
        status = container.wait(timeout=SOON)
        container.delete()
        return status

    with ThreadPoolExecutor(THREADS) as pool:
        assert set(pool.map(life, range(LAUNCHES))) == {3}
    assert runtime.list() == []


def test_one_id_is_won_by_one_of_many_threads(runtime: pyrt.Runtime, bundle: Bundle) -> None:
    bundle.args("sleep", "100")

    def attempt(_: int) -> str:
        try:
            runtime.create("one", bundle=bundle.path)
        except pyrt.AlreadyExists:
            return "in use"
        return "created"

    with ThreadPoolExecutor(THREADS) as pool:
        outcomes = list(pool.map(attempt, range(THREADS)))
    assert sorted(outcomes) == ["created", *["in use"] * (THREADS - 1)]
    runtime.get("one").delete(force=True)


FORK = """
def forked():
    while not os.path.exists(sys.argv[2]):
        time.sleep(0.01)
    child = os.fork()
    if child == 0:
        time.sleep(100)
    print(child, flush=True)
    os.kill(os.getpid(), 9)
threading.Thread(target=forked).start()
pyrt.run(["sh", "-c", "echo started; sleep 100; true", marker], rootfs=sys.argv[1])
"""


def test_a_forked_child_that_stays_does_not_keep_the_container_alive(rootfs: Path) -> None:
    marker = callers.new_marker()
    go = rootfs.parent / "go"
    with callers.start(FORK, marker, rootfs, go) as caller:
        assert caller.stdout is not None
        assert caller.stdout.readline() == "started\n"
        assert callers.marked(marker)
        go.touch()
        child = int(caller.stdout.readline())
        try:
            assert caller.wait(SOON) == -signal.SIGKILL
            assert runs(child)
            until(lambda: not callers.marked(marker), "the container ends")
            assert runs(child), "the fork holds a copy of every descriptor"
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_forked_child_cannot_end_its_parent_s_container(runtime: pyrt.Runtime, running: pyrt.Container) -> None:
    child = os.fork()
    if child == 0:
        try:
            del running
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert runtime.get(running.id).status == "running"


def test_a_wait_in_one_thread_does_not_hold_up_another(running: pyrt.Container) -> None:
    outcome: list[int | None] = []
    waiter = threading.Thread(target=lambda: outcome.append(running.wait(timeout=SOON)))
    waiter.start()
    assert running.status == "running"
    running.kill("KILL")
    waiter.join(SOON)
    assert outcome == [-signal.SIGKILL]


def test_an_ignored_sigchld_of_the_caller_does_not_hide_the_status(rootfs: Path) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert pyrt.run(["sh", "-c", "exit 5"], rootfs=rootfs).returncode == 5
    finally:
        signal.signal(signal.SIGCHLD, before)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning")
def test_a_reaper_thread_of_the_caller_does_not_hide_the_status(rootfs: Path) -> None:
    stop = threading.Event()

    def reap() -> None:
        while not stop.is_set():
            try:
                os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                stop.wait(0.001)

    thread = threading.Thread(target=reap)
    thread.start()
    try:
        for number in range(5):
            assert pyrt.run(["sh", "-c", f"exit {number}"], rootfs=rootfs).returncode == number
    finally:
        stop.set()
        thread.join()
