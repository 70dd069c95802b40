"""checkpoint and restore: a container as files, and back, by the real CRIU.

Where CRIU works (the virtual machine has such a kernel): what goes on after a restore, and what stands for what was outside. Where it does
not: the refusals. Neighbours: rust/core/src/checkpoint; tests/unit/test_checkpoint_options.py has what needs no container.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import pyrt
from helpers import cgroups
from helpers.bundles import Bundle
from helpers.commands import Command, Result
from helpers.hooked import Hooked, entries
from helpers.hosts import requires
from helpers.terminals import Console, read_until
from helpers.waiting import until

COUNT = "i=0; while true; do i=$((i + 1)); echo $i >> /tmp/count; sleep 0.1; done"
"""Counts in a variable of the shell: only memory that was brought back makes it go on where it was."""
PATIENCE = 300.0
"""Seconds for a command: on an emulated processor CRIU takes half a minute."""
WORKS = "criu that works"


@pytest.fixture
def name() -> str:
    """An id of this test run's own: the cgroup is at the root."""
    return f"checkpoint-{os.getpid()}"


@pytest.fixture
def counting(bundle: Bundle) -> Bundle:
    bundle.spec["root"]["readonly"] = False
    return bundle.shell(COUNT)


def counted(bundle: Bundle) -> list[int]:
    file = bundle.rootfs / "tmp/count"
    # The last line may be half written.
    return [int(line) for line in file.read_text().split("\n")[:-1]] if file.exists() else []


def counts_on(bundle: Bundle, beyond: int = 0) -> int:
    """Wait until it has counted further than that; no number may be missing or there twice. Returns how far it is."""
    until(lambda: len(counted(bundle)) > beyond, f"it counts beyond {beyond}")
    numbers = counted(bundle)
    assert numbers == list(range(1, len(numbers) + 1))
    return numbers[-1]


def start(command: Command, bundle: Bundle, name: str) -> None:
    """With /dev/null for what it says and hears: temporary files, as `command` has them, are none that CRIU can open again."""
    assert command.start("run", "--detach", "--bundle", bundle.path, name).wait() == 0


def checkpoint(command: Command, name: str, images: Path, *flags: str) -> Result:
    return command("checkpoint", "--image-path", images, *flags, name, timeout=PATIENCE)


def restore(command: Command, bundle: Bundle, name: str, images: Path, *flags: str | Path) -> Result:
    return command("restore", "--detach", "--bundle", bundle.path, "--image-path", images, *flags, name, timeout=PATIENCE)


# Where CRIU works


@requires(WORKS)
def test_a_restored_container_goes_on_where_it_was(command: Command, counting: Bundle, tmp_path: Path, name: str) -> None:
    """One pass through both verbs: what each leaves, and that the restored container is one like any other."""
    counting.linux["resources"] = {"pids": {"limit": 77}}
    counting.mount("/shared", "bind", str(tmp_path), ["rbind", "ro"])
    counting.spec["annotations"] = {"org.example": "kept"}
    counting.write()
    start(command, counting, name)
    counts_on(counting)
    checkpoint(command, name, tmp_path / "images", "--work-path", str(tmp_path / "work")).ok()
    reached = counts_on(counting)
    assert command("state", name).status == 1
    assert not cgroups.exists(f"/pyrt-{name}")
    assert (tmp_path / "images/descriptors.json").exists()
    assert (tmp_path / "work/dump.log").exists()

    restored, pid_file = f"{name}-again", tmp_path / "pid"
    restore(command, counting, restored, tmp_path / "images", "--pid-file", pid_file).ok()
    counts_on(counting, reached)
    state = command("state", restored).ok().json
    assert (state["status"], state["annotations"]) == ("running", {"org.example": "kept"})
    pid = int(pid_file.read_text())
    assert pid == state["pid"]
    assert cgroups.of(pid)[cgroups.UNIFIED] == f"/pyrt-{restored}"
    assert cgroups.value(pid, "pids", v1="pids.max", v2="pids.max") == "77"
    inside = command("exec", restored, "sh", "-c", "cat /proc/1/cmdline | tr '\\0' ' '; ls /shared; cat /proc/kcore | wc -c").ok()
    assert inside.stdout.startswith("sh -c i=0;")
    assert "images" in inside.stdout
    assert inside.stdout.endswith("0\n"), "what config.json masks is hidden again"
    hosts = Path("/proc/self/mountinfo").read_text()
    assert restored not in hosts, "nothing of the restore is mounted on the host"
    command("kill", restored, "KILL").ok()
    until(lambda: command("state", restored).json["status"] == "stopped", "the restored container ends")
    command("delete", restored).ok()


@requires(WORKS)
def test_a_container_that_is_left_running_can_be_restored_beside_its_images_later(
    runtime: pyrt.Runtime, counting: Bundle, tmp_path: Path, name: str
) -> None:
    """The library: a pre-dump, then what has changed since, then the same container again from both."""
    with open(os.devnull, "r+b") as null:
        stdio = (null.fileno(),) * 3
        container = runtime.create(name, bundle=counting.path, start=True, stdio=stdio)
    counts_on(counting)
    container.checkpoint(tmp_path / "memory", pre_dump=True)
    assert container.status == "running"
    counts_on(counting, counts_on(counting))
    container.checkpoint(tmp_path / "images", parent_path="../memory", leave_running=True)
    assert container.status == "running"
    assert (tmp_path / "images/parent").is_symlink()
    reached = counts_on(counting)
    counts_on(counting, reached)
    container.delete(force=True)

    (counting.rootfs / "tmp/count").unlink()
    again = runtime.restore(name, tmp_path / "images", bundle=counting.path)
    until(lambda: len(counted(counting)) > 1, "it counts again")
    first = counted(counting)[0]
    assert 1 < first <= reached + 1, "it goes on from the checkpoint, not from where it was ended"
    again.kill("KILL")
    assert again.wait(PATIENCE) == -9, "the restored process is the caller's child"
    again.delete()


@requires(WORKS)
def test_a_terminal_and_hooks_are_there_after_a_restore(command: Command, hooked: Hooked, tmp_path: Path, name: str) -> None:
    bundle = hooked.bundle
    bundle.process["terminal"] = True
    bundle.shell("read line; echo said $line; sleep 1000")
    with Console(tmp_path / "console") as console:
        command("run", "--detach", "--bundle", bundle.path, "--console-socket", console.path, name).ok()
        _, [master] = console.receive()
    checkpoint(command, name, tmp_path / "images").ok()
    os.close(master)
    before = len(entries(hooked.log))

    with Console(tmp_path / "console-again") as console:
        restore(command, bundle, name, tmp_path / "images", "--console-socket", console.path).ok()
        _, [master] = console.receive()
    os.write(master, b"hello\n")
    read_until(master, b"said hello")
    os.close(master)
    ran = entries(hooked.log)[before:]
    assert [entry.stage for entry in ran] == ["prestart", "createRuntime", "poststart"]
    assert [entry.state["status"] for entry in ran] == ["creating", "creating", "running"]
    command("delete", "--force", name).ok()


@requires(WORKS)
def test_what_criu_refuses_is_told_in_its_words_and_the_container_goes_on(
    command: Command, counting: Bundle, tmp_path: Path, name: str
) -> None:
    """A large file that is open and removed is CRIU's to refuse: its content would have to go into the images."""
    counting.shell(f"dd if=/dev/zero of=/tmp/large bs=1M count=2; exec 9< /tmp/large; rm /tmp/large; {COUNT}")
    start(command, counting, name)
    counts_on(counting)
    failed = checkpoint(command, name, tmp_path / "images")
    assert failed.status == 1
    assert "run criu: '" in failed.stderr
    assert "/tmp/large" in failed.stderr
    assert f"its log is {tmp_path}/images/dump.log" in failed.stderr
    assert command("state", name).ok().json["status"] == "running"
    counts_on(counting, counts_on(counting))
    command("delete", "--force", name).ok()


@requires(WORKS)
def test_a_restore_of_images_that_are_damaged_leaves_nothing(command: Command, bundle: Bundle, tmp_path: Path, name: str) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / "descriptors.json").write_text(json.dumps(["/dev/null"] * 3))
    failed = restore(command, bundle, name, images)
    assert failed.status == 1
    assert "run criu: " in failed.stderr
    assert f"its log is {images}/restore.log" in failed.stderr
    assert command("list", "--quiet").stdout == ""
    assert not cgroups.exists(f"/pyrt-{name}")


# Where it does not


def test_a_container_must_run_to_be_checkpointed(command: Command, bundle: Bundle, tmp_path: Path, name: str) -> None:
    command("create", "--bundle", bundle.path, name).ok()
    refused = checkpoint(command, name, tmp_path / "images")
    assert (refused.status, refused.stderr) == (1, f"pyrt: cannot checkpoint container {name}: it is created, not running or paused\n")
    assert not (tmp_path / "images").exists()


def test_without_criu_both_verbs_say_so(command: Command, bundle: Bundle, tmp_path: Path, name: str) -> None:
    start(command, bundle.args("sleep", "1000"), name)
    hint = "install criu (https://criu.org), whose program must be in PATH"
    nowhere = {"PATH": str(tmp_path)}
    refused = command("checkpoint", "--image-path", tmp_path / "images", name, env=nowhere)
    text = "criu is not installed: no such file or directory (ENOENT)"
    assert (refused.status, refused.stderr) == (1, f"pyrt: checkpoint container {name}: {text}; {hint}\n")
    assert command("state", name).json["status"] == "running"
    refused = command("restore", "--bundle", bundle.path, "--image-path", tmp_path, f"{name}-again", env=nowhere)
    assert (refused.status, refused.stderr) == (1, f"pyrt: restore container {name}-again: {text}; {hint}\n")
    assert command("list", "--quiet").stdout == f"{name}\n"


@requires("criu that fails its check")
def test_where_criu_s_own_check_fails_it_is_said_what_is_lacking(command: Command, bundle: Bundle, tmp_path: Path, name: str) -> None:
    start(command, bundle.args("sleep", "1000"), name)
    refused = checkpoint(command, name, tmp_path / "images")
    assert refused.status == 1
    told = f"pyrt: checkpoint container {name}: criu's own check of this host failed (criu check); it says '"
    assert refused.stderr.startswith(told)
    assert refused.stderr.count("\n") == 1
    assert command("state", name).json["status"] == "running"


def test_the_library_raises_host_error_without_criu(
    runtime: pyrt.Runtime, bundle: Bundle, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(pyrt.HostError) as refused:
        runtime.restore(name, tmp_path, bundle=bundle.path)
    assert refused.value.errno == 2
    assert runtime.list() == []
