"""tests/vm: what can be said of the virtual machine without starting it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from image import Entry, cpio, directory, program

VM = Path(__file__).resolve().parents[1] / "vm"
ROOT = VM.parents[1]


def test_a_first_file_system_is_read_back_by_cpio(tmp_path: Path) -> None:
    archive = cpio([directory("bin"), program("bin/tool", b"#!/bin/sh\n"), Entry("odd", 0o100644, b"12345")])
    subprocess.run(["/bin/busybox", "cpio", "-i", "-d"], input=archive, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "bin/tool").read_bytes() == b"#!/bin/sh\n"
    assert (tmp_path / "bin/tool").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "odd").read_bytes() == b"12345"


def test_two_archives_in_a_row_keep_the_alignment_that_the_kernel_wants() -> None:
    assert len(cpio([Entry("odd", 0o100644, b"12345")])) % 4 == 0


def test_every_test_of_the_subset_exists() -> None:
    lines = [line.split("#")[0].strip() for line in (VM / "subset.txt").read_text().splitlines()]
    named = [line.split("::")[0] for line in lines if line]
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_options_are_explained() -> None:
    done = subprocess.run([VM / "run", "--help"], capture_output=True, text=True, check=True)
    for option in ("--see", "--write", "--memory", "--cpus", "--timeout", "--console", "--install"):
        assert option in done.stdout
