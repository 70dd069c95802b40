"""Run a step of CI in a copy-on-write copy of the current directory. `python3 examples/ci_step.py 'make test'`; without words, a sample."""

import sys

import pyrt

SAMPLE = "echo building; mkdir -p build && echo artifact > build/output.txt; ls build"


def step(script: str) -> int:
    with pyrt.Popen(
        ["sh", "-e", "-c", script],
        here=True,
        keep_changes=True,
        memory="2G",
        pids=1024,
        env={"CI": "true"},
        stdout=pyrt.PIPE,
        stderr=pyrt.STDOUT,
        text=True,
    ) as box:
        assert box.stdout is not None
        for line in box.stdout:
            print(f"  | {line}", end="")
        status = box.wait(timeout=3600)
        changes = box.changes()
    print(f"exit status {status}; it added {len(changes.added)}, changed {len(changes.changed)}, deleted {len(changes.deleted)} files")
    return status


if __name__ == "__main__":
    raise SystemExit(step(" ".join(sys.argv[1:]) or SAMPLE))
