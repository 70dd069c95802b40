"""How a container of `run` ends when it does not end by itself: timeouts, exceptions, Ctrl-C, threads, forks, a caller that is killed.

Whatever happens, nothing stays: the fixture `nothing_left` looks for processes, mounts, cgroups, threads and descriptors after each test.
`Launch` stands in for handles that live longer than one call; `run` is made of it.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import FrameType

import pytest

import pyrt
from helpers.waiting import BY_THEN, SOON
from pyrt.configuration import configure
from pyrt.launch import Launch
from pyrt.stdio import DEVNULL, PIPE, Stdio

SLEEPS = ["sleep", "1000"]
BRIEF = 0.3
"""Seconds until what a test waits for happens, where it matters little how far the command is by then."""
THREADS = 20


class Interrupted(Exception):
    """What a signal handler of the caller's raises."""


@pytest.fixture
def handler() -> Iterator[None]:
    """SIGUSR1 and SIGALRM raise Interrupted in the main thread, as a callback of the caller's may."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interrupted

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGUSR1, signal.SIGALRM)}
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, action in before.items():
        signal.signal(number, action)


@contextlib.contextmanager
def signalled(number: signal.Signals, seconds: float = BRIEF) -> Iterator[None]:
    """The main thread gets the signal after that time."""
    timer = threading.Timer(seconds, lambda: signal.pthread_kill(threading.main_thread().ident or 0, number))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def launched() -> Launch:
    """A running container of this process, with a handle."""
    configuration = configure(SLEEPS, {})
    return Launch(configuration.plan(), Stdio(DEVNULL, DEVNULL, DEVNULL))


def alive(launch: Launch) -> bool:
    return launch.process.wait(0) is None


# Timeouts


def test_a_timeout_ends_everything_inside_and_hands_over_what_there_is() -> None:
    with pytest.raises(pyrt.ContainerTimeout) as caught:
        pyrt.run(["sh", "-c", "echo part; setsid sleep 1000 & sleep 1000"], capture_output=True, text=True, timeout=BY_THEN)
    error = caught.value
    assert str(error) == f"sh timed out after {BY_THEN} seconds"
    assert (error.timeout, error.cmd[0], error.stdout, error.stderr) == (BY_THEN, "sh", "part\n", "")
    assert (error.result.cause, error.result.returncode) == (pyrt.Cause.TIMEOUT, -signal.SIGKILL)
    assert error.result.usage.max_rss_bytes is not None


def test_a_timeout_holds_without_pipes_too() -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        pyrt.run(SLEEPS, timeout=BRIEF)


def test_a_timeout_holds_while_the_command_does_not_read_its_input() -> None:
    with pytest.raises(pyrt.ContainerTimeout):
        pyrt.run(SLEEPS, input=b"x" * 1_000_000, timeout=BRIEF)


@pytest.mark.parametrize("timeout", [0, -1, 1e-9])
def test_a_timeout_that_has_passed_already_raises(timeout: float) -> None:
    with pytest.raises(pyrt.ContainerTimeout):
        pyrt.run(SLEEPS, capture_output=True, timeout=timeout)


def test_a_command_that_catches_every_signal_is_ended_by_a_timeout() -> None:
    with pytest.raises(pyrt.ContainerTimeout):
        pyrt.run(["sh", "-c", "trap '' TERM INT HUP; while :; do sleep 1; done"], timeout=BRIEF)


def test_a_character_cut_in_two_does_not_hide_the_timeout() -> None:
    with pytest.raises(pyrt.ContainerTimeout) as caught:
        pyrt.run(["sh", "-c", r"printf 'a\303'; sleep 1000"], stdout=pyrt.PIPE, text=True, timeout=BY_THEN)
    assert caught.value.stdout == "a\N{REPLACEMENT CHARACTER}"


def test_a_command_that_ends_in_time_is_not_touched() -> None:
    done = pyrt.run(["sh", "-c", "exit 4"], timeout=1e9)
    assert (done.returncode, done.cause) == (4, pyrt.Cause.EXITED)


def test_a_timeout_that_is_no_number_of_seconds_leaves_nothing() -> None:
    with pytest.raises(ValueError, match="timeout is not a number"):
        pyrt.run(SLEEPS, timeout=float("nan"))


# Exceptions and signals


@pytest.mark.parametrize("capture_output", [False, True])
def test_ctrl_c_raises_and_ends_everything(capture_output: bool) -> None:
    with pytest.raises(KeyboardInterrupt), signalled(signal.SIGINT):
        pyrt.run(["sh", "-c", "setsid sleep 1000 & sleep 1000"], capture_output=capture_output)


@pytest.mark.parametrize("capture_output", [False, True])
def test_an_exception_of_a_signal_handler_comes_out_and_ends_everything(handler: None, capture_output: bool) -> None:
    with pytest.raises(Interrupted), signalled(signal.SIGUSR1):
        pyrt.run(SLEEPS, capture_output=capture_output)


@pytest.mark.parametrize("capture_output", [False, True])
def test_a_signal_handler_that_returns_does_not_disturb(capture_output: bool) -> None:
    seen: list[int] = []
    reading, writing = os.pipe()

    def see(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        os.write(writing, b"go on\n")

    before = signal.signal(signal.SIGUSR1, see)
    try:
        with signalled(signal.SIGUSR1, BRIEF / 3):
            done = pyrt.run(["sh", "-c", "read line; exit 6"], stdin=reading, capture_output=capture_output)
    finally:
        signal.signal(signal.SIGUSR1, before)
        os.close(reading)
        os.close(writing)
    assert (done.returncode, seen) == (6, [signal.SIGUSR1])


def test_an_exception_at_any_moment_of_a_launch_leaves_nothing(handler: None) -> None:
    interrupted = 0
    for step in range(40):
        # From before the clone to after the start: half a millisecond to twenty.
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.0005 * (step + 1))
            pyrt.run(["sleep", "0.05"])
        except Interrupted:
            interrupted += 1
    assert interrupted == 40


def test_an_exception_at_any_moment_of_the_making_of_pipes_leaves_no_descriptor(handler: None) -> None:
    def make(seconds: float) -> None:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        made = Stdio(DEVNULL, PIPE, PIPE)
        made.close_inside()
        made.close()
        signal.setitimer(signal.ITIMER_REAL, 0)

    before, interrupted = set(os.listdir("/proc/self/fd")), 0
    for step in range(1000):
        try:
            make(0.000001 * (step % 50 + 1))
        except Interrupted:
            interrupted += 1
    assert interrupted
    assert set(os.listdir("/proc/self/fd")) == before


# Handles


def test_leaving_the_block_by_an_exception_ends_everything() -> None:
    launch = launched()
    assert alive(launch)
    with pytest.raises(Interrupted), launch:
        raise Interrupted
    assert repr(launch) == "Launch(ended)"


def test_a_dropped_launch_ends_everything() -> None:
    """Without a warning: that is for handles which people have, and a signal handler may raise before there is one."""
    launch = launched()
    pid = launch.process.pid
    del launch
    gc.collect()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_dropped_handle_ends_everything_where_warnings_are_errors() -> None:
    box = pyrt.Popen(SLEEPS)
    pid = box.pid
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del box
        gc.collect()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_closed_handle_says_so_and_closes_twice() -> None:
    launch = launched()
    launch.close()
    launch.close()
    with pytest.raises(pyrt.InvalidState, match="Launch is closed"):
        launch.usage()


# Threads


def test_many_threads_run_containers_at_once() -> None:
    def one(number: int) -> tuple[int, bytes]:
        done = pyrt.run(["sh", "-c", f"cat; echo {number} >&2; exit {number}"], input=b"%d" % number, capture_output=True)
        assert done.stderr == b"%d\n" % number
        return done.returncode, done.stdout

    with ThreadPoolExecutor(THREADS) as pool:
        said = list(pool.map(one, range(2 * THREADS)))
    assert said == [(number, b"%d" % number) for number in range(2 * THREADS)]


def test_threads_end_their_own_container_at_a_timeout_and_no_other() -> None:
    def one(number: int) -> str:
        if number % 2:
            return pyrt.run(["sh", "-c", f"sleep {3 * BRIEF}; echo whole"], stdout=pyrt.PIPE, text=True).stdout
        with pytest.raises(pyrt.ContainerTimeout):
            pyrt.run(SLEEPS, timeout=BRIEF)
        return "ended"

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(one, range(6))) == ["ended", "whole\n"] * 3


def test_a_container_outlives_the_thread_that_launched_it() -> None:
    """Not so with PR_SET_PDEATHSIG, which follows the thread."""
    made: list[Launch] = []
    thread = threading.Thread(target=lambda: made.append(launched()))
    thread.start()
    thread.join()
    with made[0] as launch:
        assert launch.process.wait(BRIEF) is None


def test_a_handle_may_be_ended_by_another_thread() -> None:
    with ThreadPoolExecutor(1) as pool, launched() as launch:
        waiting = pool.submit(launch.process.wait)
        launch.kill()
        assert waiting.result(timeout=SOON) == -signal.SIGKILL


# Forks


def in_forked_child(act: str) -> str:
    """What a script prints that launches a container, forks, and does `act` in the child, where `launch` and `pyrt` are known.

    In an interpreter of its own, which is neither pytest's nor threaded: a fork of that would be a defect of the test.
    """
    script = f"""
import gc, os, pyrt
from pyrt.configuration import configure
from pyrt.launch import Launch
from pyrt.stdio import DEVNULL, Stdio
launch = Launch(configure(["sleep", "1000"], {{}}).plan(), Stdio(DEVNULL, DEVNULL, DEVNULL))
child = os.fork()
if child == 0:
    try:
        {act}
    finally:
        os._exit(0)
os.waitpid(child, 0)
print("alive" if launch.process.wait(0.1) is None else "ended", flush=True)
launch.close()
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=SOON, check=True)
    assert done.stderr == ""
    return done.stdout


def test_a_forked_child_s_copy_of_a_handle_ends_nothing() -> None:
    assert in_forked_child("del launch; gc.collect()") == "alive\n"


def test_a_forked_child_that_leaves_the_block_ends_nothing() -> None:
    assert in_forked_child("launch.__exit__(None, None, None)") == "alive\n"


def test_a_forked_child_that_uses_the_handle_is_told_why_not() -> None:
    act = """
        for use in (launch.kill, launch.close, launch.usage):
            try:
                use()
            except pyrt.InvalidState as error:
                print("belongs to process" in str(error), error.hint, flush=True)"""
    assert in_forked_child(act.strip()) == "True make it in the process that uses it\n" * 3 + "alive\n"


def test_a_forked_child_runs_containers_of_its_own() -> None:
    act = 'print(pyrt.run(["echo", "child"], stdout=pyrt.PIPE, text=True).stdout, end="", flush=True)'
    assert in_forked_child(act) == "child\nalive\n"


def test_a_fork_amid_threads_that_launch_can_launch_too() -> None:
    """No lock that a thread holds at the fork may be one that the child needs."""
    script = """
import os, pyrt, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)
pyrt.run(["true"])  # Python's own locks of modules that are being imported do not survive a fork
stop = threading.Event()
def work():
    while not stop.is_set():
        pyrt.run(["true"])
threads = [threading.Thread(target=work) for _ in range(3)]
[thread.start() for thread in threads]
for _ in range(20):
    child = os.fork()
    if child == 0:
        os._exit(pyrt.run(["sh", "-c", "exit 8"]).returncode)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
stop.set()
[thread.join() for thread in threads]
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("8\n" * 20, "")


# The end of the caller


def caller(script: str) -> subprocess.Popen[str]:
    """An interpreter whose containers write to the pipe that is its standard output."""
    return subprocess.Popen([sys.executable, "-c", f"import os, pyrt\n{script}"], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_containers_end_with_a_caller_that_is_killed(number: signal.Signals) -> None:
    with caller("pyrt.run(['sh', '-c', 'echo runs; setsid sleep 1000 & sleep 1000'])") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "runs\n"
        process.send_signal(number)
        # The end of the file: nobody inside holds the pipe any more.
        assert process.stdout.read() == ""


def test_a_caller_that_exits_with_an_open_handle_ends_it() -> None:
    script = """
from pyrt.configuration import configure
from pyrt.launch import Launch
from pyrt.stdio import Stdio
launch = Launch(configure(["sh", "-c", "echo runs; sleep 1000"], {}).plan(), Stdio())
os.read(os.open("/dev/null", 0), 1)
"""
    with caller(script) as process:
        assert process.stdout is not None
        assert process.stdout.read() in ("runs\n", "")
    assert process.returncode == 0
