"""ContainerExecutor: Python functions in containers: results, errors, limits, reuse, ends. And what pickles, so that others ship it.

Neighbours: test_pytest_plugin.py, test_dask.py.
"""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import Executor, Future, wait
from pathlib import Path
from typing import Any

import pytest

import pyrt
from helpers.hosts import requires
from helpers.waiting import SOON, runs, until

pytest.importorskip("cloudpickle")


def by_value(function: Any) -> Any:
    """Of this module, which no container has: as functions of __main__ are."""
    function.__module__ = "__main__"
    return function


def test_it_is_an_executor_whose_calls_run_in_containers() -> None:
    with pyrt.ContainerExecutor(2) as executor:
        assert isinstance(executor, Executor)
        future = executor.submit(os.uname)
        assert future.result().nodename == "pyrt" != os.uname().nodename
        assert list(executor.map(pow, [2, 3], [5, 2])) == [32, 9]
        assert executor.submit(int, "ff", base=16).result() == 255


def test_closures_and_lambdas_go_and_come() -> None:
    factor = 7
    with pyrt.ContainerExecutor(1) as executor:
        assert executor.submit(by_value(lambda number: number * factor), 6).result() == 42
        returned = executor.submit(by_value(lambda: lambda: "made inside")).result()
        assert returned() == "made inside"


def test_large_arguments_and_results_go_through() -> None:
    data = os.urandom(3 << 20)
    with pyrt.ContainerExecutor(1) as executor:
        assert executor.submit(bytes, data).result() == data


def test_an_exception_comes_back_with_the_traceback_inside() -> None:
    def inner(number: int) -> None:
        raise KeyError(number)

    with pyrt.ContainerExecutor(1) as executor, pytest.raises(KeyError) as failure:
        executor.submit(by_value(inner), 5).result()
    assert failure.value.args == (5,)
    cause = failure.value.__cause__
    assert isinstance(cause, pyrt.RemoteError)
    assert "in inner" in cause.traceback
    assert str(cause).startswith("KeyError: 5\n\nTraceback")


def test_what_cannot_be_carried_back_is_told_in_words() -> None:
    def unreadable() -> None:
        class Inner(Exception):
            def __reduce__(self) -> Any:
                raise TypeError("no")

        raise Inner("words")

    with pyrt.ContainerExecutor(1, max_calls=None) as executor:
        with pytest.raises(pyrt.RemoteError) as failure:
            executor.submit(by_value(unreadable)).result()
        assert (failure.value.type_name.rpartition(".")[2], failure.value.message) == ("Inner", "words")
        with pytest.raises(TypeError, match="cannot pickle"):
            executor.submit(threading.Lock).result()
        with pytest.raises((TypeError, pickle.PicklingError)):
            executor.submit(id, threading.Lock()).result()
        assert executor.submit(len, "still good").result() == 10


def test_sys_exit_and_os_exit_are_told_apart() -> None:
    with pyrt.ContainerExecutor(1) as executor:
        with pytest.raises(SystemExit):
            executor.submit(sys.exit, 3).result()
        with pytest.raises(pyrt.ContainerFailed) as failure:
            executor.submit(os._exit, 3).result()
    assert (failure.value.returncode, failure.value.result.cause) == (3, pyrt.Cause.EXITED)


@requires("memory controller")
def test_a_call_beyond_its_memory_fails_and_says_so() -> None:
    with pyrt.ContainerExecutor(1, memory="64M") as executor:
        with pytest.raises(pyrt.ContainerFailed, match="out of memory at its limit of 64 MiB") as failure:
            executor.submit(bytes, 1 << 30).result()
        assert failure.value.result.cause is pyrt.Cause.OOM
        assert executor.submit(len, "next").result() == 4


def test_a_call_beyond_its_time_is_ended() -> None:
    with pyrt.ContainerExecutor(1, timeout=5) as executor:
        with pytest.raises(pyrt.ContainerTimeout):
            executor.submit(time.sleep, 1000).result()
        assert executor.submit(len, "next").result() == 4


def test_a_call_beyond_its_processor_time_is_ended() -> None:
    def spin() -> None:
        while True:
            pass

    with pyrt.ContainerExecutor(1, cpu_time=0.5, timeout=60) as executor, pytest.raises(pyrt.ContainerFailed) as failure:
        executor.submit(by_value(spin)).result()
    assert failure.value.result.cause is pyrt.Cause.CPU_TIME


def test_every_call_has_a_container_of_its_own_unless_more_are_asked_for() -> None:
    def count() -> int:
        with open("/tmp/calls", "a") as file:
            file.write("x")
        return os.stat("/tmp/calls").st_size

    for max_calls, expected in ((1, [1, 1, 1, 1]), (2, [1, 2, 1, 2]), (None, [1, 2, 3, 4])):
        with pyrt.ContainerExecutor(1, max_calls=max_calls) as executor:
            assert [executor.submit(by_value(count)).result() for _ in range(4)] == expected


def test_with_json_nothing_that_comes_back_is_unpickled(tmp_path: Path) -> None:
    made = str(tmp_path / "made")

    def attack() -> Any:
        class Attack:
            def __reduce__(self) -> Any:
                return os.mkdir, (made,)

        frame = b"R" + pickle.dumps(Attack())
        os.write(4, len(frame).to_bytes(8, "big") + frame)

    with pyrt.ContainerExecutor(1, result="json") as executor:
        assert executor.submit(dict, a=[1, "two", None]).result() == {"a": [1, "two", None]}
        with pytest.raises(pyrt.RemoteError) as failure:
            executor.submit(int, "no number").result()
        assert (failure.value.type_name, "invalid literal" in failure.value.message) == ("ValueError", True)
        with pytest.raises(pyrt.RemoteError, match="the result is no JSON"):
            executor.submit(by_value(attack)).result()
        with pytest.raises(pyrt.RemoteError, match="not JSON serializable"):
            executor.submit(set).result()
    assert not tmp_path.joinpath("made").exists()


def test_an_answer_is_not_read_beyond_max_result() -> None:
    def lie() -> None:
        os.write(4, (1 << 62).to_bytes(8, "big") + b"R")
        time.sleep(1000)

    with pyrt.ContainerExecutor(1, max_result="1K") as executor:
        with pytest.raises(pyrt.RemoteError, match="larger than max_result"):
            executor.submit(by_value(lie)).result()
        with pytest.raises(pyrt.RemoteError, match="larger than max_result"):
            executor.submit(bytes, 2000).result()
        assert executor.submit(bytes, 10).result() == bytes(10)


def test_what_is_printed_goes_where_the_options_say(capfd: pytest.CaptureFixture[str]) -> None:
    with pyrt.ContainerExecutor(1) as executor:
        executor.submit(print, "from inside").result()
    assert capfd.readouterr().out == "from inside\n"


def test_calls_run_beside_each_other_and_no_more_than_max_workers() -> None:
    with pyrt.ContainerExecutor(2) as executor:
        futures: list[Future[None]] = [executor.submit(time.sleep, 0.2) for _ in range(4)]
        assert not wait(futures, 60).not_done


def test_after_shutdown_nothing_is_taken_and_nothing_lives() -> None:
    executor = pyrt.ContainerExecutor(1, max_calls=None)
    executor.submit(len, "").result()
    pids = [worker._box.pid for worker in executor._idle]
    assert len(pids) == 1
    waiting = executor.submit(time.sleep, 0.5)
    until(waiting.running, "it runs")
    pending = executor.submit(time.sleep, 1000)
    executor.shutdown(cancel_futures=True)
    assert (waiting.result(), pending.cancelled()) == (None, True)
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(len, "")
    assert not any(runs(pid) for pid in pids)


def test_kill_all_ends_a_call() -> None:
    with pyrt.ContainerExecutor(1) as executor:
        future = executor.submit(time.sleep, 1000)
        until(lambda: future.running(), "it runs")
        deadline = time.monotonic() + SOON
        while not future.done() and time.monotonic() < deadline:
            pyrt.kill_all()
            time.sleep(0.05)
        with pytest.raises(pyrt.ContainerFailed):
            future.result(0)


def test_a_forked_child_cannot_use_it() -> None:
    with pyrt.ContainerExecutor(1) as executor:
        pid = os.fork()
        if pid == 0:
            try:
                executor.submit(len, "")
            except pyrt.InvalidState:
                os._exit(0)
            os._exit(1)
        assert os.waitpid(pid, 0)[1] == 0


def test_an_executor_that_is_dropped_leaves_nothing() -> None:
    executor = pyrt.ContainerExecutor(1, max_calls=None)
    executor.submit(len, "").result()
    thread = next(iter(executor._threads._threads))

    def drop() -> None:
        nonlocal executor
        del executor
        gc.collect()
        thread.join(SOON)
        gc.collect()

    with pytest.warns(ResourceWarning, match="unclosed"):
        drop()


def test_wrong_arguments_raise_at_once() -> None:
    with pytest.raises(ValueError, match="result is 'yaml'"):
        pyrt.ContainerExecutor(result="yaml")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_calls is 0"):
        pyrt.ContainerExecutor(max_calls=0)
    with pytest.raises(TypeError, match="max_workers is str"):
        pyrt.ContainerExecutor("2")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="neither pass_fds"):
        pyrt.ContainerExecutor(pass_fds=(1,))
    with pytest.raises(TypeError, match=r"ContainerExecutor\(\) got an unexpected keyword argument 'unknown'"):
        pyrt.ContainerExecutor(unknown=1)  # type: ignore[call-arg]


def test_an_error_of_the_container_is_the_futures() -> None:
    with pyrt.ContainerExecutor(1, python="/no/such/python") as executor, pytest.raises(FileNotFoundError):
        executor.submit(len, "").result()


def test_a_program_that_ends_without_shutdown_is_not_held_up() -> None:
    script = "import pyrt; executor = pyrt.ContainerExecutor(1, max_calls=None); print(executor.submit(len, 'four').result())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "4\n")


def test_specs_options_and_results_pickle() -> None:
    done = pyrt.run(["echo", "said"], capture_output=True, text=True)
    limits = pyrt.Limits(memory="1G")
    spec = pyrt.Spec()
    for value in (done, limits, pyrt.HostView(hide=["/usr/share"]), pyrt.Mount.parse("type=tmpfs,dst=/x"), pyrt.Changes(["/a"], [], [])):
        again = pickle.loads(pickle.dumps(value))
        assert repr(again) == repr(value)
    assert pickle.loads(pickle.dumps(spec)).config == spec.config
    error = pickle.loads(pickle.dumps(pyrt.RemoteError("ValueError", "words", "Traceback")))
    assert (error.type_name, error.message, error.traceback) == ("ValueError", "words", "Traceback")
