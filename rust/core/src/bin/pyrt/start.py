# What `python -c` gets from python.rs, with the three paths that it found.
import sys

source, packages, prefix = sys.argv[1:4]
sys.argv[:4] = ["pyrt"]
if prefix:
    sys.prefix = sys.exec_prefix = prefix
sys.path.insert(0, source)
import pyrt  # noqa: E402, F401

sys.path[:1] = []
sys.path += dict.fromkeys([source, packages])  # after the standard library, whose names other packages may have taken
from pyrt.cli.main import command  # noqa: E402

command()
