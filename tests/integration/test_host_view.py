"""The host view: the root of a container that is given none. What works in it, what it never shows, and that it changes nothing.

The rule that the walk below checks: outside /usr and sys.prefix nothing is shown that an ordinary user of the host could not read.
Neighbours: test_overlay.py (what lies under it), test_devices.py.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pyrt
from helpers.commands import Command
from helpers.waiting import SOON

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from pyrt.options import ContainerOptions

NOBODY = 65534
SECRET = "nobody but root may read this"
OWN = ("/proc", "/sys", "/dev")
"""What the container has of its own: the kernel's file systems, not the host's files."""


def shell(script: str, **options: Unpack[ContainerOptions]) -> pyrt.CompletedProcess[str]:
    return pyrt.run(["sh", "-c", script], capture_output=True, text=True, **options)


@pytest.mark.parametrize("words", [["cat", "/etc/os-release"], ["sh", "-c", "grep -h . /etc/os-release"]], ids=["cat", "sh"])
def test_programs_of_the_host_work_and_see_its_os_release(command: Command, words: list[str]) -> None:
    assert command("run", "--", *words).ok().stdout == Path("/etc/os-release").read_text()


def test_python_works_with_its_standard_library(command: Command) -> None:
    script = "import json, ssl, sqlite3, sys; print(json.dumps([sys.prefix, 40 + 2]))"
    assert command("run", "--", "python3", "-c", script).ok().json == [sys.prefix, 42]


def test_the_library_s_python_is_the_caller_s() -> None:
    done = pyrt.run(["python3", "-c", "import sys; print(sys.version)"], capture_output=True, text=True, check=True)
    assert done.stdout == f"{sys.version}\n"


def test_the_virtual_environment_s_packages_can_be_imported() -> None:
    done = pyrt.run(["python3", "-c", "import pytest; print(pytest.__version__)"], capture_output=True, text=True, check=True)
    assert done.stdout == f"{pytest.__version__}\n"


def test_users_have_their_names() -> None:
    assert shell("id -un; id -gn nobody").stdout == "root\nnogroup\n"


def test_writes_change_nothing_on_the_host(command: Command) -> None:
    name = f"pyrt-{secrets.token_hex(4)}"
    paths = [f"{directory}/{name}" for directory in ("", "/usr", "/usr/bin", "/etc", "/root", "/home", "/tmp", "/var", "/opt")]
    write = f"for path in {' '.join(paths)}; do echo x > $path || exit 1; done"
    script = f"{write}; rm /usr/bin/env /etc/passwd; echo x > /etc/os-release; ls {paths[0]}"
    before = Path("/etc/passwd").stat(), Path("/usr/bin/env").stat(), Path("/etc/os-release").stat()
    assert command("run", "--", "sh", "-c", script).ok().stdout == f"{paths[0]}\n"
    assert not [path for path in paths if os.path.lexists(path)]
    assert (Path("/etc/passwd").stat(), Path("/usr/bin/env").stat(), Path("/etc/os-release").stat()) == before


def test_the_running_python_cannot_be_written_to() -> None:
    if sys.prefix.startswith("/usr"):
        pytest.skip("this Python lies below /usr, which is copy-on-write")
    assert "Read-only file system" in shell(f"touch {sys.prefix}/new").stderr


# What is not shown


@pytest.fixture
def planted() -> Iterator[list[Path]]:
    """Secrets of root's: a file in directories that are shown in part, a directory where all is empty."""
    name = f"pyrt-planted-{secrets.token_hex(4)}"
    files = [Path(directory, name) for directory in ("/etc", "/etc/ssl/certs", "/etc/alternatives") if Path(directory).is_dir()]
    directories = [Path(directory, name) for directory in ("/", "/opt", "/root", "/home", "/var", "/srv", "/var/lib", "/tmp")]
    paths = [*files, *(directory / "file" for directory in directories)]
    plant(files, directories)
    yield paths
    for path in files:
        path.unlink(missing_ok=True)
    for directory in directories:
        (directory / "file").unlink(missing_ok=True)
        directory.rmdir()


def plant(files: list[Path], directories: list[Path]) -> None:
    for directory in directories:
        directory.mkdir(mode=0o700)
    for path in [*files, *(directory / "file" for directory in directories)]:
        path.touch(mode=0o600)
        path.write_text(SECRET)


def seen(paths: list[Path]) -> str:
    """A script that prints those of the paths, and of the directories above them, that are there."""
    names = {str(path) for path in paths} | {str(path.parent) for path in paths if path.name == "file"}
    return f"for path in {' '.join(sorted(names))}; do [ -e $path ] && echo $path; done; true"


def test_what_only_root_reads_is_not_there(planted: list[Path]) -> None:
    # The control: the host's root finds them all.
    control = subprocess.run(["sh", "-c", seen(planted)], capture_output=True, text=True, check=True)
    assert set(control.stdout.split()) >= {str(path) for path in planted}
    assert shell(seen(planted)).stdout == ""
    names = f"find / -xdev -name '{planted[0].name}*'"
    assert shell(names).stdout == ""


def test_what_is_planted_while_the_container_runs_is_not_there_either(command: Command, tmp_path: Path) -> None:
    name = f"pyrt-planted-{secrets.token_hex(4)}"
    files = [Path("/etc", name), Path("/etc/ssl/certs", name)]
    directories = [Path(directory, name) for directory in ("/", "/opt", "/root", "/home", "/var", "/srv")]
    paths = [*files, *(directory / "file" for directory in directories)]
    go_read, go_write = os.pipe()
    with (tmp_path / "output").open("w+") as output:
        script = f"echo ready; read go; {seen(paths)}; echo done"
        process = command.start("run", "--", "sh", "-c", script, stdin=go_read, stdout=output)
        os.close(go_read)
        try:
            while "ready" not in (tmp_path / "output").read_text():
                assert process.poll() is None, "the container ended too early"
            plant(files, directories)
            os.write(go_write, b"go\n")
            assert process.wait(SOON) == 0
        finally:
            os.close(go_write)
            process.kill()
            process.wait()
            for path in paths:
                path.unlink(missing_ok=True)
            for directory in directories:
                if directory.exists():
                    directory.rmdir()
    assert (tmp_path / "output").read_text() == "ready\ndone\n"


WALK = """
import json, os, sys
skipped, found = sys.argv[1:], {}
def walk(directory):
    try:
        entries = list(os.scandir(directory))
    except OSError:
        return
    for entry in entries:
        if entry.path in skipped:
            continue
        status = entry.stat(follow_symlinks=False)
        if entry.is_symlink():
            found[entry.path] = ["link", os.readlink(entry.path)]
        elif entry.is_dir(follow_symlinks=False):
            found[entry.path] = ["directory", len(os.listdir(entry.path))]
            walk(entry.path)
        elif entry.is_file(follow_symlinks=False):
            try:
                with open(entry.path, "rb") as file:
                    found[entry.path] = ["file", hash(file.read())]
            except OSError as error:
                found[entry.path] = ["unreadable", error.errno]
        else:
            found[entry.path] = ["special", status.st_rdev]
walk("/")
print(json.dumps(found))
"""


def test_nothing_is_shown_that_an_ordinary_user_of_the_host_could_not_read() -> None:
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    skipped = [*OWN, "/usr", *{path for prefix in prefixes for path in (prefix, os.path.realpath(prefix))}]
    # The same hash of the same bytes in both processes.
    environment = {"PYTHONHASHSEED": "0"}
    inside = json.loads(pyrt.run(["python3", "-c", WALK, *skipped], capture_output=True, text=True, check=True, env=environment).stdout)
    assert len(inside) > 100, "the walk saw the view"
    judge = "import json, os, sys\n" + JUDGE
    done = subprocess.run(
        ["/usr/bin/python3", "-c", judge],
        input=json.dumps(inside),
        capture_output=True,
        text=True,
        check=True,
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        env=environment,
    )
    assert json.loads(done.stdout) == []


JUDGE = """
inside, wrong = json.load(sys.stdin), []
for path, (kind, what) in inside.items():
    if kind == "directory":
        # An empty one, or one that only leads to something shown, tells nothing; its other names are judged by themselves.
        continue
    try:
        if kind == "link":
            os.readlink(path)
        elif kind == "file":
            with open(path, "rb") as file:
                file.read(1)
        else:
            wrong.append([path, kind, what])
    except OSError as error:
        wrong.append([path, kind, error.strerror])
print(json.dumps(wrong))
"""


def test_only_what_the_list_names_is_in_etc() -> None:
    from pyrt.view import ALTERNATIVES, COPIED, HOSTS

    shown = {f"/etc/{name}" for name in shell("ls -A /etc").stdout.split()}
    assert shown <= {"/".join(path.split("/")[:3]) for path in (*COPIED, ALTERNATIVES, HOSTS)}


def test_directories_at_the_top_are_empty_or_listed() -> None:
    listed = {"bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "etc", "proc", "sys", "dev"}
    prefixes = {path.split("/")[1] for prefix in (sys.prefix, sys.base_prefix) for path in (prefix, os.path.realpath(prefix))}
    script = "for path in /* /.[!.]*; do [ -d $path ] && echo ${path#/} $(ls -A $path | wc -l); done"
    filled = {line.split()[0] for line in shell(script).stdout.splitlines() if line.split()[1] != "0"}
    assert filled - listed - prefixes <= {"var", "run"}
    assert shell("find /var /run -not -type d").stdout == ""


def test_a_file_of_etc_that_loses_its_readers_is_not_shown_any_more() -> None:
    path = Path("/etc/ld.so.conf.d", f"pyrt-readable-{secrets.token_hex(4)}.conf")
    path.touch(mode=0o644)
    try:
        assert shell(f"ls {path}", host_view=pyrt.HostView()).returncode == 0
        path.chmod(0o640)
        assert shell(f"ls {path}", host_view=pyrt.HostView()).returncode == 2
    finally:
        path.unlink()


def test_the_caller_s_environment_is_not_passed_on(command: Command) -> None:
    done = command("run", "--", "env", env={"PYRT_TEST_SECRET": SECRET}).ok()
    assert {line.split("=")[0] for line in done.stdout.splitlines()} == {"PATH", "HOME", "LANG", "TERM"}


# What can be asked for


def test_show_adds_a_directory_copy_on_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("of the host\n")
    view = pyrt.HostView(show=[tmp_path])
    assert shell(f"cat {tmp_path}/file; echo x > {tmp_path}/new; ls {tmp_path}", host_view=view).stdout == "of the host\nfile\nnew\n"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_hide_takes_a_directory_out() -> None:
    assert shell("ls /usr/share | wc -l", host_view=pyrt.HostView(hide=["/usr/share"])).stdout == "0\n"


def test_here_shows_the_current_directory_and_starts_in_it(command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("of the host\n")
    done = command("run", "--here", "--", "sh", "-c", "pwd; cat file; echo x > new; ls", cwd=tmp_path).ok()
    assert done.stdout == f"{tmp_path}\nof the host\nfile\nnew\n"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_here_is_the_library_s_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shell("pwd; touch new", here=True).stdout == f"{tmp_path}\n"
    assert list(tmp_path.iterdir()) == []


def test_here_at_the_root_is_refused(command: Command) -> None:
    done = command("run", "--here", "--", "true", cwd=Path("/"))
    assert (done.status, "would show the whole host" in done.stderr) == (125, True)


def test_a_program_that_the_view_lacks_is_named_with_the_way_to_show_it(command: Command, tmp_path: Path) -> None:
    program = tmp_path / "own-program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    done = command("run", "--", str(program))
    assert done.status == 127
    assert f"--show {tmp_path}" in done.stderr
    assert "no such file or directory" in done.stderr
    command("run", "--show", tmp_path, "--", str(program)).ok()
