"""A subinterpreter cannot load the native module, and an ImportError says so: nothing of the main interpreter is shared by accident."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import pyrt

MODULES = [name for name in ("_interpreters", "_xxsubinterpreters") if find_spec(name)]
CODE = """
import {interpreters} as interpreters
import pyrt
pyrt.features()
number = interpreters.create()
code = '''
import sys
sys.path.insert(0, {root!r})
try:
    import pyrt
    pyrt.features()
    print("loaded")
except ImportError as error:
    print(f"ImportError: {{error}}")
'''
getattr(interpreters, "run_string", interpreters.exec if hasattr(interpreters, "exec") else None)(number, code)
interpreters.destroy(number)
"""


@pytest.mark.skipif(not MODULES, reason="this interpreter makes no others")
def test_a_subinterpreter_gets_an_import_error() -> None:
    code = CODE.format(interpreters=MODULES[0], root=str(Path(pyrt.__file__).parents[1]))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("ImportError: "), done.stdout + done.stderr
    assert "subinterpreter" in done.stdout
