"""conmon alone over pyrt, as podman and CRI-O start it: it creates, reports the PID, keeps the log, and writes the exit status."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from helpers.bundles import Bundle
from helpers.commands import PYRT, Command
from helpers.hosts import requires
from helpers.waiting import until

pytestmark = requires("root", "busybox", "conmon")

ID = "exec-conmon"


def create(command: Command, bundle: Bundle, path: Path) -> dict[str, object]:
    """Run conmon, which daemonizes once the container is created. Returns what it reports over its sync pipe."""
    (path / "exits").mkdir()
    reading, writing = os.pipe()
    files = [
        "--log-path",
        f"k8s-file:{path}/log",
        "--container-pidfile",
        f"{path}/pid",
        "--exit-dir",
        f"{path}/exits",
        "--socket-dir-path",
        str(path),
    ]
    names = ["--cid", ID, "--cuuid", ID, "--runtime", str(PYRT), "--runtime-arg", "--root", "--runtime-arg", str(command.root)]
    try:
        subprocess.run(
            ["conmon", "--api-version", "1", *names, "--bundle", str(bundle.path), "--persist-dir", str(path), *files],
            env={**os.environ, "_OCI_SYNCPIPE": str(writing)}, pass_fds=[writing], cwd=path, check=True,
        )  # fmt: skip
        os.close(writing)
        writing = -1
        with os.fdopen(reading, closefd=False) as reports:
            reported: dict[str, object] = json.loads(reports.readline())
        return reported
    finally:
        for descriptor in (reading, writing):
            if descriptor >= 0:
                os.close(descriptor)


def test_it_reports_the_pid_the_output_and_the_exit_status(command: Command, bundle: Bundle, tmp_path: Path) -> None:
    reported = create(command, bundle.shell("echo out; echo err >&2; exit 5"), tmp_path)
    state = command("state", ID).ok().json
    assert reported["data" if "data" in reported else "pid"] == state["pid"] == int((tmp_path / "pid").read_text())
    command("start", ID).ok()
    status = tmp_path / "exits" / ID
    until(status.exists, "conmon wrote the exit status")
    assert status.read_text() == "5"
    logged = [line.split(" ", 1)[1] for line in (tmp_path / "log").read_text().splitlines()]
    assert sorted(logged) == ["stderr F err", "stdout F out"]
    command("delete", ID).ok()


def test_a_failure_of_create_is_reported_in_pyrts_words(command: Command, bundle: Bundle, tmp_path: Path) -> None:
    reported = create(command, bundle.args("no-such-program"), tmp_path)
    assert reported["message"] == 'pyrt: exec: "no-such-program": executable file not found in $PATH\n'
    assert command("list", "--quiet").ok().stdout == ""
