"""Arguments that `run` does not take, above all those of subprocess that make no sense for a container, and why.

Imported only to say so.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_REASONS = {
    "preexec_fn": "Python code cannot run between the launch and the command",
    "executable": "the program is args[0]",
    "close_fds": "nothing but stdio and pass_fds is ever inherited",
    "restore_signals": "all signals are always as the kernel sets them",
    "start_new_session": "a container always has a session of its own",
    "process_group": "a container always has a session of its own",
    "universal_newlines": "it is called text",
    "bufsize": "run() has no file objects",
    "pipesize": "pipes have the kernel's size",
    "startupinfo": "it is for Windows only",
    "creationflags": "it is for Windows only",
}


def refusal(names: "Iterable[str]") -> TypeError:
    """The TypeError for keyword arguments that are not known."""
    unknown = sorted(names)
    for name in unknown:
        if reason := _REASONS.get(name):
            return TypeError(f"run() takes no {name}: {reason}")
    return TypeError(f"run() got an unexpected keyword argument {', '.join(map(repr, unknown))}")
