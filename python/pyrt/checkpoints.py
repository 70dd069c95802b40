"""What `Container.checkpoint` and `Runtime.restore` ask of CRIU, as types and as ``_native`` takes it.

The mechanism is rust/core/src/checkpoint; the names are those of runc's flags. Sources: criu(8), criu.org/RPC.
"""

import os
from collections.abc import Iterable
from typing import Any, Literal, TypedDict

from pyrt.errors import SpecError

__all__ = ["CheckpointOptions", "CommonOptions", "RestoreOptions", "request"]

StrPath = str | os.PathLike[str]


class CommonOptions(TypedDict, total=False):
    """Of both directions. Whatever a checkpoint was told of connections, locks and terminals, its restore must be told too."""

    work_path: StrPath | None
    tcp_established: bool
    ext_unix_sk: bool
    shell_job: bool
    file_locks: bool
    lazy_pages: bool
    auto_dedup: bool
    empty_ns: Iterable[str]
    manage_cgroups_mode: Literal["ignore", "soft", "full", "strict"]


class CheckpointOptions(CommonOptions, total=False):
    """Keywords of `Container.checkpoint`."""

    parent_path: StrPath | None
    leave_running: bool
    pre_dump: bool
    tcp_skip_in_flight: bool
    link_remap: bool
    page_server: tuple[str, int] | None
    status_fd: int | None


class RestoreOptions(CommonOptions, total=False):
    """Keywords of `Runtime.restore`."""

    tcp_close: bool
    lsm_profile: str | None
    lsm_mount_context: str | None


def request(image_path: StrPath, options: "CheckpointOptions | RestoreOptions") -> "dict[str, Any]":
    """The request as ``_native`` takes it. Raises SpecError."""
    wanted: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    for name in wanted.pop("empty_ns", ()):
        if name != "network":
            raise SpecError(f"no namespace can be restored without its content but network, and not {name!r}")
        wanted["empty_network"] = True
    for name in ("work_path", "parent_path"):
        if name in wanted:
            wanted[name] = os.fspath(wanted[name])
    return {"image_path": os.fspath(image_path), **wanted}
