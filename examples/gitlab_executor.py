#!/usr/bin/env python3
"""A custom executor of GitLab's runner that runs each job in a container of this host's own system, copy-on-write.

In the runner's config.toml (docs.gitlab.com/runner/executors/custom):

    [runners.custom]
      config_exec = "/opt/pyrt/gitlab_executor.py"
      config_args = ["config"]
      prepare_exec = "/opt/pyrt/gitlab_executor.py"
      prepare_args = ["prepare"]
      run_exec = "/opt/pyrt/gitlab_executor.py"
      run_args = ["run"]
      cleanup_exec = "/opt/pyrt/gitlab_executor.py"
      cleanup_args = ["cleanup"]

The stages are processes of their own, so the container has an id and outlives them: `Runtime`, not `run`. PYRT_ROOTFS in the job's
variables names another root.
"""

import contextlib
import json
import os
import sys

import pyrt

BUILDS, CACHE = "/builds", "/cache"
LIMITS = {"memory": "4G", "cpus": 2, "pids": 4096}


def variable(name: str, otherwise: str = "") -> str:
    """A variable of the job; the runner passes them on with this prefix."""
    return os.environ.get(f"CUSTOM_ENV_{name}", otherwise)


def container_id() -> str:
    return f"gitlab-{variable('CI_RUNNER_ID', '0')}-{variable('CI_PROJECT_ID', '0')}-{variable('CI_JOB_ID', '0')}"


def fail(reason: str, *, of_system: bool) -> "NoReturn":  # type: ignore[name-defined]  # noqa: F821
    """The runner says which status means that the job failed, and which that the machine did."""
    print(reason, file=sys.stderr)
    raise SystemExit(int(os.environ["SYSTEM_FAILURE_EXIT_CODE" if of_system else "BUILD_FAILURE_EXIT_CODE"]))


def config() -> None:
    driver = {"name": "pyrt", "version": pyrt.__version__}
    print(json.dumps({"builds_dir": BUILDS, "cache_dir": CACHE, "builds_dir_is_shared": False, "driver": driver}))


def prepare(runtime: pyrt.Runtime) -> None:
    options = {"rootfs": variable("PYRT_ROOTFS")} if variable("PYRT_ROOTFS") else {}
    mounts = [pyrt.Mount.tmpfs(BUILDS, size="8G"), pyrt.Mount.tmpfs(CACHE, size="1G")]
    # The network is the host's: a job clones, and fetches packages.
    with open(os.devnull, "r+b") as null:
        # Not the stage's own output: the runner waits until nobody holds that any more.
        stdio = (null.fileno(),) * 3
        container = runtime.create(
            container_id(), args=["sleep", "infinity"], stdio=stdio, network="host", mounts=mounts, **LIMITS, **options
        )
    container.start()
    print(f"container {container.id} is ready")


def run(runtime: pyrt.Runtime, script: str, stage: str) -> None:
    with open(script, "rb") as file:
        done = runtime.get(container_id()).exec(["sh"], stdin=file, stdout=sys.stdout, stderr=sys.stderr, cwd=BUILDS)
    if done.returncode != 0:
        fail(f"{stage}: {done.explanation}", of_system=False)


def cleanup(runtime: pyrt.Runtime) -> None:
    with contextlib.suppress(pyrt.NotFound):  # where `prepare` made none
        runtime.get(container_id()).delete(force=True)


def main() -> None:
    stage, *words = sys.argv[1:]
    try:
        if stage == "config":
            config()
        elif stage == "prepare":
            prepare(pyrt.Runtime())
        elif stage == "run":
            run(pyrt.Runtime(), *words)
        elif stage == "cleanup":
            cleanup(pyrt.Runtime())
        else:
            raise SystemExit(f"no such stage: {stage}")
    except pyrt.Error as error:
        fail(str(error), of_system=True)


if __name__ == "__main__":
    main()
