"""Run Python that somebody else wrote, and say what came of it. `python3 examples/sandbox.py [FILE]`; without one, three samples."""

import sys
from pathlib import Path

import pyrt

SAMPLES = [
    "print(sum(range(10)))",
    "import urllib.request; urllib.request.urlopen('https://example.com')",
    "data = []\nwhile True: data.append(bytearray(1 << 20))",
]


def execute(code: str) -> "pyrt.CompletedProcess[str]":
    """The output of the code, and why it ended; it can touch nothing of this machine."""
    try:
        return pyrt.run(
            ["python3", "-I", "-c", code],
            memory="256M",
            pids=64,
            cpus=1,
            timeout=30,
            cpu_time=10,
            max_output="1M",
            user="nobody",
            capture_output=True,
            text=True,
        )
    except pyrt.ContainerTimeout as error:
        return error.result


def main() -> None:
    codes = [Path(name).read_text() for name in sys.argv[1:]] or SAMPLES
    for code in codes:
        done = execute(code)
        last = (done.stderr.strip().splitlines() or [""])[-1]
        print(f"{done.cause.name}: {done.explanation}\n  printed {done.stdout!r}\n  complained {last!r}")


if __name__ == "__main__":
    main()
