"""pyrt.Popen: a command in a container that runs beside the caller. Endings of handles in general: test_endings.py."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import pytest

import pyrt
from helpers.waiting import runs

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
        box.communicate("text")  # type: ignore[arg-type]  # that is the test
    with pyrt.Popen(["cat"]) as box, pytest.raises(ValueError, match="input= is written to stdin, which is not a PIPE"):
        box.communicate(b"data")


# What it may not exceed


BURNS = ["sh", "-c", "while :; do :; done"]


def test_processor_time_is_bounded_and_says_so() -> None:
    done = pyrt.run(["sh", "-c", "(while :; do :; done) & while :; do :; done"], cpu_time=0.3)
    assert (done.cause, done.returncode) == (pyrt.Cause.CPU_TIME, -signal.SIGKILL)
    assert done.usage.cpu_usec is not None
    assert done.usage.cpu_usec >= 300_000
    assert pyrt.run(["sh", "-c", "sleep 0.05; ulimit -t"], cpu_time=10, stdout=pyrt.PIPE).stdout == b"11\n"


def test_processor_time_of_a_popen_is_bounded_by_whoever_waits() -> None:
    with pyrt.Popen(BURNS, cpu_time=0.2) as one, pyrt.Popen(BURNS, stdout=pyrt.PIPE, cpu_time=0.2) as two:
        assert (one.cause, one.wait(), one.cause) == (None, -signal.SIGKILL, pyrt.Cause.CPU_TIME)
        assert (two.communicate(), two.cause) == ((b"", None), pyrt.Cause.CPU_TIME)


def test_processor_time_of_a_process_that_nobody_waits_for_is_bounded_by_the_kernel() -> None:
    with pyrt.Popen(BURNS, cpu_time=0.1) as box:
        os.waitid(os.P_PIDFD, box._launch.process.fileno(), os.WEXITED | os.WNOWAIT)
        assert (box.poll(), box.cause) == (-signal.SIGKILL, pyrt.Cause.CPU_TIME)


@pytest.mark.parametrize("made", ["run", "Popen"])
def test_output_beyond_max_output_is_read_and_dropped(made: str) -> None:
    script = ["sh", "-c", "head -c 1000000 /dev/zero; echo err >&2"]
    if made == "run":
        done = pyrt.run(script, capture_output=True, max_output=1000)
        said: tuple[object, ...] = (done.stdout, done.stderr, done.returncode, done.cause, done.truncated)
    else:
        with pyrt.Popen(script, stdout=pyrt.PIPE, stderr=pyrt.PIPE, max_output="1000") as box:
            said = (*box.communicate(), box.returncode, box.cause, box.truncated)
    assert said == (bytes(1000), b"err\n", 0, pyrt.Cause.EXITED, True)


@pytest.mark.parametrize("made", ["run", "Popen"])
def test_max_output_action_kill_ends_it(made: str) -> None:
    if made == "run":
        done = pyrt.run(["yes"], capture_output=True, max_output=10, max_output_action="kill")
        said: tuple[object, ...] = (done.stdout, done.returncode, done.cause, done.truncated)
    else:
        with pyrt.Popen(["yes"], stdout=pyrt.PIPE, max_output=10, max_output_action="kill") as box:
            said = (box.communicate()[0], box.wait(), box.cause, box.truncated)
    assert said == (b"y\n" * 5, -signal.SIGKILL, pyrt.Cause.OUTPUT, True)


def test_as_much_as_max_output_is_whole() -> None:
    done = pyrt.run(["echo", "abc"], stdout=pyrt.PIPE, max_output=4, max_output_action="kill")
    assert (done.stdout, done.cause, done.truncated) == (b"abc\n", pyrt.Cause.EXITED, False)


# The end of the handle


@pytest.mark.filterwarnings("error::ResourceWarning")
@pytest.mark.parametrize("end", ["wait", "poll", "communicate"])
def test_an_ended_popen_holds_nothing_and_needs_no_close(end: str) -> None:
    before = set(os.listdir("/proc/self/fd"))
    box = pyrt.Popen(["true"])
    cgroup = next(iter(box._launch._cgroup.paths.values())) if box._launch._cgroup else ""
    if end == "poll":
        while box.poll() is None:
            os.sched_yield()
    else:
        getattr(box, end)()
    assert set(os.listdir("/proc/self/fd")) == before
    assert not os.path.exists(cgroup)
    with box:
        assert (box.returncode, box.cause) == (0, pyrt.Cause.EXITED)
    del box
    gc.collect()


def test_what_is_left_behind_without_a_pid_namespace_ends_with_the_command() -> None:
    with pyrt.Popen(["sh", "-c", "sleep 1000 & echo $!"], stdout=pyrt.PIPE, text=True, namespaces={"pid": "host"}) as box:
        assert box.stdout is not None
        pid = int(box.stdout.readline())
        box.wait()
        assert box.stdout.read() == ""
        assert not runs(pid)


def test_many_threads_wait_for_one_and_all_see_its_end() -> None:
    with ThreadPoolExecutor(12) as pool, pyrt.Popen(["cat"], stdin=pyrt.PIPE, stdout=pyrt.PIPE) as box:
        waits = [pool.submit(box.wait) for _ in range(4)]
        talks = [pool.submit(box.communicate) for _ in range(4)]
        polls = [pool.submit(lambda: [box.poll() for _ in range(50)][0:0] or box.usage().pids) for _ in range(4)]
        assert [wait.result() for wait in waits] == [0] * 4
        assert [talk.result() for talk in talks] == [(b"", None)] * 4
        for poll in polls:
            poll.result()


def test_kill_all_ends_what_this_process_started_and_nothing_else() -> None:
    script = """
child = os.fork()
if child == 0:
    pyrt.kill_all()
    os._exit(0)
os.waitpid(child, 0)
print("alive" if box.poll() is None else "ended", flush=True)
pyrt.kill_all()
print(box.wait(), pyrt.run(["true"]).returncode, flush=True)
pyrt.kill_all()
"""
    with caller(script) as process:
        assert process.stdout is not None
        assert process.stdout.read().replace("runs\n", "") == "alive\n-9 0\n"


# Arguments


def test_a_device_of_the_host_is_there_under_its_name_or_another() -> None:
    done = pyrt.run(["stat", "-c", "%n %t %T %a", "/dev/mine", "/dev/loop-control"], devices=["/dev/null:/dev/mine", "/dev/loop-control"],
                    stdout=pyrt.PIPE, text=True)  # fmt: skip
    mode = os.stat("/dev/loop-control").st_mode & 0o7777
    assert done.stdout == f"/dev/mine 1 3 666\n/dev/loop-control a ed {mode:o}\n"


def test_a_user_namespace_maps_the_ids_that_are_said(rootfs: Path) -> None:
    mapping: dict[Literal["uid", "gid"], list[tuple[int, int, int]]] = {"uid": [(0, 100000, 70000)]}
    done = pyrt.run(["cat", "/proc/self/uid_map"], rootfs=rootfs, user_namespace=mapping, overlay=False, stdout=pyrt.PIPE)
    assert done.stdout.split() == [b"0", b"100000", b"70000"]
    assert pyrt.run(["true"], user_namespace=True).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"preexec_fn": print}, TypeError, "Popen() takes no preexec_fn: Python code cannot run"),
        ({"input": b""}, TypeError, "Popen() takes no input: communicate(input) takes it"),
        ({"nonsense": 1}, TypeError, "Popen() got an unexpected keyword argument 'nonsense'"),
        ({"text": True, "universal_newlines": False}, ValueError, "text= and universal_newlines= are the same"),
        ({"encoding": "no-such", "stdout": pyrt.PIPE}, LookupError, "unknown encoding: no-such"),
        ({"cpu_time": "1"}, TypeError, "cpu_time is str, not a number of seconds"),
        ({"cpu_time": 0}, ValueError, "cpu_time 0 is not a number of seconds above 0"),
        ({"max_output": 1.5}, TypeError, "max_output: a size is an int"),
        ({"max_output_action": "kill"}, ValueError, "it needs max_output= too"),
        ({"max_output": 1, "max_output_action": "stop"}, ValueError, "max_output_action is 'stop', neither 'truncate' nor 'kill'"),
        ({"devices": "/dev/null"}, TypeError, "devices is a list of paths, not one"),
        ({"devices": ["null"]}, ValueError, "devices: 'null' is not an absolute path"),
        ({"devices": ["/etc/passwd"]}, ValueError, "devices: /etc/passwd is neither a character nor a block device"),
        ({"devices": ["/dev/no-such"]}, pyrt.Error, "look at device /dev/no-such: no such file or directory (ENOENT)"),
        ({"user_namespace": 1}, TypeError, "user_namespace is int, neither a bool nor 'subids' nor a mapping"),
        ({"user_namespace": {"uid": [(0, 1)]}}, ValueError, "user_namespace: uid (0, 1) is not (inside, outside, count)"),
    ],
)
def test_a_wrong_argument_is_refused_by_name(arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error) as refused:
        pyrt.Popen(["true"], **arguments)
    assert text in str(refused.value)


def test_a_timeout_that_is_no_number_of_seconds_is_refused() -> None:
    with pyrt.Popen(["cat"], stdin=pyrt.PIPE) as box:
        for call in (box.wait, lambda timeout: box.communicate(timeout=timeout)):
            with pytest.raises(TypeError, match="timeout is str, not a number of seconds"):
                call("1")  # type: ignore[arg-type]  # that is the test
            with pytest.raises(ValueError, match="timeout is not a number"):
                call(float("nan"))


def test_a_runtime_refuses_what_nobody_would_enforce(runtime: pyrt.Runtime) -> None:
    with pytest.raises(TypeError, match=r"Runtime.create\(\) takes no cpu_time: its container outlives the caller"):
        runtime.create("popen-bounds", ["true"], cpu_time=1)


def test_universal_newlines_is_text() -> None:
    with pyrt.Popen(["printf", r"a\r\nb\r"], stdout=pyrt.PIPE, universal_newlines=True) as box:
        assert box.communicate() == ("a\nb\n", None)


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
os.write(1, b"child %d\\n" % stays)
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
