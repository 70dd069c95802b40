"""Pool: containers that wait for a command; what a call may say, refills and their failures, ends, threads and forks.

Neighbours: test_run.py, test_popen.py, test_aio.py (the same functions without a pool), ../security/test_pool_attacks.py is none: a waiting
container has nobody in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pyrt
from helpers import hosts
from helpers.bundles import Bundle
from helpers.hosts import requires
from helpers.waiting import BY_THEN, SOON, runs, until


@pytest.fixture
def pool(rootfs: Path) -> Iterator[pyrt.Pool]:
    with pyrt.Pool(2, rootfs=rootfs) as made:
        assert made.wait_ready(SOON)
        yield made


def waiting_pids(pool: pyrt.Pool) -> list[int]:
    return [launch.process.pid for launch in pool._stock._ready]


def test_a_command_runs_in_a_container_that_stood_before_it_came(pool: pyrt.Pool) -> None:
    stood = set(waiting_pids(pool))
    with pool.Popen(["sleep", "1000"]) as box:
        assert box.pid in stood


def seccomp_mode(status: str) -> str:
    """proc_pid_status(5): 0 without a filter, 2 with one."""
    return next(line.split()[1] for line in status.splitlines() if line.startswith("Seccomp:"))


@pytest.mark.parametrize(("denied", "while_it_waits"), [("swapon", "2"), ("getcwd", "0")])
def test_a_filter_is_loaded_before_the_wait_where_it_does_not_stand_in_inits_way(rootfs: Path, denied: str, while_it_waits: str) -> None:
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [denied], "action": "SCMP_ACT_ERRNO"}]}
    with pyrt.Pool(1, rootfs=rootfs, seccomp=profile) as pool:
        assert pool.wait_ready(SOON)
        [above] = waiting_pids(pool)
        pid = Path(f"/proc/{above}/task/{above}/children").read_text().strip()
        assert seccomp_mode(Path(f"/proc/{pid}/status").read_text()) == while_it_waits
        inside = pool.run(["cat", "/proc/self/status"], capture_output=True, text=True, check=True).stdout
        assert (seccomp_mode(inside), "Seccomp_filters:\t1" in inside) == ("2", True)


def test_the_call_says_command_environment_directory_and_descriptors(pool: pyrt.Pool, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("passed")
    with (tmp_path / "file").open() as file:
        done = pool.run(
            ["sh", "-c", 'echo "$1 $NAME $HOME $(pwd)"; cat; cat <&3; echo wrong >&2', "sh", "an argument"],
            env={"NAME": "value"},
            cwd="/tmp",
            input="input ",
            pass_fds=(file.fileno(),),
            capture_output=True,
            text=True,
            check=True,
        )
    assert (done.returncode, done.stdout, done.stderr) == (0, "an argument value /root /tmp\ninput passed", "wrong\n")
    assert pool.run("echo $0", shell=True, capture_output=True, text=True).stdout == "/bin/sh\n"


def test_no_other_descriptor_reaches_the_command(pool: pyrt.Pool) -> None:
    done = pool.run(["ls", "/proc/self/fd"], capture_output=True, text=True)
    # The last is the directory that ls reads.
    assert done.stdout.split() == ["0", "1", "2", "3"]


def test_what_a_container_is_is_the_pools(rootfs: Path) -> None:
    options: dict[str, Any] = {"user": 1000, "hostname": "warm", "env": {"OF": "pool"}, "cwd": "/tmp", "umask": 0o027, "read_only": True}
    with pyrt.Pool(1, rootfs=rootfs, tmpfs=["/tmp"], **options) as pool:
        script = """
        id -u; hostname; echo $OF; pwd; umask; touch /new 2>/dev/null || echo read-only; grep -E "NoNewPrivs|Seccomp:|Cap" /proc/self/status
        """
        done = pool.run(["sh", "-c", script], capture_output=True, text=True)
        direct = pyrt.run(["sh", "-c", script], rootfs=rootfs, tmpfs=["/tmp"], capture_output=True, text=True, **options)
    assert done.stdout == direct.stdout
    assert done.stdout.startswith("1000\nwarm\npool\n/tmp\n0027\nread-only\n")


def test_every_command_has_a_container_of_its_own(pool: pyrt.Pool) -> None:
    assert pool.run(["touch", "/new"]).returncode == 0
    for _ in range(3):
        assert pool.run(["ls", "/new"], stderr=pyrt.DEVNULL).returncode != 0


@requires("memory controller")
def test_limits_hold_for_each_container_of_the_pool(rootfs: Path) -> None:
    with pyrt.Pool(1, rootfs=rootfs, memory="24M", tmpfs={"/m": "100M"}) as pool:
        done = pool.run(["dd", "if=/dev/zero", "of=/m/file", "bs=1M", "count=60"], stderr=pyrt.DEVNULL)
        assert (done.returncode, done.cause) == (-signal.SIGKILL, pyrt.Cause.OOM)
        assert done.usage.memory_limit_bytes == 24 << 20
        assert pool.run(["true"]).returncode == 0


def test_statuses_causes_and_timeouts_are_those_of_run(pool: pyrt.Pool) -> None:
    assert pool.run(["sh", "-c", "exit 7"]).returncode == 7
    done = pool.run(["sh", "-c", "kill -9 $$"])
    assert (done.returncode, done.cause) == (-9, pyrt.Cause.SIGNALED)
    with pytest.raises(pyrt.ContainerTimeout) as late:
        pool.run(["sh", "-c", "echo begun; sleep 1000"], timeout=BY_THEN, stdout=pyrt.PIPE, text=True)
    assert late.value.stdout == "begun\n"
    with pytest.raises(pyrt.ContainerFailed):
        pool.run(["false"], check=True)
    cut = pool.run(["sh", "-c", "echo 123456"], stdout=pyrt.PIPE, text=True, max_output=3)
    assert (cut.stdout, cut.truncated) == ("123", True)


def test_a_missing_program_and_directory_raise_as_they_do_for_run(pool: pyrt.Pool) -> None:
    for _ in range(3):
        with pytest.raises(FileNotFoundError) as missing:
            pool.run(["no-such"])
        assert missing.value.filename == "no-such"
    with pytest.raises(pyrt.ForbiddenExecutable) as forbidden:
        pool.run(["/etc"])
    assert forbidden.value.filename == "/etc"
    with pytest.raises(pyrt.Error, match=r"change directory to /none: no such file or directory"):
        pool.run(["true"], cwd="/none")
    assert pool.run(["true"]).returncode == 0


def test_an_empty_pool_launches_at_once(rootfs: Path) -> None:
    with pyrt.Pool(1, rootfs=rootfs) as pool, contextlib.ExitStack() as boxes:
        for _ in range(4):
            boxes.enter_context(pool.Popen(["sleep", "1000"]))
        until(lambda: pool.ready == 1, "the pool is full again")


def test_a_pool_is_filled_again_by_one_thread(pool: pyrt.Pool) -> None:
    threads = threading.active_count()
    for _ in range(5):
        assert pool.run(["true"]).returncode == 0
    assert threading.active_count() == threads
    assert pool.wait_ready(SOON)
    assert pool.ready == 2


def test_containers_that_died_while_they_waited_are_passed_over(pool: pyrt.Pool) -> None:
    pids = waiting_pids(pool)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    until(lambda: not any(runs(pid) for pid in pids), "they ended")
    assert pool.run(["echo", "alive"], stdout=pyrt.PIPE, text=True).stdout == "alive\n"


def test_kill_all_ends_those_that_wait_too_and_the_pool_goes_on(pool: pyrt.Pool) -> None:
    pids = waiting_pids(pool)
    pyrt.kill_all()
    assert not any(runs(pid) for pid in pids)
    assert pool.run(["true"]).returncode == 0


def test_a_refill_that_fails_raises_at_the_next_hand_out_and_is_tried_again(rootfs: Path) -> None:
    moved = rootfs.with_name("moved")
    with pyrt.Pool(1, rootfs=rootfs) as pool:
        assert pool.wait_ready(SOON)
        rootfs.rename(moved)
        assert pool.run(["true"]).returncode == 0
        until(lambda: pool._stock._failed is not None, "the refill failed")
        with pytest.raises(pyrt.NotFound) as failure:
            pool.run(["true"])
        assert failure.value.path == str(rootfs)
        moved.rename(rootfs)
        until(lambda: pool.ready == 1, "the pool is full again")
        assert pool.run(["true"]).returncode == 0


def test_what_is_wrong_with_the_options_raises_at_once(rootfs: Path) -> None:
    with pytest.raises(pyrt.NotFound):
        pyrt.Pool(1, rootfs=rootfs / "none")
    with pytest.raises(ValueError, match="count is 0"):
        pyrt.Pool(0)
    with pytest.raises(TypeError, match="count is str"):
        pyrt.Pool("1")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"Pool\(\) takes no pass_fds"):
        pyrt.Pool(1, rootfs=rootfs, pass_fds=(1,))
    with pytest.raises(TypeError, match=r"Pool\(\) takes no init: what waits for a command is its PID 1"):
        pyrt.Pool(1, rootfs=rootfs, init=False)


def test_what_belongs_to_the_pool_is_refused_by_its_calls(pool: pyrt.Pool) -> None:
    with pytest.raises(TypeError, match=r"Pool\.run\(\) takes no memory: it belongs to the container, and so to the Pool"):
        pool.run(["true"], memory="1G")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"Pool\.Popen\(\) takes no user"):
        pool.Popen(["true"], user=1)
    with pytest.raises(TypeError, match=r"Pool\.run\(\) takes no preexec_fn"):
        pool.run(["true"], preexec_fn=None)  # type: ignore[call-overload]


def test_hooks_are_refused(bundle: Bundle) -> None:
    bundle.spec["hooks"] = {"prestart": [{"path": "/bin/true"}]}
    bundle.write()
    with pytest.raises(pyrt.SpecError, match="hooks: a container that waits for its command runs none"):
        pyrt.Pool(1, bundle=bundle.path)


def test_a_pool_of_a_bundle_runs_what_it_is_told(bundle: Bundle) -> None:
    with pyrt.Pool(1, bundle=bundle.args("false").path) as pool:
        assert pool.run(["echo", "mine"], stdout=pyrt.PIPE, text=True).stdout == "mine\n"


def test_changes_calls_and_processor_time_work_in_a_pool(rootfs: Path) -> None:
    seen: list[str] = []

    def mkdir(call: pyrt.SystemCall) -> Any:
        seen.append(call.name or "")
        return call.error(17)

    with pyrt.Pool(1, rootfs=rootfs, keep_changes=True, on_syscall={"mkdir": mkdir, "mkdirat": mkdir}) as pool:
        done = pool.run(["sh", "-c", "touch /new; mkdir /other"], stderr=pyrt.PIPE, text=True)
        assert done.changes.added == ["/new"]
        assert "File exists" in done.stderr
    assert seen


def test_asyncio_has_the_pool_too(pool: pyrt.Pool) -> None:
    async def main() -> list[str]:
        done = await asyncio.gather(*(pool.aio.run(["echo", str(number)], stdout=pyrt.PIPE, text=True) for number in range(5)))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(pool.aio.run(["sleep", "1000"]), 0.3)
        return [one.stdout for one in done]

    assert asyncio.run(main()) == [f"{number}\n" for number in range(5)]


def test_asyncio_has_processes_of_the_pool(pool: pyrt.Pool) -> None:
    async def main() -> tuple[bytes, int, int | None]:
        async with await pool.aio.Popen(["cat"], stdin=pyrt.PIPE, stdout=pyrt.PIPE) as box:
            assert box.stdin is not None
            assert box.stdout is not None
            box.stdin.write(b"line\n")
            line = await box.stdout.readline()
            box.stdin.close()
            return line, await box.wait(), box.returncode

    assert asyncio.run(main()) == (b"line\n", 0, 0)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"memory": "1G"}, r"Pool\.aio\.Popen\(\) takes no memory: it belongs to the container, and so to the Pool"),
        ({"text": True}, r"Pool\.aio\.Popen\(\) takes no text: its streams are of bytes, as asyncio's"),
        ({"limit": "1G"}, "limit is str, not an int"),
    ],
)
def test_what_a_process_of_the_pool_does_not_take_is_refused_by_name(pool: pyrt.Pool, arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(TypeError, match=text):
        asyncio.run(pool.aio.Popen(["true"], **arguments))
    assert pool.run(["true"]).returncode == 0


def test_many_threads_share_one_pool(pool: pyrt.Pool) -> None:
    said: list[str] = []

    def work(number: int) -> None:
        said.extend(pool.run(["echo", f"{number}.{turn}"], stdout=pyrt.PIPE, text=True).stdout.strip() for turn in range(3))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    assert sorted(said) == sorted(f"{number}.{turn}" for number in range(8) for turn in range(3))


def test_a_closed_pool_refuses_and_what_it_started_runs_on(rootfs: Path) -> None:
    with pyrt.Pool(1, rootfs=rootfs) as pool:
        assert pool.wait_ready(SOON)
        box = pool.Popen(["cat"], stdin=pyrt.PIPE, stdout=pyrt.PIPE, text=True)
    with pytest.raises(pyrt.InvalidState, match="Pool is closed"):
        pool.run(["true"])
    pool.close()
    assert box.communicate("still here") == ("still here", None)


def test_a_pool_that_is_dropped_leaves_nothing(rootfs: Path) -> None:
    pool = pyrt.Pool(1, rootfs=rootfs)
    pool.wait_ready(SOON)
    with pytest.warns(ResourceWarning, match="unclosed Pool"):
        del pool


def test_a_forked_child_has_no_pool_and_may_make_one(pool: pyrt.Pool, rootfs: Path) -> None:
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            with pytest.raises(pyrt.InvalidState, match="belongs to process"):
                pool.run(["true"])
            with pyrt.Pool(1, rootfs=rootfs) as own:
                status = own.run(["true"]).returncode
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
    assert pool.run(["true"]).returncode == 0


CALLER = """
import os, sys, time, pyrt
pool = pyrt.Pool(2, rootfs=sys.argv[1])
pool.wait_ready(30)
if sys.argv[2] == "fork" and os.fork() == 0:
    time.sleep(1000)
print(*[launch.process.pid for launch in pool._stock._ready], os.getpid(), flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize("how", ["alone", "fork"])
def test_a_caller_that_is_killed_leaves_no_container_that_waits(rootfs: Path, how: str) -> None:
    """Also where a forked child still holds the sockets that they wait on."""
    caller = subprocess.Popen([sys.executable, "-c", CALLER, rootfs, how], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert caller.stdout is not None
    pids = [int(word) for word in caller.stdout.readline().split()][:-1]
    assert len(pids) == 2
    groups = [line for pid in pids for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    caller.kill()
    caller.wait()
    until(lambda: not any(runs(pid) for pid in pids), "those that waited ended")
    names = {line.rpartition("/")[2] for line in groups if "run-" in line}
    roots = hosts.cgroup_mounts().roots
    until(lambda: not any((root / name).exists() for root in roots for name in names), "their cgroups are gone")
    with contextlib.suppress(ProcessLookupError):
        os.killpg(caller.pid, signal.SIGKILL)
    caller.stdout.close()


def test_a_program_that_ends_without_closing_its_pool_is_not_held_up(rootfs: Path) -> None:
    script = (
        "import sys, pyrt; pool = pyrt.Pool(1, rootfs=sys.argv[1]); print(pool.run(['echo', 'done'], stdout=pyrt.PIPE, text=True).stdout)"
    )
    done = subprocess.run([sys.executable, "-c", script, rootfs], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "done\n\n")
