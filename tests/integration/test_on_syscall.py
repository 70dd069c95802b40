"""on_syscall=: system calls that the caller's own code decides (python/pyrt/system_calls.py).

Neighbour: test_seccomp_notify.py, where somebody else decides.
"""

from __future__ import annotations

import errno
import os
import platform
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

import pyrt
from helpers import callers
from helpers.bundles import Bundle
from helpers.commands import Command
from helpers.hosts import requires
from helpers.waiting import SOON, until
from pyrt import SystemCall

pytestmark = requires("root")

MKDIR = "mkdir" if platform.machine() == "x86_64" else "mkdirat"
"""What busybox's mkdir calls."""


def deny(call: SystemCall) -> Any:
    return call.error(errno.EXDEV)


def deciding(handler: Any) -> dict[str, Any]:
    return {"mkdir": handler, "mkdirat": handler}


def path_of(call: SystemCall) -> str:
    return call.read_string(call.args[0 if call.name == "mkdir" else 1]).decode()


def read_until_gone(call: SystemCall) -> BaseException:
    try:
        while True:
            call.read(call.args[0 if call.name == "mkdir" else 1], 1)
    except OSError as gone:
        return gone


def test_an_errno_is_what_the_program_gets(rootfs: Path) -> None:
    done = pyrt.run(["mkdir", "/tmp/made"], rootfs=rootfs, on_syscall=deciding(deny), capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "mkdir: can't create directory '/tmp/made': Invalid cross-device link\n"


def test_a_value_is_what_the_call_returns_and_nothing_is_done(rootfs: Path) -> None:
    done = pyrt.run(
        ["sh", "-c", "mkdir /tmp/made && ls /tmp"], rootfs=rootfs, on_syscall=deciding(lambda call: call.result(0)), capture_output=True
    )
    assert (done.returncode, done.stdout) == (0, b"")


def test_proceed_has_the_kernel_do_it(rootfs: Path) -> None:
    done = pyrt.run(
        ["sh", "-c", "mkdir /tmp/made && ls /tmp"], rootfs=rootfs, on_syscall=deciding(lambda call: call.proceed()), capture_output=True
    )
    assert done.stdout == b"made\n"


def test_a_descriptor_is_added_to_the_program(rootfs: Path, tmp_path: Path) -> None:
    (tmp_path / "given").write_text("from the caller")
    with (tmp_path / "given").open() as file:

        def give(call: SystemCall) -> Any:
            path = call.read_string(call.args[0 if call.name == "open" else 1])
            return call.descriptor(file.fileno()) if path == b"/asked/for" else call.proceed()

        done = pyrt.run(["cat", "/asked/for"], rootfs=rootfs, on_syscall={"open": give, "openat": give}, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("from the caller", "")


def test_a_handler_sees_the_call_and_reads_its_memory(rootfs: Path) -> None:
    seen: list[tuple[str, str | None, str, bool]] = []

    def look(call: SystemCall) -> Any:
        seen.append((call.name, call.architecture, path_of(call), Path(f"/proc/{call.pid}/comm").read_text() == "mkdir\n"))
        with pytest.raises(OSError, match="cannot be read") as unreadable:
            call.read(8, 1)
        assert unreadable.value.errno == errno.EFAULT
        with pytest.raises(OSError, match="no NUL in 3 bytes") as unended:
            call.read_string(call.args[0 if call.name == "mkdir" else 1], 3)
        assert unended.value.errno == errno.ENAMETOOLONG
        return call.error(errno.EXDEV)

    pyrt.run(["mkdir", "/tmp/made"], rootfs=rootfs, on_syscall=deciding(look), stderr=pyrt.DEVNULL)
    assert seen == [(MKDIR, platform.machine(), "/tmp/made", True)]


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_what_a_handler_raises_denies_the_call_and_is_raised(rootfs: Path, tmp_path: Path, kind: type[BaseException]) -> None:
    def fail(call: SystemCall) -> Any:
        raise kind("by the handler")

    with pytest.raises(kind, match="by the handler"):
        pyrt.run(["sh", "-c", "mkdir /made; exec sleep 100"], rootfs=rootfs, overlay=tmp_path / "kept", on_syscall=deciding(fail))
    assert not (tmp_path / "kept/upper/made").exists()


def test_a_handler_that_returns_no_answer_is_told(rootfs: Path) -> None:
    with pytest.raises(TypeError, match=rf"the handler of {MKDIR} returned None"):
        pyrt.run(["mkdir", "/tmp/made"], rootfs=rootfs, on_syscall=deciding(lambda call: None))


def test_what_else_the_profile_says_stays(rootfs: Path) -> None:
    done = pyrt.run(["unshare", "-U", "true"], rootfs=rootfs, on_syscall=deciding(deny), stderr=pyrt.DEVNULL)
    assert done.returncode == 1
    assert pyrt.run(["unshare", "-U", "true"], rootfs=rootfs, on_syscall=deciding(deny), seccomp=None).returncode == 0


def test_a_given_spec_keeps_its_own_profile(bundle: Bundle) -> None:
    bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["rmdir", "unlinkat"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOTEMPTY}],
    }
    bundle.shell("mkdir /tmp/made; rmdir /tmp")
    done = pyrt.run(bundle=bundle.path, on_syscall=deciding(deny), capture_output=True, text=True)
    assert "Invalid cross-device link" in done.stderr
    assert "Directory not empty" in done.stderr


def test_a_profile_with_a_listener_of_its_own_is_refused(rootfs: Path) -> None:
    with pytest.raises(ValueError, match="names somebody else who does"):
        pyrt.run(["true"], rootfs=rootfs, on_syscall=deciding(deny), seccomp={"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x"})


def test_a_name_that_is_no_system_call_is_refused(rootfs: Path) -> None:
    with pytest.raises(ValueError, match='"mkdri" is no system call'):
        pyrt.run(["true"], rootfs=rootfs, on_syscall={"mkdri": deny})
    with pytest.raises(TypeError, match="a handler is called with a SystemCall"):
        pyrt.run(["true"], rootfs=rootfs, on_syscall={"mkdir": errno.EPERM})  # type: ignore[dict-item]


def test_the_timeout_ends_a_program_that_asks_without_end(rootfs: Path) -> None:
    with pytest.raises(pyrt.ContainerTimeout):
        pyrt.run(
            ["sh", "-c", "while :; do mkdir /tmp/made; done"], rootfs=rootfs, on_syscall=deciding(deny), stderr=pyrt.DEVNULL, timeout=0.5
        )


def test_one_who_is_killed_while_it_waits_is_no_error(rootfs: Path) -> None:
    calls: list[BaseException] = []

    def kill(call: SystemCall) -> Any:
        os.kill(call.pid, signal.SIGKILL)
        calls.append(read_until_gone(call))
        raise calls[0]

    done = pyrt.run(["sh", "-c", "mkdir /tmp/made; echo $?"], rootfs=rootfs, on_syscall=deciding(kill), capture_output=True, text=True)
    assert (done.stdout, len(calls)) == ("137\n", 1)


def test_an_answer_to_one_who_is_gone_is_no_error(rootfs: Path) -> None:
    with open(os.devnull) as null:
        for answer in (deny, lambda call: call.result(1), lambda call: call.proceed(), lambda call: call.descriptor(null.fileno())):

            def late(call: SystemCall, answer: Any = answer) -> Any:
                os.kill(call.pid, signal.SIGKILL)
                assert isinstance(read_until_gone(call), ProcessLookupError)
                return answer(call)

            assert pyrt.run(["mkdir", "/tmp/made"], rootfs=rootfs, on_syscall=deciding(late)).returncode == -signal.SIGKILL


def test_many_at_once_get_their_own_answers(rootfs: Path) -> None:
    def by_name(call: SystemCall) -> Any:
        return call.error(errno.EXDEV) if path_of(call).endswith("odd") else call.result(0)

    script = "for i in 1 2 3 4 5 6 7 8; do (mkdir /tmp/$i.odd 2>/dev/null; mkdir /tmp/$i.even || exit 9) & done; wait"
    done = pyrt.run(["sh", "-c", f"{script}; ls /tmp"], rootfs=rootfs, on_syscall=deciding(by_name), capture_output=True)
    assert (done.returncode, done.stdout) == (0, b"")


def test_popen_answers_beside_the_caller(rootfs: Path) -> None:
    before = threading.active_count()
    with pyrt.Popen(["mkdir", "/tmp/made"], rootfs=rootfs, on_syscall=deciding(deny), stderr=pyrt.PIPE, text=True) as process:
        output, error = process.communicate(timeout=SOON)
    assert (process.returncode, output, "Invalid cross-device link" in error) == (1, None, True)
    assert process.cause is pyrt.Cause.EXITED
    assert threading.active_count() == before


def test_popen_raises_what_a_handler_raised(rootfs: Path) -> None:
    def fail(call: SystemCall) -> Any:
        raise ValueError("by the handler")

    with pyrt.Popen(["sh", "-c", "mkdir /tmp/made; exec sleep 100"], rootfs=rootfs, on_syscall=deciding(fail)) as process:
        with pytest.raises(ValueError, match="by the handler"):
            process.wait(timeout=SOON)
        assert process.returncode == -signal.SIGKILL


def test_closing_a_popen_ends_one_who_waits_for_an_answer(rootfs: Path) -> None:
    asked, leave = threading.Event(), threading.Event()

    def slow(call: SystemCall) -> Any:
        asked.set()
        leave.wait(SOON)
        return call.error(errno.EXDEV)

    with pyrt.Popen(["mkdir", "/tmp/made"], rootfs=rootfs, on_syscall=deciding(slow)) as process:
        assert asked.wait(SOON)
        process.kill()
        leave.set()
    assert process.returncode == -signal.SIGKILL


def test_a_handler_that_never_returns_holds_up_neither_kill_nor_wait(rootfs: Path) -> None:
    asked, leave = threading.Event(), threading.Event()
    done: list[str] = []

    def never(call: SystemCall) -> Any:
        asked.set()
        leave.wait()
        done.append(call.name)
        return call.error(errno.EXDEV)

    before = threading.active_count()
    try:
        with pyrt.Popen(["mkdir", "/tmp/made"], rootfs=rootfs, on_syscall=deciding(never)) as process:
            assert asked.wait(SOON)
            process.kill()
            assert process.wait() == -signal.SIGKILL
        assert done == [], "it is deciding still"
    finally:
        leave.set()
    # Then its thread ends, and closes the listener: the fixture looks for both.
    until(lambda: threading.active_count() == before, "the handler's thread ends")
    assert done == [MKDIR]


def test_a_handler_that_never_returns_does_not_hold_up_the_end_of_the_interpreter(rootfs: Path) -> None:
    script = """
asked = threading.Event()
def never(call):
    asked.set()
    threading.Event().wait()
box = pyrt.Popen(["mkdir", "/tmp/made", marker], rootfs=sys.argv[1], on_syscall={"mkdir": never, "mkdirat": never})
assert asked.wait(60)
print("ends", flush=True)
"""
    marker = callers.new_marker()
    with callers.start(script, marker, rootfs) as caller:
        try:
            said, _ = caller.communicate(timeout=SOON * 6)
        finally:
            caller.kill()
    assert (said, caller.returncode) == ("ends\n", 0)
    until(lambda: not callers.marked(marker), "the container ends")


def test_the_command_takes_a_profile(command: Command, tmp_path: Path, rootfs: Path) -> None:
    profile = tmp_path / "profile.json"
    profile.write_text(
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 18}]}'
    )
    done = command("run", "--rootfs", rootfs, "--seccomp", profile, "--", "mkdir", "/tmp/made")
    assert (done.status, "Invalid cross-device link" in done.stderr) == (1, True)
    assert command("run", "--rootfs", rootfs, "--seccomp", "unconfined", "--", "unshare", "-U", "true").status == 0
