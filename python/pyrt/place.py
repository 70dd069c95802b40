"""Where a command runs: the root and what lies over it, the host view, mounts, and which namespaces are new. Part of `configuration`.

`view` is the host view itself, `mounts` one mount, `namespaces` the object whose namespaces are given.
"""

import os

from pyrt import view
from pyrt.paths import absolute

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pyrt import _native
    from pyrt.configuration import Configuration
    from pyrt.options import ContainerOptions

_KINDS = {"net": "network", "mnt": "mount"}
"""The spec's names of namespaces that /proc/PID/ns spells differently."""


def choose_root(configuration: "Configuration", options: "ContainerOptions", given: bool) -> str:
    """Choose the root and what lies over it; returns the directory in which users are looked up."""
    config = configuration.config
    rootfs, overlay = options.get("rootfs"), options.get("overlay")
    host_view, here = options.get("host_view"), options.get("here")
    if rootfs is not None and (host_view is not None or here):
        raise ValueError("rootfs= and the host view (host_view=, here=) are two different roots; show a directory in a rootfs with mounts=")
    base = config.get("root") or {}
    if rootfs is not None or (given and host_view is None and not here):
        if rootfs is not None:
            base = {**base, "path": _directory(absolute(rootfs))}
            # An Overlay is copy-on-write already, and its upper layer is where its owner looks for the changes.
            default = not getattr(rootfs, "copy_on_write", False)
        else:
            default = False
        overlay = default if overlay is None else overlay
        root = os.path.join(configuration.bundle, base.get("path") or "")
    else:
        configuration.host_view = host_view or view.DEFAULT
        _mask(config, configuration.host_view)
        base = {**base, "path": "/"}
        if overlay is False:
            raise ValueError("overlay=False would write to the host itself: the host view is always copy-on-write")
        overlay = True if overlay is None else overlay
        root = "/"
    if (read_only := options.get("read_only")) is not None:
        base = {**base, "readonly": bool(read_only)}
    if base:
        config["root"] = base
    if overlay is True or overlay is False:
        configuration.overlay = "discard" if overlay else "off"
    else:
        configuration.overlay, configuration.overlay_dir = "keep", absolute(overlay)
    configuration.keep_changes = bool(options.get("keep_changes"))
    if configuration.keep_changes and configuration.overlay == "off":
        raise ValueError("keep_changes= needs an upper layer of the container's own, and overlay=False has none; an Overlay has changes()")
    return root


def _directory(path: str) -> str:
    """The root file system's path, once it is sure that a directory is there: the mount's own error would not name it."""
    try:
        os.stat(f"{path}/")
    except FileNotFoundError as missing:
        from pyrt.errors import NotFound

        raise NotFound("open root file system", path, missing.errno, "rootfs is a directory that holds one") from None
    except OSError as failed:
        from pyrt.errors import from_os_error

        raise from_os_error("open root file system", failed, path, "rootfs is a directory that holds one") from None
    return path


def _mask(config: "dict[str, Any]", host_view: view.HostView) -> None:
    if masked := host_view.masked:
        linux = config["linux"]
        linux["maskedPaths"] = [*(linux.get("maskedPaths") or ()), *masked]


def make_view(config: "dict[str, Any]", host_view: view.HostView, here: bool | None) -> "_native.View":
    """The host view of a container whose namespaces are decided: they say which network its /etc/hosts is of."""
    directory = os.getcwd() if here else None
    if directory == "/":
        raise ValueError("here=True in / would show the whole host; change to the directory that the command needs")
    if any(entry["type"] == "network" for entry in config["linux"].get("namespaces") or ()):
        return host_view.native(here=directory, hostname=config.get("hostname") or os.uname().nodename)
    return host_view.native(here=directory)


def add_mounts(configuration: "Configuration", options: "ContainerOptions") -> None:
    tmpfs, mounts = options.get("tmpfs", ()), options.get("mounts", ())
    if not tmpfs and not mounts:
        return
    from pyrt.mounts import Mount

    if isinstance(tmpfs, str) or isinstance(mounts, str):
        raise TypeError("tmpfs and mounts are lists, not one str")
    sizes = dict.fromkeys(tmpfs) if not hasattr(tmpfs, "items") else dict(tmpfs.items())
    more = [Mount.tmpfs(path, size=configuration.overlay_size if size is None else size) for path, size in sizes.items()]
    more += [Mount.parse(mount) if isinstance(mount, str) else mount for mount in mounts]
    config = configuration.config
    config["mounts"] = [*(config.get("mounts") or ()), *(mount.to_config() for mount in more)]


def choose_namespaces(config: "dict[str, Any]", options: "ContainerOptions", given: bool) -> None:
    """Which namespaces are new, which are given, and the host name that only a new one may get."""
    network, namespaces, hostname = options.get("network"), options.get("namespaces"), options.get("hostname")
    wanted: dict[str, str] = {}
    if namespaces is not None:
        wanted.update(_paths(namespaces))
    if network is not None:
        wanted["network"] = _network(network)
    linux = config["linux"]
    if wanted:
        entries: dict[str, dict[str, str]] = {entry["type"]: entry for entry in linux.get("namespaces") or ()}
        for name, place in wanted.items():
            kind = _KINDS.get(name, name)
            if place == "host":
                entries.pop(kind, None)
            elif place == "new":
                if kind == "user":
                    raise ValueError("a new user namespace needs mappings, which a spec= names")
                entries[kind] = {"type": kind}
            else:
                entries[kind] = {"type": kind, "path": place}
        linux["namespaces"] = list(entries.values())
        uts = entries.get("uts")
        if not given and (uts is None or "path" in uts):
            # The name of a namespace that others live in is theirs.
            del config["hostname"]
    if hostname is not None:
        if not any(entry["type"] == "uts" for entry in linux.get("namespaces") or ()):
            raise ValueError("hostname= would rename the host: the container has no uts namespace of its own")
        config["hostname"] = hostname


def _network(network: "Any") -> str:
    """The place of the network namespace: "new", "host" or a path."""
    if network == "none":
        return "new"
    if network == "host":
        return "host"
    if not hasattr(network, "paths"):
        raise ValueError(f"network {network!r} is neither 'none' nor 'host' nor a Namespaces")
    if "network" not in network:
        raise ValueError("network= was given Namespaces that hold no network namespace")
    # Those of a process that is in the caller's own network have no path.
    return _paths(network).get("network", "host")


def _paths(namespaces: "Any") -> "Mapping[str, str]":
    """Kind to path, "host" or "new": a mapping says so itself, Namespaces answer with the paths of the caller's descriptors."""
    paths: Mapping[str, str] = namespaces if hasattr(namespaces, "items") else namespaces.paths()
    return paths
