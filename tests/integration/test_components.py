"""Namespaces, Cgroup and Overlay by themselves: what they own, how they are shared, closed, dropped and forked.

Neighbours: test_cgroups.py (what a Cgroup limits and counts), test_overlay.py (what an Overlay shows), test_joining_namespaces.py
(namespaces given by path).
"""

from __future__ import annotations

import errno
import gc
import os
import pickle
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import pyrt
from helpers import proc
from helpers.hosts import cgroup_mounts, requires

FILES = list(proc.NAMESPACES.values())
NAMESPACE_NAMES = [*FILES, "network", "mount"]
Maker = Callable[[Path], "pyrt.Namespaces | pyrt.Cgroup | pyrt.Overlay"]


def inside(script: str, **options: object) -> str:
    done = pyrt.run(["sh", "-c", script], capture_output=True, text=True, **options)  # type: ignore[call-overload]
    assert (done.stderr, done.returncode) == ("", 0)
    text: str = done.stdout
    return text


# Namespaces


@pytest.mark.parametrize("name", ["net", "ipc", "uts", "pid", "cgroup", "time", "network"])
def test_a_namespace_that_was_made_is_joined(name: str) -> None:
    with pyrt.Namespaces.create(name) as made:
        held = made[name]
        assert held.inode not in proc.namespaces_of("self").values()
        assert proc.printed_namespaces(inside(proc.SHOW_NAMESPACES, namespaces=made))[held.kind] == held.inode


def test_several_containers_share_a_network() -> None:
    serve = "import socket; s = socket.create_server(('127.0.0.1', 7777)); print('up', flush=True); s.accept()[0].sendall(b'hello')"
    connect = "import socket; print(socket.create_connection(('127.0.0.1', 7777)).recv(9).decode())"
    reading, writing = os.pipe()
    with pyrt.Namespaces.create("net", "ipc", "uts") as pod, ThreadPoolExecutor(1) as pool:
        server = pool.submit(pyrt.run, ["python3", "-c", serve], network=pod, stdout=writing)
        assert os.read(reading, 10) == b"up\n"
        assert inside(f'python3 -c "{connect}"', namespaces=pod) == "hello\n"
        assert server.result().returncode == 0
    os.close(reading)
    os.close(writing)


def test_processes_of_a_shared_pid_namespace_see_each_other_and_outlive_their_container_s_command() -> None:
    with pyrt.Namespaces.create("pid") as made, ThreadPoolExecutor(1) as pool:
        sleeper = pool.submit(pyrt.run, ["sleep", "1000"], namespaces=made)
        find = "until grep -ls '^sleep' /proc/[0-9]*/cmdline >/dev/null; do :; done; pkill -KILL sleep; echo found"
        assert inside(find, namespaces=made) == "found\n"
        assert sleeper.result().returncode == -9


def test_a_user_namespace_with_mappings_is_joined(rootfs: Path) -> None:
    mappings = [(0, 100_000, 65_536)]
    with pyrt.Namespaces.create("user", uid_mappings=mappings, gid_mappings=mappings) as made:
        # pytest's directories are closed to the users of that namespace, and an overlay is mounted by one of them.
        said = inside("id -u; cat /proc/self/uid_map", namespaces=made, rootfs=rootfs, overlay=False)
        assert said.split() == ["0", "0", "100000", "65536"]
        with pytest.raises(pyrt.PermissionDenied, match=r"mount overlay: .*EACCES.; a directory above the root is closed to the users"):
            pyrt.run(["true"], namespaces=made, rootfs=rootfs)


@requires("time namespaces", "Linux 6.1")
def test_a_time_namespace_has_its_offsets() -> None:
    with pyrt.Namespaces.create("time", boottime_offset=1_000_000.5) as made:
        seconds = float(inside("cut -d ' ' -f 1 /proc/uptime", namespaces=made))
        own = float(Path("/proc/uptime").read_text().split()[0])
        assert 1_000_000 <= seconds - own + 1 < 1_000_060


def test_the_caller_stays_where_he_is() -> None:
    before = proc.namespaces_of("self")
    with pyrt.Namespaces.create("net", "ipc", "uts", "mnt", "cgroup", "pid"):
        assert proc.namespaces_of("self") == before


def test_namespaces_of_a_process_are_what_proc_says() -> None:
    with pyrt.Namespaces.of(os.getpid()) as own:
        assert {kind: own[kind].inode for kind in proc.NAMESPACES} == proc.namespaces_of("self")
        assert repr(own.net) == os.readlink("/proc/self/ns/net")
        assert (own.net.kind, own.network, len(own)) == ("network", own.net, 8)
        assert os.fstat(own.net.fd).st_ino == own.net.inode == os.stat(own.net.path).st_ino


def test_of_those_only_what_the_caller_is_not_in_is_joined(running: pyrt.Container) -> None:
    with pyrt.Namespaces.of(running.pid, "net", "uts", "user") as theirs:
        assert set(theirs.paths()) == {"network", "uts"}
        said = proc.printed_namespaces(inside(proc.SHOW_NAMESPACES, namespaces=theirs))
        assert (said["network"], said["uts"]) == (theirs.net.inode, theirs.uts.inode)
    with pyrt.Namespaces.of(os.getpid(), "net") as own:
        assert proc.printed_namespaces(inside(proc.SHOW_NAMESPACES, network=own))["network"] == own.net.inode


@pytest.mark.parametrize("names", [("no-such",), ("net", "NET"), ("",)])
def test_an_unknown_kind_of_namespace_is_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="is no kind of namespace: "):
        pyrt.Namespaces.create(*names)


def test_namespaces_without_a_kind_or_with_mappings_of_another_are_refused() -> None:
    with pytest.raises(ValueError, match="no kind of namespace is named"):
        pyrt.Namespaces.create()
    with pytest.raises(ValueError, match="mappings belong to a user namespace"):
        pyrt.Namespaces.create("net", uid_mappings=[(0, 0, 1)])
    with pytest.raises(ValueError, match="offsets belong to a time namespace"):
        pyrt.Namespaces.create("net", monotonic_offset=1.0)


def test_a_process_that_has_ended_has_no_namespaces() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    with pytest.raises(pyrt.NotFound, match="it has ended") as caught:
        pyrt.Namespaces.of(process.pid)
    assert caught.value.path == str(process.pid)


def test_namespaces_that_are_not_held_are_no_attributes() -> None:
    with pyrt.Namespaces.create("net") as made:
        assert "net" in made
        assert "network" in made
        assert "ipc" not in made
        for name in ("ipc", "nonsense"):
            with pytest.raises(AttributeError, match=f"holds no '{name}'"):
                getattr(made, name)


def test_a_network_without_one_is_refused() -> None:
    with pyrt.Namespaces.create("ipc") as made, pytest.raises(ValueError, match="hold no network namespace"):
        pyrt.run(["true"], network=made)


# Cgroups: names and those above


def roots_with(path: str) -> list[Path]:
    return [root for root in cgroup_mounts().roots if (root / path).exists()]


def test_a_relative_name_lies_at_the_root_with_pyrt_before_it() -> None:
    with pyrt.Cgroup.create("test-relative") as group:
        assert group.path == "/pyrt-test-relative"
        assert all(directory.endswith(group.path) for directory in group.paths.values())


@pytest.mark.parametrize(("name", "top"), [("test-jobs/a/b", "pyrt-test-jobs"), ("/pyrt-test-absolute/a/b", "pyrt-test-absolute")])
def test_cgroups_above_are_made_and_go_with_the_last_one_in_them(name: str, top: str) -> None:
    with pyrt.Cgroup.create(name):
        with pyrt.Cgroup.create(f"{name}-other"):
            assert roots_with(top)
        assert roots_with(top)
    assert not roots_with(top)


def test_cgroups_above_go_with_the_last_one_whoever_made_them() -> None:
    first, second = pyrt.Cgroup.create("test-order/1"), pyrt.Cgroup.create("test-order/2")
    first.close()
    assert roots_with("pyrt-test-order/2")
    second.close()
    assert not roots_with("pyrt-test-order")


def test_a_cgroup_above_that_was_asked_for_by_itself_stays() -> None:
    with pyrt.Cgroup.create("test-parent") as parent:
        pyrt.Cgroup.create("test-parent/child").close()
        assert parent.processes() == []
        assert roots_with("pyrt-test-parent")


def test_threads_that_make_and_close_cgroups_side_by_side_leave_none_above() -> None:
    def work(number: int) -> None:
        for step in range(4):
            pyrt.Cgroup.create(f"test-threads/{number}-{step}").close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert not roots_with("pyrt-test-threads")


def test_a_container_in_a_cgroup_by_path_leaves_what_was_there() -> None:
    with pyrt.Cgroup.create("test-by-path") as group:
        assert pyrt.run(["true"], cgroup="test-by-path").returncode == 0
        assert all(os.path.isdir(directory) for directory in group.paths.values())


# Overlays


def test_an_overlay_s_root_has_the_mode_of_the_lower_one_whatever_the_umask(tmp_path: Path) -> None:
    lower, upper = tmp_path / "lower", tmp_path / "deep/upper"
    lower.mkdir()
    lower.chmod(0o751)
    before = os.umask(0o077)
    try:
        with pyrt.Overlay(lower=[lower], upper=upper) as overlay:
            assert os.stat(overlay).st_mode & 0o7777 == 0o751
    finally:
        os.umask(before)
    assert sorted(path.name for path in upper.iterdir()) == ["upper", "work"]


def test_an_overlay_s_path_is_a_path_while_it_lives(rootfs: Path) -> None:
    with pyrt.Overlay(lower=[rootfs]) as overlay:
        assert os.listdir(overlay) == os.listdir(overlay.path)
        assert Path(overlay.path / "etc/passwd").read_text().startswith("root:")
        assert str(overlay.path) == os.fspath(overlay) == f"/proc/self/fd/{overlay.fileno()}"


def test_the_same_overlay_is_the_root_of_several_containers(rootfs: Path) -> None:
    with pyrt.Overlay(lower=[rootfs]) as overlay:
        assert inside("echo 1 > /made", rootfs=overlay) == ""
        assert inside("cat /made; echo 2 > /made", rootfs=overlay.path) == "1\n"
        assert Path(overlay.path / "made").read_text() == "2\n"
    assert not (rootfs / "made").exists()


def test_arguments_of_an_overlay_that_make_no_sense_are_refused(rootfs: Path) -> None:
    with pytest.raises(TypeError, match="lower is a list"):
        pyrt.Overlay(lower=rootfs)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="lower is empty"):
        pyrt.Overlay(lower=[])
    with pytest.raises(ValueError, match="does not go with upper="):
        pyrt.Overlay(lower=[rootfs], upper=rootfs, size="1M")


def test_an_upper_directory_that_cannot_be_made_is_named(rootfs: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(pyrt.Error) as caught:
        pyrt.Overlay(lower=[rootfs], upper=tmp_path / "file")
    assert (caught.value.errno, caught.value.path) == (errno.ENOTDIR, f"{tmp_path}/file/work")


# All of them: ownership


@pytest.fixture(params=["Namespaces", "Cgroup", "Overlay"])
def make(request: pytest.FixtureRequest) -> Maker:
    """One of the components; each makes something of the kernel's."""
    makers: dict[str, Maker] = {
        "Namespaces": lambda _: pyrt.Namespaces.create("pid", "net"),
        "Cgroup": lambda _: pyrt.Cgroup.create("test-owned"),
        "Overlay": lambda directory: pyrt.Overlay(lower=[directory]),
    }
    return makers[request.param]


def use(owned: pyrt.Namespaces | pyrt.Cgroup | pyrt.Overlay) -> object:
    return owned.fileno() if isinstance(owned, pyrt.Overlay) else owned.paths() if isinstance(owned, pyrt.Namespaces) else owned.paths


def test_a_closed_object_says_so_and_closes_twice(make: Maker, tmp_path: Path) -> None:
    owned = make(tmp_path)
    with owned:
        use(owned)
    owned.close()
    with pytest.raises(pyrt.InvalidState, match=f"{type(owned).__name__} is closed"):
        use(owned)
    with pytest.raises(pyrt.InvalidState), owned:
        pass


def test_a_dropped_object_leaves_nothing_but_a_warning(make: Maker, tmp_path: Path) -> None:
    owned = make(tmp_path)
    shown = repr(owned)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        del owned
        gc.collect()
    assert [(warning.category, str(warning.message)) for warning in said] == [(ResourceWarning, f"unclosed {shown}")]


def test_a_dropped_cgroup_ends_nothing_that_is_in_it() -> None:
    with subprocess.Popen(["sleep", "1000"]) as process:
        group = pyrt.Cgroup.create("test-dropped")
        group.add(process.pid)
        paths = group.paths
        with pytest.warns(ResourceWarning):  # noqa: PT031 - what is dropped is dropped inside
            del group
            gc.collect()
        assert process.poll() is None
        process.kill()
        process.wait()
    for path in paths.values():
        os.rmdir(path)


def test_an_object_cannot_be_pickled(make: Maker, tmp_path: Path) -> None:
    with make(tmp_path) as owned, pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(owned)


def test_an_object_may_be_closed_by_another_thread(make: Maker, tmp_path: Path) -> None:
    owned = make(tmp_path)
    thread = threading.Thread(target=owned.close)
    thread.start()
    thread.join()
    with pytest.raises(pyrt.InvalidState):
        use(owned)


def test_a_forked_child_owns_none_of_them(tmp_path: Path) -> None:
    """In an interpreter of its own: a fork of pytest's would be a defect of the test."""
    script = f"""
import gc, os, pyrt
lower = [{str(tmp_path)!r}]
with pyrt.Namespaces.create("pid", "net") as spaces, pyrt.Cgroup.create("test-forked") as group, pyrt.Overlay(lower) as overlay:
    child = os.fork()
    if child == 0:
        try:
            for use in (spaces.paths, group.processes, overlay.fileno, group.close):
                try:
                    use()
                except pyrt.InvalidState as error:
                    print("belongs to process" in str(error), flush=True)
            for owned in (spaces, group, overlay):
                owned.__exit__(None, None, None)
            del spaces, group, overlay, owned, use
            gc.collect()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    print(pyrt.run(["true"], namespaces=spaces, cgroup=group).returncode, len(os.listdir(overlay)))
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=100, check=False)
    assert (done.stdout, done.stderr) == ("True\n" * 4 + "0 0\n", "")
