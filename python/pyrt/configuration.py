"""From `run`'s options to a config.json and the launch plan: what was asked for, laid over the library's defaults or a given spec.

One brain for `run`, `pyrt run -- CMD`, and all that will launch containers in the library's form. `options.ContainerOptions` lists the
options, `defaults` holds the values, `place` chooses root, mounts and namespaces, `limits` what a cgroup may use. A given `spec=` or
`bundle=` is taken as it says, but for the options that are given beside it. Nothing in `defaults` is changed: what is edited is made anew,
once a container.
"""

import os

from pyrt import _native, defaults, view
from pyrt.exchange import UNBOUNDED
from pyrt.paths import absolute
from pyrt.place import add_mounts, choose_namespaces, choose_root, make_view

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, Literal

    from pyrt.exchange import Bounds
    from pyrt.hooks import Hooks
    from pyrt.options import ContainerOptions
    from pyrt.system_calls import Answer, SystemCall

OPTIONS = frozenset(
    (
        "bundle",
        "capabilities",
        "cgroup",
        "cgroup_manager",
        "cpu_time",
        "cpu_weight",
        "cpus",
        "cpuset",
        "cwd",
        "devices",
        "env",
        "extra_groups",
        "group",
        "here",
        "host_view",
        "hostname",
        "inherit_env",
        "init",
        "io_weight",
        "keep_changes",
        "max_output",
        "max_output_action",
        "memory",
        "memory_swap",
        "mounts",
        "namespaces",
        "network",
        "on_syscall",
        "overlay",
        "pass_fds",
        "pids",
        "read_only",
        "rlimits",
        "rootfs",
        "seccomp",
        "shell",
        "size",
        "spec",
        "tmpfs",
        "umask",
        "user",
        "user_namespace",
    )
)

_LIMITS = ("memory", "memory_swap", "cpus", "cpu_weight", "io_weight", "cpuset", "pids")

_NAMESPACES = [{"type": kind} for kind in defaults.NAMESPACES]
_MOUNTS = list(defaults.MOUNTS)
_READONLY_PATHS = list(defaults.READONLY_PATHS)
_CAPABILITIES = list(defaults.LIBRARY_CAPABILITIES)
_CAPABILITIES_OF_ROOT = {"bounding": _CAPABILITIES, "effective": _CAPABILITIES, "permitted": _CAPABILITIES}
_CAPABILITIES_OF_OTHERS = {"bounding": _CAPABILITIES}
_USER = {"uid": 0, "gid": 0, "umask": defaults.UMASK}

_pids_controller: bool | None = None


class Configuration:
    """What one container is to be: the config.json as a dict, and what the plan wants to know beside it."""

    __slots__ = (
        "awaits_command",
        "bundle",
        "bounds",
        "cgroup_manager",
        "config",
        "form",
        "handlers",
        "host_view",
        "id",
        "keep_changes",
        "overlay",
        "overlay_dir",
        "overlay_size",
        "pass_fds",
        "seccomp",
        "view",
    )

    config: "dict[str, Any]"
    bundle: str
    form: "Literal['library', 'engine']"
    overlay: "Literal['off', 'discard', 'keep']"
    overlay_dir: str | None
    overlay_size: int
    view: "_native.View | None"
    seccomp: "_native.SeccompProfile | None"
    handlers: "Mapping[str, Callable[[SystemCall], Answer]] | None"
    pass_fds: "Sequence[int]"
    cgroup_manager: "Literal['cgroupfs', 'systemd']"

    def __init__(self, id: str | None) -> None:
        self.id = id or f"run-{os.getpid()}-{os.urandom(8).hex()}"
        self.bundle = "/"
        self.overlay_dir = None
        self.bounds: Bounds = UNBOUNDED
        self.host_view: view.HostView | None = None
        self.view = None
        self.seccomp = None
        self.handlers = None
        self.keep_changes = False
        self.awaits_command = False

    def plan(self) -> "_native.LaunchPlan":
        """Have the native side check it and decide. Raises SpecError with the JSON path, and HostError."""
        try:
            config = _native.json_dumps(self.config).encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{error.object!r} is not UTF-8, and a configuration has nothing else") from None
        return _native.plan(
            config,
            bundle=self.bundle,
            id=self.id,
            form=self.form,
            overlay=self.overlay,
            overlay_dir=self.overlay_dir,
            overlay_size=self.overlay_size,
            view=self.view,
            seccomp=self.seccomp,
            cgroup_manager=self.cgroup_manager,
            preserve_fds=len(self.pass_fds),
            end_with_caller=True,
            keep_changes=self.keep_changes,
            awaits_command=self.awaits_command,
        )

    def hooks(self, plan: "_native.LaunchPlan") -> "Hooks | None":
        """Those that whoever launches it must run, where the configuration has any."""
        if not self.config.get("hooks"):
            return None
        from pyrt.hooks import Hooks

        state = {"ociVersion": plan.oci_version, "id": self.id, "bundle": self.bundle, "annotations": plan.annotations}
        return Hooks(self.config, state)


def configure(
    args: "Sequence[str] | None", options: "ContainerOptions", *, id: str | None = None, terminal: bool = False, function: str = "run"
) -> Configuration:
    """What the options ask for. args None: the command that the spec names.

    id names the container and its cgroup; one is made up where it is None. terminal: with a terminal of its own. function: whose options
    they are, for the message that refuses one.
    Raises TypeError for an unknown option, ValueError for options that do not go together, SpecError for a spec that is wrong.
    """
    if not options.keys() <= OPTIONS:
        from pyrt.refusals import refusal, refused

        if names := refused(options, OPTIONS):
            raise refusal(function, names)
    configuration = Configuration(id)
    configuration.form = "engine" if options.get("init") is False else "library"
    configuration.pass_fds = options.get("pass_fds", ())
    spec, bundle = options.get("spec"), options.get("bundle")
    if spec is None and bundle is None:
        if args is None:
            raise TypeError("there is neither args nor a spec that names a command")
        configuration.config = _library_config()
        _apply(configuration, args, options, terminal, given=False)
        return configuration
    from pyrt.spec import Spec, read_config

    configuration.bundle = os.getcwd() if bundle is None else absolute(bundle)
    if spec is None:
        spec = Spec.from_unchecked(read_config(configuration.bundle))
    configuration.config = spec.copy().config
    try:
        _apply(configuration, args, options, terminal, given=True)
    except (AttributeError, KeyError, TypeError):
        # Something in it is not of the type that it must be: the strict check says what and where.
        spec.check(configuration.bundle)
        raise
    return configuration


def _apply(configuration: Configuration, args: "Sequence[str] | None", options: "ContainerOptions", terminal: bool, *, given: bool) -> None:
    """Lay the options over the configuration: `given` is somebody's spec, else the library's own."""
    config = configuration.config
    linux: dict[str, Any] = config.get("linux") or {}
    config["linux"] = linux
    linux["resources"] = resources = _resources(linux.get("resources"), options, given)
    root = choose_root(configuration, options, given)
    size = options.get("size")
    if size is None:
        limit = (resources.get("memory") or {}).get("limit")
        configuration.overlay_size = limit if limit is not None and limit > 0 else defaults.UPPER_SIZE
    else:
        from pyrt.limits import size_bytes

        configuration.overlay_size = size_bytes(size)
    add_mounts(configuration, options)
    choose_namespaces(config, options, given)
    if configuration.host_view is not None:
        configuration.view = make_view(config, configuration.host_view, options.get("here"))
    _process(configuration, args, options, given, root, terminal)
    _seccomp(configuration, options, given)
    configuration.cgroup_manager = options.get("cgroup_manager") or "cgroupfs"
    if (cgroup := options.get("cgroup")) is not None:
        linux["cgroupsPath"] = _cgroups_path(cgroup, configuration)
    if options.get("devices"):
        from pyrt.devices import add_devices

        add_devices(linux, options["devices"])
    user_namespace = options.get("user_namespace")
    if user_namespace is None and not _native.can_mount():
        # The only way for an ordinary user; a spec's own, or one that is joined, stays.
        user_namespace = not any(entry["type"] == "user" for entry in linux.get("namespaces") or ())
    if user_namespace:
        from pyrt.user_namespace import add_user_namespace

        add_user_namespace(config, user_namespace)
    if not options.keys().isdisjoint(("cpu_time", "max_output", "max_output_action")):
        from pyrt.bounds import bounds

        configuration.bounds = bounds(config, options)


def _library_config() -> "dict[str, Any]":
    """The parts that no option changes, or that are made anew when one does."""
    return {
        "ociVersion": defaults.OCI_VERSION,
        "process": {"user": _USER, "cwd": "/", "capabilities": _CAPABILITIES_OF_ROOT, "noNewPrivileges": True},
        "root": {"path": "/"},
        "hostname": defaults.HOSTNAME,
        "mounts": _MOUNTS,
        "linux": {"namespaces": _NAMESPACES, "maskedPaths": defaults.masked_paths(), "readonlyPaths": _READONLY_PATHS},
    }


def _resources(resources: "dict[str, Any] | None", options: "ContainerOptions", given: bool) -> "dict[str, Any]":
    """`linux.resources`: what the spec says, or the default limit of processes, and the limits that are asked for."""
    base: dict[str, Any] = (resources or {}) if given else {"pids": {"limit": defaults.PIDS_LIMIT}} if _has_pids_controller() else {}
    if (above := getattr(options.get("cgroup"), "limits", None)) is not None:
        # A container joins the hierarchies in which it has a limit, and v1 has one for each controller: those above hold only there.
        base = {**base, **above.resources()}
    said: dict[str, Any] = {name: value for name in _LIMITS if (value := options.get(name)) is not None}
    if not said:
        return base
    from pyrt.limits import Limits
    from pyrt.spec import merge_resources

    return merge_resources(base, Limits(**said).resources())


def _has_pids_controller() -> bool:
    global _pids_controller
    if _pids_controller is None:
        _pids_controller = "pids" in _native.host_cgroups()["controllers"]
    return _pids_controller


def _process(
    configuration: Configuration,
    args: "Sequence[str] | None",
    options: "ContainerOptions",
    given: bool,
    root: str,
    terminal: bool,
) -> None:
    config = configuration.config
    process: dict[str, Any] = config.get("process") or {}
    config["process"] = process
    if args is not None:
        process["args"] = ["/bin/sh", "-c", *args] if options.get("shell") else args
    # A terminal is the caller's to ask for: a spec's wish for one would leave nobody at its other end.
    process["terminal"] = terminal
    home = "/root"
    user, group, extra_groups = options.get("user"), options.get("group"), options.get("extra_groups")
    umask, capabilities = options.get("umask"), options.get("capabilities")
    if user is not None or group is not None or extra_groups is not None:
        from pyrt.users import resolve

        identity = resolve(root, user, group, extra_groups)
        home = identity.home or "/"
        process["user"] = {**(process.get("user") or {}), "uid": identity.uid, "gid": identity.gid}
        process["user"]["additionalGids"] = identity.additional_gids
        if identity.uid != 0 and not given:
            # What execve(2) leaves a user other than root.
            process["capabilities"] = _CAPABILITIES_OF_OTHERS
    if umask is not None:
        process["user"] = {**(process.get("user") or {}), "umask": umask}
    if capabilities is not None:
        from pyrt.spec import capability_names, capability_sets

        # Asked for by name: a user other than root is to have them too.
        other_user = bool((process.get("user") or {}).get("uid"))
        process["capabilities"] = capability_sets(capability_names(capabilities), ambient=other_user)
    if (rlimits := options.get("rlimits")) is not None:
        from pyrt.rlimits import rlimit_entries

        process["rlimits"] = rlimit_entries(rlimits)
    here, cwd = options.get("here"), options.get("cwd")
    if cwd is not None:
        process["cwd"] = os.fsdecode(cwd)
    elif here:
        process["cwd"] = os.getcwd()
    _environment(process, options, given, configuration.view is not None, home)


def _seccomp(configuration: Configuration, options: "ContainerOptions", given: bool) -> None:
    """The seccomp profile: what is asked for, or the default; a given spec's stays. After `_process`: rules depend on capabilities."""
    handlers = options.get("on_syscall")
    if given and "seccomp" not in options and not handlers:
        return
    from pyrt import seccomp

    config = configuration.config
    bounding = (config["process"].get("capabilities") or {}).get("bounding") or ()
    said = config["linux"].pop("seccomp", None)
    if handlers:
        if not all(map(callable, handlers.values())):
            raise TypeError("on_syscall: a handler is called with a SystemCall, and returns its answer")
        configuration.handlers = handlers
        base = options["seccomp"] if "seccomp" in options else said if given else seccomp.docker()
        configuration.seccomp = seccomp.asking(handlers, base, bounding)
        return
    configuration.seccomp = seccomp.profile(options["seccomp"], bounding) if "seccomp" in options else seccomp.default(bounding)


def _environment(process: "dict[str, Any]", options: "ContainerOptions", given: bool, in_view: bool, home: str) -> None:
    """`process.env`: fresh, or the spec's; then what is inherited by name; then what is given."""
    inherited, env = options.get("inherit_env", ()), options.get("env")
    if given and not inherited and not env:
        return
    if given:
        entries = dict(entry.partition("=")[::2] for entry in process.get("env") or ())
    else:
        path = view.search_path() if in_view else defaults.PATH
        entries = {"PATH": path, "HOME": home, "LANG": defaults.LANG, "TERM": defaults.TERM}
    if isinstance(inherited, str):
        raise TypeError("inherit_env is a list of names, not one str")
    for name in inherited:
        if (value := os.environ.get(name)) is not None:
            entries[name] = value
    if env:
        entries.update(env)
    for name in entries:
        if not name or "=" in name:
            raise ValueError(f"env: {name!r} cannot be the name of a variable")
    process["env"] = [f"{name}={value}" for name, value in entries.items()]


def _cgroups_path(cgroup: "Any", configuration: Configuration) -> str:
    """`linux.cgroupsPath` of a container whose cgroup is made below this one: a path below each hierarchy's root, for systemd a slice."""
    from pyrt.cgroups import Cgroup, below_root

    if configuration.cgroup_manager == "systemd":
        if isinstance(cgroup, Cgroup):
            raise ValueError("cgroup= is a slice, such as 'machine.slice', where systemd makes the container's cgroup")
        return f"{os.fspath(cgroup)}:pyrt:{configuration.id}"
    if isinstance(cgroup, Cgroup):
        cgroup.processes()  # raises where it is closed
        return f"{cgroup.path}/{configuration.id}"
    return f"{below_root(os.fspath(cgroup))}/{configuration.id}"
