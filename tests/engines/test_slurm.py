"""pyrt as the OCI runtime of Slurm: jobs with --container, by the oci.conf that is shipped."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.bundles import Bundle
from helpers.commands import PYRT, Result
from helpers.hosts import requires
from helpers.slurm import NODE, Slurm

pytestmark = requires("root", "busybox", "slurmctld", "slurmd", "srun", "munged", "ip", "nsenter")

LOOP = 'trap "echo told; exit 3" TERM; echo started; while :; do sleep 0.1; done'


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    slurm = Slurm(tmp_path_factory.mktemp("slurm"))
    yield slurm
    slurm.end()


@pytest.fixture
def slurm(cluster: Slurm) -> Iterator[Slurm]:
    """A Slurm of one node, whose jobs leave nothing behind."""
    yield cluster
    cluster.nothing_left()


@pytest.fixture
def container(bundle: Bundle) -> str:
    """The bundle as a job asks for it. Slurm takes the command, the environment and the terminal from the job."""
    bundle.write()
    return f"--container={bundle.path}"


def test_srun_has_the_output_and_the_exit_status(slurm: Slurm, container: str) -> None:
    done = slurm("srun", container, "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.status, done.stdout) == (7, "out\n")
    # srun's own line and the command's come in any order.
    assert "err" in done.stderr.splitlines()


def test_the_command_is_the_first_of_its_pid_namespace_and_has_the_jobs_environment(slurm: Slurm, container: str) -> None:
    done = slurm("srun", "--job-name=named", container, "sh", "-c", "echo $$ $SLURM_JOB_NAME").ok()
    assert done.stdout == "1 named\n"


def test_srun_s_standard_input_is_the_commands(slurm: Slurm, container: str, tmp_path: Path) -> None:
    (tmp_path / "input").write_text("from the job\n")
    assert slurm("srun", f"--input={tmp_path}/input", container, "cat").ok().stdout == "from the job\n"


def test_a_missing_program_is_told_in_pyrts_words(slurm: Slurm, container: str) -> None:
    done = slurm("srun", container, "no-such")
    assert done.status == 1
    assert 'pyrt: exec: "no-such": executable file not found in $PATH' in done.stderr.splitlines()


def test_a_batch_script_runs_inside(slurm: Slurm, container: str, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\necho $$; cat /etc/hostname /etc/passwd | head -n 1; exit 4\n")
    done = slurm("sbatch", "--wait", container, f"--output={tmp_path}/output", str(script))
    assert done.status == 4, done.stderr
    assert (tmp_path / "output").read_text().splitlines()[0] == "1"


def cancelled(slurm: Slurm, container: str, script: str) -> Result:
    """A job that is cancelled by its name once it has said "started"."""
    job = slurm.popen("srun", "--unbuffered", "--job-name=doomed", container, "sh", "-c", script)
    try:
        assert job.stdout is not None
        assert job.stdout.readline() == "started\n"
        slurm("scancel", "--name=doomed").ok()
        stdout, stderr = job.communicate(timeout=60)
        return Result(job.returncode, stdout, stderr)
    finally:
        job.kill()
        job.wait()


def test_a_cancelled_job_can_end_by_itself(slurm: Slurm, container: str) -> None:
    done = cancelled(slurm, container, LOOP)
    assert done.stdout == "told\n"
    assert "task 0: Exited with exit code 3" in done.stderr


def test_a_cancelled_job_that_does_not_end_is_killed_with_its_children(slurm: Slurm, container: str) -> None:
    cancelled(slurm, container, 'trap "" TERM; sleep 1000 & echo started; wait; sleep 1000')
    # That nothing is left is asserted after each test; the state of a container that was killed is Slurm's to delete.
    slurm.nothing_left()
    assert slurm("ls", slurm.state).ok().stdout == ""


def test_the_container_stays_in_the_jobs_cgroup(slurm: Slurm, container: str) -> None:
    job = slurm.popen("srun", "--unbuffered", "--job-name=counted", container, "sh", "-c", LOOP)
    try:
        assert job.stdout is not None
        assert job.stdout.readline() == "started\n"
        [name] = slurm("ls", slurm.state).ok().stdout.split()
        assert name.startswith(f"{NODE}.root.")
        state = json.loads(slurm(str(PYRT), "--root", slurm.state, "state", name).ok().stdout)
        assert Path(f"/proc/{state['pid']}/cgroup").read_text() == Path(f"/proc/{os.getpid()}/cgroup").read_text()
    finally:
        slurm("scancel", "--name=counted").ok()
        job.communicate(timeout=60)
