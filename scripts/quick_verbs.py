#!/usr/bin/env python3
"""Write the table of the verbs that are answered without Python, from python/pyrt/cli/table.py, where all are declared.

Run it after a change there: `python3 scripts/quick_verbs.py`. A test compares.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "python"))

from pyrt.cli.table import GLOBAL, OPTIONS, VERBS, Option  # noqa: E402

TARGET = ROOT / "rust/core/src/bin/pyrt/table.rs"
QUICK = ("start", "state", "kill", "delete")
"""What main.rs has a function for."""


def words(items: object) -> str:
    return "&[" + ", ".join(f'"{item}"' for item in items) + "]"  # type: ignore[attr-defined]


def row(option: Option) -> str:
    kind = "Kind::Flag" if option.kind == "flag" else f"Kind::Choice({words(option.choices)})" if option.choices else "Kind::Text"
    return f"Flag {{ names: {words(option.flags)}, kind: {kind} }}"


def rows(verb: str, indent: str) -> str:
    return "".join(f"{indent}{row(option)},\n" for option in OPTIONS if verb in option.verbs)


def text() -> str:
    made = "//! Made by scripts/quick_verbs.py from python/pyrt/cli/table.py: change that, and make it anew.\n\n"
    made += "pub enum Kind {\n    Flag,\n    Text,\n    Choice(&'static [&'static str]),\n}\n\n"
    made += "pub struct Flag {\n    pub names: &'static [&'static str],\n    pub kind: Kind,\n}\n\n"
    made += (
        "pub struct Verb {\n    pub name: &'static str,\n    /// How many arguments there must be, and may be.\n    pub required: usize,\n"
    )
    made += "    pub most: usize,\n    pub flags: &'static [Flag],\n}\n\n"
    made += f"pub const GLOBAL: &[Flag] = &[\n{rows(GLOBAL, '    ')}];\n\npub const VERBS: &[Verb] = &[\n"
    for name in QUICK:
        verb = VERBS[name]
        made += f'    Verb {{\n        name: "{name}",\n        required: {verb.required},\n        most: {len(verb.arguments)},\n'
        made += f"        flags: &[\n{rows(name, ' ' * 12)}        ],\n    }},\n"
    return made + "];\n"


if __name__ == "__main__":
    TARGET.write_text(text())
