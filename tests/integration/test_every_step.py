"""SIGKILL before each change that create, start, exec, run and delete make, and before each that init makes: `helpers.stepping`.

After each one the state directory is listed, `delete --force` works, and nothing stays of what was made: no process, mount, cgroup or file.
Neighbours: test_nothing_stays.py (kills at random times), test_state_damage.py (what is on disk is wrong), test_contention.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

import pyrt
from helpers import callers, cgroups, stepping
from helpers.bundles import Bundle, map_ids
from helpers.leftovers import mounts_about
from helpers.stepping import Outcome
from helpers.waiting import runs, until
from pyrt.errors import StateUnreadable

# The child that is forked has one thread; that pytest may have more is Python's concern.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning")

ID = f"every-step-{os.getpid()}"
MOST = 1000
"""More steps than any verb has: a sweep that never ends is a defect of its own."""
Stepped = Callable[[Callable[[], object], int | None], Outcome]


def sweep(stepped: Stepped, prepare: Callable[[], object], action: Callable[[], object], check: Callable[[Outcome], None]) -> None:
    """Kill at the first step, at the second, until the action comes to its own end; prepare before and check after each."""
    for number in range(1, MOST):
        prepare()
        outcome = stepped(action, number)
        where = f"at step {number}, {outcome.step}, of {' '.join(outcome.steps)}"
        try:
            check(outcome)
        except (AssertionError, pyrt.Error) as error:
            raise AssertionError(f"killed {where}: {error}") from error
        if outcome.step is None:
            assert number > 1, "the action changed nothing"
            return
    raise AssertionError(f"more than {MOST} steps")


class Life:
    """One container that is made, stepped through and removed again and again. `create` and `run` are for a caller that is forked: what
    they make is not a child of the tests."""

    def __init__(self, runtime: pyrt.Runtime, bundle: Bundle) -> None:
        self.runtime, self.bundle, self.marker = runtime, bundle, callers.new_marker()
        self.cgroups = True
        self.mounts = mounts_about(bundle.path.parent)
        bundle.args("sh", "-c", "sleep 1000; true", self.marker)

    def create(self) -> pyrt.Container:
        return self.runtime.create(ID, bundle=self.bundle.path, cgroups=self.cgroups)

    def run(self) -> pyrt.Container:
        return self.runtime.create(ID, bundle=self.bundle.path, cgroups=self.cgroups, start=True)

    def get(self) -> pyrt.Container:
        return self.runtime.get(ID)

    def made(self) -> None:
        assert stepping.run(self.create).status == 0

    def started(self) -> None:
        assert stepping.run(self.run).status == 0

    def check_removal(self, outcome: Outcome) -> None:
        """Whatever is there is listed and removed, and then there is nothing."""
        for container in self.runtime.list():
            # Not yet written, or half of it.
            with suppress(StateUnreadable):
                assert container.state()["id"] == ID
            container.delete(force=True)
        assert self.runtime.list() == []
        self.check_nothing(outcome)

    def check_nothing(self, outcome: Outcome) -> None:
        root = Path(self.runtime.root)
        assert not root.exists() or list(root.iterdir()) == []
        assert cgroups.matching(f"pyrt-{ID}*") == []
        assert mounts_about(self.bundle.path.parent) == self.mounts
        until(lambda: not [pid for pid in outcome.made if runs(pid)] and not callers.marked(self.marker), f"{outcome.made} end")


@pytest.fixture
def life(tmp_path: Path, bundle: Bundle) -> Life:
    return Life(pyrt.Runtime(root=tmp_path / "stepped"), bundle)


def nothing() -> None:
    pass


# The caller


def plain(life: Life, other: pyrt.Container) -> None:
    pass


def with_hooks(life: Life, other: pyrt.Container) -> None:
    stages = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
    life.bundle.spec["hooks"] = {stage: [{"path": "/bin/true"}] for stage in stages}
    life.bundle.write()


def in_a_user_namespace(life: Life, other: pyrt.Container) -> None:
    map_ids(life.bundle, 0, 300_000, 65536)
    life.bundle.write()


def in_a_given_pid_namespace(life: Life, other: pyrt.Container) -> None:
    life.bundle.without_namespace("pid")
    life.bundle.linux["namespaces"].append({"type": "pid", "path": f"/proc/{other.pid}/ns/pid"})
    life.bundle.write()


def without_a_cgroup(life: Life, other: pyrt.Container) -> None:
    life.cgroups = False
    life.bundle.linux.pop("resources", None)
    life.bundle.write()


Setting = Callable[[Life, pyrt.Container], None]
SETTINGS = (plain, with_hooks, in_a_user_namespace, in_a_given_pid_namespace, without_a_cgroup)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.__name__)
def test_create_may_be_killed_at_every_step(life: Life, running: pyrt.Container, setting: Setting) -> None:
    setting(life, running)
    sweep(stepping.run, nothing, life.create, life.check_removal)


@pytest.mark.parametrize("setting", [plain, without_a_cgroup], ids=lambda setting: setting.__name__)
def test_run_may_be_killed_at_every_step(life: Life, running: pyrt.Container, setting: Setting) -> None:
    setting(life, running)
    sweep(stepping.run, nothing, life.run, life.check_removal)


def test_start_may_be_killed_at_every_step(life: Life, running: pyrt.Container) -> None:
    with_hooks(life, running)
    sweep(stepping.run, life.made, lambda: life.get().start(), life.check_removal)


def test_exec_may_be_killed_at_every_step(life: Life) -> None:
    def check(outcome: Outcome) -> None:
        assert life.get().status == "running"

    life.started()
    sweep(stepping.run, nothing, lambda: life.get().exec(["sh", "-c", "sleep 0.01; true", life.marker]), check)
    life.check_removal(Outcome(None, 0))


@pytest.mark.parametrize("setting", [plain, with_hooks], ids=lambda setting: setting.__name__)
def test_delete_may_be_killed_at_every_step(life: Life, running: pyrt.Container, setting: Setting) -> None:
    setting(life, running)
    sweep(stepping.run, life.made, lambda: life.get().delete(), life.check_removal)


def test_delete_force_may_be_killed_at_every_step(life: Life) -> None:
    sweep(stepping.run, life.started, lambda: life.get().delete(force=True), life.check_removal)


# Init


def few_mounts(life: Life) -> None:
    """One of each kind: more of the same are more of the same steps."""
    spec = life.bundle.spec
    spec["mounts"] = [mount for mount in spec["mounts"] if mount["destination"] in ("/proc", "/dev")]
    spec["linux"].update(maskedPaths=["/proc/kcore"], readonlyPaths=["/proc/bus"])
    life.bundle.write()


@pytest.mark.parametrize("setting", [plain, in_a_given_pid_namespace], ids=lambda setting: setting.__name__)
def test_init_may_be_killed_at_every_step_of_its_own(life: Life, running: pyrt.Container, setting: Setting) -> None:
    """Then create says so, and has undone everything by itself."""

    def check(outcome: Outcome) -> None:
        if outcome.status == 1:
            life.check_nothing(outcome)
        life.check_removal(outcome)

    few_mounts(life)
    setting(life, running)
    sweep(stepping.run_to_init_s_end, nothing, life.create, check)


@pytest.mark.parametrize("setting", [plain, in_a_given_pid_namespace, without_a_cgroup], ids=lambda setting: setting.__name__)
def test_the_caller_may_be_killed_at_every_step_of_init(life: Life, running: pyrt.Container, setting: Setting) -> None:
    few_mounts(life)
    setting(life, running)
    sweep(stepping.run_to_a_standing_init, nothing, life.create, life.check_removal)
