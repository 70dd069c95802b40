"""What is installed, and what a wheel and an sdist carry. `.ci/run` builds both into dist/ before the tests."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import pyrt
from helpers import elf
from helpers.commands import PYRT
from pyrt import _native
from pyrt.cli.table import VERBS

DIST = Path(__file__).resolve().parents[2] / "dist"
KNOWN_DEPENDENCIES = {"rich"}
INIT_SIZE_LIMIT = 256 * 1024
"""Bytes: its text is what every waiting container keeps resident."""


def newest(pattern: str) -> Path:
    found = sorted(DIST.glob(pattern), key=lambda path: path.stat().st_mtime)
    if not found:
        pytest.skip(f"no dist/{pattern}: .ci/run builds it")
    return found[-1]


@pytest.fixture(scope="module")
def init() -> elf.Program:
    module = _native.__file__
    assert module is not None
    programs = elf.embedded(Path(module).read_bytes())
    assert len(programs) == 1, "exactly one program is embedded in the native module"
    return programs[0]


def test_the_init_needs_no_dynamic_linker_and_no_library(init: elf.Program) -> None:
    assert not init.has(elf.PT_INTERP)
    assert not init.has(elf.PT_DYNAMIC)


def test_the_init_has_no_executable_stack(init: elf.Program) -> None:
    stacks = [segment for segment in init.segments if segment.type == elf.PT_GNU_STACK]
    assert [stack.flags & elf.PF_X for stack in stacks] == [0]


def test_the_init_is_small(init: elf.Program) -> None:
    assert init.size < INIT_SIZE_LIMIT


def test_the_native_module_is_built_for_the_stable_abi() -> None:
    assert _native.__file__ is not None
    assert Path(_native.__file__).name == "_native.abi3.so"


def test_the_package_says_that_it_is_typed_and_brings_the_stub() -> None:
    package = Path(pyrt.__file__).parent
    assert (package / "py.typed").is_file()
    assert (package / "_native.pyi").is_file()


def test_one_version_everywhere() -> None:
    installed = importlib.metadata.version("pyrt-oci")
    assert pyrt.__version__ == installed
    assert _native.__version__ == installed


def test_rich_is_the_only_dependency() -> None:
    required = importlib.metadata.requires("pyrt-oci") or []
    names = {line.split(";")[0].split(">")[0].strip() for line in required if "extra ==" not in line}
    assert names == KNOWN_DEPENDENCIES


def test_the_command_is_a_native_file_of_our_own() -> None:
    assert os.access(PYRT, os.X_OK)
    assert PYRT.read_bytes().startswith(b"\x7fELF")
    assert not [entry for entry in importlib.metadata.distribution("pyrt-oci").entry_points if entry.group == "console_scripts"]


@pytest.mark.parametrize("command", [[str(PYRT)], [sys.executable, "-m", "pyrt"]], ids=["pyrt", "python -m pyrt"])
@pytest.mark.parametrize("flag", ["--version", "-v"])
def test_version_prints_version_commit_and_spec(command: list[str], flag: str) -> None:
    done = subprocess.run([*command, flag], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[0] == f"pyrt version {pyrt.__version__}"
    assert lines[1].startswith("commit: ")
    assert lines[2] == f"spec: {_native.OCI_VERSION}"
    assert done.stderr == ""


def test_the_wheel_carries_module_stub_marker_and_command() -> None:
    wheel = newest("*.whl")
    assert "-cp310-abi3-" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        version = wheel.name.split("-")[1]
        command = archive.getinfo(f"pyrt_oci-{version}.data/scripts/pyrt")
    assert {"pyrt/_native.abi3.so", "pyrt/_native.pyi", "pyrt/py.typed", "pyrt/__init__.py"} <= names
    assert {f"pyrt_oci-{version}.dist-info/licenses/{name}" for name in ("LICENSE", "NOTICE")} <= names
    share = f"pyrt_oci-{version}.data/data/share/pyrt"
    assert {f"{share}/{name}" for name in ("containers.conf.d/50-pyrt.conf", "docker/daemon.json", "containerd/config.toml")} <= names
    shells = {"bash-completion/completions/pyrt", "zsh/site-functions/_pyrt", "fish/vendor_completions.d/pyrt.fish"}
    manual = {f"man/man1/{name}" for name in ("pyrt.1", *(f"pyrt-{verb}.1" for verb in VERBS))}
    assert {f"pyrt_oci-{version}.data/data/share/{name}" for name in shells | manual} <= names
    assert command.external_attr >> 16 & 0o111 == 0o111, "pip installs a script with the mode it has in the wheel"
    assert not [name for name in names if name.startswith(("tests", "benches")) or "__pycache__" in name]


def test_the_sdist_carries_everything_that_a_build_needs_and_nothing_else() -> None:
    sdist = newest("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    needed = {"Cargo.toml", "Cargo.lock", "LICENSE", "NOTICE", "README.md", "pyproject.toml", "scripts/backend.py"}
    needed |= {f"rust/{crate}/Cargo.toml" for crate in ("core", "init", "native")}
    needed |= {"python/pyrt/__init__.py", "python/pyrt/py.typed", "rust/core/src/bin/pyrt/main.rs"}
    assert needed <= names
    unwanted = ("tests/", "benches/", "target/", ".venv", "python/pyrt_oci.data/scripts/")
    assert not [name for name in names if name.startswith(unwanted)]
