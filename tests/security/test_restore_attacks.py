"""What an image, or whoever made a directory of checkpoint images, tries with CRIU's help (CVE-2026-119101, CVE-2026-115520).

A mount of the host's is left out of the images and known by a name; the name decides what is mounted at the restore. Here are attempts at a
name that is another's, and at files that are written through a link. The names alone: rust/core/src/checkpoint/naming.rs; what goes well:
tests/integration/test_checkpoint.py.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from helpers.bundles import Bundle
from helpers.commands import Command, Result
from helpers.hosts import requires

PATIENCE = 300.0
"""Seconds for a command: on an emulated processor CRIU takes half a minute."""
WORKS = "criu that works"


@pytest.fixture
def name() -> str:
    return f"restore-attack-{os.getpid()}"


def start(command: Command, bundle: Bundle, name: str) -> None:
    assert command.start("run", "--detach", "--bundle", bundle.path, name).wait() == 0


def checkpoint(command: Command, name: str, images: Path, *flags: str) -> Result:
    return command("checkpoint", "--image-path", images, *flags, name, timeout=PATIENCE)


def lead(rootfs: Path, **links: str) -> None:
    """Symbolic links at the top of the image, made anew, to directories of the image."""
    for link, target in links.items():
        (rootfs / target.lstrip("/")).mkdir(parents=True, exist_ok=True)
        (rootfs / link).unlink(missing_ok=True)
        (rootfs / link).symlink_to(target)


@requires(WORKS)
def test_links_that_are_exchanged_make_nothing_writable_that_is_not(command: Command, bundle: Bundle, tmp_path: Path, name: str) -> None:
    """After a restore, the host's directory that is read-only would be where the writable one was, and as writable as that."""
    secret, scratch = tmp_path / "secret", tmp_path / "scratch"
    secret.mkdir()
    scratch.mkdir()
    bundle.spec["root"]["readonly"] = False
    lead(bundle.rootfs, a="/places/a", b="/places/b")
    bundle.mount("/a", "bind", str(secret), ["rbind", "ro"])
    bundle.mount("/b", "bind", str(scratch), ["rbind", "rw"])
    start(command, bundle.args("sleep", "1000"), name)
    try:
        lead(bundle.rootfs, a="/places/b", b="/places/a")
        refused = checkpoint(command, name, tmp_path / "images")
        why = "config.json has /a ro, and what it leads to in the container now is not"
        assert (refused.status, refused.stderr) == (1, f"pyrt: name mount /places/b for criu; {why}\n")
        assert command("state", name).ok().json["status"] == "running"
        # The control: as it was made, it is written.
        lead(bundle.rootfs, a="/places/a", b="/places/b")
        checkpoint(command, name, tmp_path / "images").ok()
    finally:
        command("delete", "--force", name)


@requires(WORKS)
def test_a_link_to_a_name_that_criu_reads_as_two_is_refused(command: Command, bundle: Bundle, tmp_path: Path, name: str) -> None:
    """The image leads a mount of config.json to a place whose path ends one name of CRIU's and begins a value."""
    (tmp_path / "given").mkdir()
    bundle.spec["root"]["readonly"] = False
    lead(bundle.rootfs, data="/x]:/etc")
    bundle.mount("/data", "bind", str(tmp_path / "given"), ["rbind"])
    start(command, bundle.args("sleep", "1000"), name)
    try:
        refused = checkpoint(command, name, tmp_path / "images")
        why = 'a path with "]:" in it would be read as two'
        assert (refused.status, refused.stderr) == (1, f"pyrt: name mount /x]:/etc for criu; {why}\n")
    finally:
        command("delete", "--force", name)


@requires(WORKS)
@pytest.mark.parametrize("make", [os.symlink, os.link], ids=["symbolic", "hard"])
def test_images_are_not_written_through_a_link_that_lies_there(
    command: Command, bundle: Bundle, tmp_path: Path, name: str, make: object
) -> None:
    kept, images = tmp_path / "kept", tmp_path / "images"
    kept.write_text("the host's")
    images.mkdir()
    assert callable(make)
    make(kept, images / "pages-1.img")
    start(command, bundle.args("sleep", "1000"), name)
    try:
        refused = checkpoint(command, name, images)
        text = f"write images over {images}/pages-1.img: file exists (EEXIST); it is a link: give a directory without any"
        assert (refused.status, refused.stderr) == (1, f"pyrt: {text}\n")
        assert kept.read_text() == "the host's"
    finally:
        command("delete", "--force", name)


@requires(WORKS)
def test_a_restore_writes_its_log_through_no_link_that_comes_with_the_images(
    command: Command, bundle: Bundle, tmp_path: Path, name: str
) -> None:
    images, log, statistics = tmp_path / "images", tmp_path / "log", tmp_path / "statistics"
    images.mkdir()
    (images / "descriptors.json").write_text('["/dev/null", "/dev/null", "/dev/null"]')
    for file, link in ((log, "restore.log"), (statistics, "stats-restore")):
        file.write_text("the host's")
        (images / link).symlink_to(file)
    failed = command("restore", "--detach", "--bundle", bundle.path, "--image-path", images, name, timeout=PATIENCE)
    assert failed.status == 1
    assert f"its log is {images}/restore.log" in failed.stderr
    assert (log.read_text(), statistics.read_text()) == ("the host's", "the host's")
    assert (images / "restore.log").is_file()
    assert not (images / "restore.log").is_symlink()


@requires(WORKS)
@pytest.mark.parametrize("what", ["fifo", "endless"])
def test_what_stands_for_descriptors_is_neither_waited_for_nor_read_without_end(
    command: Command, bundle: Bundle, tmp_path: Path, name: str, what: str
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    if what == "fifo":
        os.mkfifo(images / "descriptors.json")
    else:
        (images / "descriptors.json").symlink_to("/dev/zero")
    failed = command("restore", "--detach", "--bundle", bundle.path, "--image-path", images, name, timeout=PATIENCE)
    assert failed.status == 1
    assert f"read {images}/descriptors.json: not what a checkpoint writes" in failed.stderr
    assert command("list", "--quiet").stdout == ""
