"""The runtime-spec's JSON schemas (tests/schema), as an oracle that knows nothing of pyrt."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from jsonschema import Draft4Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

DIRECTORY = Path(__file__).parent.parent / "schema"


def load(name: str) -> dict[str, Any]:
    """One file as it is."""
    value: dict[str, Any] = json.loads((DIRECTORY / name).read_text())
    return value


def _registry() -> Registry[Any]:
    """Files refer to each other by name, and the ids in them are of no use for that."""
    contents = {path.name: load(path.name) for path in DIRECTORY.glob("*.json")}
    for content in contents.values():
        content.pop("id", None)
    return Registry().with_resources((name, Resource.from_contents(content, DRAFT4)) for name, content in contents.items())


@functools.cache
def validator(name: str) -> Draft4Validator:
    """For documents of "config-schema.json", "features-schema.json" or "state-schema.json"."""
    return Draft4Validator({"$ref": name}, registry=_registry())


def problems(name: str, document: Any) -> list[str]:
    """What the schema says against it, each with its JSON path."""
    return sorted(f"{error.json_path}: {error.message}" for error in validator(name).iter_errors(document))
