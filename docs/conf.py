"""The documentation's site: `python -m sphinx -W -b html docs site`, with what `pip install -e .[docs]` brings.

Pages are Markdown (MyST) and are read on their own as well; the API comes from the docstrings.
"""

import pyrt

project = "pyrt"
author = "the pyrt authors"
version = release = pyrt.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.intersphinx"]
html_theme = "furo"
html_title = "pyrt"
exclude_patterns = ["_build"]
nitpicky = False

myst_heading_anchors = 3
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
# Docstrings are prose in which `name` is a piece of code.
default_role = "code"
# No network is needed to build; links into Python's own documentation need `intersphinx_mapping`, which a release may set.
intersphinx_mapping: dict[str, tuple[str, str | None]] = {}
