"""A sandbox environment for inspect_ai: each sample has a container of this host's own system, without docker.

Import this module where the task is defined, and say `Task(..., sandbox="pyrt")`. `sandbox=("pyrt", "/srv/debian")` gives another root.
"""

import asyncio
import shlex
import subprocess
import uuid
from typing import Any

from inspect_ai.util import ExecResult, SandboxEnvironment, SandboxEnvironmentLimits, sandboxenv
from inspect_ai.util._sandbox.limits import OutputLimitExceededError

import pyrt

WORK = "/work"
LIMITS: dict[str, Any] = {"memory": "2G", "cpus": 2, "pids": 512}


@sandboxenv(name="pyrt")
class PyrtSandbox(SandboxEnvironment):
    """A container that waits, and commands that `exec` puts into it. Calls that block are made in a thread."""

    def __init__(self, container: pyrt.Container) -> None:
        super().__init__()
        self.container = container

    @classmethod
    async def sample_init(cls, task_name: str, config: Any, metadata: dict[str, str]) -> dict[str, SandboxEnvironment]:
        options = {"rootfs": config} if isinstance(config, str) else {}

        def create() -> pyrt.Container:
            mounts = [pyrt.Mount.tmpfs(WORK, size="1G")]
            name = f"inspect-{uuid.uuid4().hex}"
            container = pyrt.Runtime().create(name, args=["sleep", "infinity"], mounts=mounts, **LIMITS, **options)
            container.start()
            return container

        return {"default": cls(await asyncio.to_thread(create))}

    @classmethod
    async def sample_cleanup(cls, task_name: str, config: Any, environments: dict[str, SandboxEnvironment], interrupted: bool) -> None:
        for environment in environments.values():
            if isinstance(environment, PyrtSandbox):
                await asyncio.to_thread(environment.container.delete, force=True)

    async def exec(
        self,
        cmd: list[str],
        input: str | bytes | None = None,
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        user: str | None = None,
        timeout: int | None = None,
        timeout_retry: bool = True,
        concurrency: bool = True,
    ) -> ExecResult[str]:
        done = await self._run(cmd, input, cwd=cwd, env=env, user=user, timeout=timeout)
        for stream in (done.stdout, done.stderr):
            if len(stream) > SandboxEnvironmentLimits.MAX_EXEC_OUTPUT_SIZE:
                limit = SandboxEnvironmentLimits.MAX_EXEC_OUTPUT_SIZE
                raise OutputLimitExceededError(SandboxEnvironmentLimits.MAX_EXEC_OUTPUT_SIZE_STR, stream[:limit].decode(errors="replace"))
        out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        return ExecResult(done.returncode == 0, done.returncode, out, err)

    async def write_file(self, file: str, contents: str | bytes) -> None:
        path = shlex.quote(file)
        data = contents.encode() if isinstance(contents, str) else contents
        await self._file(f'test ! -d {path} || exit 21; mkdir -p -- "$(dirname -- {path})" && cat > {path}', file, data)

    async def read_file(self, file: str, text: bool = True) -> str | bytes:  # type: ignore[override]
        path = shlex.quote(file)
        limit = SandboxEnvironmentLimits.MAX_READ_FILE_SIZE
        data = await self._file(f"test -e {path} || exit 2; test ! -d {path} || exit 21; head -c {limit + 1} -- {path}", file)
        if len(data) > limit:
            raise OutputLimitExceededError(SandboxEnvironmentLimits.MAX_READ_FILE_SIZE_STR, None)
        return data.decode() if text else data

    async def _file(self, script: str, file: str, data: bytes | None = None) -> bytes:
        """A shell line about a file; its exit statuses 2 and 21 are the errno of that number."""
        done = await self._run(["sh", "-c", script], data)
        if done.returncode == 2:
            raise FileNotFoundError(2, "no such file in the sandbox", file)
        if done.returncode == 21:
            raise IsADirectoryError(21, "is a directory in the sandbox", file)
        if done.returncode != 0:
            raise PermissionError(13, done.stderr.decode(errors="replace").strip(), file)
        return done.stdout

    async def _run(
        self, cmd: list[str], input: str | bytes | None, *, cwd: str | None = None, **options: Any
    ) -> subprocess.CompletedProcess[bytes]:
        given = input.encode() if isinstance(input, str) else input
        where = cwd if cwd is not None and cwd.startswith("/") else f"{WORK}/{cwd or ''}"
        options = {name: value for name, value in options.items() if value is not None}
        try:
            return await asyncio.to_thread(self.container.exec, cmd, input=given, capture_output=True, cwd=where, **options)
        except pyrt.ContainerTimeout as error:
            raise TimeoutError(str(error)) from error
        except pyrt.ExecutableError as error:
            # What a shell would say of it.
            status = 127 if isinstance(error, FileNotFoundError) else 126
            return subprocess.CompletedProcess(cmd, status, b"", str(error).encode())
