"""How hypothesis works in the unit tests: without a deadline, since no test asserts a time, and without files of its own.

The examples are the same in every run: one run decides whether a change lands. fuzz/ looks for new ones.
"""

from hypothesis import HealthCheck, settings

settings.register_profile("pyrt", deadline=None, database=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pyrt")
