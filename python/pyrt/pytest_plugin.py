"""Tests in containers: the mark `container` and the fixture of that name. For a conftest.py: ``pytest_plugins = ["pyrt.pytest_plugin"]``.

No entry point loads it: whoever does not ask for it does not pay for it. Neighbour: executor.py, which carries a test over.

    @pytest.mark.container(memory="64M", timeout=10)
    def test_inside():                  # the body runs in a container of this interpreter
        ...

    @pytest.mark.container(network="none")
    def test_beside(container):         # runs here; `container` runs commands, with the mark's options
        assert container.run(["id"]).returncode == 0
"""

import inspect

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyrt.completed import CompletedProcess
    from pyrt.popen import Popen

MARK = "container"


class Containers:
    """What the fixture is: `run` and `Popen` as pyrt's, with the mark's options unless a call says otherwise."""

    def __init__(self, options: "dict[str, Any]") -> None:
        self.options = options
        self._started: list[Popen[Any]] = []

    def run(self, args: "Any", **options: "Any") -> "CompletedProcess[Any]":
        """As `pyrt.run`."""
        import pyrt

        return pyrt.run(args, **{**self.options, **options})

    def Popen(self, args: "Any", **options: "Any") -> "Popen[Any]":  # noqa: N802 - subprocess's name
        """As `pyrt.Popen`; it ends with the test, at the latest. The mark's timeout is not of it."""
        import pyrt

        wanted = {**self.options, **options}
        wanted.pop("timeout", None)
        started = pyrt.Popen(args, **wanted)
        self._started.append(started)
        return started

    def close(self) -> None:
        """End what still runs."""
        while self._started:
            self._started.pop().close()


@pytest.fixture(name="container")
def _container(request: pytest.FixtureRequest) -> "Iterator[Containers]":
    """Runs commands in containers with the options of the test's mark `container`."""
    containers = Containers(_options(request.node))
    try:
        yield containers
    finally:
        containers.close()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        f"{MARK}(timeout=None, **options): run the test in a container, with the options of pyrt.run; "
        "or with the fixture of that name, the commands that the test runs by it",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> "bool | None":
    """Carries the test over, with the values of its fixtures, which must pickle. None where it is to run here, as any other."""
    if pyfuncitem.get_closest_marker(MARK) is None or "container" in pyfuncitem.fixturenames:
        return None
    if inspect.iscoroutinefunction(pyfuncitem.obj):
        pytest.fail("a coroutine cannot be carried into a container: use the fixture `container` beside it", pytrace=False)
    from pyrt.executor import ContainerExecutor

    options = _options(pyfuncitem)
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    with ContainerExecutor(1, **options) as executor:
        executor.submit(_by_value(pyfuncitem.obj), **arguments).result()
    return True


def _options(item: pytest.Item) -> "dict[str, Any]":
    """Of all its marks, the nearest's first: a module's or a class's are what a test's do not say."""
    options: dict[str, Any] = {}
    for mark in item.iter_markers(MARK):
        if mark.args:
            raise pytest.UsageError(f"{item.nodeid}: the mark {MARK} has keyword arguments only")
        options = {**mark.kwargs, **options}
    return options


def _by_value(function: "Any") -> "Any":
    """The test as something that pickles without its module: no container need find that."""
    import sys

    import cloudpickle

    module = sys.modules.get(function.__module__)
    if module is None or module.__name__ in cloudpickle.list_registry_pickle_by_value():
        return function
    cloudpickle.register_pickle_by_value(module)
    try:
        pickled = cloudpickle.dumps(function)
    finally:
        cloudpickle.unregister_pickle_by_value(module)
    return _Carried(pickled)


class _Carried:
    """A function pickled already; calls it where this arrives."""

    def __init__(self, pickled: bytes) -> None:
        self._pickled = pickled

    def __reduce__(self) -> "tuple[Any, ...]":
        import pickle

        return pickle.loads, (self._pickled,)
