"""What pyrt says to `logging`, as the logger "pyrt": what was made and how it ended at DEBUG, what could not be followed at WARNING.

logging is imported by the program that wants it, never for it: as long as nobody has done so and $PYRT_LOG is not set, nothing is said and
nothing is paid. PYRT_LOG=debug (or info, warning, error) writes to stderr: for programs that configure no logging, and for the command.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging

VARIABLE = "PYRT_LOG"
LEVELS = ("debug", "info", "warning", "error")

_logger: "logging.Logger | None" = None


def debug(message: str, *args: object) -> None:
    if (logger := _listening()) is not None:
        logger.debug(message, *args)


def warning(message: str, *args: object) -> None:
    if (logger := _listening()) is not None:
        logger.warning(message, *args)


def _listening() -> "logging.Logger | None":
    if _logger is not None:
        return _logger
    if "logging" not in sys.modules and VARIABLE not in os.environ:
        return None
    return _made()


def _made() -> "logging.Logger":
    global _logger
    import logging

    logger = logging.getLogger("pyrt")
    # Without it logging writes warnings to stderr itself, for a program that has configured nothing.
    logger.addHandler(logging.NullHandler())
    wanted = os.environ.get(VARIABLE)
    if wanted:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s pyrt %(levelname)s: %(message)s"))
        logger.addHandler(handler)
        level = wanted.lower()
        logger.setLevel(level.upper() if level in LEVELS else "DEBUG")
        if level not in LEVELS:
            logger.warning("%s=%s is none of %s: taken for debug", VARIABLE, wanted, ", ".join(LEVELS))
    _logger = logger
    return logger
