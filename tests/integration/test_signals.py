"""Signals: what the container starts with, whatever the caller ignores, handles or blocks; waiting where SIGCHLD is hostile.

Callers that must spoil their own signals are Python processes of their own (CALLER).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pyrt
from helpers import engine
from helpers.bundles import Bundle
from helpers.commands import Command
from helpers.hosts import has, requires
from helpers.proc import status
from helpers.waiting import SOON

NONE = "0000000000000000"
FIELDS = ("SigBlk", "SigIgn", "SigCgt", "SigPnd", "ShdPnd")
CALLER = """
import json, os, signal, sys, threading, time
import pyrt
rootfs, root, bundle = sys.argv[1:]
def shown(init=True, script=None):
    # Without a shell, which has signal dispositions of its own.
    args = ["cat", "/proc/self/status"] if script is None else ["sh", "-c", script]
    return pyrt.run(args, rootfs=rootfs, overlay=False, init=init, capture_output=True, text=True)
def left():
    return open("/proc/self/task/%d/children" % os.getpid()).read().split()
"""


def caller(tmp_path: Path, rootfs: Path, body: str) -> Any:
    """What a Python process with this body printed as JSON. It has `rootfs`, a state directory `root`, `bundle`, `shown`, `left`."""
    script = CALLER + textwrap.dedent(body)
    line = [sys.executable, "-c", script, *map(str, (rootfs, tmp_path / "state", rootfs.parent))]
    done = subprocess.run(line, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def clean(text: str) -> bool:
    fields = status(text)
    return all(fields[name] == NONE for name in FIELDS)


@pytest.fixture
def spoiled() -> Iterator[None]:
    """This process ignores some signals, handles one, and blocks others."""
    ignored, handled, blocked = (signal.SIGHUP, signal.SIGQUIT, signal.SIGTTOU), signal.SIGUSR1, {signal.SIGUSR2, signal.SIGRTMIN + 3}
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ignored}
    before[handled] = signal.signal(handled, lambda number, frame: None)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    # A signal that is pending at the caller is the caller's.
    os.kill(os.getpid(), signal.SIGUSR2)
    yield
    assert signal.sigtimedwait([signal.SIGUSR2], 0) is not None
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("init", [True, False])
def test_all_dispositions_are_default_and_nothing_is_blocked(rootfs: Path, spoiled: None, init: bool) -> None:
    said = pyrt.run(["cat", "/proc/self/status"], rootfs=rootfs, init=init, capture_output=True, text=True, check=True).stdout
    assert {name: status(said)[name] for name in FIELDS} == dict.fromkeys(FIELDS, NONE)


def test_a_created_and_started_container_has_them_too(runtime: pyrt.Runtime, bundle: Bundle, tmp_path: Path, spoiled: None) -> None:
    with (tmp_path / "out").open("w+") as out:
        container = runtime.create("signals", bundle=bundle.args("cat", "/proc/self/status").path, stdio=(0, out.fileno(), 2))
        container.start()
        assert container.wait(SOON) == 0
        container.delete()
        out.seek(0)
        assert clean(out.read())


def test_the_command_has_them_too(command: Command, bundle: Bundle) -> None:
    """Its interpreter ignores SIGPIPE and SIGXFSZ."""
    assert clean(engine.run(command, bundle, "cat", "/proc/self/status").ok().stdout)


def test_hooks_have_them_too(command: Command, bundle: Bundle, tmp_path: Path) -> None:
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ncat /proc/self/status > {tmp_path}/$1\n")
    hook.chmod(0o755)
    stages = ("createRuntime", "createContainer")
    bundle.spec["hooks"] = {stage: [{"path": str(hook), "args": ["hook", stage]}] for stage in stages}
    engine.run(command, bundle, "true").ok()
    for stage in stages:
        fields = status((tmp_path / stage).read_text())
        assert (stage, fields["SigIgn"], fields["SigBlk"]) == (stage, NONE, NONE)


def test_during_a_signal_storm_launches_succeed_and_are_clean(tmp_path: Path, rootfs: Path) -> None:
    said = caller(
        tmp_path,
        rootfs,
        """
        count = 0
        def handler(number, frame):
            global count
            count += 1
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
        done = [shown(init) for init in (True, False) * 6]
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(json.dumps([count, [one.returncode for one in done], [one.stdout for one in done], left()]))
        """,
    )
    count, codes, texts, left = said
    assert count > 10
    assert codes == [0] * 12
    fields = [{name: status(text)[name] for name in FIELDS} for text in texts]
    assert fields == [dict.fromkeys(FIELDS, NONE)] * 12
    assert left == []


def test_a_storm_at_the_caller_does_not_reach_the_container(tmp_path: Path, rootfs: Path) -> None:
    """The vfork child shares the caller's process until its exec, but a signal is the caller's."""
    said = caller(
        tmp_path,
        rootfs,
        """
        signal.signal(signal.SIGTERM, lambda number, frame: None)
        stop = threading.Event()
        def storm():
            while not stop.is_set():
                os.kill(os.getpid(), signal.SIGTERM)
        thread = threading.Thread(target=storm)
        thread.start()
        codes = [shown(script="exit 9").returncode for _ in range(10)]
        stop.set()
        thread.join()
        print(json.dumps([codes, left()]))
        """,
    )
    assert said == [[9] * 10, []]


@pytest.mark.parametrize("init", [True, False])
@requires("Linux 6.15")
def test_with_sigchld_ignored_the_exit_status_is_still_known(tmp_path: Path, rootfs: Path, init: bool) -> None:
    said = caller(
        tmp_path,
        rootfs,
        f"""
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        codes = [shown({init}, "exit 7").returncode for _ in range(5)]
        print(json.dumps([codes, left()]))
        """,
    )
    assert said == [[7] * 5, []]


def test_with_sigchld_ignored_pid_1_itself_reports_the_status(tmp_path: Path, rootfs: Path) -> None:
    said = caller(
        tmp_path,
        rootfs,
        """
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        print(json.dumps([shown(script="exit 7").returncode, shown(script="kill -KILL $$").returncode, left()]))
        """,
    )
    assert said == [7, -9, []]


REAPER = """
def reap():
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            time.sleep(0.0005)
threading.Thread(target=reap, daemon=True).start()
"""


def test_beside_a_thread_that_reaps_every_child_the_exit_status_is_known(tmp_path: Path, rootfs: Path) -> None:
    said = caller(tmp_path, rootfs, f"{REAPER}\ncodes = [shown(script='exit 7').returncode for _ in range(10)]\nprint(json.dumps(codes))")
    assert said == [7] * 10


WAITS = """
runtime = pyrt.Runtime(root=root)
def wait():
    container = runtime.create("waited", bundle=bundle)
    container.start()
    status = container.wait(60)
    container.delete()
    return status, container.exit_unknown
print(json.dumps([wait() for _ in range(30)]))
"""
HOSTILE = {"SIGCHLD ignored": "signal.signal(signal.SIGCHLD, signal.SIG_IGN)", "a reaper thread": REAPER}


@pytest.mark.parametrize("hostility", HOSTILE.values(), ids=HOSTILE)
def test_container_wait_tells_the_status_or_why_it_is_unknown(tmp_path: Path, bundle: Bundle, hostility: str) -> None:
    bundle.shell("exit 7")
    for code, reason in caller(tmp_path, bundle.rootfs, hostility + WAITS):
        if code is None:
            assert not has("Linux 6.15"), "PIDFD_GET_INFO tells it, if not at the very moment of the end"
            assert "kernel" in reason
        else:
            assert (code, reason) == (7, None)


def test_another_process_learns_the_status_of_a_container_that_it_did_not_make(tmp_path: Path, bundle: Bundle, root_dir: Path) -> None:
    """Recorded by whoever waited first, else asked of the kernel."""
    runtime = pyrt.Runtime(root=root_dir)
    container = runtime.create("theirs", bundle=bundle.shell("exit 6").path)
    container.start()
    assert container.wait(SOON) == 6
    line = [sys.executable, "-c", "import sys, pyrt; print(pyrt.Runtime(root=sys.argv[1]).get('theirs').wait(60))", str(root_dir)]
    assert subprocess.run(line, capture_output=True, text=True, check=True).stdout == "6\n"
    container.delete()


def test_a_wait_that_times_out_says_so_and_the_container_goes_on(running: pyrt.Container) -> None:
    with pytest.raises(pyrt.ContainerTimeout) as raised:
        running.wait(0.01)
    assert isinstance(raised.value, subprocess.TimeoutExpired)
    assert running.status == "running"


def test_kill_by_name_number_and_signals_member(runtime: pyrt.Runtime, bundle: Bundle) -> None:
    script = "trap 'exit 41' USR1; echo ready; while :; do sleep 0.02; done"
    names: tuple[str | int, ...] = ("USR1", "SIGUSR1", signal.SIGUSR1, int(signal.SIGUSR1))
    for number, said in enumerate(names):
        reading, writing = os.pipe()
        container = runtime.create(f"killed-{number}", bundle=bundle.shell(script).path, stdio=(0, writing, 2))
        os.close(writing)
        container.start()
        assert os.read(reading, 6) == b"ready\n"
        os.close(reading)
        container.kill(said)
        assert container.wait(SOON) == 41
        container.delete()
