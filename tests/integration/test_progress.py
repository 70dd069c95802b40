"""on_progress of copy_in, copy_out and commit: what it is told, and what it can end.

Neighbours: test_copies.py and test_changes.py, for the operations themselves.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import pyrt
import pyrt.aio

FILES = 200
SIZE = 1000
TOTALS = (1 + FILES + 1, FILES * SIZE)
"""Of the tree: itself, its files, a link."""

Told = list[tuple[int, int]]


class Enough(Exception):
    pass


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "tree"
    top.mkdir()
    for number in range(FILES):
        (top / str(number)).write_bytes(b"x" * SIZE)
    (top / "link").symlink_to("0")
    os.mkfifo(top / "left-out")
    return top


@pytest.fixture
def box(rootfs: Path) -> Iterator[pyrt.Popen[bytes]]:
    with pyrt.Popen(["sleep", "1000"], rootfs=rootfs, keep_changes=True) as running:
        yield running


def into(told: Told) -> Callable[[int, int], None]:
    return lambda entries, size: told.append((entries, size))


def never(entries: int, size: int) -> None:
    raise Enough(entries, size)


def at_the_end(totals: tuple[int, int]) -> Callable[[int, int], None]:
    def on_progress(entries: int, size: int) -> None:
        if (entries, size) == totals:
            raise Enough

    return on_progress


def assert_grows_to(told: Told, totals: tuple[int, int]) -> None:
    assert told[-1] == totals
    assert told == sorted(told)
    assert [size for _, size in told] == sorted(size for _, size in told)


def test_copies_and_a_commit_tell_growing_numbers_and_at_the_end_the_totals(box: pyrt.Popen[bytes], tree: Path, tmp_path: Path) -> None:
    came_in: Told = []
    went_out: Told = []
    committed: Told = []
    box.copy_in(tree, "/new", on_progress=into(came_in))
    assert_grows_to(came_in, TOTALS)
    assert came_in[0] == (1, 0)
    box.copy_out("/new", tmp_path / "out", on_progress=into(went_out))
    assert_grows_to(went_out, TOTALS)
    box.commit(tmp_path / "layer", on_progress=into(committed))
    assert_grows_to(committed, (TOTALS[0] + 1, TOTALS[1]))


def test_a_file_alone_is_one_entry(box: pyrt.Popen[bytes], tree: Path, tmp_path: Path) -> None:
    told: Told = []
    box.copy_in(tree / "0", "/made/of/it", on_progress=into(told))
    box.copy_out("/made/of/it", tmp_path / "out", on_progress=into(told))
    assert told == [(0, 0), (1, SIZE), (0, 0), (1, SIZE)]


def test_a_commit_counts_what_the_layer_has(rootfs: Path, tmp_path: Path) -> None:
    script = "rm /etc/group; mkdir /srv/deep; echo four > /srv/deep/one; ln /srv/deep/one /srv/deep/two; mkfifo /pipe"
    told: Told = []
    with pyrt.Popen(["sh", "-e", "-c", script], rootfs=rootfs, keep_changes=True) as box:
        assert box.wait() == 0
        box.commit(tmp_path / "layer", on_progress=into(told))
    made = 1 + sum(1 for _ in (tmp_path / "layer").rglob("*"))
    # The content of both names is one.
    assert_grows_to(told, (made, len("four\n")))


def test_an_overlay_tells_how_far_its_commit_is(rootfs: Path, tmp_path: Path) -> None:
    told: Told = []
    with pyrt.Overlay([rootfs]) as root:
        Path(root.path / "new").write_text("four\n")
        root.commit(tmp_path / "layer", on_progress=into(told))
    assert_grows_to(told, (2, 5))


def test_a_container_with_state_tells_how_far_its_copies_are(running: pyrt.Container, tree: Path, tmp_path: Path) -> None:
    told: Told = []
    running.copy_in(tree, "/dev/shm/tree", on_progress=into(told))
    assert_grows_to(told, TOTALS)
    told.clear()
    running.copy_out("/dev/shm/tree", tmp_path / "out", on_progress=into(told))
    assert_grows_to(told, TOTALS)


@pytest.mark.parametrize("end", [False, True], ids=["at first", "at the end"])
def test_what_it_raises_comes_out_and_leaves_nothing(box: pyrt.Popen[bytes], tree: Path, tmp_path: Path, end: bool) -> None:
    box.copy_in(tree, "/new")
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(Enough):
        box.copy_out("/new", tmp_path / "out", on_progress=at_the_end(TOTALS) if end else never)
    with pytest.raises(Enough):
        box.copy_out("/new/0", tmp_path / "out", on_progress=at_the_end((1, SIZE)) if end else never)
    with pytest.raises(Enough):
        box.commit(tmp_path / "layer", on_progress=at_the_end((TOTALS[0] + 1, TOTALS[1])) if end else never)
    assert sorted(os.listdir(tmp_path)) == before
    with pytest.raises(Enough):
        box.copy_in(tree / "0", "/file", on_progress=at_the_end((1, SIZE)) if end else never)
    assert [path for path in box.changes().added if not path.startswith("/new")] == []
    # And nothing of it is left to be raised.
    box.copy_out("/new", tmp_path / "out")


def test_a_directory_that_comes_in_stays_as_far_as_it_came(box: pyrt.Popen[bytes], tree: Path) -> None:
    with pytest.raises(Enough) as raised:
        box.copy_in(tree, "/new", on_progress=never)
    assert raised.value.args == (1, 0)
    assert box.changes().added == ["/new"]


def test_it_is_called_in_the_thread_of_the_caller(box: pyrt.Popen[bytes], tree: Path) -> None:
    threads: set[int] = set()
    box.copy_in(tree, "/new", on_progress=lambda *_: threads.add(threading.get_ident()))
    assert threads == {threading.get_ident()}


def test_what_is_closed_meanwhile_is_copied_to_the_end(rootfs: Path, tree: Path, tmp_path: Path) -> None:
    with pyrt.Popen(["true"], rootfs=rootfs, keep_changes=True) as box:
        box.wait()
        box.copy_in(tree, "/new")
        box.copy_out("/new", tmp_path / "out", on_progress=lambda *_: box.close())
    assert len(os.listdir(tmp_path / "out")) == FILES + 1


def test_asyncio_tells_in_the_thread_that_copies(rootfs: Path, tree: Path, tmp_path: Path) -> None:
    threads: set[int] = set()
    came_in: Told = []
    committed: Told = []

    def on_progress(entries: int, size: int) -> None:
        threads.add(threading.get_ident())
        came_in.append((entries, size))

    async def main() -> None:
        async with await pyrt.aio.create_subprocess_exec("sleep", "1000", rootfs=rootfs, keep_changes=True) as box:
            await box.copy_in(tree, "/new", on_progress=on_progress)
            await box.commit(tmp_path / "layer", on_progress=into(committed))
            with pytest.raises(Enough):
                await box.copy_out("/new", tmp_path / "out", on_progress=never)

    asyncio.run(main())
    assert threading.get_ident() not in threads
    assert_grows_to(came_in, TOTALS)
    assert_grows_to(committed, (TOTALS[0] + 1, TOTALS[1]))
    assert sorted(os.listdir(tmp_path)) == ["bundle", "layer", "tree"]
