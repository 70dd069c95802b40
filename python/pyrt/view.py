"""HostView: the root that a container has where no image is given, made of a written list of what of the host is shown.

What the list does not name is not there: nothing is hidden, so nothing can be forgotten. The native plan makes it in the container's
own upper layer, without a mount a name: trees of the host appear copy-on-write, files of /etc are copied only where everybody may
read them. `configuration` asks for `HostView.native`.
"""

import os
import sys

from pyrt import _native, defaults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

SHOWN = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
"""Shown copy-on-write where the host has them; on a merged-/usr host all but the first are symlinks, and stay that."""

COPIED = (
    # who and where: names of users, the C library's services, the time zone
    "/etc/passwd",
    "/etc/group",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/networks",
    "/etc/protocols",
    "/etc/services",
    "/etc/rpc",
    "/etc/ethertypes",
    "/etc/localtime",
    "/etc/timezone",
    "/etc/locale.alias",
    "/etc/locale.conf",
    "/etc/shells",
    "/etc/login.defs",
    # which system this is
    "/etc/os-release",
    "/etc/lsb-release",
    "/etc/debian_version",
    "/etc/alpine-release",
    "/etc/redhat-release",
    "/etc/system-release",
    "/etc/issue",
    # how programs and libraries are found
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/ld.so.cache",
    "/etc/ld-musl-x86_64.path",
    "/etc/ld-musl-aarch64.path",
    # whom to trust: the bundles that programs read, never /etc/ssl/private. Not the hundreds of links by hash beside them: each would cost
    # every launch a system call.
    "/etc/ssl/openssl.cnf",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/certs/java/cacerts",
    "/etc/ca-certificates.conf",
    "/etc/pki/tls/openssl.cnf",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    # what programs expect to read at their start
    "/etc/bash.bashrc",
    "/etc/inputrc",
    "/etc/magic",
    "/etc/mime.types",
    "/etc/mtab",
)
"""Names of /etc that are copied, a directory with all below it. None is secret, and what is not world-readable is left out."""

ALTERNATIVES = "/etc/alternatives"
"""Debian's symlinks for programs of several names, copied too, but for those to manual pages."""

HOSTS = "/etc/hosts"
COPIED_WITH_HOST_NETWORK = (HOSTS, "/etc/resolv.conf")
"""Names of /etc that are right only in the host's own network. In any other, HOSTS is made anew, and there is no server of names."""

EMPTY = (
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/media",
    "/mnt",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/run/lock",
    "/srv",
    "/sys",
    "/tmp",
    "/var",
    "/var/cache",
    "/var/lib",
    "/var/log",
    "/var/tmp",
)
"""Directories that are there, and hold nothing but what else is shown below them."""

_VIEWS_KEPT = 16


class HostView:
    """What of the host a container sees.

    show: more directories of the host, copy-on-write, by absolute path (`/opt`); one on another mount than `/` is read-only. hide: paths
    that are not shown, either names of the list or something below one.
    Raises ValueError for a path that is not absolute, NotFound for one in `show` that is missing.
    """

    __slots__ = ("_views", "hide", "show")

    def __init__(self, show: "Iterable[str | os.PathLike[str]]" = (), hide: "Iterable[str | os.PathLike[str]]" = ()) -> None:
        self.show = _paths("show", show)
        self.hide = _paths("hide", hide)
        for path in self.show:
            if not os.path.lexists(path):
                from errno import ENOENT

                from pyrt.errors import NotFound

                raise NotFound("show", path, ENOENT, "show= names what the host has")
        self._views: dict[tuple[str | None, str | None], _native.View] = {}

    @property
    def shown(self) -> tuple[str, ...]:
        """All that appears copy-on-write, where the host has it."""
        return tuple(path for path in (*SHOWN, *self.show) if os.path.lexists(path) and not self._hides(path))

    @property
    def read_only(self) -> tuple[str, ...]:
        """The running Python, wherever it lies outside what is shown; it is bound, since it may lie where copying could not be afforded."""
        shown = self.shown
        prefixes: list[str] = []
        for prefix in _prefixes():
            # By both names: a virtual environment's symlinks spell the prefix as it was typed, and that may be a symlink itself.
            for path in (os.path.abspath(prefix), os.path.realpath(prefix)):
                if path != "/" and not _below(path, (*shown, *prefixes)) and not self._hides(path) and os.path.isdir(path):
                    prefixes.append(path)
        return tuple(prefixes)

    @property
    def copied(self) -> tuple[str, ...]:
        """All of /etc that is copied, where the host has it."""
        try:
            names = os.listdir(ALTERNATIVES)
        except FileNotFoundError:
            names = []
        alternatives = (f"{ALTERNATIVES}/{name}" for name in names if not name.endswith(".gz"))
        return tuple(path for path in (*COPIED, *alternatives) if not self._hides(path))

    @property
    def masked(self) -> list[str]:
        """What is hidden below something shown: covered as config.json's maskedPaths are."""
        return [path for path in self.hide if _below(path, (*self.shown, *self.copied, *self.read_only)) and os.path.lexists(path)]

    def shows(self, path: str) -> bool:
        """Whether a path of the host is there."""
        return _below(path, (*self.shown, *self.read_only, *self.copied)) and not self._hides(path)

    def native(self, *, here: str | None = None, hostname: str | None = None) -> "_native.View":
        """The view as the plan takes it; made once for each directory `here`, which is shown copy-on-write too.

        hostname: what /etc/hosts names beside localhost; None in the host's network, with the host's own files that name servers and hosts.
        """
        key = (here, hostname)
        view = self._views.get(key)
        if view is None:
            if len(self._views) >= _VIEWS_KEPT:
                self._views.clear()
            show = self.shown
            if here is not None and not _below(here, show):
                show = (*show, here)
            copy, files = self.copied, {}
            if hostname is None:
                copy = (*copy, *(path for path in COPIED_WITH_HOST_NETWORK if not self._hides(path)))
            elif not self._hides(HOSTS):
                files[HOSTS] = _hosts(hostname)
            read_only = tuple(path for path in self.read_only if not _below(path, show))
            empty = tuple(path for path in EMPTY if path not in show and not self._hides(path))
            view = _native.View(show=show, read_only=read_only, copy=copy, empty=empty, files=files)
            self._views[key] = view
        return view

    def _hides(self, path: str) -> bool:
        return _below(path, self.hide)

    def __eq__(self, other: object) -> bool:
        return (self.show, self.hide) == (other.show, other.hide) if isinstance(other, HostView) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.show, self.hide))

    def __reduce__(self) -> "tuple[type[HostView], tuple[tuple[str, ...], tuple[str, ...]]]":
        return HostView, (self.show, self.hide)

    def __repr__(self) -> str:
        return f"HostView(show={list(self.show)!r}, hide={list(self.hide)!r})"


def search_path() -> str:
    """PATH inside the view: the running Python's programs before docker's."""
    directories = dict.fromkeys(os.path.join(prefix, "bin") for prefix in _prefixes())
    usual = defaults.PATH.split(":")
    return ":".join([*(directory for directory in directories if directory not in usual), *usual])


def find_on_host(program: str) -> str | None:
    """The directory in which the caller, with the PATH of its own, finds a program that a container did not."""
    if "/" in program:
        candidates = [program] if program.startswith("/") else []
    else:
        candidates = [os.path.join(directory, program) for directory in os.environ.get("PATH", "").split(":") if directory]
    return next((os.path.dirname(path) for path in candidates if os.path.isfile(path) and os.access(path, os.X_OK)), None)


def _hosts(hostname: str) -> bytes:
    """hosts(5) of a network that has nothing but loopback; the container's own name resolves, as Debian's installer has it."""
    lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
    if hostname not in ("", "localhost"):
        lines.append(f"127.0.1.1\t{hostname}")
    return "".join(f"{line}\n" for line in lines).encode()


def _prefixes() -> list[str]:
    """Where the running Python lives: the virtual environment first, then what it is made of."""
    prefixes = [sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix]
    if sys.flags.no_site and sys.executable:
        # The command starts Python without `site`, and it is site that finds a virtual environment.
        environment = os.path.dirname(os.path.dirname(sys.executable))
        if os.path.exists(os.path.join(environment, "pyvenv.cfg")):
            prefixes.insert(0, environment)
    return list(dict.fromkeys(prefixes))


def _paths(name: str, paths: "Iterable[str | os.PathLike[str]]") -> tuple[str, ...]:
    if isinstance(paths, str):
        raise TypeError(f"{name} is a list of paths, not one str")
    normal = []
    for path in paths:
        text = os.fspath(path)
        if not text.startswith("/"):
            raise ValueError(f"{name}: {text!r} is not an absolute path")
        normal.append(os.path.normpath(text))
        if normal[-1] == "/":
            raise ValueError(f"{name}: '/' is the whole host")
    return tuple(dict.fromkeys(normal))


def _below(path: str, tops: "Iterable[str]") -> bool:
    """Whether it is one of them, or lies below one."""
    return any(path == top or path.startswith(f"{top}/") for top in tops)


DEFAULT = HostView()
"""The view of every container that is given no root."""
