"""Judge a program: build it once, run it on every test within limits. `python3 examples/judge.py`."""

import tempfile
from dataclasses import dataclass

import pyrt

SOURCE = "import sys\nnumbers = [int(word) for word in sys.stdin.read().split()]\nprint(max(numbers))\n"
TESTS = [("3 1 2\n", "3\n"), ("-5 -7\n", "-5\n"), ("", "0\n")]


@dataclass
class Verdict:
    word: str
    milliseconds: float
    mebibytes: float


def judge(program: pyrt.Mount, given: str, wanted: str) -> Verdict:
    try:
        done = pyrt.run(
            ["python3", "-I", "/program"],
            mounts=[program],
            input=given,
            capture_output=True,
            text=True,
            memory="128M",
            pids=16,
            cpu_time=2,
            timeout=10,
            max_output="64K",
        )
    except pyrt.ContainerTimeout as error:
        done = error.result
    words = {
        pyrt.Cause.TIMEOUT: "too slow",
        pyrt.Cause.CPU_TIME: "too slow",
        pyrt.Cause.OOM: "out of memory",
        pyrt.Cause.PIDS: "forked too much",
    }
    word = words.get(done.cause) or ("crashed" if done.returncode != 0 else "accepted" if done.stdout == wanted else "wrong answer")
    # None where no controller of this host counts it; the largest process's memory is always known.
    memory = done.usage.memory_peak_bytes or done.max_rss_bytes or 0
    return Verdict(word, (done.usage.cpu_usec or 0) / 1000, memory / (1 << 20))


def main() -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
        file.write(SOURCE)
        file.flush()
        program = pyrt.Mount.bind(file.name, "/program", read_only=True)
        if pyrt.run(["python3", "-c", "compile(open('/program').read(), 'program', 'exec')"], mounts=[program]).returncode != 0:
            raise SystemExit("it does not compile")
        for given, wanted in TESTS:
            verdict = judge(program, given, wanted)
            print(f"{verdict.word:14} {verdict.milliseconds:8.1f} ms {verdict.mebibytes:8.1f} MiB")


if __name__ == "__main__":
    main()
