"""Fixtures of all tests. Below unit/ nothing is needed; the other folders need root; integration/ and security/ are watched by
`nothing_left`, engines/ is not: podman and docker keep cgroups of their own."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from helpers import bundles, hosts, leftovers, waiting
from helpers.bundles import Bundle
from helpers.commands import Command
from helpers.hooked import Hooked

if TYPE_CHECKING:
    import pyrt
    from helpers.ordinary import Ordinary

WATCHED = frozenset({"integration", "security"})
FAILED = pytest.StashKey[bool]()


def pytest_configure() -> None:
    # Whoever starts the tests in the background of a script has them ignore it, and with them every command that a test interrupts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    lacking = hosts.missing("root", "busybox")
    for item in items:
        if WATCHED & set(item.path.parts):
            item.add_marker(pytest.mark.skipif(bool(lacking), reason=f"this host lacks: {', '.join(lacking)}"))


@pytest.fixture(autouse=True)
def _watched(request: pytest.FixtureRequest) -> None:
    if WATCHED & set(request.node.path.parts):
        request.getfixturevalue("nothing_left")


@pytest.fixture(scope="session")
def _once_a_process(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What pyrt makes once in a calling process (the init's memfd, the watcher) exists before the first look."""
    import pyrt

    rootfs = bundles.busybox_rootfs(tmp_path_factory.mktemp("first") / "rootfs")
    assert pyrt.run(["true"], rootfs=rootfs).returncode == 0


@pytest.fixture
def nothing_left(request: pytest.FixtureRequest, _once_a_process: None) -> Iterator[None]:
    """Fails a test that leaves a process, mount, cgroup, thread or descriptor; a test that failed already only has its children ended."""
    before = leftovers.Snapshot.take()
    yield
    now, left = leftovers.settled(before)
    if left:
        leftovers.end_children(before, now)
        if not request.node.stash.get(FAILED, False):
            hint = "(if others make containers on this host, set PYRT_TESTS_SHARED_HOST=1)"
            pytest.fail("\n".join(["the test left behind:", *left, hint]), pytrace=False)


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    """A busybox root file system of the test's own."""
    return bundles.busybox_rootfs(tmp_path / "bundle" / "rootfs")


@pytest.fixture
def bundle(rootfs: Path) -> Bundle:
    """A busybox bundle with `pyrt spec`'s config and no terminal: edit `bundle.spec`, then `bundle.write()`."""
    from pyrt.spec import default_spec

    spec = default_spec()
    spec.terminal = False
    made = Bundle(rootfs.parent, spec.config)
    made.write()
    return made


@pytest.fixture(scope="session")
def debian_rootfs() -> Path:
    """A Debian root file system, made once a machine. Read-only by agreement: mark its tests slow."""
    if not hosts.has("debootstrap"):
        pytest.skip("this host lacks: debootstrap")
    return bundles.debian_rootfs()


@pytest.fixture
def debian_bundle(tmp_path: Path, debian_rootfs: Path) -> Bundle:
    """The same as `bundle`, on the shared Debian with a read-only root."""
    from pyrt.spec import default_spec

    spec = default_spec()
    spec.terminal = False
    spec.rootfs = debian_rootfs
    made = Bundle(tmp_path / "debian", spec.config)
    made.path.mkdir()
    made.write()
    return made


@pytest.fixture
def root_dir(tmp_path: Path) -> Iterator[Path]:
    """A state directory of the test's own; containers that are still there at the end are deleted by force."""
    path = tmp_path / "state"
    yield path
    if path.exists():
        command = Command(path)
        for entry in sorted(path.iterdir()):
            command("delete", "--force", entry.name).ok()
        assert not list(path.iterdir()), "delete --force left state behind"


@pytest.fixture
def command(root_dir: Path) -> Command:
    """The pyrt command with `--root root_dir`: status, stdout, stderr."""
    return Command(root_dir)


@pytest.fixture(scope="session")
def _importable() -> Iterator[Path]:
    """Where a user other than root imports pyrt from."""
    from helpers import ordinary

    with tempfile.TemporaryDirectory(prefix="pyrt-library-", dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        yield ordinary.library(Path(directory))


@pytest.fixture
def ordinary(_importable: Path) -> Iterator[Ordinary]:
    """A user other than root, without a name or anything else on this host but a directory."""
    from helpers.ordinary import NUMBER, Ordinary

    # pytest's own directories are closed to others.
    with tempfile.TemporaryDirectory(prefix="pyrt-ordinary-", dir="/tmp", ignore_cleanup_errors=False) as directory:
        uid = NUMBER + os.getpid() % 100_000
        os.chown(directory, uid, uid)
        yield Ordinary(uid, uid, Path(directory), _importable)


@pytest.fixture
def runtime(root_dir: Path) -> pyrt.Runtime:
    import pyrt

    return pyrt.Runtime(root=root_dir)


@pytest.fixture
def running(runtime: pyrt.Runtime, bundle: Bundle) -> Iterator[pyrt.Container]:
    """A started container whose process sleeps; deleted at the end. Its id is this test run's own, as the cgroup at the root is."""
    container = runtime.create(f"running-{os.getpid()}", bundle=bundle.args("sleep", "1000").path)
    container.start()
    # `start` returns when the execve has closed what init speaks by; name and arguments are there a little later.
    arguments = Path(f"/proc/{container.pid}/cmdline")
    waiting.until(lambda: arguments.read_bytes() == b"sleep\0001000\0", "its process sleeps")
    yield container
    container.delete(force=True)


@pytest.fixture
def hooked(bundle: Bundle, tmp_path: Path) -> Hooked:
    """The bundle with a hook in each of the six stages, which writes down how it ran."""
    directory = tmp_path / "hooks"
    directory.mkdir()
    return Hooked(bundle, directory)
