"""The way into the command: read the line, find the verb's function, turn what happens into an exit status.

0, 1 for pyrt's own failures and wrong flags, 3 for an unknown verb, 128 + n after signal n (130: Ctrl-C); `run` gives the container's own
(``lifecycle``), and its form with `--` has docker's (``people``).
"""

import posix
import sys

from pyrt.cli.line import Line, UnknownVerb, UsageError, read
from pyrt.cli.messages import Messages
from pyrt.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from pyrt.container import Container
    from pyrt.runtime import Runtime

__all__ = ["Globals", "command", "main"]

FAILED = 1
UNKNOWN_VERB = 3
INTERRUPTED = 130


class Globals:
    """The flags before the verb, and what follows from them for every verb."""

    __slots__ = ("_line", "messages")

    def __init__(self, line: Line, messages: Messages) -> None:
        self._line = line
        self.messages = messages

    @property
    def rootless(self) -> bool | None:
        return {"true": True, "false": False}.get(self._line.settings.text("rootless") or "auto")

    @property
    def root(self) -> str:
        """The state directory."""
        from pyrt import _native

        return self._line.settings.text("root") or _native.state_root(self.rootless)

    @property
    def cgroup_manager(self) -> str:
        """cgroupfs, systemd or disabled."""
        named = self._line.settings.text("cgroup_manager")
        return named or ("systemd" if self._line.settings.flag("systemd_cgroup") else "cgroupfs")

    @property
    def notify_socket(self) -> str | None:
        """Where a service manager wants to hear that its service is ready (sd_notify(3))."""
        return posix.environ.get(b"NOTIFY_SOCKET", b"").decode("utf-8", "surrogateescape") or None

    def runtime(self) -> "Runtime":
        from pyrt.runtime import Runtime

        return Runtime(self.root)

    def container(self, id: str) -> "Container":
        """A handle; whether the container exists shows when it is used. Cheaper than ``Runtime.get``, which imports how to create."""
        from pyrt import _native
        from pyrt.container import Container

        return Container(_native.Container(self.root, id))


def main(argv: list[str] | None = None) -> int:
    """Run one command line (sys.argv's by default) and return the exit status."""
    messages = Messages()
    try:
        return _main(sys.argv[1:] if argv is None else argv, messages)
    except UsageError as error:
        from pyrt.cli.help import usage

        messages.error(str(error))
        messages.usage(usage(error.verb))
        return FAILED
    except UnknownVerb as error:
        messages.error(f"unknown verb {str(error)!r}; pyrt --help lists them, and pyrt run -- CMD runs a command")
        return UNKNOWN_VERB
    except Error as error:
        messages.error(str(error))
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as ended:
        # A signal that asked for the end while nobody answered (_native.hold_signals).
        return FAILED if ended.code is None else int(ended.code)
    except Exception as error:
        messages.crash(error)
        return FAILED


def command() -> "NoReturn":
    """The whole process: `main`, and its end, without the interpreter's tidying up, which takes as long as a verb."""
    _open_stdio()
    status = main()
    for stream in (sys.__stdout__, sys.__stderr__):
        try:
            # None where the caller closed its descriptor.
            if stream is not None:
                stream.flush()
        except OSError:
            # What was to be read is lost, and the reader with it; only the status can still tell.
            status = status or FAILED
    posix._exit(status)


def _open_stdio() -> None:
    """Fill a gap in 0, 1, 2 with /dev/null, so that no file which pyrt opens is taken for one of them."""
    for descriptor in range(3):
        try:
            posix.fstat(descriptor)
        except OSError:
            posix.open("/dev/null", posix.O_RDWR)


def _main(argv: list[str], messages: Messages) -> int:
    line = read(argv)
    settings, verb = line.settings, line.verb
    messages.configure(log=settings.text("log"), json=settings.text("log_format") == "json", debug=settings.flag("debug"))
    if settings.flag("version"):
        from pyrt.cli.help import version

        messages.output(version())
        return 0
    if verb is None or settings.flag("help") or line.options.flag("help"):
        from pyrt.cli.help import page

        messages.output(page(None if settings.flag("help") else verb))
        return 0
    if verb.name == "run" and "--" in line.rest:
        from pyrt.cli import people

        return people.main(line.rest, Globals(line, messages))
    module_name, _, function_name = verb.function.partition(":")
    module = __import__(f"pyrt.cli.{module_name}", fromlist=[function_name])
    status: int = getattr(module, function_name)(line, Globals(line, messages))
    return status
