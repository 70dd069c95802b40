"""The verbs on a container that exists: start, state, kill, delete, pause, resume; and list.

Each is a call of ``Container``, where states are checked and explained; here is only what the command adds to it.
"""

from pyrt import _native
from pyrt.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyrt.cli.line import Line
    from pyrt.cli.main import Globals
    from pyrt.container import Container


def start(line: "Line", settings: "Globals") -> int:
    container = settings.container(line.arguments[0])
    container.start(notify_socket=settings.notify_socket)
    return _warn(container, settings)


def state(line: "Line", settings: "Globals") -> int:
    value = settings.container(line.arguments[0]).state()
    settings.messages.output(_native.json_dumps(value, indent=True) + "\n")
    return 0


def kill(line: "Line", settings: "Globals") -> int:
    signal = line.arguments[1] if len(line.arguments) > 1 else "TERM"
    return _each(line, settings, lambda container: container.kill(signal, all=line.options.flag("all")))


def delete(line: "Line", settings: "Globals") -> int:
    return _each(line, settings, lambda container: container.delete(force=line.options.flag("force")))


def pause(line: "Line", settings: "Globals") -> int:
    settings.container(line.arguments[0]).pause()
    return 0


def resume(line: "Line", settings: "Globals") -> int:
    settings.container(line.arguments[0]).resume()
    return 0


def list_all(line: "Line", settings: "Globals") -> int:
    names = _native.container_ids(settings.root)
    if line.options.flag("quiet"):
        settings.messages.output("".join(f"{name}\n" for name in names))
        return 0
    states = []
    for name in names:
        try:
            states.append(settings.container(name).state())
        except LookupError:
            continue  # deleted meanwhile
        except Error as error:
            settings.messages.warning(str(error))
    as_json = line.options.text("format") == "json"
    settings.messages.output(_native.json_dumps(states) + "\n" if as_json else _table(states))
    return 0


def _each(line: "Line", settings: "Globals", act: "Callable[[Container], None]") -> int:
    """On the one container, or with --regex on all whose id matches; then one that fails does not keep the others from it."""
    if not line.options.flag("regex"):
        container = settings.container(line.arguments[0])
        act(container)
        return _warn(container, settings)
    status = 0
    for name in _matching(line.arguments[0], settings):
        container = settings.container(name)
        try:
            act(container)
        except LookupError:
            continue  # deleted meanwhile
        except Error as error:
            settings.messages.error(str(error))
            status = 1
        _warn(container, settings)
    return status


def _matching(pattern: str, settings: "Globals") -> list[str]:
    import re

    from pyrt.errors import SpecError

    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise SpecError(f"{pattern!r} is no regular expression: {error}") from error
    return [name for name in _native.container_ids(settings.root) if expression.search(name)]


def _warn(container: "Container", settings: "Globals") -> int:
    for warning in container.warnings:
        settings.messages.warning(warning)
    return 0


def _table(states: "list[dict[str, Any]]") -> str:
    """runc's columns."""
    columns = ("id", "pid", "status", "bundle", "created", "owner")
    return aligned([[column.upper() for column in columns], *([str(state[column]) for column in columns] for state in states)])


def aligned(rows: list[list[str]]) -> str:
    """Lines of text, one for each row, with the columns below each other."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    lines = ("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "".join(f"{line}\n" for line in lines)
