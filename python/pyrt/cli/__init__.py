"""The command `pyrt`: verbs as data.

``main`` is the way in. ``table`` declares every verb and option once; ``line`` reads an engine's command line by it, quickly, and
``help`` makes argparse's pages of it. ``lifecycle`` (create, run), ``manage`` (all on a container that exists), ``spec`` and ``check`` are
the verbs, ``people`` the form with `--`. ``messages`` is the one door through which anything is printed.

An engine waits for each of these calls, so the verbs it uses import nothing at run time that the bare interpreter does not have: no
os, argparse, json, re, typing. tests/unit has the list of modules.
"""
