"""Exchange: buffers, deadline and cause of one container, without I/O and without a clock.

Neighbours: tests/integration/test_run.py and test_endings.py, where it is driven for real.
"""

from __future__ import annotations

from select import POLLIN, POLLOUT

import pytest

from pyrt.exchange import CHUNK, CPU_LOOK_LEAST_SECONDS, Bounds, Exchange
from pyrt.limits import Usage

STDIN, STDOUT, STDERR = 10, 11, 12


def exchange(data: bytes = b"", *, stdin: int | None = None, deadline: float | None = None) -> Exchange:
    return Exchange(stdin=stdin, data=data, outputs=(STDOUT, STDERR), deadline=deadline)


def test_outputs_are_wanted_until_their_end() -> None:
    made = exchange()
    assert made.wants() == [(STDOUT, POLLIN), (STDERR, POLLIN)]
    assert made.feed(STDOUT, b"a") is True
    assert made.feed(STDERR, b"x") is True
    assert made.feed(STDOUT, b"b") is True
    assert made.feed(STDOUT, b"") is False
    assert made.wants() == [(STDERR, POLLIN)]
    assert (made.output(STDOUT), made.output(STDERR), made.output(None)) == (b"ab", b"x", None)


def test_an_output_that_said_nothing_is_empty() -> None:
    assert exchange().output(STDOUT) == b""


def test_input_goes_out_in_pieces_until_all_is_sent() -> None:
    data = bytes(range(256)) * (CHUNK // 128)
    made, sent = exchange(data, stdin=STDIN), bytearray()
    assert (STDIN, POLLOUT) in made.wants()
    while True:
        piece = made.outgoing()
        assert 0 < len(piece) <= CHUNK
        taken = piece[: CHUNK // 3]
        sent += taken
        if not made.sent(len(taken)):
            break
    assert bytes(sent) == data
    assert (STDIN, POLLOUT) not in made.wants()


def test_input_that_nobody_reads_is_forgotten() -> None:
    made = exchange(b"data", stdin=STDIN)
    assert made.refused() is False
    assert made.wants() == [(STDOUT, POLLIN), (STDERR, POLLIN)]


@pytest.mark.parametrize(("deadline", "now", "remaining"), [(None, 5.0, None), (7.5, 5.0, 2.5), (5.0, 5.0, 0.0), (4.0, 5.0, 0.0)])
def test_what_remains_is_never_negative(deadline: float | None, now: float, remaining: float | None) -> None:
    assert exchange(deadline=deadline).remaining(now) == remaining


@pytest.mark.parametrize(
    ("returncode", "counters", "cause"),
    [
        (0, {}, "EXITED"),
        (3, {}, "EXITED"),
        (-15, {}, "SIGNALED"),
        (-9, {"oom_kills": 0}, "SIGNALED"),
        (-9, {"oom_kills": 1}, "OOM"),
        (-15, {"oom_kills": 1}, "SIGNALED"),
        (0, {"oom_kills": 1}, "EXITED"),
        (137, {"oom_kills": 1}, "EXITED"),
        (2, {"pids_limit_hits": 4}, "PIDS"),
        (0, {"pids_limit_hits": 4}, "EXITED"),
        (-6, {"pids_limit_hits": 4}, "PIDS"),
        (-9, {"oom_kills": 1, "pids_limit_hits": 4}, "OOM"),
    ],
)
def test_the_cause_is_what_the_kernel_did_before_what_the_command_did(returncode: int, counters: dict[str, int | None], cause: str) -> None:
    assert exchange().cause(returncode, Usage(counters)) == cause


def test_what_pyrt_did_is_the_cause_before_all_else() -> None:
    made = exchange()
    made.expire()
    assert made.cause(-9, Usage({"oom_kills": 1, "pids_limit_hits": 1})) == "TIMEOUT"
    assert made.cause(0, Usage({})) == "TIMEOUT"


def test_output_beyond_the_bound_is_dropped_and_said() -> None:
    made = Exchange(outputs=(STDOUT, STDERR), bounds=Bounds(max_output=3))
    assert made.feed(STDOUT, b"abc") is True
    assert made.truncated is False
    assert made.feed(STDOUT, b"d") is True
    assert made.feed(STDERR, b"xyzw") is True
    assert (made.output(STDOUT), made.output(STDERR), made.truncated, made.ended_by) == (b"abc", b"xyz", True, None)


def test_output_beyond_the_bound_ends_it_where_that_was_asked_for() -> None:
    made = Exchange(outputs=(STDOUT,), bounds=Bounds(max_output=3, kill_on_output=True))
    made.feed(STDOUT, b"abcd")
    assert made.ended_by == "OUTPUT"
    made.expire()
    assert made.ended_by == "OUTPUT", "the first reason counts"


def test_processor_time_is_looked_at_when_it_can_be_used_up_and_never_again_after() -> None:
    made = Exchange(bounds=Bounds(cpu_time=2.0, processors=4))
    assert made.patience(5.0, None) == 0.0
    assert made.cpu_used(400_000, 5.0) is False
    assert made.patience(5.0, None) == pytest.approx(0.4)
    assert made.patience(5.0, 5.1) == pytest.approx(0.1)
    assert made.cpu_used(1_999_999, 6.0) is False
    assert made.patience(6.0, None) == pytest.approx(CPU_LOOK_LEAST_SECONDS)
    assert made.cpu_used(2_000_000, 7.0) is True
    assert (made.ended_by, made.patience(7.0, None)) == ("CPU_TIME", None)


@pytest.mark.parametrize(
    ("returncode", "used", "cause"), [(-9, 2_000_000, "CPU_TIME"), (-9, 1_999_999, "SIGNALED"), (0, 3_000_000, "EXITED")]
)
def test_the_kernel_s_own_bound_on_processor_time_is_one_too(returncode: int, used: int, cause: str) -> None:
    assert Exchange(bounds=Bounds(cpu_time=2.0)).cause(returncode, Usage({"cpu_usec": used})) == cause
