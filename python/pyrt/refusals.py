"""Arguments that `run` and its like do not take, above all those of subprocess that make no sense for a container, and why.

Imported only to say so.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_REASONS = {
    "preexec_fn": "Python code cannot run between the launch and the command",
    "executable": "the program is args[0]",
    "close_fds": "nothing but stdio and pass_fds is ever inherited",
    "restore_signals": "all signals are always as the kernel sets them",
    "start_new_session": "a container always has a session of its own",
    "process_group": "a container always has a session of its own",
    "pipesize": "pipes have the kernel's size",
    "startupinfo": "it is for Windows only",
    "creationflags": "it is for Windows only",
}

_ANYWAY = {
    "preexec_fn": None,
    "executable": None,
    "close_fds": True,
    "restore_signals": True,
    "start_new_session": True,
    "process_group": None,
    "pipesize": -1,
    "startupinfo": None,
    "creationflags": 0,
}
"""What a container does without being asked: subprocess's callers may say it."""

_REASONS_OF = {
    "run": {"bufsize": "it has no file objects"},
    "Popen": {
        "input": "communicate(input) takes it",
        "timeout": "wait(timeout) and communicate(timeout=) take it",
        "check": "look at returncode, or use run()",
        "capture_output": "it is stdout=PIPE, stderr=PIPE",
    },
    "Runtime.create": {
        "keep_changes": "its container outlives the caller: overlay=DIR keeps its changes",
        **dict.fromkeys(
            ("cpu_time", "max_output", "max_output_action"), "its container outlives the caller, and nobody of pyrt's stays to enforce it"
        ),
    },
}
_REASONS_OF["Pool"] = {
    "pass_fds": "they belong to a command: run(pass_fds=...)",
    "shell": "it belongs to a command: run(shell=True)",
    "init": "what waits for a command is its PID 1",
}
_REASONS_OF["aio.run"] = _REASONS_OF["Pool.run"] = _REASONS_OF["Pool.aio.run"] = _REASONS_OF["run"]
_REASONS_OF["Pool.Popen"] = _REASONS_OF["Popen"]
_REASONS_OF["aio.create_subprocess_exec"] = {
    **_REASONS_OF["Popen"],
    "timeout": "asyncio.wait_for(process.wait(), timeout) does it",
    "bufsize": "a stream's limit= is its buffer",
    **dict.fromkeys(("text", "encoding", "errors", "universal_newlines"), "its streams are of bytes, as asyncio's"),
}
_REASONS_OF["Pool.aio.Popen"] = _REASONS_OF["Container.aio.popen"] = _REASONS_OF["aio.create_subprocess_exec"]
_REASONS_OF["Container.exec"] = _REASONS_OF["run"]
_REASONS_OF["Container.popen"] = _REASONS_OF["Popen"]
"""By the function that does not take them."""


def refused(options: "Mapping[str, object]", known: "Iterable[str]") -> "set[str]":
    """Names of options that are neither known nor said for what happens anyway."""
    unknown = set(options) - set(known)
    return {name for name in unknown if name not in _ANYWAY or options[name] is not _ANYWAY[name]}


def refusal(function: str, names: "Iterable[str]") -> TypeError:
    """The TypeError for keyword arguments that are not known."""
    unknown = sorted(names)
    for name in unknown:
        if reason := _REASONS_OF.get(function, {}).get(name) or _REASONS.get(name):
            return TypeError(f"{function}() takes no {name}: {reason}")
    if function.startswith("Pool."):
        from pyrt.configuration import OPTIONS

        if of_the_pool := [name for name in unknown if name in OPTIONS]:
            return TypeError(f"{function}() takes no {of_the_pool[0]}: it belongs to the container, and so to the Pool")
    return TypeError(f"{function}() got an unexpected keyword argument {', '.join(map(repr, unknown))}")
