"""Many processes act on one id at once: each gets an answer or a clear refusal, none hangs, and nothing stays. And locks that are kept.

Neighbours: test_launch_from_threads.py (threads of one process), test_every_step.py (those that are killed).
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from pathlib import Path

import pyrt
from helpers import callers, cgroups
from helpers.bundles import Bundle
from helpers.commands import PYRT, Command
from helpers.waiting import until

ID = f"contended-{os.getpid()}"
CALLERS = 4
PATIENCE = 100
"""Seconds after which a caller counts as hanging."""

ACTING = """
import random, subprocess
chance = random.Random(sys.argv[4])
runtime, id, bundle, pyrt_command = pyrt.Runtime(root=sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[5]
acts = [
    lambda: runtime.create(id, bundle=bundle),
    lambda: runtime.create(id, bundle=bundle, start=True),
    lambda: runtime.get(id).start(),
    lambda: runtime.get(id).kill("KILL"),
    lambda: runtime.get(id).pause(),
    lambda: runtime.get(id).resume(),
    lambda: runtime.get(id).state(),
    lambda: [found.status for found in runtime.list()],
    lambda: runtime.get(id).exec(["true"]),
    lambda: runtime.get(id).delete(),
    lambda: runtime.get(id).delete(force=True),
    *(lambda words=words: subprocess.run([pyrt_command, "--root", sys.argv[1], *words, id], capture_output=True)
      for words in (["start"], ["kill"], ["delete"], ["delete", "--force"])),
]
done = 0
for _ in range(int(sys.argv[6])):
    try:
        chance.choice(acts)()
        done += 1
    except pyrt.Error:
        pass
print("done" if done else "nothing was done", flush=True)
"""


def test_many_processes_create_start_exec_kill_and_delete_one_id(command: Command, bundle: Bundle) -> None:
    marker = callers.new_marker()
    bundle.args("sh", "-c", "sleep 1000; true", marker)
    acting = [callers.start(ACTING, "none", command.root, ID, bundle.path, str(seed), PYRT, "60") for seed in range(CALLERS)]
    try:
        _let_end(acting, command)
        said = [_last_words(caller) for caller in acting]
    finally:
        for caller in acting:
            caller.kill()
            caller.wait()
            assert caller.stdout is not None
            caller.stdout.close()
    assert said == ["done\n"] * CALLERS, "each other exception is printed above"
    command("list").ok()
    command("delete", "--force", ID).ok()
    assert list(command.root.iterdir()) == []
    assert cgroups.matching(f"pyrt-{ID}") == []
    until(lambda: not callers.marked(marker), "all processes end")


def _let_end(acting: list[subprocess.Popen[str]], command: Command) -> None:
    """Wait for all. What the last of them executes stands still, as it should, where another has paused the container: resume that."""
    deadline = time.monotonic() + PATIENCE
    while any(caller.poll() is None for caller in acting):
        assert time.monotonic() < deadline, "somebody hangs"
        command("resume", ID)
        time.sleep(0.5)


def _last_words(caller: subprocess.Popen[str]) -> str:
    """Not until the end of the pipe: the container that is left at the end may be this caller's, and has its stdout."""
    assert caller.stdout is not None
    return os.read(caller.stdout.fileno(), 100).decode() if select.select([caller.stdout], [], [], 0)[0] else ""


HOLDING = """
runtime = pyrt.Runtime(root=sys.argv[1])
runtime.create(sys.argv[2], bundle=sys.argv[3])
"""


def test_delete_force_ends_what_a_creator_waits_for(command: Command, bundle: Bundle) -> None:
    """It has the lock; with nothing left inside it gives up."""
    marker = callers.new_marker()
    bundle.spec["hooks"] = {"createContainer": [{"path": "/bin/sh", "args": ["sh", "-c", "sleep 1000; true", marker]}]}
    bundle.write()
    with callers.start(HOLDING + "\n", "none", command.root, ID, bundle.path) as caller:
        until(lambda: bool(callers.marked(marker)), "the hook runs")
        command("delete", "--force", ID).ok()
        assert caller.wait(PATIENCE) == 1
    assert list(command.root.iterdir()) == []
    until(lambda: not callers.marked(marker), "the hook ends")


def test_the_lock_of_a_caller_that_stands_still_is_given_up_by_its_end(command: Command, bundle: Bundle) -> None:
    """A stopped caller keeps it; delete --force has ended what is inside by then, and takes it when the caller ends."""
    marker = callers.new_marker()
    bundle.spec["hooks"] = {"createContainer": [{"path": "/bin/sh", "args": ["sh", "-c", "sleep 1000; true", marker]}]}
    bundle.write()
    with callers.start(HOLDING, "none", command.root, ID, bundle.path) as caller:
        until(lambda: bool(callers.marked(marker)), "the hook runs")
        caller.send_signal(signal.SIGSTOP)
        deleting = command.start("delete", "--force", ID, stderr=subprocess.PIPE)
        until(lambda: not callers.marked(marker), "the hook ends")
        assert deleting.poll() is None
        caller.kill()
        assert deleting.wait(PATIENCE) == 0, deleting.stderr and deleting.stderr.read()
        assert deleting.stderr is not None
        deleting.stderr.close()
    assert list(command.root.iterdir()) == []
    assert cgroups.matching(f"pyrt-{ID}") == []


def test_a_handle_of_what_another_process_deleted_lets_go_of_everything(runtime: pyrt.Runtime, command: Command, bundle: Bundle) -> None:
    """Its init is a child of this process still, and would stay a zombie."""
    container = runtime.create(ID, bundle=bundle.args("sleep", "1000").path)
    pid = container.pid
    command("delete", "--force", ID).ok()
    assert Path(f"/proc/{pid}").exists()
    container.delete(force=True)
    assert not Path(f"/proc/{pid}").exists()
