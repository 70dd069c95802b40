"""Container.popen and Container.aio: a second process in a running container, beside the caller and in an event loop.

Neighbours: test_exec.py (Container.exec), test_popen.py and test_aio.py (the handles).
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

import pyrt
from helpers import callers
from helpers.waiting import SOON, runs, until


def test_popen_talks_to_a_command_in_the_container(running: pyrt.Container) -> None:
    with running.popen(["sh", "-c", "readlink /proc/self/ns/pid; cat; exit 7"], stdin=pyrt.PIPE, stdout=pyrt.PIPE, text=True) as box:
        assert box.poll() is None
        assert os.readlink(f"/proc/{box.pid}/ns/pid") == os.readlink(f"/proc/{running.pid}/ns/pid")
        said, _ = box.communicate("in", timeout=SOON)
        assert said == os.readlink(f"/proc/{running.pid}/ns/pid") + "\nin"
    assert (box.returncode, box.cause) == (7, pyrt.Cause.EXITED)


def test_popen_takes_what_exec_takes_of_the_command(running: pyrt.Container) -> None:
    with running.popen(["sh", "-c", "id -u; pwd; echo $NAME"], user=7, cwd="/tmp", env={"NAME": "value"}, stdout=pyrt.PIPE) as box:
        assert box.communicate(timeout=SOON) == (b"7\n/tmp\nvalue\n", None)


def test_leaving_the_block_ends_the_command_and_not_the_container(running: pyrt.Container) -> None:
    with running.popen(["sleep", "1000"]) as box:
        assert box.poll() is None
    assert box.returncode == -signal.SIGKILL
    assert running.status == "running"
    assert running.exec(["true"]).returncode == 0


def test_signals_reach_the_command(running: pyrt.Container) -> None:
    with running.popen(["sleep", "1000"]) as box:
        box.terminate()
        assert box.wait(SOON) == -signal.SIGTERM
    assert running.status == "running"


def test_a_dropped_handle_ends_the_command_with_a_warning(running: pyrt.Container) -> None:
    box = running.popen(["sleep", "1000"])
    pid = box.pid
    with pytest.warns(ResourceWarning, match="unclosed <Popen"):
        del box
    assert not runs(pid)
    assert running.status == "running"


def test_files_are_copied_through_the_handle(running: pyrt.Container, tmp_path: Path) -> None:
    with running.popen(["sleep", "1000"]) as box:
        assert box.copy_out("/etc/group", tmp_path / "group") == []
    assert (tmp_path / "group").read_bytes() == Path(running.rootfs, "etc/group").read_bytes()


def test_a_missing_program_is_named_and_the_container_goes_on(running: pyrt.Container) -> None:
    with pytest.raises(FileNotFoundError) as failure:
        running.popen(["/no/such"])
    assert failure.value.filename == "/no/such"
    assert running.exec(["true"]).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"timeout": 1}, r"Container\.popen\(\) takes no timeout: wait\(timeout\) and communicate\(timeout=\) take it"),
        ({"memory": "1G"}, r"Container\.popen\(\) got an unexpected keyword argument 'memory'"),
        ({"preexec_fn": print}, r"Container\.popen\(\) takes no preexec_fn: Python code cannot run"),
    ],
)
def test_what_popen_does_not_take_is_refused_by_name(running: pyrt.Container, arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(TypeError, match=text):
        running.popen(["true"], **arguments)


def test_a_container_that_has_ended_takes_no_command(running: pyrt.Container) -> None:
    running.kill("KILL")
    running.wait()
    with pytest.raises(pyrt.InvalidState, match="container not running: no such process"):
        running.popen(["true"])
    with pytest.raises(pyrt.InvalidState, match="container not running: no such process"):
        asyncio.run(running.aio.exec(["true"]))


def test_many_commands_run_at_once_in_one_loop(running: pyrt.Container) -> None:
    async def main() -> list[pyrt.CompletedProcess[str]]:
        script = "cat; echo $NUMBER >&2; exit $NUMBER"
        commands = (
            running.aio.exec(["sh", "-c", script], env={"NUMBER": str(number)}, input="in", capture_output=True, text=True)
            for number in range(5)
        )
        return await asyncio.gather(*commands)

    done = asyncio.run(main())
    assert [(one.returncode, one.stdout, one.stderr) for one in done] == [(number, "in", f"{number}\n") for number in range(5)]


def test_a_timeout_and_a_cancellation_kill_the_command_and_not_the_container(running: pyrt.Container) -> None:
    marker = callers.new_marker()
    words = ["sh", "-c", f"sleep 1000 # {marker}"]

    async def main() -> None:
        with pytest.raises(pyrt.ContainerTimeout):
            await running.aio.exec(words, timeout=0.2)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(running.aio.exec(words), 0.2)

    asyncio.run(main())
    until(lambda: not callers.marked(marker), "the commands end")
    assert running.status == "running"


def test_asyncio_talks_to_a_command_by_streams(running: pyrt.Container) -> None:
    async def main() -> tuple[bytes, int | None]:
        async with await running.aio.popen(["cat"], stdin=pyrt.PIPE, stdout=pyrt.PIPE) as box:
            assert box.stdin is not None
            assert box.stdout is not None
            box.stdin.write(b"line\n")
            line = await box.stdout.readline()
        return line, box.returncode

    assert asyncio.run(main()) == (b"line\n", -signal.SIGKILL)
    assert running.status == "running"
