"""What checkpoint and restore are asked, as it is read from the line and handed to the core; no container and no CRIU is needed.

Neighbours: tests/integration/test_checkpoint.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import pyrt
from helpers.commands import Command
from pyrt.checkpoints import request
from pyrt.cli.table import options_of

RUNC_CHECKPOINT = (
    "image-path work-path parent-path leave-running tcp-established tcp-skip-in-flight link-remap ext-unix-sk shell-job lazy-pages"
    " status-fd page-server file-locks pre-dump manage-cgroups-mode empty-ns auto-dedup"
)
RUNC_RESTORE = (
    "console-socket image-path work-path tcp-established ext-unix-sk shell-job file-locks manage-cgroups-mode bundle detach pid-file"
    " no-subreaper no-pivot empty-ns auto-dedup lazy-pages lsm-profile lsm-mount-context"
)


@pytest.mark.parametrize(("verb", "flags"), [("checkpoint", RUNC_CHECKPOINT), ("restore", RUNC_RESTORE)])
def test_every_flag_of_runc_s_is_known(verb: str, flags: str) -> None:
    assert {f"--{flag}" for flag in flags.split()} <= set(options_of(verb))


def test_a_request_has_paths_as_text_and_nothing_that_was_left_out() -> None:
    made = request(
        Path("/images"), {"work_path": None, "parent_path": Path("../before"), "empty_ns": ["network"], "page_server": ("::1", 9)}
    )
    assert made == {"image_path": "/images", "parent_path": "../before", "empty_network": True, "page_server": ("::1", 9)}


def test_no_other_namespace_can_be_left_empty() -> None:
    with pytest.raises(pyrt.SpecError, match="no namespace can be restored without its content but network, and not 'ipc'"):
        request("/images", {"empty_ns": ["ipc"]})


@pytest.mark.parametrize(
    ("flag", "value", "text"),
    [
        ("--page-server", "9000", "--page-server takes ADDRESS:PORT, not '9000'"),
        ("--page-server", "host:", "--page-server takes ADDRESS:PORT, not 'host:'"),
        ("--page-server", "host:65536", "--page-server takes ADDRESS:PORT, not 'host:65536'"),
        ("--status-fd", "many", "--status-fd takes a number, not 'many'"),
        ("--status-fd", "99", "descriptor 99 is to be preserved, but is not open: bad file descriptor (EBADF)"),
        ("--empty-ns", "pid", "no namespace can be restored without its content but network, and not 'pid'"),
    ],
)
def test_a_wrong_value_is_refused_before_anything_is_done(tmp_path: Path, flag: str, value: str, text: str) -> None:
    refused = Command(tmp_path)("checkpoint", flag, value, "web")
    assert (refused.status, refused.stderr) == (1, f"pyrt: {text}\n")


def test_a_container_that_does_not_exist_is_said_first(tmp_path: Path) -> None:
    refused = Command(tmp_path)("checkpoint", "--page-server", "[::1]:9000", "web")
    assert (refused.status, refused.stderr) == (1, "pyrt: container does not exist: web\n")


def test_a_mode_of_cgroups_that_criu_lacks_is_a_usage_error(tmp_path: Path) -> None:
    refused = Command(tmp_path)("restore", "--manage-cgroups-mode", "none", "web")
    assert refused.status == 1
    assert "--manage-cgroups-mode is one of soft, full, strict, ignore, not 'none'" in refused.stderr
