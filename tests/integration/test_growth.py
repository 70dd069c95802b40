"""The soak of tests/soak in its short form: nothing grows with the number of containers that a process has made."""

from __future__ import annotations

from pathlib import Path

import pyrt
from helpers import soak
from helpers.bundles import Bundle


def test_nothing_grows_with_containers_some_of_them_at_once(runtime: pyrt.Runtime, bundle: Bundle, rootfs: Path) -> None:
    soak.check(*soak.soak(runtime, bundle, rootfs, containers=80, parallel=8))


def test_nothing_grows_with_runs_popens_pools_and_handlers(runtime: pyrt.Runtime, rootfs: Path) -> None:
    soak.check(*soak.library(runtime, rootfs, containers=80, parallel=8))
