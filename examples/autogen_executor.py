"""A code executor for autogen: each block of code runs in a container of its own, and all of them share one directory.

`async with PyrtCodeExecutor(directory) as executor: ...`, or give it to an agent that executes code. pip install autogen-core.
"""

import asyncio
from pathlib import Path

from autogen_core import CancellationToken
from autogen_core.code_executor import CodeBlock, CodeExecutor, CodeResult
from pydantic import BaseModel

import pyrt

WORK = "/work"
COMMANDS = {
    "python": ["python3", "-c"],
    "py": ["python3", "-c"],
    "sh": ["sh", "-c"],
    "bash": ["bash", "-c"],
    "shell": ["sh", "-c"],
}


class PyrtCodeExecutorConfig(BaseModel):
    work_dir: str
    timeout: float = 60
    memory: str = "1G"


class PyrtCodeExecutor(CodeExecutor):
    """Errors of the code are results; what pyrt itself cannot do is raised. Files that blocks leave lie in `work_dir`."""

    component_config_schema = PyrtCodeExecutorConfig
    component_provider_override = "autogen_executor.PyrtCodeExecutor"

    def __init__(self, work_dir: str | Path, *, timeout: float = 60, memory: str = "1G") -> None:
        self.work_dir = Path(work_dir)
        self.timeout = timeout
        self.memory = memory

    async def start(self) -> None:
        self.work_dir.mkdir(parents=True, exist_ok=True)

    async def stop(self) -> None:
        """Nothing is left to stop: no container outlives its block."""

    async def restart(self) -> None:
        await self.start()

    async def execute_code_blocks(self, code_blocks: list[CodeBlock], cancellation_token: CancellationToken) -> CodeResult:
        """The outputs one after the other, up to the first block that fails. Raises ValueError for a language that it does not know."""
        output = ""
        for block in code_blocks:
            words = COMMANDS.get(block.language.lower())
            if words is None:
                raise ValueError(f"no way to run {block.language!r}; known: {', '.join(COMMANDS)}")
            task = asyncio.create_task(self._run([*words, block.code]))
            # A cancelled token cancels the task, and that ends the container.
            cancellation_token.link_future(task)
            status, text = await task
            output += text
            if status != 0:
                return CodeResult(status, output)
        return CodeResult(0, output)

    async def _run(self, words: list[str]) -> tuple[int, str]:
        mount = pyrt.Mount.bind(self.work_dir, WORK)
        try:
            done = await pyrt.aio.run(
                words,
                mounts=[mount],
                cwd=WORK,
                memory=self.memory,
                pids=256,
                timeout=self.timeout,
                max_output="1M",
                stdout=pyrt.PIPE,
                stderr=pyrt.STDOUT,
                text=True,
            )
        except pyrt.ContainerTimeout as error:
            return 124, f"{error.stdout or ''}\n{error.result.explanation}\n"
        explained = "" if done.cause is pyrt.Cause.EXITED else f"\n{done.explanation}\n"
        return done.returncode, done.stdout + explained

    def _to_config(self) -> PyrtCodeExecutorConfig:
        return PyrtCodeExecutorConfig(work_dir=str(self.work_dir), timeout=self.timeout, memory=self.memory)

    @classmethod
    def _from_config(cls, config: PyrtCodeExecutorConfig) -> "PyrtCodeExecutor":
        return cls(config.work_dir, timeout=config.timeout, memory=config.memory)
