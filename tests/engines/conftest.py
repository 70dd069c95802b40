"""The engines of these tests: each is started once, keeps everything below one directory, and is ended with all its containers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers import bundles, engines


@pytest.fixture(scope="session")
def engine_rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A busybox root file system that all engines share."""
    return bundles.busybox_rootfs(tmp_path_factory.mktemp("image") / "rootfs")


@pytest.fixture(scope="session")
def image(engine_rootfs: Path) -> Path:
    return engines.archive(engine_rootfs, engine_rootfs.parent / "busybox.tar")


@pytest.fixture(scope="session")
def podman_directory(tmp_path_factory: pytest.TempPathFactory, image: Path) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("podman")
    podman = engines.Podman(path)
    podman("import", str(image), engines.IMAGE).ok()
    yield path
    podman("rm", "--all", "--force", "--time", "0").ok()
    assert not engines.states(path / "run")


@pytest.fixture
def podman(podman_directory: Path) -> Iterator[engines.Podman]:
    """podman with pyrt and the image IMAGE; its containers are removed after each test."""
    podman = engines.Podman(podman_directory)
    yield podman
    podman("rm", "--all", "--force", "--time", "0").ok()


@pytest.fixture(scope="session")
def containerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[engines.Containerd]:
    """A containerd of the tests' own, and `ctr` as its client."""
    containerd = engines.Containerd(tmp_path_factory.mktemp("containerd"))
    yield containerd
    containerd.end()


@pytest.fixture(scope="session")
def dockerd(tmp_path_factory: pytest.TempPathFactory, image: Path) -> Iterator[engines.Docker]:
    path = tmp_path_factory.mktemp("docker")
    docker = engines.Docker(path)
    docker("import", str(image), engines.IMAGE).ok()
    yield docker
    docker.end()
    assert not engines.states(path / "exec")


@pytest.fixture
def docker(dockerd: engines.Docker) -> Iterator[engines.Docker]:
    """A dockerd of the tests' own with the image IMAGE; its containers are removed after each test."""
    yield dockerd
    containers = dockerd("ps", "--all", "--quiet").ok().stdout.split()
    if containers:
        dockerd("rm", "--force", *containers).ok()
