"""CPython's own test_subprocess, its cases that make sense for a container, against `pyrt.Popen` and `pyrt.run`.

The interpreter's `test` package has them (Debian's is libpython3-testsuite). They run in the host view, where `sys.executable` is; the
functions around Popen are written here as subprocess has them. What is left out stands below with its reason: mostly a place of
docs/library.md, "Where run is not subprocess.run".
"""

from __future__ import annotations

import subprocess
import types
import unittest
from importlib.util import find_spec
from typing import Any

import pytest

import pyrt

LEFT_OUT = {
    "executable= is refused: the program is args[0]": [
        "test_bytes_executable",
        "test_bytes_executable_replaces_shell",
        "test_cwd_with_relative_executable",
        "test_exception_bad_executable",
        "test_executable",
        "test_executable_replaces_shell",
        "test_executable_takes_precedence",
        "test_executable_with_cwd",
        "test_executable_without_cwd",
        "test_pathlike_executable",
        "test_pathlike_executable_replaces_shell",
        "test_specific_shell",
    ],
    "preexec_fn= is refused: no Python runs between the launch and the command": [
        "test_close_fds_after_preexec",
        "test_preexec",
        "test_preexec_errpipe_does_not_double_close_pipes",
        "test_preexec_exception",
        "test_preexec_fork_failure",
        "test_preexec_gc_module_failure",
        "test_surrogates_error_message",
    ],
    "close_fds=False, restore_signals=False, process_group= and pipesize= are refused": [
        "test_close_fds",
        "test_group",
        "test_pipe_cloexec",
        "test_pipe_cloexec_real_tools",
        "test_pipesizes",
        "test_process_group_0",
        "test_restore_signals",
        "test_user",
    ],
    "pass_fds become 3, 4, 5, ...": ["test_pass_fds", "test_pass_fds_inheritable", "test_pass_fds_redirected"],
    "the host's /tmp and current directory are not shown": [
        "test_args_string",
        "test_call_string",
        "test_cwd_with_relative_arg",
        "test_umask",
    ],
    "a cwd that is missing inside is no FileNotFoundError": [
        "test_cwd_with_absolute_arg",
        "test_exception_cwd",
        "test_file_not_found_with_bad_cwd",
    ],
    "leaving `with` ends the command": ["test_bufsize_equal_one_binary_mode", "test_bufsize_equal_one_text_mode"],
    "a handle that is dropped ends its container at once": ["test_leak_fast_process_del_killed", "test_zombie_fast_process_del"],
    "words are UTF-8": ["test_undecodable_env"],
    "the environment is a fresh one": ["test_empty_env", "test_one_environment_variable"],
    "arguments after args are named": ["test_bufsize_is_none"],
    "a path alone is a program": ["test_run_with_pathlike_path"],
    "the caller is not the parent who could trace it": ["test_stopped"],
    "CPython itself skips them where this can run": [
        "test_extra_groups_error",
        "test_group_error",
        "test_no_leaking",
        "test_nonexisting_with_pipes",
        "test_run_with_an_empty_env",
        "test_user_error",
    ],
    "they are about subprocess's own parts": [
        "test__use_vfork",
        "test_bytes_program",
        "test_communicate_BrokenPipeError_stdin_flush",
        "test_communicate_BrokenPipeError_stdin_write",
        "test_fork_exec",
        "test_fork_exec_sorted_fd_sanity_check",
        "test_invalid_args",
        "test_list2cmdline",
        "test_repr",
        "test_send_signal_race2",
        "test_vfork_used_when_expected",
        "test_encoding_warning",
    ],
}
CLASSES = ("ProcessTestCase", "RunFuncTestCase", "POSIXProcessTestCase")
MODULE = "test.test_subprocess"


def cases() -> list[Any]:
    if find_spec("test") is None or find_spec(MODULE) is None:
        reason = f"this interpreter has no {MODULE} (libpython3-testsuite)"
        return [pytest.param("", "", marks=pytest.mark.skip(reason=reason), id="none")]
    left_out = {name for names in LEFT_OUT.values() for name in names}
    module = __import__(MODULE, fromlist=("ProcessTestCase",))
    return [
        pytest.param(of, name, id=name)
        for of in CLASSES
        for name in unittest.TestLoader().getTestCaseNames(getattr(module, of))
        if name not in left_out
    ]


def call(*words: Any, timeout: float | None = None, **options: Any) -> int | None:
    # As subprocess.call, but for `with`, which would end the command.
    box = pyrt.Popen(*words, **options)
    try:
        return box.wait(timeout=timeout)
    except BaseException:
        box.kill()
        box.wait()
        raise


def check_call(*words: Any, **options: Any) -> int:
    if returncode := call(*words, **options):
        raise subprocess.CalledProcessError(returncode, words[0])
    return 0


def check_output(*words: Any, **options: Any) -> Any:
    for name in ("stdout", "check"):
        if name in options:
            raise ValueError(f"{name} argument not allowed, it will be overridden.")
    if options.get("input", b"") is None:
        options["input"] = "" if any(options.get(name) for name in ("text", "universal_newlines", "encoding", "errors")) else b""
    return pyrt.run(*words, stdout=pyrt.PIPE, check=True, **options).stdout


@pytest.fixture
def as_subprocess(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of the cases, which takes pyrt for subprocess."""
    module = __import__(MODULE, fromlist=("ProcessTestCase",))
    mine = types.ModuleType("subprocess")
    mine.__dict__.update(subprocess.__dict__)
    mine.__dict__.update(Popen=pyrt.Popen, run=pyrt.run, call=call, check_call=check_call, check_output=check_output)
    monkeypatch.setattr(module, "subprocess", mine)
    return module


@pytest.mark.parametrize(("of", "name"), cases())
def test_a_case_of_cpython(as_subprocess: Any, of: str, name: str) -> None:
    result = unittest.TestResult()
    getattr(as_subprocess, of)(name).run(result)
    for _, said in [*result.errors, *result.failures]:
        pytest.fail(said, pytrace=False)
    for _, reason in result.skipped:
        pytest.skip(reason)


def test_each_case_is_left_out_once() -> None:
    names = [name for names in LEFT_OUT.values() for name in names]
    assert len(names) == len(set(names))
