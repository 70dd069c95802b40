"""One more process in a container: the request laid over config.json's process, and `Container.exec` itself.

Neighbours: process.py has what `exec` shares with `run`; executed.py is the same beside the caller, and for asyncio;
rust/core/src/container/exec.rs joins the container; cli/execute.py is the verb.
"""

import os

from pyrt import _native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from pyrt.completed import CompletedProcess
    from pyrt.launch import Launch
    from pyrt.options import ExecOptions, StrPath
    from pyrt.stdio import Stdio

__all__ = ["process_with", "run", "starting"]


def starting(
    container: "_native.Container", args: "Sequence[StrPath] | StrPath", options: "ExecOptions", function: str
) -> "tuple[list[str], Callable[[Callable[[], Stdio]], Launch]]":
    """The words of the command, and what starts it with the descriptors that are made for it then. function: whose options they are."""
    from pyrt.launch import Launch
    from pyrt.process import command_words

    words, pass_fds = command_words(args), options.get("pass_fds") or ()
    if words is None:
        raise TypeError("args is None: a container that runs has no command of its own for one more process")
    config = _native.json_loads(container.config())
    config.setdefault("linux", {})
    process_with(config["process"], words, env=(options.get("env") or {}).items())
    _lay(config["process"], options, str(container.state()["rootfs"]), function)
    plan = container.plan_exec(
        _native.json_dumps(config).encode(), ignore_paused=options.get("ignore_paused", False), preserve_fds=len(pass_fds)
    )
    return words, lambda stdio: Launch(plan, stdio(), pass_fds)


def run(
    container: "_native.Container", args: "Sequence[StrPath] | StrPath", options: "ExecOptions", **arguments: "Any"
) -> "CompletedProcess[Any]":
    """As `Container.exec`. arguments: those of `Communication`."""
    from pyrt.communication import Communication
    from pyrt.process import complete

    communication = Communication(**arguments)
    words, start = starting(container, args, options, "Container.exec")
    return complete(communication, words, start(communication.stdio))


def process_with(process: "dict[str, Any]", args: list[str], *, terminal: bool = False, env: "Iterable[tuple[str, str]]" = ()) -> None:
    """Make it the command's: a variable that is there already is replaced, so that no program meets two of a name."""
    process["args"] = args
    process["terminal"] = terminal
    changed = dict(env)
    kept = [variable for variable in process.get("env") or [] if variable.partition("=")[0] not in changed]
    process["env"] = [*kept, *(f"{name}={value}" for name, value in changed.items())]


def _lay(process: "dict[str, Any]", options: "ExecOptions", rootfs: str, function: str) -> None:
    unknown = set(options) - {
        "cwd", "env", "user", "group", "extra_groups", "umask", "capabilities", "no_new_privileges", "pass_fds", "ignore_paused",
    }  # fmt: skip
    if unknown:
        from pyrt.refusals import refusal

        raise refusal(function, unknown)
    cwd, umask, capabilities = options.get("cwd"), options.get("umask"), options.get("capabilities")
    user, group, groups = options.get("user"), options.get("group"), options.get("extra_groups")
    if cwd is not None:
        process["cwd"] = os.fsdecode(cwd)
    if user is not None or group is not None or groups is not None:
        from pyrt.users import resolve

        if user is None:
            user = process["user"]["uid"]
            group = process["user"]["gid"] if group is None else group
        identity = resolve(rootfs, user, group, groups)
        kept_umask = {key: value for key, value in process["user"].items() if key == "umask"}
        process["user"] = {"uid": identity.uid, "gid": identity.gid, "additionalGids": identity.additional_gids, **kept_umask}
    if umask is not None:
        process["user"]["umask"] = umask
    if capabilities is not None:
        from pyrt.spec import capability_names, capability_sets

        process["capabilities"] = capability_sets(capability_names(capabilities), ambient=process["user"]["uid"] != 0)
    if options.get("no_new_privileges") is not None:
        process["noNewPrivileges"] = options["no_new_privileges"]
