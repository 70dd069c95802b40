"""The typed config.json (`pyrt.oci`, `Spec.process` and its like) has not drifted from the spec's schema, or from the Rust types."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import pyrt
from helpers import schema
from pyrt import oci
from pyrt.oci.fields import Section

OTHER_PLATFORMS = {"freebsd", "solaris", "vm", "windows", "zos"}
KINDS = {"string": str, "integer": int, "boolean": bool}
OF_WINDOWS = {"process.commandLine", "process.user.username"}
"""In the schema, and to be kept; the Rust types know them too, but pyrt does nothing with them."""


def resolve(node: dict[str, Any], file: str) -> tuple[dict[str, Any], str]:
    """Follow $ref, and lay the parts of an allOf or anyOf over each other."""
    while "$ref" in node:
        name, _, pointer = node["$ref"].partition("#")
        file = name or file
        node = schema.load(file)
        for part in filter(None, pointer.split("/")):
            node = node[part]
    if parts := node.get("allOf") or node.get("anyOf"):
        node, file = resolve({key: value for key, value in node.items() if key not in ("allOf", "anyOf")}, file)
        merged: dict[str, Any] = {**node, "properties": dict(node.get("properties", {}))}
        for part in parts:
            resolved, file = resolve(part, file)
            merged = {**merged, **resolved, "properties": {**merged["properties"], **resolved.get("properties", {})}}
        node = merged
    return node, file


def of_the_schema(node: dict[str, Any], file: str, path: str = "") -> Iterator[tuple[str, object]]:
    """Each field's path, `a.b`, `a[].b` or `a{}.b`, and the type of what has no fields itself."""
    node, file = resolve(node, file)
    kind = node.get("type")
    if kind == "array":
        items, below = resolve(node["items"], file)
        # `blockIO` gives the parts of an item in a list of schemas.
        if isinstance(node["items"], list):
            for part in node["items"]:
                yield from of_the_schema(part, file, f"{path}[]")
        else:
            yield from of_the_schema(items, below, f"{path}[]")
    elif by_name := (node.get("patternProperties") or node.get("additionalProperties")):
        value = next(iter(by_name.values())) if "patternProperties" in node else by_name
        yield from of_the_schema(value, file, f"{path}{{}}")
    elif kind == "object" or node.get("properties"):
        for name, part in node["properties"].items():
            if path or name not in OTHER_PLATFORMS:
                yield from of_the_schema(part, file, f"{path}.{name}" if path else name)
    else:
        yield path, KINDS[str(kind)]


def of_the_model(kind: type[Section] = oci.Config, path: str = "") -> Iterator[tuple[str, object]]:
    for field in kind.fields.values():
        at = f"{path}.{field.key}" if path else field.key
        at += {"_Several": "[]", "_ByName": "{}"}.get(type(field).__name__, "")
        if issubclass(field.kind, Section):
            yield from of_the_model(field.kind, at)
        else:
            yield at, field.kind


def from_schema() -> dict[str, object]:
    found = dict(of_the_schema(schema.load("config-schema.json"), "config-schema.json"))
    # The schema lists the two clocks, of which the model has a map: the spec speaks of "the name of the clock".
    return {
        path.replace("timeOffsets.boottime.", "timeOffsets{}.").replace("timeOffsets.monotonic.", "timeOffsets{}."): kind
        for path, kind in found.items()
    }


def test_the_model_has_the_fields_and_types_of_the_schema() -> None:
    assert dict(of_the_model()) == from_schema()


def wrong(path: str, kind: object) -> tuple[dict[str, Any], str]:
    """A config.json whose value there is of a wrong type, and the path that an error must name."""
    value: Any = {"not": "it"} if kind is not dict else "not it"
    parts = path.replace("[]", ".[]").replace("{}", ".{}").split(".")
    for part in reversed(parts):
        value = [value] if part == "[]" else {"name": value} if part == "{}" else {part: value}
    base = pyrt.default_spec().config
    shown = path.replace("[]", "[0]").replace("{}", ".name")
    return _laid(base, value), shown


def _laid(base: Any, value: Any) -> Any:
    if isinstance(base, dict) and isinstance(value, dict):
        return {**base, **{key: _laid(base.get(key), inner) for key, inner in value.items()}}
    return value


@pytest.mark.parametrize("path", [path for path, _ in of_the_model()])
def test_rust_knows_the_field_and_names_a_wrong_type_by_its_path(path: str) -> None:
    """A key that Rust did not know would be a warning."""
    config, shown = wrong(path, dict(of_the_model())[path])
    with pytest.raises(pyrt.SpecError) as refused:
        pyrt.Spec(config).check()
    # Where required members are missing beside it, serde says that of the object.
    assert refused.value.json_path is not None
    assert shown.startswith(refused.value.json_path) or refused.value.json_path.startswith(shown)


@pytest.mark.parametrize("path", [path for path, _ in of_the_model()])
def test_python_names_a_wrong_type_by_its_path(path: str) -> None:
    config, shown = wrong(path, dict(of_the_model())[path])
    with pytest.raises(pyrt.SpecError) as refused:
        pyrt.Spec.from_json(pyrt.Spec(config).to_json())
    assert refused.value.json_path == shown


def enumerations(node: dict[str, Any], file: str, path: str = "") -> Iterator[tuple[str, str]]:
    """Each word that the schema lists, with the path of the field that may have it."""
    node, file = resolve(node, file)
    for word in node.get("enum", ()):
        yield path, word
    if isinstance(node.get("items"), dict):
        yield from enumerations(node["items"], file, f"{path}[]")
    for name, part in node.get("properties", {}).items():
        if path or name not in OTHER_PLATFORMS:
            yield from enumerations(part, file, f"{path}.{name}" if path else name)


@pytest.mark.parametrize(("path", "word"), list(enumerations(schema.load("config-schema.json"), "config-schema.json")))
def test_rust_knows_every_word_that_the_schema_lists(path: str, word: str) -> None:
    """It may refuse one on this host, or beside other values, but never as a word that it has not heard of."""
    value: Any = word
    for part in reversed(path.replace("[]", ".[]").split(".")):
        value = [value] if part == "[]" else {part: value}
    said = ""
    try:
        pyrt.Spec(_laid(pyrt.default_spec().config, value)).check()
    except pyrt.Error as error:
        said = str(error)
    assert "unknown variant" not in said


def test_what_the_schema_calls_good_is_read_and_written_unchanged() -> None:
    for spec in (pyrt.default_spec(), pyrt.default_spec(rootless=True), pyrt.Spec.for_run(["true"])):
        assert schema.problems("config-schema.json", spec.config) == []
        assert pyrt.Spec.from_json(spec.to_json()) == spec


def test_every_class_is_reached_from_the_config() -> None:
    def reached(kind: type[Section]) -> Iterator[type[Section]]:
        yield kind
        for field in kind.fields.values():
            if issubclass(field.kind, Section):
                yield from reached(field.kind)

    classes = {getattr(oci, name) for name in oci.__all__} - {oci.Section, oci.Items, oci.Named}
    assert set(reached(oci.Config)) == classes
