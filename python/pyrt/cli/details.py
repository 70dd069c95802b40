"""What a person reads of a verb beside its one line in table.py: how it acts, and lines to begin with. Help and man pages print it.

A module of its own, because the engine verbs import the table at every call, and this never.
"""

__all__ = ["DETAILS", "EXIT_STATUS", "FILES", "Details"]


class Details:
    """text: paragraphs. examples: a command line, and what it does."""

    __slots__ = ("examples", "text")

    def __init__(self, *text: str, examples: tuple[tuple[str, str], ...] = ()) -> None:
        self.text = text
        self.examples = examples


DETAILS = {
    "create": Details(
        "The namespaces, the root and the cgroup are made, and a missing program is found out; the program itself waits for pyrt start."
        " Standard input, output and error are the container's. With process.terminal in config.json it gets a terminal, whose other side"
        " goes to --console-socket.",
        examples=(("pyrt create --bundle /srv/web web", "from /srv/web/config.json"),),
    ),
    "run": Details(
        "With an ID it is create and start in one, and waits; the container is deleted when it has ended. With -- it runs a command in a"
        " container of its own on a copy-on-write view of this host, or on --rootfs.",
        examples=(
            ("pyrt run --bundle /srv/web web", "a bundle, until it ends"),
            ("pyrt run --detach --bundle /srv/web web", "a bundle, in the background"),
            ("pyrt run --memory 256M -- python3 script.py", "a command, with a limit"),
        ),
    ),
    "start": Details(
        "Returns when the program was executed and the poststart hooks have run.", examples=(("pyrt start web", "after pyrt create"),)
    ),
    "state": Details(
        "Prints ociVersion, id, status, pid, bundle and annotations (the runtime-spec's state), and rootfs, created and owner. The status"
        " is creating, created, running, paused or stopped.",
        examples=(("pyrt state web", "as JSON"),),
    ),
    "kill": Details(
        "The signal is a name, with or without SIG, or a number. Without a pid namespace of its own a container is ended whole by KILL.",
        examples=(("pyrt kill web", "TERM to its init"), ("pyrt kill --all web KILL", "KILL to every process of it")),
    ),
    "delete": Details(
        "Removes its cgroups, runs its poststop hooks, removes its state. --force ends it first, whatever its state, and is content where"
        " it does not exist.",
        examples=(("pyrt delete --force web", "end it, and leave nothing"),),
    ),
    "list": Details(
        "Containers of one --root. JSON has what pyrt state prints of each.",
        examples=(("pyrt list", "a table"), ("pyrt list --quiet", "ids only")),
    ),
    "exec": Details(
        "The command gets the namespaces, the cgroup, the capabilities and the seccomp profile of the container; what is not said is taken"
        " from config.json. Into a paused container only with --ignore-paused: then it stands still until pyrt resume.",
        examples=(("pyrt exec web ls /", "one command"), ("pyrt exec --tty web sh", "a shell with a terminal")),
    ),
    "pause": Details("By the cgroup's freezer. Memory stays, nothing runs.", examples=(("pyrt pause web", "until pyrt resume web"),)),
    "resume": Details("After pyrt pause.", examples=(("pyrt resume web", "it goes on"),)),
    "checkpoint": Details(
        "CRIU (criu(8)) writes the memory and the descriptors of all its processes to --image-path. The container is ended and deleted"
        " then, unless --leave-running or --pre-dump says otherwise. The files of its root are not in the images.",
        "Where criu is missing, or its own check (criu check) fails on this kernel, nothing is done and it is said what is lacking.",
        examples=(
            ("pyrt checkpoint --image-path /srv/images web", "end it, and keep its memory"),
            ("pyrt checkpoint --pre-dump --image-path /srv/before web", "memory first, while it runs"),
        ),
    ),
    "restore": Details(
        "The container goes on where pyrt checkpoint ended it, under any id. The bundle has the config.json and the root that it had. Flags"
        " that the checkpoint was given are given again.",
        examples=(("pyrt restore --detach --bundle /srv/web --image-path /srv/images web", "here, or on another host"),),
    ),
    "update": Details(
        "What is not said stays as it is. If the kernel refuses one limit, all are as they were.",
        examples=(
            ("pyrt update --memory 512M --pids-limit 100 web", "by flags"),
            ("pyrt update --resources - web < limits.json", "config.json's linux.resources"),
        ),
    ),
    "ps": Details(
        "The table is ps(1)'s, of the processes in the container's cgroup; PIDs are this host's.",
        examples=(("pyrt ps web", "ps -ef"), ("pyrt ps web -o pid,rss,args", "other columns"), ("pyrt ps --format json web", "an array")),
    ),
    "events": Details(
        "Statistics at each --interval, an oom event at the moment of it. Ends with the container.",
        examples=(("pyrt events --stats web", "once"), ("pyrt events --interval 10s web", "until it ends")),
    ),
    "stats": Details(
        "On a terminal the table is drawn anew at each --interval, until Ctrl-C.",
        examples=(("pyrt stats", "all that live"), ("pyrt stats --no-stream --format json web", "everything that is counted, once")),
    ),
    "top": Details("As pyrt stats, a line for each process.", examples=(("pyrt top web", "until Ctrl-C"),)),
    "spec": Details(
        "Never over a file that is there.",
        examples=(("pyrt spec --bundle /srv/web", "then edit /srv/web/config.json, and add /srv/web/rootfs"),),
    ),
    "features": Details(
        "The runtime-spec's features document: hooks, mount options, namespaces, capabilities, seccomp, cgroups.",
        examples=(("pyrt features", "as JSON"),),
    ),
    "check": Details(
        "Where something is missing it is said why, and what to do. The exit status is 1 where containers cannot run.",
        examples=(("pyrt check", "a table"),),
    ),
    "completion": Details(
        "Verbs, flags and their values are completed, and ids from the state directory that the line names. Packages install the same text;"
        " this is for a shell that does not find it.",
        examples=(
            ('eval "$(pyrt completion bash)"', "in ~/.bashrc"),
            ("pyrt completion zsh > ~/.zfunc/_pyrt", "with ~/.zfunc in fpath"),
            ("pyrt completion fish > ~/.config/fish/completions/pyrt.fish", "for fish"),
        ),
    ),
}

EXIT_STATUS = (
    ("run, restore", "the container's own; 128 + n where signal n ended it"),
    ("exec", "the command's own, as above; 255 where pyrt itself failed"),
    ("run with --", "the command's own, as above; 124 after --timeout, 125 where pyrt failed, 126 cannot be executed, 127 not found"),
    ("all others", "0; 1 for failures and wrong flags; 3 for an unknown verb"),
)

FILES = (
    ("/run/pyrt", "state of containers; $XDG_RUNTIME_DIR/pyrt without root"),
    ("config.json", "in a bundle: the configuration (runtime-spec, config.md)"),
)
