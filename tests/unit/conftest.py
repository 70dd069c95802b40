"""How hypothesis works in the unit tests: without a deadline, since no test asserts a time, and without files of its own."""

from hypothesis import settings

settings.register_profile("pyrt", deadline=None, database=None)
settings.load_profile("pyrt")
