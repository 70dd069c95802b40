"""pyrt.Popen: a command in a container that runs beside the caller. Endings of handles in general: test_endings.py."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

import pyrt

SLEEPS = ["sleep", "1000"]


def test_communicate_writes_reads_and_waits() -> None:
    with pyrt.Popen(["sh", "-c", "cat; echo err >&2; exit 3"], stdin=pyrt.PIPE, stdout=pyrt.PIPE, stderr=pyrt.PIPE) as box:
        assert box.communicate(b"x" * 300_000) == (b"x" * 300_000, b"err\n")
        assert box.returncode == 3


def test_a_conversation_line_by_line() -> None:
    with pyrt.Popen(["cat"], stdin=pyrt.PIPE, stdout=pyrt.PIPE, text=True, bufsize=1) as box:
        assert box.stdin is not None
        assert box.stdout is not None
        for line in ("one\n", "zwei \N{EURO SIGN}\n"):
            box.stdin.write(line)
            assert box.stdout.readline() == line
        box.stdin.close()
        assert (box.stdout.read(), box.wait()) == ("", 0)


def test_poll_is_none_until_the_end() -> None:
    with pyrt.Popen(["cat"], stdin=pyrt.PIPE) as box:
        assert box.poll() is None
        box.communicate()
        assert (box.poll(), box.wait()) == (0, 0)


def test_communicate_after_the_end_reads_what_is_left() -> None:
    with pyrt.Popen(["echo", "left"], stdout=pyrt.PIPE) as box:
        assert box.wait() == 0
        assert box.communicate() == (b"left\n", None)
        assert box.communicate() == (b"left\n", None)


def test_communicate_on_a_closed_handle_says_so() -> None:
    box = pyrt.Popen(SLEEPS)
    box.close()
    with pytest.raises(pyrt.InvalidState, match="Popen is closed"):
        box.communicate()


def test_shell_hands_the_command_to_sh_inside() -> None:
    with pyrt.Popen("echo $((40 + 2)); exit 5", shell=True, stdout=pyrt.PIPE, text=True) as box:
        assert (box.communicate(), box.returncode) == (("42\n", None), 5)
    done = pyrt.run(["echo $0 $1", "name", "one"], shell=True, stdout=pyrt.PIPE, text=True)
    assert done.stdout == "name one\n"


def test_a_timeout_of_wait_leaves_it_running() -> None:
    with pyrt.Popen(SLEEPS) as box:
        with pytest.raises(subprocess.TimeoutExpired) as caught:
            box.wait(0.01)
        assert (caught.value.timeout, caught.value.cmd, box.poll()) == (0.01, SLEEPS, None)


def test_communicate_goes_on_after_a_timeout_without_loss() -> None:
    with pyrt.Popen(["sh", "-c", "echo a; read x; echo $x"], stdin=pyrt.PIPE, stdout=pyrt.PIPE, text=True) as box:
        assert box.stdin is not None
        kept = os.dup(box.stdin.fileno())
        try:
            with pytest.raises(pyrt.ContainerTimeout):
                box.communicate(timeout=0.3)
            assert box.poll() is None
            os.write(kept, b"b\n")
        finally:
            os.close(kept)
        assert box.communicate() == ("a\nb\n", None)


def test_terminate_and_send_signal_end_the_command_by_that_signal() -> None:
    with pyrt.Popen(SLEEPS) as one, pyrt.Popen(SLEEPS) as two:
        one.terminate()
        two.send_signal("USR1")
        assert (one.wait(), two.wait()) == (-signal.SIGTERM, -signal.SIGUSR1)
        one.send_signal(signal.SIGTERM)


def test_kill_ends_what_the_command_started_too() -> None:
    with pyrt.Popen(["sh", "-c", "setsid sleep 1000 & echo up; wait"], stdout=pyrt.PIPE) as box:
        assert box.stdout is not None
        assert box.stdout.readline() == b"up\n"
        box.kill()
        assert (box.stdout.read(), box.wait()) == (b"", -signal.SIGKILL)


def test_stderr_may_go_where_stdout_goes() -> None:
    with pyrt.Popen(["sh", "-c", "echo a; echo b >&2"], stdout=pyrt.PIPE, stderr=pyrt.STDOUT) as box:
        assert box.communicate() == (b"a\nb\n", None)


def test_leaving_the_block_ends_it_and_keeps_returncode_and_usage() -> None:
    with pyrt.Popen(SLEEPS, stdin=pyrt.PIPE, stdout=pyrt.PIPE) as box:
        pass
    assert (box.returncode, box.wait(), box.poll()) == (-signal.SIGKILL,) * 3
    assert box.usage().max_rss_bytes is not None
    assert repr(box) == f"<Popen: returncode: -9 args: {SLEEPS!r}>"
    assert box.stdin is not None
    assert box.stdin.closed


def test_a_dropped_handle_ends_it_with_a_warning() -> None:
    box = pyrt.Popen(SLEEPS, stdout=pyrt.PIPE)
    pid = box.pid
    with pytest.warns(ResourceWarning, match="unclosed <Popen: returncode: None"):  # noqa: PT031 - the drop is the statement
        del box
        gc.collect()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_missing_program_raises_and_names_it() -> None:
    with pytest.raises(FileNotFoundError) as failure:
        pyrt.Popen(["/no/such"], stdin=pyrt.PIPE, stdout=pyrt.PIPE)
    assert failure.value.filename == "/no/such"


def test_input_of_the_wrong_type_or_without_a_pipe_is_refused() -> None:
    with pyrt.Popen(["cat"], stdin=pyrt.PIPE) as box, pytest.raises(TypeError, match="input is str, but bytes are asked for"):
        box.communicate("text")
    with pyrt.Popen(["cat"]) as box, pytest.raises(ValueError, match="input= is written to stdin, which is not a PIPE"):
        box.communicate(b"data")


def test_thirty_two_threads_talk_to_a_container_each() -> None:
    def one(number: int) -> bytes:
        with pyrt.Popen(["cat"], stdin=pyrt.PIPE, stdout=pyrt.PIPE) as box:
            return bytes(box.communicate(b"%d" % number)[0])

    with ThreadPoolExecutor(32) as pool:
        assert list(pool.map(one, range(32))) == [b"%d" % number for number in range(32)]


def test_it_outlives_the_thread_that_made_it() -> None:
    with ThreadPoolExecutor(1) as pool:
        box = pool.submit(pyrt.Popen, SLEEPS).result()
    with box, pytest.raises(pyrt.ContainerTimeout):
        box.wait(0.3)


CALLER = """
import os, pyrt, signal
box = pyrt.Popen(["sh", "-c", "echo runs; setsid sleep 1000 & sleep 1000"])
"""


def caller(script: str) -> subprocess.Popen[str]:
    """An interpreter whose container writes to the pipe that is its standard output; it ends when nobody inside holds that any more."""
    return subprocess.Popen([sys.executable, "-c", CALLER + script], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("script", ["os._exit(0)", "os.kill(os.getpid(), signal.SIGKILL)", "raise SystemExit", "signal.pause()"])
def test_everything_inside_ends_with_the_caller(script: str) -> None:
    with caller(script) as process:
        assert process.stdout is not None
        if script == "signal.pause()":
            assert process.stdout.readline() == "runs\n"
            process.kill()
        assert process.stdout.read() in ("", "runs\n")


def test_everything_inside_ends_with_the_caller_though_a_forked_child_stays() -> None:
    # The child lets go of the pipe, says so by its number first, and waits for the test.
    script = """
stays = os.fork()
if stays == 0:
    os.close(1)
    signal.pause()
print("child", stays, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    with caller(script) as process:
        assert process.stdout is not None
        said = process.stdout.read()
    child = int(next(line.split()[1] for line in said.splitlines() if line.startswith("child")))
    os.kill(child, signal.SIGKILL)


def test_a_forked_child_is_told_why_it_cannot_use_the_handle_and_ends_nothing() -> None:
    script = """
child = os.fork()
if child == 0:
    for use in (box.poll, box.wait, box.communicate, box.usage, box.kill, box.terminate, box.close):
        try:
            use()
        except pyrt.InvalidState as error:
            print(error.hint, flush=True)
    os._exit(0)
os.waitpid(child, 0)
print("alive" if box.poll() is None else "ended", flush=True)
box.close()
"""
    with caller(script) as process:
        assert process.stdout is not None
        said = process.stdout.read().replace("runs\n", "")
    assert said == "make it in the process that uses it\n" * 7 + "alive\n"
