"""The session keyring: the container's own, unless --no-new-keyring says that the caller's is wanted (session-keyring(7), keyctl(2)).

Neighbours: test_process.py (the rest of what a process is). A keyring is known by its serial number, which no other key of the kernel has;
the host's interpreter, bound into the bundle, asks for it inside.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pyrt
from helpers import engine
from helpers.bundles import Bundle
from helpers.commands import Command

PYTHON = "/usr/bin/python3"
NUMBER = {"x86_64": 250, "aarch64": 219}[os.uname().machine]
KEYCTL = f"import ctypes; keyctl = lambda *words: ctypes.CDLL(None).syscall({NUMBER}, *words)"
GET_SESSION = f"{KEYCTL}; print(keyctl(0, -3, 0))"
"""KEYCTL_GET_KEYRING_ID of KEY_SPEC_SESSION_KEYRING."""
MAKE_KEYRING = f"{KEYCTL}; key = keyctl(1, b'_ses.{engine.ID}'); keyctl(5, key, 0x3F3F0000); print(key, flush=True); input()"
"""KEYCTL_JOIN_SESSION_KEYRING, and KEYCTL_SETPERM: everything for everybody of its user."""

pytestmark = [
    pytest.mark.skipif(not Path("/proc/keys").exists(), reason="this kernel has no CONFIG_KEYS"),
    pytest.mark.skipif(not Path(PYTHON).exists(), reason=f"there is no {PYTHON}"),
]


@pytest.fixture
def bundle(bundle: Bundle) -> Bundle:
    for name in ("/usr", "/lib", "/lib64"):
        if Path(name).exists():
            bundle.mount(name, "bind", name, ["rbind", "ro"])
    return bundle


@pytest.fixture
def waiting_keyring() -> Iterator[int]:
    """A keyring with the name of the container's, which everybody of its user may join. Yields its serial number."""
    with subprocess.Popen([sys.executable, "-c", MAKE_KEYRING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        assert holder.stdin
        yield int(holder.stdout.readline())
        holder.stdin.write("\n")
        holder.stdin.flush()


def own() -> int:
    done = subprocess.run([sys.executable, "-c", GET_SESSION], capture_output=True, text=True, check=True)
    return int(done.stdout)


def session(command: Command, bundle: Bundle, *options: str) -> int:
    return int(engine.run(command, bundle, PYTHON, "-c", GET_SESSION, options=options).ok().stdout)


def test_the_keyring_is_the_containers_own_and_has_its_name(command: Command, bundle: Bundle) -> None:
    describe = "text = ctypes.create_string_buffer(200); keyctl(6, key, text, 200); print(key, text.value.decode())"
    show = f"{KEYCTL}; key = keyctl(0, -3, 0); {describe}"
    key, _, description = engine.run(command, bundle, PYTHON, "-c", show).ok().stdout.strip().partition(" ")
    assert int(key) not in (-1, own())
    assert description.startswith("keyring;0;0;")
    assert description.endswith(f";_ses.{engine.ID}")


def test_no_new_keyring_leaves_the_callers(command: Command, bundle: Bundle) -> None:
    assert session(command, bundle, "--no-new-keyring") == own()


def test_a_keyring_that_waits_under_the_containers_name_is_not_joined(command: Command, bundle: Bundle, waiting_keyring: int) -> None:
    assert session(command, bundle) not in (-1, own(), waiting_keyring)


def test_exec_has_neither_the_callers_keyring_nor_one_that_waits(runtime: pyrt.Runtime, bundle: Bundle, waiting_keyring: int) -> None:
    container = runtime.create(engine.ID, bundle=bundle.args("sleep", "1000").path)
    try:
        container.start()
        done = container.exec([PYTHON, "-c", GET_SESSION], capture_output=True, text=True)
    finally:
        container.delete(force=True)
    assert int(done.stdout) not in (-1, own(), waiting_keyring)


def test_exec_into_a_container_without_a_keyring_of_its_own_has_the_callers(runtime: pyrt.Runtime, bundle: Bundle) -> None:
    """It was made so that its processes share a keyring with whoever starts them: NFS and Kerberos keep their keys there."""
    container = runtime.create(f"no-keyring-{os.getpid()}", bundle=bundle.args("sleep", "1000").path, new_keyring=False)
    try:
        container.start()
        done = container.exec([PYTHON, "-c", GET_SESSION], capture_output=True, text=True)
    finally:
        container.delete(force=True)
    assert int(done.stdout) == own()


def test_the_library_has_one_too() -> None:
    done = pyrt.run([PYTHON, "-c", GET_SESSION], seccomp=None, capture_output=True, text=True, check=True)
    assert int(done.stdout) not in (-1, own())
