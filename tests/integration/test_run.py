"""pyrt.run as subprocess.run has it: arguments, output, input, exit status, descriptors, and what it refuses.

Neighbours: test_run_limits.py (limits and cause), test_endings.py (timeouts, exceptions, threads, forks), test_library_defaults.py (what a
container is given unless somebody says otherwise), test_host_view.py.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import pyrt
from helpers.bundles import Bundle
from helpers.waiting import SOON

LARGER_THAN_A_PIPE = 3_000_000


# What comes back


def test_run_returns_what_the_command_wrote_and_how_it_ended() -> None:
    done = pyrt.run(["sh", "-c", "echo out; echo err >&2; exit 3"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr, done.cause) == (3, "out\n", "err\n", pyrt.Cause.EXITED)
    assert done.args == ["sh", "-c", "echo out; echo err >&2; exit 3"]
    assert done.warnings == []


def test_output_is_bytes_unless_text_is_asked_for() -> None:
    assert pyrt.run(["printf", r"\377\r\n"], stdout=pyrt.PIPE).stdout == b"\xff\r\n"


@pytest.mark.parametrize("options", [{"text": True}, {"encoding": "latin-1"}, {"errors": "replace"}], ids=str)
def test_text_encoding_and_errors_ask_for_text_with_universal_newlines(options: dict[str, object]) -> None:
    done = pyrt.run(["printf", r"a\r\nb\rc"], stdout=pyrt.PIPE, **options)  # type: ignore[call-overload]
    assert done.stdout == "a\nb\nc"


def test_text_is_utf_8_whatever_the_caller_s_locale_says() -> None:
    assert pyrt.run(["printf", r"\303\244"], stdout=pyrt.PIPE, text=True).stdout == "ä"
    with pytest.raises(UnicodeDecodeError):
        pyrt.run(["printf", r"\377"], stdout=pyrt.PIPE, text=True)


def test_stderr_goes_into_stdout_in_the_order_written() -> None:
    done = pyrt.run(["sh", "-c", "echo 1; echo 2 >&2; echo 3"], stdout=pyrt.PIPE, stderr=pyrt.STDOUT, text=True)
    assert (done.stdout, done.stderr) == ("1\n2\n3\n", None)


def test_output_larger_than_a_pipe_comes_back_whole_from_both_streams() -> None:
    script = f"head -c {LARGER_THAN_A_PIPE} /dev/zero & head -c {LARGER_THAN_A_PIPE} /dev/zero >&2; wait"
    done = pyrt.run(["sh", "-c", script], capture_output=True)
    assert (len(done.stdout), len(done.stderr)) == (LARGER_THAN_A_PIPE, LARGER_THAN_A_PIPE)


def test_output_goes_to_a_file_or_descriptor_of_the_caller_s(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w+") as out, (tmp_path / "err").open("w+") as err:
        done = pyrt.run(["sh", "-c", "echo out; echo err >&2"], stdout=out, stderr=err.fileno())
    assert (done.stdout, done.stderr) == (None, None)
    assert [(tmp_path / name).read_text() for name in ("out", "err")] == ["out\n", "err\n"]


def test_output_goes_to_the_caller_s_own_unless_said(capfd: pytest.CaptureFixture[str]) -> None:
    pyrt.run(["sh", "-c", "echo out; echo err >&2"])
    assert capfd.readouterr() == ("out\n", "err\n")


def test_devnull_swallows(capfd: pytest.CaptureFixture[str]) -> None:
    assert pyrt.run(["sh", "-c", "echo out; echo err >&2"], stdout=pyrt.DEVNULL, stderr=pyrt.DEVNULL).returncode == 0
    assert capfd.readouterr() == ("", "")


def test_the_constants_are_subprocess_s() -> None:
    assert (pyrt.PIPE, pyrt.STDOUT, pyrt.DEVNULL) == (subprocess.PIPE, subprocess.STDOUT, subprocess.DEVNULL)


def test_a_process_left_behind_cannot_hold_the_pipes() -> None:
    done = pyrt.run(["sh", "-c", "setsid sleep 1000 & echo done"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "done\n")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGPIPE])
def test_a_signal_that_ends_the_command_is_its_negative_return_code(number: signal.Signals) -> None:
    done = pyrt.run(["sh", "-c", f"kill -{int(number)} $$"], capture_output=True)
    assert (done.returncode, done.cause) == (-number, pyrt.Cause.SIGNALED)


def test_abort_ends_a_command_as_on_the_host() -> None:
    assert pyrt.run([sys.executable, "-c", "import os; os.abort()"]).returncode == -signal.SIGABRT


def test_orphans_are_reaped_and_do_not_change_the_return_code() -> None:
    # Until PID 1 and this shell are all that there is: a zombie would be there too.
    script = "for i in 1 2 3; do (sh -c 'exit 9' &); done; until set -- /proc/[0-9]*; [ $# = 2 ]; do :; done; exit 5"
    assert pyrt.run(["sh", "-c", script], timeout=SOON).returncode == 5


def test_the_command_is_not_pid_1_unless_init_is_false() -> None:
    assert pyrt.run(["sh", "-c", "echo $$"], capture_output=True, text=True).stdout == "2\n"
    assert pyrt.run(["sh", "-c", "echo $$"], init=False, capture_output=True, text=True).stdout == "1\n"


def test_check_raises_with_the_whole_result() -> None:
    with pytest.raises(pyrt.ContainerFailed) as caught:
        pyrt.run(["sh", "-c", "echo out; exit 7"], check=True, capture_output=True, text=True)
    assert (caught.value.returncode, caught.value.output, caught.value.stdout) == (7, "out\n", "out\n")
    assert caught.value.result.cause is pyrt.Cause.EXITED
    assert str(caught.value) == "sh failed with exit status 7"


def test_check_is_quiet_where_all_is_well() -> None:
    assert pyrt.run(["true"], check=True).returncode == 0


# What goes in


def test_stdin_is_dev_null_unless_said() -> None:
    assert pyrt.run(["readlink", "/proc/self/fd/0"], capture_output=True, text=True).stdout == "/dev/null\n"


def test_input_reaches_the_command_whole() -> None:
    data = os.urandom(LARGER_THAN_A_PIPE)
    assert pyrt.run(["cat"], input=data, stdout=pyrt.PIPE).stdout == data


def test_input_may_be_text() -> None:
    assert pyrt.run(["cat"], input="ä\n", stdout=pyrt.PIPE, text=True).stdout == "ä\n"


@pytest.mark.parametrize("empty", [b"", ""])
def test_empty_input_is_an_end_of_file(empty: bytes | str) -> None:
    done = pyrt.run(["cat"], input=empty, stdout=pyrt.PIPE, text=isinstance(empty, str))  # type: ignore[call-overload]
    assert (done.returncode, done.stdout) == (0, empty)


def test_a_command_that_does_not_read_its_input_is_no_error() -> None:
    assert pyrt.run(["true"], input=b"x" * LARGER_THAN_A_PIPE).returncode == 0


def test_stdin_may_be_a_file() -> None:
    with tempfile.TemporaryFile() as file:
        file.write(b"content")
        file.seek(0)
        assert pyrt.run(["cat"], stdin=file, stdout=pyrt.PIPE).stdout == b"content"


def test_the_environment_is_fresh_and_env_adds_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_CALLER", "1")
    monkeypatch.setenv("PASSED_ON", "2")
    done = pyrt.run(["env"], capture_output=True, text=True, env={"A": "b=c"}, inherit_env=["PASSED_ON", "NOT_THERE"])
    said = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert said.keys() == {"PATH", "HOME", "LANG", "TERM", "A", "PASSED_ON"}
    assert (said["A"], said["PASSED_ON"]) == ("b=c", "2")


def test_pass_fds_arrive_from_three_in_their_order_and_no_other_descriptor_does() -> None:
    first, second = os.pipe(), os.pipe()
    os.set_inheritable(first[0], True)
    try:
        script = "echo one >&3; echo two >&4; ls /proc/self/fd"
        done = pyrt.run(["sh", "-c", script], pass_fds=(second[1], first[1]), capture_output=True, text=True)
        # ls has one more, of the directory that it reads.
        assert done.stdout.split() == ["0", "1", "2", "3", "4", "5"]
        assert (os.read(second[0], 100), os.read(first[0], 100)) == (b"one\n", b"two\n")
    finally:
        for descriptor in (*first, *second):
            os.close(descriptor)


def test_a_single_word_is_a_program_without_arguments() -> None:
    assert pyrt.run("pwd", capture_output=True, text=True).stdout == "/\n"
    assert pyrt.run(Path("/usr/bin/pwd"), capture_output=True, text=True).stdout == "/\n"


def test_words_may_be_paths() -> None:
    assert pyrt.run(["ls", "-d", Path("/usr")], capture_output=True, text=True).stdout == "/usr\n"


def test_words_that_are_no_utf_8_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="is not UTF-8"):
        pyrt.run(["true", os.fsdecode(b"\xff")])


# Who, where


def test_user_by_name_gets_its_group_groups_and_home(rootfs: Path) -> None:
    done = pyrt.run(["sh", "-c", "id; echo $HOME"], rootfs=rootfs, user="user", capture_output=True, text=True)
    assert done.stdout == "uid=1000(user) gid=1000(user) groups=1000(user),2000(extra)\n/home/user\n"


@pytest.mark.parametrize(
    ("user", "said"),
    [
        (1000, "1000:1000:1000 2000"),
        ("1000", "1000:1000:1000 2000"),
        ("user:extra", "1000:2000:2000"),
        (4711, "4711:4711:4711"),
        ("0:5", "0:5:5"),
    ],
)
def test_user_by_number_and_with_a_group(rootfs: Path, user: str | int, said: str) -> None:
    """The supplementary groups have the primary one among them: a file may deny a group what others may (CVE-2022-36109)."""
    script = "echo $(id -u):$(id -g):$(sed -n 's/^Groups:[[:space:]]*//p' /proc/self/status)"
    assert pyrt.run(["sh", "-c", script], rootfs=rootfs, user=user, capture_output=True, text=True).stdout == f"{said}\n"


def test_group_and_extra_groups_are_taken_instead(rootfs: Path) -> None:
    script = "id -g; sed -n 's/^Groups:[[:space:]]*//p' /proc/self/status"
    options = {"rootfs": rootfs, "user": "user", "group": 5, "extra_groups": ["extra", 7]}
    assert pyrt.run(["sh", "-c", script], capture_output=True, text=True, **options).stdout.split() == ["5", "7", "2000"]  # type: ignore[call-overload]


def test_a_user_that_the_root_does_not_know_is_named(rootfs: Path) -> None:
    with pytest.raises(pyrt.NotFound, match=r"user 'nobody-here' is not in .*/etc/passwd") as caught:
        pyrt.run(["true"], rootfs=rootfs, user="nobody-here")
    assert caught.value.path == f"{rootfs}/etc/passwd"


def test_cwd_umask_and_rlimits() -> None:
    script = "pwd; umask; ulimit -n; ulimit -Hn"
    done = pyrt.run(["sh", "-c", script], cwd="/usr", umask=0o077, rlimits={"NOFILE": (64, 128)}, capture_output=True, text=True)
    assert done.stdout.split() == ["/usr", "0077", "64", "128"]
    done = pyrt.run(["sh", "-c", "ulimit -c"], rlimits=[pyrt.Rlimit("core", 0)], capture_output=True, text=True)
    assert done.stdout == "0\n"


def test_a_working_directory_that_is_missing_raises_with_errno_and_path() -> None:
    with pytest.raises(pyrt.Error) as caught:
        pyrt.run(["true"], cwd="/no/such")
    assert (caught.value.errno, caught.value.path) == (errno.ENOENT, "/no/such")


# Roots and mounts


def test_a_bundle_is_taken_as_it_says_but_for_what_is_said_beside_it(bundle: Bundle) -> None:
    bundle.process["env"] = ["PATH=/bin", "FROM=bundle"]
    bundle.shell("echo $FROM $ADDED; hostname; touch /new; echo $?")
    done = pyrt.run(bundle=bundle.path, env={"ADDED": "here"}, hostname="other", capture_output=True, text=True)
    assert done.stdout == "bundle here\nother\n1\n"
    assert "Read-only file system" in done.stderr
    assert pyrt.run(["echo", "another"], bundle=bundle.path, stdout=pyrt.PIPE).stdout == b"another\n"


def test_a_spec_is_taken_as_it_says_and_is_not_changed(bundle: Bundle) -> None:
    spec = pyrt.Spec(bundle.spec)
    spec.args, spec.rootfs = ["sh", "-c", "cat /proc/self/mounts | grep -c tmpfs"], bundle.rootfs
    before = spec.copy()
    done = pyrt.run(spec=spec, memory="64M", capture_output=True, text=True)
    assert (done.returncode, spec) == (0, before)


def test_mounts_show_what_they_say_where_they_say(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    done = pyrt.run(
        ["sh", "-c", "cat /data/file; touch /data/new; stat -f -c %T /scratch; touch /rw/made"],
        mounts=[pyrt.Mount.bind(tmp_path, "/data", read_only=True), f"type=bind,src={tmp_path},dst=/rw"],
        tmpfs={"/scratch": "1M"},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "contenttmpfs\n"
    assert "Read-only file system" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "made"]


def test_read_only_makes_the_root_read_only() -> None:
    done = pyrt.run(["touch", "/usr/new"], read_only=True, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Read-only file system" in done.stderr


# What is refused, before anything is made


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"capture_output": True, "stdout": pyrt.PIPE}, ValueError, "capture_output=True"),
        ({"input": b"", "stdin": pyrt.DEVNULL}, ValueError, "input= is written to stdin"),
        ({"stdin": pyrt.PIPE}, ValueError, "use input="),
        ({"input": "text"}, TypeError, "input is str"),
        ({"input": b"bytes", "text": True}, TypeError, "input is bytes"),
        ({"preexec_fn": print}, TypeError, "preexec_fn"),
        ({"nonsense": 1}, TypeError, "'nonsense'"),
        ({"rootfs": "/", "here": True}, ValueError, "two different roots"),
        ({"overlay": False}, ValueError, "the host view is always copy-on-write"),
        ({"env": {"A=B": "c"}}, ValueError, "'A=B'"),
        ({"inherit_env": "PATH"}, TypeError, "inherit_env is a list"),
        ({"capabilities": "CAP_KILL"}, TypeError, "capabilities is a list"),
        ({"network": "bridge"}, ValueError, "'bridge'"),
        ({"namespaces": {"user": "new"}}, ValueError, "mappings"),
        ({"namespaces": {"uts": "host"}, "hostname": "mine"}, ValueError, "rename the host"),
        ({"memory": "lots"}, ValueError, "'lots'"),
        ({"memory": 0}, ValueError, "memory is 0"),
        ({"cpus": 0}, ValueError, "cpus 0"),
        ({"pids": 0}, ValueError, "pids 0"),
        ({"rlimits": {"NOFILE": (2, 1)}}, ValueError, "RLIMIT_NOFILE"),
        ({"mounts": "src=/a,dst=/b"}, TypeError, "not one str"),
        ({"mounts": ["src=/a"]}, ValueError, "there is no dst"),
        ({"cgroup": "../../etc"}, ValueError, "cgroup path"),
        ({"stdout": -5}, ValueError, "no open file"),
    ],
    ids=str,
)
def test_arguments_that_make_no_sense_are_refused_with_the_reason(options: dict[str, object], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        pyrt.run(["true"], **options)  # type: ignore[call-overload]


def test_no_command_is_refused() -> None:
    with pytest.raises(TypeError, match="neither args nor a spec"):
        pyrt.run()
    with pytest.raises(ValueError, match="args is empty"):
        pyrt.run([])


def test_a_missing_rootfs_and_bundle_are_named() -> None:
    with pytest.raises(pyrt.NotFound) as caught:
        pyrt.run(["true"], rootfs="/no/such/root")
    assert (caught.value.errno, caught.value.path) == (errno.ENOENT, "/no/such/root")
    with pytest.raises(pyrt.NotFound) as caught:
        pyrt.run(bundle="/no/such/bundle")
    assert (caught.value.errno, caught.value.path) == (errno.ENOENT, "/no/such/bundle")


def test_a_wrong_type_in_a_spec_is_named_by_its_place(bundle: Bundle) -> None:
    bundle.process["args"] = "sh"
    with pytest.raises(pyrt.SpecError) as caught:
        pyrt.run(spec=pyrt.Spec(bundle.spec), rootfs=bundle.rootfs)
    assert caught.value.json_path == "process.args"
