"""What the tests share. `bundles`: root file systems and OCI bundles · `commands`: the pyrt command · `leftovers`: what a test may not
leave behind · `hosts`: what this host has, for `requires`. The fixtures themselves are in conftest.py.
"""
