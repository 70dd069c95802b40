"""What lies in `examples/` runs as it is: the programs of the how-tos, and the adapters; those of other packages where these are there."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import pyrt

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
LINES_OF_AN_ADAPTER = 150


def run(name: str, *arguments: str, cwd: Path, status: int = 0, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments],
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def needs(package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(find_spec(package) is None, reason=f"{package} is not installed (pip install {package})")


def test_generated_code_is_run_and_its_end_explained(tmp_path: Path) -> None:
    said = run("sandbox.py", cwd=tmp_path).splitlines()
    assert said[:2] == ["EXITED: it ended with exit status 0", "  printed '45\\n'"]
    assert "URLError" in said[5]
    assert said[6].startswith("OOM: the kernel killed it: out of memory at its limit of 256 MiB")


def test_a_program_is_judged(tmp_path: Path) -> None:
    said = [line.split()[0] for line in run("judge.py", cwd=tmp_path).splitlines()]
    assert said == ["accepted", "accepted", "crashed"]


def test_a_step_leaves_the_checkout_as_it_was(tmp_path: Path) -> None:
    # Below /tmp, which the view shows as a directory of its own: shown by `here`.
    said = run("ci_step.py", cwd=tmp_path).splitlines()
    assert said == ["  | building", "  | output.txt", "exit status 0; it added 2, changed 0, deleted 0 files"]
    assert list(tmp_path.iterdir()) == []
    run("ci_step.py", "exit 3", cwd=tmp_path, status=3)


def test_many_jobs_share_a_budget(tmp_path: Path) -> None:
    assert run("parallel.py", cwd=tmp_path).startswith(f"sum {sum(number * number for number in range(50))}; ")


def test_the_stages_of_a_gitlab_job(tmp_path: Path) -> None:
    environment = {
        "CUSTOM_ENV_CI_JOB_ID": str(os.getpid()),
        "SYSTEM_FAILURE_EXIT_CODE": "2",
        "BUILD_FAILURE_EXIT_CODE": "1",
    }

    def stage(*words: str, status: int = 0) -> str:
        return run("gitlab_executor.py", *words, cwd=tmp_path, status=status, environment=environment)

    script = tmp_path / "script"
    assert '"builds_dir": "/builds"' in stage("config")
    try:
        stage("prepare")
        script.write_text("pwd; echo kept > file")
        assert stage("run", str(script), "build_script") == "/builds\n"
        script.write_text("cat file; exit 9")
        assert stage("run", str(script), "after_script", status=1) == "kept\n"
        stage("prepare", status=2)
    finally:
        stage("cleanup")
        stage("cleanup")
    assert pyrt.Runtime().list() == [] or all(str(os.getpid()) not in container.id for container in pyrt.Runtime().list())


@pytest.mark.parametrize("adapter", ["gitlab_executor.py", "inspect_ai_sandbox.py", "autogen_executor.py"])
def test_an_adapter_is_short(adapter: str) -> None:
    assert len((EXAMPLES / adapter).read_text().splitlines()) <= LINES_OF_AN_ADAPTER


@needs("autogen_core")
def test_autogen_s_blocks_share_a_directory_and_stop_at_the_first_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    from autogen_core import CancellationToken
    from autogen_core.code_executor import CodeBlock
    from autogen_executor import PyrtCodeExecutor

    async def main() -> None:
        async with PyrtCodeExecutor(tmp_path, timeout=60) as executor:
            blocks = [CodeBlock("open('f', 'w').write('kept')", "python"), CodeBlock("cat f; exit 3", "sh"), CodeBlock("echo no", "sh")]
            result = await executor.execute_code_blocks(blocks, CancellationToken())
            assert (result.exit_code, result.output) == (3, "kept")

    asyncio.run(main())


@needs("inspect_ai")
def test_inspect_ai_s_environment_executes_and_keeps_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    from inspect_ai_sandbox import PyrtSandbox

    async def main() -> None:
        environments = await PyrtSandbox.sample_init("task", None, {})
        box = environments["default"]
        try:
            assert (await box.exec(["sh", "-c", "pwd; cat"], input="given")).stdout == "/work\ngiven"
            await box.write_file("a/b.txt", "hello\r\n")
            assert await box.read_file("a/b.txt") == "hello\r\n"
            with pytest.raises(IsADirectoryError):
                await box.read_file("a")
            with pytest.raises(FileNotFoundError):
                await box.read_file("none")
            with pytest.raises(TimeoutError):
                await box.exec(["sleep", "1000"], timeout=1)
            assert (await box.exec(["no-such-program"])).returncode == 127
        finally:
            await PyrtSandbox.sample_cleanup("task", None, environments, False)

    asyncio.run(main())
