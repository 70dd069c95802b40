"""What is on disk is wrong, half of it, or cannot be written: containers are listed and deleted all the same, and nothing of them stays.

Damaged and half-written state, a reboot, PIDs that belong to others by now, a full state directory, odd file systems.
Neighbours: tests/unit/test_state.py (how each file is read), test_every_step.py (how such state comes to be).
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import pyrt
from helpers import callers, cgroups
from helpers.bundles import Bundle
from helpers.commands import Command
from helpers.hosts import cgroup_mounts, requires
from helpers.waiting import SOON, until

ID = f"damaged-{os.getpid()}"
"""The test run's own, as the cgroup at the root is; so are FULL, ODD and REUSED."""
FULL, ODD, REUSED = f"full-{os.getpid()}", f"odd-{os.getpid()}", f"reused-{os.getpid()}"


class Subject:
    """A running container that the tests' own process holds no handle of, beside a sound one."""

    def __init__(self, command: Command, bundle: Bundle) -> None:
        self.command, self.bundle, self.marker = command, bundle, callers.new_marker()
        bundle.args("sh", "-c", "sleep 1000; true", self.marker)
        self.directory = command.root / ID

    def run(self, *options: str) -> None:
        self.command("run", "--detach", "--bundle", self.bundle.path, ID, global_options=options).ok()

    def check(self) -> None:
        """`list` shows all that can be shown, `state` says what is wrong or works, and `delete --force` leaves nothing."""
        assert self.command("list", "--quiet").ok().stdout == f"{ID}\n"
        self.command("list").ok()
        assert self.command("state", ID).status in (0, 1)
        self.command("delete", "--force", ID).ok()
        assert list(self.command.root.iterdir()) == []
        assert cgroups.matching(f"pyrt-{ID}") == []
        until(lambda: not callers.marked(self.marker), "its processes end")


@pytest.fixture
def subject(command: Command, bundle: Bundle) -> Subject:
    return Subject(command, bundle)


# Damage


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def cut_in_half(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def overwritten(path: Path) -> None:
    path.write_bytes(b"\xff\0" * 100)


def removed(path: Path) -> None:
    path.unlink()


def made_a_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def linked_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


DAMAGES = (emptied, cut_in_half, overwritten, removed, made_a_fifo, linked_to_itself)


@pytest.mark.parametrize("options", [(), ("--cgroup-manager", "disabled")], ids=["with cgroups", "without"])
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_state_that_cannot_be_read(subject: Subject, damage: Callable[[Path], None], options: tuple[str, ...]) -> None:
    subject.bundle.linux.pop("resources", None)
    subject.bundle.write()
    subject.run(*options)
    damage(subject.directory / "state.json")
    subject.check()


@pytest.mark.parametrize("target", ["nonsense", "1 1", "-1 0", "2", None])
def test_a_mark_of_the_process_that_names_none(subject: Subject, target: str | None) -> None:
    subject.run()
    mark = subject.directory / "init"
    mark.unlink()
    if target is None:
        mark.touch()
    else:
        mark.symlink_to(target)
    subject.check()


def test_a_mark_of_the_exit_status_that_names_none(subject: Subject) -> None:
    subject.run()
    (subject.directory / "exit").symlink_to("nonsense")
    subject.check()


def test_names_of_cgroups_that_cannot_be_read_keep_everything_for_a_person(subject: Subject) -> None:
    """Nothing is removed that state does not name."""
    subject.run()
    names = subject.directory / "cgroup"
    content = names.read_bytes()
    for damage in (cut_in_half, emptied, overwritten):
        damage(names)
        refused = subject.command("delete", "--force", ID)
        assert refused.status == 1
        assert f"{names}: it does not name cgroup directories" in refused.stderr
        assert "by hand" in refused.stderr
        assert callers.marked(subject.marker)
    names.write_bytes(content)
    subject.check()


# Half of it


@pytest.mark.parametrize("content", [None, b"", b"{", b"{}"], ids=repr)
def test_an_entry_whose_creator_was_killed_before_it_made_anything(subject: Subject, content: bytes | None) -> None:
    subject.directory.mkdir(parents=True)
    if content is not None:
        (subject.directory / "cgroup").write_bytes(content)
    subject.check()


def test_an_entry_with_cgroups_that_were_made_in_part(subject: Subject) -> None:
    subject.directory.mkdir(parents=True)
    mounts = cgroup_mounts()
    roots = {key: root for key, root in {**mounts.v1, cgroups.UNIFIED: mounts.cgroup2}.items() if root is not None and "name=" not in key}
    names = {key: str(root / f"pyrt-{ID}") for key, root in roots.items()}
    (subject.directory / "cgroup").write_text(json.dumps(names))
    Path(next(iter(names.values()))).mkdir()
    subject.check()


def test_what_is_no_entry_is_not_in_the_way(subject: Subject, running: pyrt.Container) -> None:
    (subject.command.root / "a-file").touch()
    (subject.command.root / "a-link").symlink_to("/nowhere")
    (subject.command.root / "empty").mkdir()
    shown = subject.command("list", "--format", "json").ok()
    assert [state["id"] for state in shown.json] == [running.id]
    assert "state of container empty is unreadable" in shown.stderr
    for name in ("a-file", "a-link"):
        (subject.command.root / name).unlink()


# Another boot, another process


@contextmanager
def bystander() -> Iterator[tuple[int, str]]:
    """A process that is none of pyrt's, and its mark."""
    with subprocess.Popen(["sleep", "1000"]) as process:
        start = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]
        try:
            yield process.pid, f"{process.pid} {start}"
            assert process.poll() is None, "it was ended"
        finally:
            process.kill()


def test_after_a_reboot_its_process_is_nobody_s(subject: Subject) -> None:
    """The same PID and the same start time, of another boot."""
    subject.run()
    subject.command("kill", ID, "KILL").ok()
    until(lambda: subject.command("state", ID).ok().json["status"] == "stopped", "it ends")
    state = subject.directory / "state.json"
    state.write_text(json.dumps({**json.loads(state.read_text()), "boot_id": "00000000-0000-0000-0000-000000000000"}))
    with bystander() as (_, mark):
        (subject.directory / "init").unlink()
        (subject.directory / "init").symlink_to(mark)
        shown = subject.command("state", ID).ok().json
        assert (shown["status"], shown["pid"]) == ("stopped", 0)
        assert "container not running" in subject.command("kill", ID, "KILL").stderr
        subject.command("delete", ID).ok()
    assert list(subject.command.root.iterdir()) == []


def test_state_of_another_boot_that_cannot_be_read_ends_nobody(subject: Subject) -> None:
    with bystander() as (_, mark):
        subject.directory.mkdir(parents=True)
        (subject.directory / "cgroup").write_text("{}")
        (subject.directory / "init").symlink_to(mark.replace(" ", " 1"))
        subject.check()


REUSE = """
import subprocess
from pathlib import Path
runtime = pyrt.Runtime(root=sys.argv[1])
container = runtime.create(sys.argv[3], bundle=sys.argv[2], start=True)
pid = container.pid
container.kill("KILL")
container.wait(60)
time.sleep(0.1)  # start times are in ticks of 10 ms: nobody gets through all PIDs in one
while True:
    Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))
    other = subprocess.Popen(["sleep", "1000"])
    if other.pid == pid:
        break
    other.kill()
    other.wait()
stranger = runtime.get(sys.argv[3])
assert stranger.status == "stopped", stranger.status
try:
    stranger.kill("KILL")
except pyrt.InvalidState:
    print("not running", flush=True)
stranger.delete(force=True)
assert other.poll() is None
other.kill()
other.wait()
print("lives", runtime.list(), flush=True)
"""


@requires("unshare")
def test_a_process_that_has_got_the_pid_of_an_ended_container_is_left_alone(root_dir: Path, bundle: Bundle) -> None:
    bundle.args("sleep", "1000")
    line = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-W", "ignore", "-c", f"import sys, time, pyrt\n{REUSE}"]
    done = subprocess.run([*line, root_dir, bundle.path, REUSED], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("not running\nlives []\n", "")


# A state directory that cannot be written


@contextmanager
def mounted(path: Path, kind: str, options: str) -> Iterator[Path]:
    path.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", kind, "-o", options, f"pyrt-{kind}", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)


def created(root: Path, bundle: Bundle, start: bool) -> pyrt.Container | pyrt.Error:
    try:
        return pyrt.Runtime(root=root).create(FULL, bundle=bundle.path, start=start)
    except pyrt.Error as error:
        return error


@pytest.mark.parametrize("start", [False, True], ids=["create", "run"])
def test_a_full_state_directory_is_an_error_that_leaves_nothing(tmp_path: Path, bundle: Bundle, start: bool) -> None:
    """Full at every file of it: inodes for none, for one, for two, until there are enough."""
    marker = callers.new_marker()
    bundle.args("sh", "-c", "sleep 1000; true", marker)
    failures = []
    for inodes in range(1, 16):
        with mounted(tmp_path / "full", "tmpfs", f"size=64k,nr_inodes={inodes}") as root:
            container = created(root, bundle, start)
            if isinstance(container, pyrt.Error):
                failures.append(container)
                assert (container.errno, str(container.path).startswith(str(root))) == (errno.ENOSPC, True)
            else:
                # The last mark is the exit status, for others: that it has no room is no reason to withhold it.
                container.kill("KILL")
                assert container.wait(SOON) == -9
                container.delete()
            assert pyrt.Runtime(root=root).list() == []
            assert list(root.iterdir()) == []
        assert cgroups.matching(f"pyrt-{FULL}") == []
        assert callers.marked(marker) == []
    assert {Path(str(error.path)).name for error in failures} >= {FULL, "cgroup", "state.json", "init"}


def test_no_room_for_the_content_of_a_file_is_an_error_that_leaves_nothing(tmp_path: Path, bundle: Bundle) -> None:
    bundle.spec["annotations"] = {"long": "x" * 20_000}
    bundle.write()
    with mounted(tmp_path / "full", "tmpfs", "size=8k") as root:
        with pytest.raises(pyrt.Error) as failure:
            pyrt.Runtime(root=root).create(FULL, bundle=bundle.path)
        assert (failure.value.errno, failure.value.path) == (errno.ENOSPC, f"{root}/{FULL}/state.json")
        assert list(root.iterdir()) == []
    assert cgroups.matching(f"pyrt-{FULL}") == []


@pytest.mark.parametrize(("kind", "options"), [("ramfs", "mode=700"), ("tmpfs", "noexec,nosuid,nodev,size=1m"), ("overlay", "")])
def test_a_life_on_another_file_system(tmp_path: Path, bundle: Bundle, kind: str, options: str) -> None:
    if kind == "overlay":
        # Upper layers need a file system that can be one; the tests' own directory may be an overlay itself.
        with mounted(tmp_path / "layers", "tmpfs", "size=1m") as layers:
            for name in ("lower", "upper", "work"):
                (layers / name).mkdir()
            with mounted(tmp_path / "odd", kind, ",".join(f"{name}dir={layers / name}" for name in ("lower", "upper", "work"))) as root:
                live(root, bundle)
        return
    with mounted(tmp_path / "odd", kind, options) as root:
        live(root, bundle)


def live(root: Path, bundle: Bundle) -> None:
    runtime = pyrt.Runtime(root=root)
    container = runtime.create(ODD, bundle=bundle.args("sleep", "1000").path)
    container.start()
    assert container.exec(["true"]).returncode == 0
    assert [found.status for found in runtime.list()] == ["running"]
    container.kill("KILL")
    assert container.wait(SOON) == -9
    container.delete()
    assert list(root.iterdir()) == []


def test_a_read_only_state_directory_lists_and_refuses_the_rest_by_name(tmp_path: Path, bundle: Bundle) -> None:
    with mounted(tmp_path / "fixed", "tmpfs", "size=1m") as root:
        runtime = pyrt.Runtime(root=root)
        container = runtime.create(ODD, bundle=bundle.args("sleep", "1000").path)
        subprocess.run(["mount", "-o", "remount,ro", root], check=True)
        assert [found.status for found in runtime.list()] == ["created"]
        with pytest.raises(pyrt.Error) as failure:
            runtime.create("another", bundle=bundle.path)
        assert (failure.value.errno, failure.value.path) == (errno.EROFS, f"{root}/another")
        with pytest.raises(pyrt.Error) as failure:
            container.delete(force=True)
        assert failure.value.errno == errno.EROFS
        subprocess.run(["mount", "-o", "remount,rw", root], check=True)
        container.delete(force=True)
        assert list(root.iterdir()) == []
