"""docs/conformance.md and docs/security.md name only tests that there are, and the latter each advisory."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
FOLDERS = {"conformance.md": ("integration",), "security.md": ("security", "integration", "unit")}
NAMED = sorted(
    (table, file, name)
    for table in FOLDERS
    for file, name in set(re.findall(r"`(test_\w+\.py)::(test_\w+)`", (REPOSITORY / "docs" / table).read_text()))
)
ADVISORIES = (
    *(
        "2016-9962",
        "2019-5736",
        "2019-16884",
        "2019-19921",
        "2021-30465",
        "2021-43784",
        "2022-29162",
        "2023-25809",
        "2023-27561",
        "2023-28642",
    ),
    *("2024-21626", "2024-45310", "2025-31133", "2025-52565", "2025-52881", "2019-18837", "2025-24965", "2025-27612", "2025-54867"),
    *("2025-62161", "2025-62596"),
)


def test_the_tables_name_tests() -> None:
    assert {table for table, _, _ in NAMED} == set(FOLDERS)


@pytest.mark.parametrize(("table", "file", "name"), NAMED)
def test_a_test_that_a_table_names_is_there(table: str, file: str, name: str) -> None:
    found = [path.read_text() for folder in FOLDERS[table] if (path := REPOSITORY / "tests" / folder / file).exists()]
    assert any(f"\ndef {name}(" in text for text in found)


@pytest.mark.parametrize("advisory", ADVISORIES)
def test_an_advisory_has_its_line_and_its_attack(advisory: str) -> None:
    """The test that the line names says so itself."""
    (line,) = [
        line
        for line in (REPOSITORY / "docs/security.md").read_text().splitlines()
        if f"CVE-{advisory} " in line or f"CVE-{advisory}," in line
    ]
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", line)
    texts = [(REPOSITORY / "tests/security" / file).read_text().partition(f"\ndef {name}(")[2] for file, name in named]
    assert any(f"CVE-{advisory}" in text.partition("\ndef ")[0] for text in texts), f"no docstring of {named} names it"
