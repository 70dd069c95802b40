"""The package's public names: `__all__`, its twin for type checkers, and that nothing is imported before it is asked for.

Neighbours: test_imports.py (the modules that a verb may load).
"""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import pyrt
from pyrt import _native, configuration, options

SOURCE = Path(pyrt.__file__)
LIBRARY = [
    "run",
    "Runtime",
    "Container",
    "Spec",
    "Namespaces",
    "Cgroup",
    "Overlay",
    "Mount",
    "Capability",
    "Rlimit",
    "Limits",
    "Usage",
    "Cause",
    "HostView",
]


def twin() -> dict[str, str]:
    """Name to module, as the block under TYPE_CHECKING says."""
    found: dict[str, str] = {}
    for node in ast.parse(SOURCE.read_text()).body:
        if isinstance(node, ast.If):
            for line in node.body:
                assert isinstance(line, ast.ImportFrom)
                for alias in line.names:
                    assert alias.asname == alias.name, "a re-export for mypy --strict says its name twice"
                    found[alias.name] = line.module or ""
    return found


def test_the_twin_for_type_checkers_agrees_with_what_is_resolved() -> None:
    submodules = dict.fromkeys(pyrt._SUBMODULES, "pyrt")
    assert twin() == {name: f"pyrt.{module}" for name, module in pyrt._MODULE_OF.items()} | submodules


def test_all_is_every_public_name_once() -> None:
    assert len(pyrt.__all__) == len(set(pyrt.__all__))
    assert set(pyrt.__all__) == set(pyrt._MODULE_OF) | set(pyrt._SUBMODULES)
    assert set(LIBRARY) <= set(pyrt.__all__)


@pytest.mark.parametrize("name", pyrt.__all__)
def test_each_name_resolves_and_is_listed(name: str) -> None:
    value = getattr(pyrt, name)
    assert name in dir(pyrt)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert value.__name__ == name
        assert inspect.getdoc(value), "a public thing says what it is"


def public_members() -> list[tuple[str, object]]:
    """Methods and properties that our own classes define."""
    found: list[tuple[str, object]] = []
    for name in pyrt.__all__:
        value = getattr(pyrt, name)
        if inspect.isclass(value):
            own = {key: member for cls in value.__mro__ if cls.__module__.startswith("pyrt") for key, member in vars(cls).items()}
            found += [(f"{name}.{key}", member) for key, member in own.items() if not key.startswith("_")]
    return [
        (name, member) for name, member in found if isinstance(member, (property, classmethod, staticmethod)) or inspect.isfunction(member)
    ]


def test_each_method_says_what_it_does() -> None:
    undocumented = {"Container.id", "Container.bundle", "Container.rootfs", "Container.annotations"}
    assert {name for name, member in public_members() if not inspect.getdoc(member)} <= undocumented


def test_a_star_import_brings_exactly_those() -> None:
    script = "before = set(globals()); from pyrt import *; import pyrt; print(sorted(set(globals()) - before - {'before', 'pyrt'}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ast.literal_eval(done.stdout) == sorted(pyrt.__all__)


def test_an_unknown_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="module 'pyrt' has no attribute 'nonsense'"):
        pyrt.nonsense


@pytest.mark.parametrize(
    ("use", "never"),
    [
        ("pyrt", ["pyrt._native", "os", "typing", "enum"]),
        ("pyrt.run", ["pyrt.runtime", "pyrt.cgroups", "subprocess", "typing", "enum", "json", "dataclasses", "asyncio", "pathlib"]),
        ("pyrt.Runtime", ["pyrt.process", "pyrt.view", "subprocess", "typing", "enum", "re"]),
        ("pyrt.Error", ["pyrt._native", "subprocess", "typing"]),
        ("pyrt.Spec", ["pyrt.configuration", "pyrt.process", "json", "typing"]),
    ],
)
def test_nothing_is_imported_before_it_is_asked_for(use: str, never: list[str]) -> None:
    start = f"import sys; sys.path.insert(0, {str(SOURCE.parents[1])!r}); before = set(sys.modules)"
    script = f"{start}; import pyrt; {use}; print(set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True)
    assert ast.literal_eval(done.stdout) & set(never) == set()


def test_the_options_that_are_typed_are_those_that_are_taken() -> None:
    assert set(typing.get_type_hints(options.ContainerOptions)) == configuration.OPTIONS


def test_every_option_of_run_is_explained() -> None:
    said = inspect.getdoc(pyrt.run) or ""
    assert [name for name in configuration.OPTIONS if name not in said] == []


def test_the_version_is_the_native_module_s_and_the_distribution_s() -> None:
    from importlib.metadata import version

    assert pyrt.__version__ == _native.__version__ == version("pyrt-oci")


def test_every_native_name_is_in_the_stub() -> None:
    stub = ast.parse(SOURCE.with_name("_native.pyi").read_text())
    declared: set[str] = set()
    for node in stub.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            declared.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            declared.add(node.target.id)
    assert {name for name in dir(_native) if not name.startswith("_")} == declared - {"__version__"}


@pytest.mark.parametrize("name", sorted(set(pyrt.__all__) - {"__version__", "aio", "PIPE", "STDOUT", "DEVNULL"}))
def test_every_name_is_documented(name: str) -> None:
    api = (Path(__file__).resolve().parents[2] / "docs/api.md").read_text()
    value = getattr(pyrt, name)
    exception = isinstance(value, type) and issubclass(value, Exception)
    assert f":: pyrt.{name}\n" in api or (exception and ".. automodule:: pyrt.errors\n" in api)
