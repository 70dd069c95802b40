"""docs/conformance.md names only tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
NAMED = re.findall(r"`(test_\w+\.py)::(test_\w+)`", (REPOSITORY / "docs/conformance.md").read_text())


def test_the_table_names_tests() -> None:
    assert NAMED


@pytest.mark.parametrize(("file", "name"), sorted(set(NAMED)))
def test_a_test_that_the_table_names_is_there(file: str, name: str) -> None:
    assert f"\ndef {name}(" in (REPOSITORY / "tests/integration" / file).read_text()
