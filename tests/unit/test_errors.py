"""The exception classes by themselves: text, repr, built-in bases, pickle, and what native kinds and errnos become.

Neighbours: tests/integration/test_exceptions.py (what is raised when).
"""

from __future__ import annotations

import copy
import errno
import pickle
import subprocess
import sys

import pytest

import pyrt
from pyrt.errors import from_native, from_os_error

ARGUMENTS = ("mount proc", "/proc", errno.EPERM, "run as root")

BASES: list[tuple[type[pyrt.Error], tuple[type[BaseException], ...]]] = [
    (pyrt.Error, (Exception,)),
    (pyrt.NotFound, (pyrt.Error, LookupError)),
    (pyrt.AlreadyExists, (pyrt.Error,)),
    (pyrt.InvalidState, (pyrt.Error,)),
    (pyrt.SpecError, (pyrt.Error, ValueError)),
    (pyrt.HostError, (pyrt.Error, OSError)),
    (pyrt.PermissionDenied, (pyrt.Error, PermissionError)),
    (pyrt.ExecutableError, (pyrt.Error,)),
    (pyrt.MissingExecutable, (pyrt.ExecutableError, FileNotFoundError)),
    (pyrt.ForbiddenExecutable, (pyrt.ExecutableError, PermissionError)),
    (pyrt.ContainerTimeout, (pyrt.Error, subprocess.TimeoutExpired)),
    (pyrt.ContainerFailed, (pyrt.Error, subprocess.CalledProcessError)),
    (pyrt.RemoteError, (pyrt.Error,)),
]
PLAIN = [kind for kind, _ in BASES if kind not in (pyrt.ContainerTimeout, pyrt.ContainerFailed, pyrt.RemoteError)]


def ended() -> list[pyrt.Error]:
    return [
        pyrt.ContainerTimeout(["sleep", "9"], 1.5, "out", "err"),
        pyrt.ContainerFailed(3, ["false"], b"out", b"err"),
        pyrt.ContainerFailed(-9, "web"),
    ]


@pytest.mark.parametrize(("kind", "bases"), BASES, ids=lambda value: getattr(value, "__name__", ""))
def test_each_class_is_an_error_and_the_built_in_that_fits(kind: type[pyrt.Error], bases: tuple[type[BaseException], ...]) -> None:
    for base in bases:
        assert issubclass(kind, base)


def test_every_class_of_the_tree_is_tested_here() -> None:
    public = {getattr(pyrt, name) for name in pyrt.__all__}
    assert {kind for kind, _ in BASES} == {kind for kind in public if isinstance(kind, type) and issubclass(kind, BaseException)}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("mount proc",), "mount proc"),
        (("mount proc", "/proc"), "mount proc /proc"),
        (("mount proc", "/proc", errno.EPERM), "mount proc /proc: operation not permitted (EPERM)"),
        (ARGUMENTS, "mount proc /proc: operation not permitted (EPERM); run as root"),
        (("mount proc", None, errno.ENOSPC), "mount proc: no space left on device (ENOSPC)"),
        (("mount proc", None, None, "run as root"), "mount proc; run as root"),
    ],
)
@pytest.mark.parametrize("kind", [pyrt.Error, pyrt.NotFound, pyrt.HostError, pyrt.PermissionDenied, pyrt.SpecError])
def test_the_text_is_one_line_of_what_is_known(kind: type[pyrt.Error], arguments: tuple[object, ...], text: str) -> None:
    assert str(kind(*arguments)) == text  # type: ignore[arg-type]


def test_the_text_of_a_wrong_value_begins_with_its_place() -> None:
    error = pyrt.SpecError("is not a string", json_path="process.args[0]", hint="give a list")
    assert str(error) == "config.json: process.args[0]: is not a string; give a list"
    assert str(pyrt.SpecError("unknown signal 'X'")) == "unknown signal 'X'"


def test_programs_are_named_in_the_words_that_engines_match() -> None:
    missing = pyrt.MissingExecutable("execute", "nope", errno.ENOENT)
    assert str(missing) == 'exec: "nope": executable file not found in $PATH'
    assert str(pyrt.MissingExecutable("execute", "nope", errno.ENOENT, "install it")).endswith("$PATH; install it")
    assert str(pyrt.ForbiddenExecutable("execute", "/etc", errno.EISDIR)) == 'exec: "/etc": is a directory (EISDIR)'
    assert str(pyrt.ForbiddenExecutable("execute", "/etc")) == 'exec: "/etc": permission denied (EACCES)'


def test_a_command_that_timed_out_or_failed_is_named() -> None:
    assert [str(error) for error in ended()] == [
        "sleep timed out after 1.5 seconds",
        "false failed with exit status 3",
        "web was ended by signal 9",
    ]


@pytest.mark.parametrize("kind", PLAIN)
def test_repr_shows_the_arguments(kind: type[pyrt.Error]) -> None:
    assert repr(kind(*ARGUMENTS)).startswith(f"{kind.__name__}('mount proc', '/proc', {errno.EPERM}, 'run as root'")


@pytest.mark.parametrize("kind", PLAIN)
def test_attributes_are_those_of_the_arguments(kind: type[pyrt.Error]) -> None:
    error = kind(*ARGUMENTS)
    assert (error.operation, error.path, error.errno, error.hint) == ARGUMENTS


@pytest.mark.parametrize("kind", [kind for kind in PLAIN if issubclass(kind, OSError)])
def test_code_that_knows_only_oserror_finds_what_it_looks_for(kind: type[OSError]) -> None:
    error = kind(*ARGUMENTS)
    assert (error.errno, error.filename, error.strerror) == (errno.EPERM, "/proc", "Operation not permitted")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_error_survives_pickle(protocol: int) -> None:
    native = from_native("spec", "is missing", None, None, None, "process", "config.json: process: is missing")
    for error in (*(kind(*ARGUMENTS) for kind in PLAIN), native, *ended()):
        again = pickle.loads(pickle.dumps(error, protocol))
        assert (type(again), str(again), again.args, again.__dict__) == (type(error), str(error), error.args, error.__dict__)


def test_every_error_can_be_copied() -> None:
    for error in (*(kind(*ARGUMENTS) for kind in PLAIN), *ended()):
        for again in (copy.copy(error), copy.deepcopy(error)):
            assert (type(again), str(again), again.__dict__) == (type(error), str(error), error.__dict__)


def test_errors_of_ended_commands_have_subprocess_s_attributes() -> None:
    timeout, failed, killed = ended()
    assert isinstance(timeout, pyrt.ContainerTimeout)
    assert (timeout.cmd, timeout.timeout, timeout.output, timeout.stdout, timeout.stderr) == (["sleep", "9"], 1.5, "out", "out", "err")
    assert isinstance(failed, pyrt.ContainerFailed)
    assert (failed.returncode, failed.cmd, failed.stdout, failed.stderr, failed.result) == (3, ["false"], b"out", b"err", None)
    assert isinstance(killed, pyrt.ContainerFailed)
    assert killed.returncode == -9


# What the native module and Python's own calls raise


@pytest.mark.parametrize(
    ("kind", "number", "expected"),
    [
        ("system", errno.EPERM, pyrt.PermissionDenied),
        ("system", errno.EACCES, pyrt.PermissionDenied),
        ("system", errno.ENOENT, pyrt.Error),
        ("spec", None, pyrt.SpecError),
        ("host", None, pyrt.HostError),
        ("not-found", errno.ENOENT, pyrt.NotFound),
        ("already-exists", None, pyrt.AlreadyExists),
        ("invalid-state", None, pyrt.InvalidState),
        ("executable", errno.ENOENT, pyrt.MissingExecutable),
        ("executable", errno.ENOTDIR, pyrt.MissingExecutable),
        ("executable", errno.EACCES, pyrt.ForbiddenExecutable),
        ("executable", errno.EISDIR, pyrt.ForbiddenExecutable),
        ("executable", errno.ENOEXEC, pyrt.ExecutableError),
    ],
)
def test_each_kind_of_the_native_module_becomes_its_class(kind: str, number: int | None, expected: type[pyrt.Error]) -> None:
    error = from_native(kind, "operate", "/path", number, "hint", None, "the native text")
    assert type(error) is expected
    assert (str(error), error.operation, error.path, error.errno, error.hint) == ("the native text", "operate", "/path", number, "hint")


@pytest.mark.parametrize(
    ("number", "expected"), [(errno.EPERM, pyrt.PermissionDenied), (errno.EACCES, pyrt.PermissionDenied), (errno.EIO, pyrt.Error)]
)
def test_an_oserror_becomes_an_error_with_its_file(number: int, expected: type[pyrt.Error]) -> None:
    failed = OSError(number, "words", b"/file")
    assert type(from_os_error("read", failed)) is expected
    assert from_os_error("read", failed).path == "/file"
    assert from_os_error("read", failed, "/said", "hint").path == "/said"
    assert from_os_error("read", OSError(number, "words")).path is None


def test_subprocess_is_imported_only_for_the_errors_that_need_it() -> None:
    script = (
        "import sys, pyrt.errors; assert 'subprocess' not in sys.modules; pyrt.errors.ContainerTimeout; assert 'subprocess' in sys.modules"
    )
    subprocess.run([sys.executable, "-I", "-c", f"import sys; sys.modules.pop('subprocess', None); {script}"], check=True)


def test_an_unknown_name_is_no_attribute() -> None:
    from pyrt import errors

    with pytest.raises(AttributeError, match="'Nonsense'"):
        errors.Nonsense
