"""pyrt.aio: run and processes with streams in an event loop. How they end when they do not end by themselves: test_every_ending.py."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import signal
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

import pyrt
from helpers.waiting import BY_THEN, SOON

Result = TypeVar("Result")
SLEEPS = ("sleep", "1000")


def loop(work: Coroutine[Any, Any, Result]) -> Result:
    return asyncio.run(asyncio.wait_for(work, SOON))


def test_run_returns_what_the_synchronous_one_does() -> None:
    arguments: dict[str, Any] = {"input": "in\n", "capture_output": True, "text": True}
    script = ["sh", "-c", "cat; echo err >&2; exit 3"]
    done, same = loop(pyrt.aio.run(script, **arguments)), pyrt.run(script, **arguments)
    assert (done.args, done.returncode, done.stdout, done.stderr) == (same.args, 3, "in\n", "err\n")
    assert (done.cause, done.warnings, type(done)) == (same.cause, same.warnings, type(same))


def test_run_moves_more_than_a_pipe_holds_both_ways() -> None:
    data = bytes(range(256)) * 4000
    assert loop(pyrt.aio.run(["cat"], input=data, stdout=pyrt.PIPE)).stdout == data


def test_run_s_bounds_hold() -> None:
    async def work() -> list[Any]:
        busy = pyrt.aio.run(["sh", "-c", "while :; do :; done"], cpu_time=0.2)
        loud = pyrt.aio.run(["yes"], stdout=pyrt.PIPE, max_output=10, max_output_action="kill")
        long = pyrt.aio.run(["sh", "-c", "echo a; sleep 1000"], stdout=pyrt.PIPE, timeout=BY_THEN)
        failed = pyrt.aio.run(["false"], check=True)
        return list(await asyncio.gather(busy, loud, long, failed, return_exceptions=True))

    busy, loud, long, failed = loop(work())
    assert (busy.cause, busy.returncode) == (pyrt.Cause.CPU_TIME, -signal.SIGKILL)
    assert (loud.cause, loud.stdout, loud.truncated) == (pyrt.Cause.OUTPUT, b"y\n" * 5, True)
    assert (type(long), long.stdout, long.result.cause) == (pyrt.ContainerTimeout, b"a\n", pyrt.Cause.TIMEOUT)
    assert (type(failed), failed.returncode) == (pyrt.ContainerFailed, 1)


def test_many_containers_run_at_once_in_one_loop_with_two_threads_beside() -> None:
    count = 40

    async def work() -> tuple[int, set[int]]:
        stdin, ours = os.pipe()
        theirs, stdout = os.pipe()
        boxes = [
            asyncio.ensure_future(pyrt.aio.run(["sh", "-c", "echo; read x; exit 5"], stdin=stdin, stdout=stdout)) for _ in range(count)
        ]
        said, most = 0, 0
        os.set_blocking(theirs, False)
        while said < count:
            await asyncio.sleep(0.01)
            most = max(most, threading.active_count())
            try:
                said += len(os.read(theirs, count))
            except BlockingIOError:
                continue
        # All of them run now, and end when the pipe that they read does.
        os.close(ours)
        codes = {done.returncode for done in await asyncio.gather(*boxes)}
        for descriptor in (stdin, theirs, stdout):
            os.close(descriptor)
        return most, codes

    before = threading.active_count()
    most, codes = loop(work())
    assert most <= before + 2
    assert codes == {5}


def test_system_calls_are_decided_in_the_loop_and_what_a_handler_raises_comes_out() -> None:
    names: list[str] = []

    def refuse(call: pyrt.SystemCall) -> Any:
        names.append(call.name)
        return call.error(errno.EXDEV)

    def fail(call: pyrt.SystemCall) -> Any:
        raise LookupError(call.name)

    script = ["sh", "-c", "mkdir /tmp/x || exit 9"]
    calls = ("mkdir", "mkdirat")
    done = loop(pyrt.aio.run(script, stderr=pyrt.PIPE, on_syscall=dict.fromkeys(calls, refuse)))
    assert (done.returncode, names[0] in calls) == (9, True)
    assert b"cross-device link" in done.stderr
    with pytest.raises(LookupError, match="mkdir"):
        loop(pyrt.aio.run(script, on_syscall=dict.fromkeys(calls, fail)))


def test_a_process_talks_by_streams() -> None:
    async def work() -> None:
        async with await pyrt.aio.create_subprocess_exec("cat", stdin=pyrt.PIPE, stdout=pyrt.PIPE) as box:
            assert box.stdin is not None
            assert box.stdout is not None
            for line in (b"one\n", b"two\n"):
                box.stdin.write(line)
                assert await box.stdout.readline() == line
            assert (box.returncode, box.cause) == (None, None)
            box.stdin.close()
            assert (await box.stdout.read(), await box.wait()) == (b"", 0)
            assert (box.returncode, box.cause, box.explanation is None) == (0, pyrt.Cause.EXITED, False)
            assert box.usage().max_rss_bytes is not None

    loop(work())


def test_communicate_writes_reads_and_waits() -> None:
    async def work() -> None:
        shell = pyrt.aio.create_subprocess_shell("cat; echo err >&2; exit 4", stdin=pyrt.PIPE, stdout=pyrt.PIPE, stderr=pyrt.PIPE)
        async with await shell as box:
            assert await box.communicate(b"x" * 300_000) == (b"x" * 300_000, b"err\n")
            assert box.returncode == 4
            assert await box.communicate() == (b"x" * 300_000, b"err\n")

    loop(work())


def test_communicate_goes_on_after_a_cancellation_without_loss() -> None:
    async def work() -> None:
        read, write = os.pipe()
        async with await pyrt.aio.create_subprocess_shell("echo a; read x; echo $x", stdin=read, stdout=pyrt.PIPE) as box:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(box.communicate(), 0.3)
            assert box.returncode is None
            os.write(write, b"b\n")
            assert await box.communicate() == (b"a\nb\n", None)
        os.close(read)
        os.close(write)

    loop(work())


def test_signals_reach_the_command_and_kill_ends_everything_inside() -> None:
    async def work() -> None:
        async with (
            await pyrt.aio.create_subprocess_exec(*SLEEPS) as one,
            await pyrt.aio.create_subprocess_shell("setsid sleep 1000 & echo up; wait", stdout=pyrt.PIPE) as two,
        ):
            one.terminate()
            assert two.stdout is not None
            assert await two.stdout.readline() == b"up\n"
            two.kill()
            assert (await one.wait(), await two.wait(), await two.stdout.read()) == (-signal.SIGTERM, -signal.SIGKILL, b"")
            one.send_signal("TERM")

    loop(work())


def test_leaving_the_block_ends_it() -> None:
    async def work() -> pyrt.aio.Process:
        async with await pyrt.aio.create_subprocess_exec(*SLEEPS, stdin=pyrt.PIPE, stdout=pyrt.PIPE) as box:
            pass
        await box.aclose()
        return box

    assert loop(work()).returncode == -signal.SIGKILL


def test_an_ended_process_holds_nothing_though_nobody_waits() -> None:
    async def work() -> None:
        await pyrt.aio.run(["true"])
        before = set(os.listdir("/proc/self/fd"))
        box = await pyrt.aio.create_subprocess_exec("true")
        while box.returncode is None:
            await asyncio.sleep(0.01)
        assert set(os.listdir("/proc/self/fd")) == before
        del box
        gc.collect()

    loop(work())


def test_a_missing_program_raises_and_names_it() -> None:
    async def work() -> None:
        for start in (pyrt.aio.run(["/no/such"]), pyrt.aio.create_subprocess_exec("/no/such", stdin=pyrt.PIPE, stdout=pyrt.PIPE)):
            with pytest.raises(FileNotFoundError) as failure:
                await start
            assert failure.value.filename == "/no/such"

    loop(work())


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"text": True}, TypeError, "aio.create_subprocess_exec() takes no text: its streams are of bytes"),
        ({"timeout": 1}, TypeError, "takes no timeout: asyncio.wait_for"),
        ({"preexec_fn": print}, TypeError, "takes no preexec_fn: Python code cannot run"),
        ({"limit": "1"}, TypeError, "limit is str, not an int"),
    ],
)
def test_a_wrong_argument_is_refused_by_name(arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error) as refused:
        loop(pyrt.aio.create_subprocess_exec("true", **arguments))
    assert text in str(refused.value)


def test_a_second_loop_and_a_loop_in_another_thread_work_too() -> None:
    assert [loop(pyrt.aio.run(["true"])).returncode for _ in range(2)] == [0, 0]
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(loop(pyrt.aio.run(["sh", "-c", "exit 6"])).returncode))
    thread.start()
    thread.join()
    assert codes == [6]
