"""Containers spread over a cluster of dask.distributed, and what becomes of them when a worker is killed.

    pip install pyrt-oci distributed        # as root, with iproute2 and util-linux
    python examples/dask_cluster.py [--workers 2] [--jobs 12]

The nodes of the cluster are made here, so that this runs on one machine: each is a network, mount and pid namespace of its own, joined to
the scheduler's by a veth pair, and reaches nothing else. On real machines only `job` and `submit` are needed. A worker is killed in the
middle: its containers end with it, and Dask gives its jobs to another.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import psutil  # dask.distributed has it

import pyrt

PORT = 8786


def job(number: int) -> tuple[str, str]:
    """What runs on a worker: one container. Returns which node it was, and what the container printed."""
    import socket

    import pyrt

    # Any node may run it again: so it has no effect but its result.
    script = f"sleep 0.5; echo $(({number} * {number}))"
    done = pyrt.run(["sh", "-c", script], memory="64M", timeout=60, capture_output=True, text=True, check=True)
    return socket.gethostname(), done.stdout.strip()


def submit(scheduler: str, jobs: int) -> None:
    """The client: prints each result as it comes."""
    from distributed import Client, as_completed

    with Client(scheduler, timeout=60) as client:
        futures = {client.submit(job, number, pure=False, retries=3): number for number in range(jobs)}
        for future in as_completed(futures):
            node, printed = future.result()
            print(futures[future], printed, node, flush=True)


class Node:
    """A node: namespaces held open by pyrt, in which processes are started by nsenter(1)."""

    def __init__(self, name: str, stack: contextlib.ExitStack) -> None:
        self.name = name
        self._stack = stack
        self._namespaces = stack.enter_context(pyrt.Namespaces.create("net", "mnt", "pid", "uts"))
        self.run("hostname", name)
        # What the node mounts is its own, and its /proc shows its own processes.
        self.run("mount", "--make-rprivate", "/")
        self.run("mount", "-t", "proc", "proc", "/proc")
        self.run("ip", "link", "set", "lo", "up")

    def path(self, kind: str) -> str:
        """Of a namespace, for programs that this process starts."""
        return self._namespaces.paths()[kind].replace("self", str(os.getpid()))

    def _line(self, command: tuple[str, ...]) -> list[str]:
        kinds = (("net", "network"), ("mount", "mount"), ("pid", "pid"), ("uts", "uts"))
        entered = [f"--{option}={self.path(kind)}" for option, kind in kinds]
        return ["nsenter", *entered, "--", *command]

    def run(self, *command: str) -> None:
        subprocess.run(self._line(command), check=True)

    def join(self, other: Node, name: str) -> None:
        """A cable: `name` here, eth0 there. Only the network is entered: the other's is a path of this machine's /proc."""
        line = ["nsenter", f"--net={self.path('network')}", "ip", "link", "add", name, "type", "veth"]
        subprocess.run([*line, "peer", "name", "eth0", "netns", other.path("network")], check=True)

    def start(self, *command: str, **options: int) -> subprocess.Popen[str]:
        process = subprocess.Popen(self._line(command), text=True, **options)  # type: ignore[call-overload]
        self._stack.callback(end, process)
        return process  # type: ignore[no-any-return]


def end(process: subprocess.Popen[str]) -> None:
    """End what nsenter started, which then ends too."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children():
            child.send_signal(signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def killed(process: subprocess.Popen[str]) -> None:
    """What the machine's own out-of-memory killer, or its power switch, would do."""
    for child in psutil.Process(process.pid).children():
        child.kill()
    process.wait()


@contextlib.contextmanager
def cluster(count: int) -> Iterator[tuple[Node, str, list[subprocess.Popen[str]]]]:
    """A scheduler and its workers: the scheduler's node, its address, the workers."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with contextlib.ExitStack() as stack:
        head = Node("scheduler", stack)
        address = f"tcp://10.77.1.1:{PORT}"
        nodes = []
        for number in range(1, count + 1):
            node = Node(f"worker{number}", stack)
            veth = f"to{number}"
            head.join(node, veth)
            head.run("ip", "address", "add", f"10.77.{number}.1/24", "dev", veth)
            head.run("ip", "link", "set", veth, "up")
            node.run("ip", "address", "add", f"10.77.{number}.2/24", "dev", "eth0")
            node.run("ip", "link", "set", "eth0", "up")
            node.run("ip", "route", "add", "default", "via", f"10.77.{number}.1")
            nodes.append(node)
        # A worker asks another for what it has: through the scheduler's node.
        head.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        python = (sys.executable, "-m")
        head.start(*python, "distributed.cli.dask_scheduler", "--host", "0.0.0.0", "--port", str(PORT), "--no-dashboard", **quiet)
        scratch = stack.enter_context(tempfile.TemporaryDirectory())
        workers = [
            node.start(
                *(*python, "distributed.cli.dask_worker", address, "--nthreads", "2", "--no-nanny", "--no-dashboard"),
                *("--host", f"10.77.{number}.2", "--local-directory", f"{scratch}/{node.name}"),
                **quiet,
            )
            for number, node in enumerate(nodes, 1)
        ]
        yield head, address, workers


def main() -> None:
    parser = argparse.ArgumentParser(description="Containers over a cluster of dask.distributed.")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=12)
    parser.add_argument("--submit", metavar="SCHEDULER", help="be the client of a cluster that exists")
    options = parser.parse_args()
    if options.submit:
        submit(options.submit, options.jobs)
        return
    with cluster(options.workers) as (head, address, workers):
        client = head.start(sys.executable, __file__, "--submit", address, "--jobs", str(options.jobs), stdout=subprocess.PIPE)
        assert client.stdout is not None
        for count, line in enumerate(client.stdout, 1):
            print(line, end="", flush=True)
            if count == 2:
                print("killing the last worker", flush=True)
                killed(workers[-1])
        client.wait()
        client.stdout.close()
        sys.exit(client.returncode)


if __name__ == "__main__":
    main()
