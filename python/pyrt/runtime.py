"""Runtime: creates containers from OCI bundles, finds and lists them. The command's engine form is made of it.

Here it is decided what a container is made of (``_native.plan`` touches nothing); ``_native.Container.create`` reserves the id, writes down
which cgroups will be ours, launches, and writes down the process. Whoever is killed in between leaves what `delete --force` needs.

Neighbours: container.py is what comes out, spec.py builds configurations.
"""

import posix

from pyrt import _native
from pyrt.container import Container, say
from pyrt.errors import NotFound, SpecError, from_os_error
from pyrt.files import read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike
    from typing import Literal

    from typing_extensions import Unpack

    from pyrt.checkpoints import RestoreOptions
    from pyrt.options import ContainerOptions

    StrPath = str | PathLike[str]

__all__ = ["Runtime"]

_CONFIG_SIZE_LIMIT = 16 * 1024 * 1024
"""Bytes in a config.json, as in rust/core/src/oci."""


class Runtime:
    """Containers below one state directory. Holds nothing open: several objects, threads and processes may use one directory."""

    def __init__(self, root: "StrPath | None" = None) -> None:
        """root: the state directory, /run/pyrt by default, or $XDG_RUNTIME_DIR/pyrt for users other than root. Made when needed."""
        self._root = absolute(posix.fspath(root) if root is not None else _native.state_root())

    def __repr__(self) -> str:
        return f"pyrt.Runtime({self._root!r})"

    @property
    def root(self) -> str:
        """The state directory, absolute."""
        return self._root

    def create(
        self,
        id: str,
        args: "Sequence[str] | None" = None,
        *,
        config: "StrPath | None" = None,
        append_env: "Sequence[str]" = (),
        start: bool = False,
        attached: bool = False,
        stdio: tuple[int, int, int] = (0, 1, 2),
        console_socket: int | None = None,
        pivot: bool = True,
        new_keyring: bool = True,
        cgroups: bool = True,
        notify_socket: str | None = None,
        **options: "Unpack[ContainerOptions]",
    ) -> Container:
        """Create a container whose program waits for ``Container.start``, and is PID 1 when it runs (runtime-spec, "Create").

        bundle alone is taken to the letter. Everything else, ``rootfs=``, ``spec=``, or limits beside a bundle, is as in ``pyrt.run``,
        with that function's defaults, but for `init`: the program is PID 1 itself. args: the command, where the bundle does not say.

        config: another configuration file than the bundle's config.json. append_env: NAME=VALUE words after those of process.env.
        start: execute the program at once, without waiting for ``start``. attached: the caller holds the terminal, by
        ``Container.foreground``. stdio: descriptors that become 0, 1, 2. console_socket: a connected Unix socket that gets the terminal.
        pivot: False for a root that pivot_root(2) refuses (an initramfs). new_keyring: False to keep the caller's session keyring
        (session-keyring(7)). cgroups: False to join none; cgroup_manager="systemd" has systemd make the cgroup, a scope, and then
        linux.cgroupsPath is "slice:prefix:name". notify_socket: $NOTIFY_SOCKET of a service manager (sd_notify(3)): the container gets a
        socket of its own as its $NOTIFY_SOCKET, whose READY=1 ``start`` waits for.

        On failure nothing is left. Raises SpecError, AlreadyExists, HostError, PermissionDenied, MissingExecutable, Error.
        """
        _native.Container(self._root, id)  # refuses what is no id, before anything is read
        pass_fds = options.get("pass_fds", ())
        if args is None and "bundle" in options and options.keys() <= {"bundle", "cgroup_manager", "pass_fds"}:
            source = _from_bundle(options["bundle"] or ".", config)
            source.cgroup_manager = options.get("cgroup_manager") or "cgroupfs"
        else:
            source = _from_options(id, args, options, terminal=console_socket is not None or attached)
        if notify_socket is not None:
            from pyrt import notify

            source.config = notify.with_socket(source.config, f"{self._root}/{id}/notify")
            append_env = [*append_env, notify.VARIABLE]
        plan = _native.plan(
            source.config,
            bundle=source.bundle,
            id=id,
            form="engine",
            overlay=source.overlay,
            overlay_dir=source.overlay_dir,
            overlay_size=source.overlay_size,
            view=source.view,
            cgroups=cgroups,
            cgroup_manager=source.cgroup_manager,
            pivot=pivot,
            new_keyring=new_keyring,
            preserve_fds=len(pass_fds),
            env=append_env,
            waits_for_start=not start,
        )
        _check_terminal(plan, attached, console_socket)
        native = _native.Container.create(
            self._root,
            plan,
            source.config,
            stdio=stdio,
            console_socket=console_socket,
            pass_fds=pass_fds,
            notify_socket=notify_socket,
        )
        container = Container(native, terminal=plan.terminal)
        container.warnings += plan.warnings
        say("container %s: created", id, warnings=plan.warnings)
        return container

    def restore(
        self,
        id: str,
        image_path: "StrPath",
        *,
        bundle: "StrPath" = ".",
        attached: bool = False,
        stdio: tuple[int, int, int] = (0, 1, 2),
        console_socket: int | None = None,
        cgroups: bool = True,
        **options: "Unpack[RestoreOptions]",
    ) -> Container:
        """Create a container from what `Container.checkpoint` wrote. It runs when this returns: from where it was, not from its start.

        id: a new one. bundle: a directory with the config.json and the root file system that it had; its files are not in the images.
        stdio: descriptors that stand for those that led out of the container. attached, console_socket, cgroups: as for `create`. Hooks run
        as for a new container: prestart and createRuntime when its namespaces are there, poststart when it runs. work_path, tcp_close,
        lsm_profile, lsm_mount_context and the rest are criu(8)'s; those that the checkpoint was given must be given again.

        On failure nothing is left. Raises AlreadyExists, SpecError, HostError where criu is missing or fails its own check, Error in
        CRIU's words.
        """
        from pyrt.checkpoints import request

        _native.Container(self._root, id)  # refuses what is no id, before anything is read
        wanted = request(image_path, options)
        source = _from_bundle(bundle, None)
        plan = _native.plan(source.config, bundle=source.bundle, id=id, form="engine", cgroups=cgroups)
        _check_terminal(plan, attached, console_socket)
        native = _native.Container.restore(self._root, plan, source.config, wanted, stdio=stdio, console_socket=console_socket)
        container = Container(native, terminal=plan.terminal)
        container.warnings += plan.warnings
        say("container %s: restored from %s", id, image_path, warnings=plan.warnings)
        return container

    def get(self, id: str) -> Container:
        """The container of that id. Raises NotFound."""
        native = _native.Container(self._root, id)
        if not native.exists():
            raise NotFound(f"container does not exist: {id}")
        return Container(native)

    def list(self) -> "list[Container]":
        """All containers, by id; of some the state may be unreadable, which shows when it is asked for."""
        return [Container(_native.Container(self._root, name)) for name in _native.container_ids(self._root)]


class _Source:
    """What a container is made of, as ``_native.plan`` takes it."""

    __slots__ = ("bundle", "cgroup_manager", "config", "overlay", "overlay_dir", "overlay_size", "view")

    def __init__(self, config: bytes, bundle: str) -> None:
        self.config = config
        self.bundle = bundle
        self.overlay: Literal["off", "discard", "keep"] = "off"
        self.overlay_dir: str | None = None
        self.overlay_size: int | None = None
        self.cgroup_manager: Literal["cgroupfs", "systemd"] = "cgroupfs"
        self.view: _native.View | None = None


def _from_bundle(bundle: "StrPath", config: "StrPath | None") -> _Source:
    """The engine's way: the bytes of config.json go straight to the native check."""
    path = _bundle(posix.fspath(bundle))
    return _Source(_read_config(f"{path}/config.json" if config is None else posix.fspath(config)), path)


def _from_options(id: str, args: "Sequence[str] | None", options: "ContainerOptions", *, terminal: bool) -> _Source:
    """The library's way: a configuration of its defaults, a spec or a bundle, and what is asked for."""
    from pyrt.configuration import configure

    if options.get("init"):
        raise SpecError("init=True is not for containers of a Runtime", hint="their program is PID 1 itself; pyrt.run has an init")
    unenforced = options.keys() & {"cpu_time", "keep_changes", "max_output", "max_output_action"}
    if unenforced:
        from pyrt.refusals import refusal

        raise refusal("Runtime.create", unenforced)
    made = configure(args, options, id=id, terminal=terminal, function="Runtime.create")
    source = _Source(_native.json_dumps(made.config).encode(), made.bundle)
    source.overlay, source.overlay_dir, source.overlay_size = made.overlay, made.overlay_dir, made.overlay_size
    source.cgroup_manager, source.view = made.cgroup_manager, made.view
    return source


def absolute(path: str) -> str:
    """An absolute path for what need not exist. ".." stays, for the kernel: the directory before it may be a symlink."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/"):
        return "/" + "/".join(parts)
    return "/".join([posix.getcwd().rstrip("/"), *parts]) or "/"


def _bundle(path: str) -> str:
    bundle = absolute(path)
    try:
        posix.stat(f"{bundle}/")  # the slash: only a directory has what it names
    except OSError as error:
        raise from_os_error("open bundle", error, bundle, hint="a bundle holds config.json and a root file system") from error
    return bundle


def _read_config(path: str) -> bytes:
    try:
        return read_file(path, _CONFIG_SIZE_LIMIT)
    except OSError as error:
        raise from_os_error("read", error, path, hint="`pyrt spec` writes a config.json") from error
    except ValueError as error:
        raise SpecError(f"cannot read {path}: {error}") from error


def _check_terminal(plan: "_native.LaunchPlan", attached: bool, console_socket: int | None) -> None:
    """A terminal needs exactly one who holds its other side, and a console socket a terminal."""
    if plan.terminal and not attached and console_socket is None:
        raise SpecError("true, but nobody would hold the terminal", hint="give --console-socket", json_path="process.terminal")
    if console_socket is not None and (attached or not plan.terminal):
        raise SpecError(
            "a console socket has nothing to receive",
            hint="it is for detached or created containers whose config.json has process.terminal true",
        )
