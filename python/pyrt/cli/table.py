"""Every verb and option of the command, declared once: both parsers, the help and the usage lines read it.

A new option is a row here and a word in the verb's function, which finds it under its long name with underscores.
The spelling is runc's; rows marked crun are that runtime's.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    Kind = Literal["flag", "text", "number", "list"]

__all__ = ["GLOBAL", "OPTIONS", "VERBS", "Option", "Verb", "options_of"]


class Verb:
    """What can be asked for: its function as ``module:function`` below pyrt.cli, and its arguments, optional ones in brackets."""

    __slots__ = ("arguments", "function", "help", "name")

    def __init__(self, name: str, function: str, arguments: tuple[str, ...], help: str) -> None:
        self.name = name
        self.function = function
        self.arguments = arguments
        self.help = help

    @property
    def repeated(self) -> bool:
        """Whether there may be any number of the last argument."""
        return self.arguments[-1:] != () and self.arguments[-1].endswith("...]")

    @property
    def open_ended(self) -> bool:
        """Whether all after the first argument is taken as it stands, flags too: it is another command's."""
        return self.repeated and self.required > 0

    @property
    def required(self) -> int:
        """How many arguments there must be."""
        return sum(not argument.startswith("[") for argument in self.arguments)


class Option:
    """One option. verbs: which take it; ``GLOBAL`` are those before the verb. choices: the values that it may have."""

    __slots__ = ("choices", "flags", "help", "kind", "metavar", "name", "verbs")

    def __init__(
        self,
        flags: str,
        kind: "Kind",
        verbs: str,
        help: str,
        *,
        metavar: str | None = None,
        choices: tuple[str, ...] = (),
    ) -> None:
        self.flags = flags.split()
        self.name = self.flags[0].removeprefix("--").replace("-", "_")
        self.kind = kind
        self.metavar = metavar
        self.verbs = verbs.split() or [GLOBAL]
        self.help = help
        self.choices = choices


GLOBAL = ""
"""The verb of options that stand before the verb."""

VERBS = {
    verb.name: verb
    for verb in (
        Verb("create", "lifecycle:create", ("ID",), "create a container; its program waits for start"),
        Verb("run", "lifecycle:run", ("ID",), "create a container and start it; with --, run a command: pyrt run [options] -- CMD ARG..."),
        Verb("start", "manage:start", ("ID",), "let the program of a created container run"),
        Verb("state", "manage:state", ("ID",), "print the state of a container as JSON"),
        Verb("kill", "manage:kill", ("ID", "[SIGNAL]"), "send a signal to a container, TERM by default"),
        Verb("delete", "manage:delete", ("ID",), "delete a stopped or created container"),
        Verb("list", "manage:list_all", (), "list containers"),
        Verb("exec", "execute:execute", ("ID", "[CMD ...]"), "run one more command in a container; all after ID is the command's"),
        Verb("pause", "manage:pause", ("ID",), "freeze all processes of a container"),
        Verb("resume", "manage:resume", ("ID",), "let a paused container go on"),
        Verb("update", "resources:update", ("ID",), "change the limits of a container"),
        Verb("ps", "resources:ps", ("ID", "[PS-OPTION ...]"), "list the processes of a container; after ID come options of ps"),
        Verb("events", "resources:events", ("ID",), "print statistics and oom events of a container as JSON, a line each"),
        Verb("checkpoint", "checkpoint:checkpoint", ("ID",), "write a running container to files (criu), and end it"),
        Verb("restore", "checkpoint:restore", ("ID",), "create a container from the files of a checkpoint, running (criu)"),
        Verb("stats", "stats:stats", ("[ID ...]",), "watch what containers use: all that live, or those named"),
        Verb("top", "stats:top", ("[ID ...]",), "watch the processes of containers, the busiest first"),
        Verb("spec", "spec:spec", (), "write a config.json to start from"),
        Verb("features", "spec:features", (), "print what this build can do as JSON (runtime-spec, features.md)"),
        Verb("completion", "completion:completion", ("SHELL",), "print completion for a shell: bash, zsh or fish"),
        Verb("check", "check:check", (), "show what this host can do, and why not"),
    )
}

_MAKE = "create run"
_CRIU = "checkpoint restore"

OPTIONS = (
    Option("--root", "text", GLOBAL, "keep containers here (/run/pyrt; without root $XDG_RUNTIME_DIR/pyrt)", metavar="DIR"),
    Option("--log", "text", GLOBAL, "append messages to this file too", metavar="FILE"),
    Option("--log-format", "text", GLOBAL, "of the log: text (default) or json", metavar="FORMAT", choices=("text", "json")),
    Option("--debug", "flag", GLOBAL, "say more"),
    Option("--systemd-cgroup", "flag", GLOBAL, "have systemd make the cgroups, as scopes; linux.cgroupsPath is slice:prefix:name"),
    Option("--rootless", "text", GLOBAL, "true, false or auto (default)", metavar="WHETHER", choices=("true", "false", "auto")),
    Option(
        "--cgroup-manager",
        "text",
        GLOBAL,
        "cgroupfs (default), systemd or disabled (crun)",
        metavar="NAME",
        choices=("cgroupfs", "systemd", "disabled"),
    ),
    Option("--version -v", "flag", GLOBAL, "print the version"),
    Option("--help -h", "flag", GLOBAL, "print this help"),
    Option("--help -h", "flag", " ".join(VERBS), "print this help"),
    Option("--bundle -b", "text", f"{_MAKE} spec restore", "directory with config.json (the current one)", metavar="DIR"),
    Option("--config -f", "text", _MAKE, "another configuration than the bundle's config.json (crun)", metavar="FILE"),
    Option("--console-socket", "text", f"{_MAKE} exec restore", "Unix socket that gets the terminal", metavar="SOCKET"),
    Option(
        "--pidfd-socket",
        "text",
        f"{_MAKE} exec",
        "Unix socket that gets a pidfd of the container's init, or of the command",
        metavar="SOCKET",
    ),
    Option("--pid-file", "text", f"{_MAKE} exec restore", "write the init's PID, or the command's, to this file", metavar="FILE"),
    Option("--no-pivot", "flag", _MAKE, "do not use pivot_root, for a root on an initramfs"),
    Option("--no-pivot", "flag", "restore", "accepted: criu decides how the root is entered"),
    Option("--no-new-keyring", "flag", _MAKE, "keep the caller's session keyring instead of a new one"),
    Option("--preserve-fds", "number", f"{_MAKE} exec", "pass N descriptors after stdio (and $LISTEN_FDS)", metavar="N"),
    Option("--detach -d", "flag", "run exec restore", "do not wait for the container, or for the command"),
    Option("--cwd", "text", "exec", "working directory", metavar="DIR"),
    Option("--env -e", "list", "exec", "set a variable (may be repeated)", metavar="NAME=VALUE"),
    Option("--tty -t", "flag", "exec", "with a terminal"),
    Option("--user -u", "text", "exec", "who the command runs as", metavar="UID[:GID]"),
    Option("--additional-gids -g", "list", "exec", "further group (may be repeated)", metavar="GID"),
    Option("--process -p", "text", "exec", "take the whole process from this JSON file", metavar="FILE"),
    Option("--process-label", "text", "exec", "label of the command for SELinux", metavar="LABEL"),
    Option("--apparmor", "text", "exec", "profile of the command for AppArmor", metavar="PROFILE"),
    Option("--no-new-privs", "flag", "exec", "the command gains no privileges by executing files"),
    Option("--cap -c", "list", "exec", "further capability (may be repeated)", metavar="NAME"),
    Option("--cgroup", "list", "exec", "cgroup below the container's (may be repeated)", metavar="[CONTROLLER:]PATH"),
    Option("--ignore-paused", "flag", "exec", "also into a paused container: the command waits for resume"),
    Option("--keep", "flag", "run", "do not delete the container when it has ended"),
    Option("--no-subreaper", "flag", "run restore", "accepted: pyrt is never a subreaper"),
    Option("--image-path", "text", _CRIU, "directory of the images (./checkpoint)", metavar="DIR"),
    Option("--work-path", "text", _CRIU, "directory of criu's logs and sockets (the images')", metavar="DIR"),
    Option("--parent-path", "text", "checkpoint", "images of an earlier --pre-dump, as seen from --image-path", metavar="DIR"),
    Option("--leave-running", "flag", "checkpoint", "let the container go on"),
    Option("--pre-dump", "flag", "checkpoint", "write memory only and let the container go on, for a quicker checkpoint later"),
    Option("--tcp-established", "flag", _CRIU, "also with open TCP connections"),
    Option("--tcp-skip-in-flight", "flag", "checkpoint", "leave out TCP connections that are being made"),
    Option("--tcp-close", "flag", "restore", "close the TCP connections that were open (crun)"),
    Option("--ext-unix-sk", "flag", _CRIU, "also with Unix sockets that lead out of the container"),
    Option("--shell-job", "flag", _CRIU, "also with a terminal that is the caller's"),
    Option("--file-locks", "flag", _CRIU, "also with file locks"),
    Option("--link-remap", "flag", "checkpoint", "also with open files that were removed, by links beside the images"),
    Option("--lazy-pages", "flag", _CRIU, "fetch memory when it is used: criu lazy-pages, userfaultfd(2)"),
    Option("--status-fd", "text", "checkpoint", "descriptor that gets a NUL byte when lazy pages can be fetched", metavar="N"),
    Option("--page-server", "text", "checkpoint", "send memory to a criu page-server", metavar="ADDRESS:PORT"),
    Option("--auto-dedup", "flag", _CRIU, "free memory in the parent's images that these replace"),
    Option(
        "--manage-cgroups-mode",
        "text",
        _CRIU,
        "what criu does about cgroups: soft (default), full, strict or ignore",
        metavar="MODE",
        choices=("soft", "full", "strict", "ignore"),
    ),
    Option("--empty-ns", "list", _CRIU, "a namespace without its content: network", metavar="NAME"),
    Option("--lsm-profile", "text", "restore", "run under another AppArmor profile or SELinux label", metavar="TYPE:NAME"),
    Option("--lsm-mount-context", "text", "restore", "mount with another SELinux context", metavar="CONTEXT"),
    Option("--all -a", "flag", "kill", "signal every process of the container"),
    Option("--force -f", "flag", "delete", "end it first; whatever its state, also where it does not exist"),
    Option("--regex -r", "flag", "kill delete", "ID is a regular expression that matches ids (crun)"),
    Option("--format -f", "text", "list ps stats top", "table (default) or json", metavar="FORMAT", choices=("table", "json")),
    Option("--quiet -q", "flag", "list", "print ids only"),
    Option("--resources -r", "text", "update", "linux.resources as JSON, from a file or - (then other flags are not read)", metavar="FILE"),
    Option("--blkio-weight", "text", "update", "io weight, 10 to 1000", metavar="N"),
    Option("--cpu-period", "text", "update", "period of the quota, in microseconds", metavar="N"),
    Option("--cpu-quota", "text", "update", "processor time in each period, in microseconds; -1: no limit", metavar="N"),
    Option("--cpu-burst", "text", "update", "unused quota that may be saved up, in microseconds", metavar="N"),
    Option("--cpu-share", "text", "update", "share of processor time against siblings, 2 to 262144", metavar="N"),
    Option("--cpu-rt-period", "text", "update", "realtime period, in microseconds (v1)", metavar="N"),
    Option("--cpu-rt-runtime", "text", "update", "realtime time in each period, in microseconds (v1)", metavar="N"),
    Option("--cpu-idle", "text", "update", "run only when nothing else wants to (1), or as others (0)", metavar="N"),
    Option("--cpuset-cpus", "text", "update", "processors, 0-2,4", metavar="LIST"),
    Option("--cpuset-mems", "text", "update", "memory nodes, 0-1", metavar="LIST"),
    Option("--memory", "text", "update", "limit in bytes, or with K, M, G; -1: no limit", metavar="SIZE"),
    Option("--memory-reservation", "text", "update", "soft limit, as --memory", metavar="SIZE"),
    Option("--memory-swap", "text", "update", "memory and swap together, as --memory", metavar="SIZE"),
    Option("--pids-limit", "text", "update", "processes and threads; -1: no limit", metavar="N"),
    Option("--l3-cache-schema", "text", "update", "refused: Intel RDT is not set", metavar="TEXT"),
    Option("--mem-bw-schema", "text", "update", "refused: Intel RDT is not set", metavar="TEXT"),
    Option("--kernel-memory", "text", "update", "obsolete: ignored with a warning", metavar="SIZE"),
    Option("--kernel-memory-tcp", "text", "update", "obsolete: ignored with a warning", metavar="SIZE"),
    Option("--stats", "flag", "events", "print statistics once and exit"),
    Option("--interval", "text", "events", "time between two (5s)", metavar="DURATION"),
    Option("--interval", "text", "stats top", "time between two looks (1s)", metavar="DURATION"),
    Option("--no-stream", "flag", "stats top", "print one table, of the first interval, and exit"),
    Option("--rootless", "flag", "spec", "for users other than root"),
)


def options_of(verb: str) -> "dict[str, Option]":
    """Options of a verb, or GLOBAL, by flag."""
    return {flag: option for option in OPTIONS if verb in option.verbs for flag in option.flags}
