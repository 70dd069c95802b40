"""`pyrt spec`: write a config.json to start from. `pyrt features`: print what may stand in one."""

import posix

from pyrt import _native
from pyrt.errors import AlreadyExists, from_os_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrt.cli.line import Line
    from pyrt.cli.main import Globals


def spec(line: "Line", settings: "Globals") -> int:
    from pyrt.spec import default_spec

    path = f"{line.options.text('bundle') or '.'}/config.json".removeprefix("./")
    text = default_spec(rootless=line.options.flag("rootless")).to_json(indent=True) + "\n"
    try:
        # Never over a file, or through a symlink, that is there.
        descriptor = posix.open(path, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o666)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise AlreadyExists(f"{path} exists already", hint="move it away first") from error
    except OSError as error:
        raise from_os_error("write", error, path) from error
    return 0


def features(line: "Line", settings: "Globals") -> int:
    settings.messages.output(_native.json_dumps(_native.features(), indent=True) + "\n")
    return 0
