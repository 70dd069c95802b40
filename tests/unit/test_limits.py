"""Limits, sizes, Usage, Rlimit, Mount and signal names: what a person may write, and what config.json gets.

Neighbours: tests/integration/test_cgroups.py and test_run_limits.py, where limits are enforced.
"""

from __future__ import annotations

import pickle
import signal

import pytest

from pyrt import Capability, Limits, Mount, Rlimit, SpecError, Usage
from pyrt.cgroups import below_root
from pyrt.limits import size_bytes
from pyrt.rlimits import UNLIMITED, rlimit_entries
from pyrt.signals import number

# Sizes


@pytest.mark.parametrize(
    ("said", "size"),
    [
        (0, 0),
        (4096, 4096),
        ("4096", 4096),
        ("4096b", 4096),
        ("1k", 1 << 10),
        ("256M", 256 << 20),
        ("256mb", 256 << 20),
        ("256 MiB", 256 << 20),
        ("1.5G", 3 << 29),
        (" 2T ", 2 << 40),
    ],
)
def test_a_size_is_bytes_or_a_number_with_a_unit_of_1024(said: int | str, size: int) -> None:
    assert size_bytes(said) == size


@pytest.mark.parametrize("said", ["", "M", "1X", "-1", "1e3", "0x10", "1.2.3G", "1 2", "G1", "٣", "inf", "nan", -1])
def test_what_is_no_size_is_refused_as_it_was_written(said: int | str) -> None:
    with pytest.raises(ValueError, match="size"):
        size_bytes(said)


@pytest.mark.parametrize("said", [1.5, True, None, b"1M"])
def test_a_size_of_another_type_is_refused(said: object) -> None:
    with pytest.raises(TypeError, match="a size is an int of bytes or a str"):
        size_bytes(said)  # type: ignore[arg-type]


# Limits


def test_limits_become_the_spec_s_resources() -> None:
    limits = Limits(memory="256M", memory_swap=-1, memory_reservation="128M", cpus=0.5, cpuset=[0, 2], cpuset_mems="0", pids=64)
    assert limits.resources() == {
        "memory": {"limit": 256 << 20, "swap": -1, "reservation": 128 << 20},
        "cpu": {"quota": 50_000, "period": 100_000, "cpus": "0,2", "mems": "0"},
        "pids": {"limit": 64},
    }


def test_no_limits_are_no_resources() -> None:
    assert Limits().resources() == {}
    assert repr(Limits()) == "Limits()"


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"memory": 0}, "memory is 0"),
        ({"memory": "1X"}, "size '1X'"),
        ({"memory_swap": "1G"}, "needs memory= too"),
        ({"memory": "2G", "memory_swap": "1G"}, "cannot be below memory"),
        ({"cpus": 0}, "cpus 0"),
        ({"cpus": -1}, "cpus -1"),
        ({"cpus": float("nan")}, "cpus nan"),
        ({"cpus": 1e9}, "cpus 1000000000"),
        ({"cpu_weight": 0}, "cpu_weight 0 is not from 1 to 10000"),
        ({"io_weight": 10_001}, "io_weight 10001"),
        ({"pids": 0}, "pids 0"),
        ({"pids": -2}, "pids -2"),
        ({"cpuset": []}, "cpuset is empty"),
    ],
)
def test_limits_out_of_range_are_refused_by_name(said: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Limits(**said)  # type: ignore[arg-type]


def test_limits_laid_over_others_change_what_they_name() -> None:
    assert Limits(memory="1M", pids=4).merged(Limits(pids=8)) == Limits(memory="1M", pids=8)
    with pytest.raises(ValueError, match="cannot be below memory"):
        Limits(memory="1M", memory_swap="2M").merged(Limits(memory="4M"))


def test_limits_compare_by_value() -> None:
    assert Limits(memory="1K") == Limits(memory=1024)
    assert hash(Limits(memory="1K")) == hash(Limits(memory=1024))
    assert Limits(memory="1K") != Limits(memory="2K")
    assert Limits() != "Limits()"


# Usage


def test_a_usage_knows_why_a_number_is_missing() -> None:
    usage = Usage({"cpu_usec": 7, "memory_bytes": None})
    assert (usage.cpu_usec, usage.reason("cpu_usec")) == (7, None)
    assert usage.reason("memory_bytes") == "no memory controller that was joined counts it"
    assert usage.reason("max_rss_bytes") == "known only of a container that has ended"
    assert repr(usage) == "Usage(cpu_usec=7)"
    assert pickle.loads(pickle.dumps(usage)) == usage


# Cgroup paths


@pytest.mark.parametrize(
    ("said", "path"), [("jobs/7", "/pyrt-jobs/7"), ("/jobs/7", "/jobs/7"), ("jobs//7/", "/pyrt-jobs/7"), ("//a", "/a")]
)
def test_a_relative_cgroup_is_pyrt_s_own(said: str, path: str) -> None:
    assert below_root(said) == path


@pytest.mark.parametrize("said", ["", "/", ".", "..", "a/..", "a/./b", "/../a", "a\0b"])
def test_a_cgroup_path_that_could_leave_its_place_is_refused(said: str) -> None:
    with pytest.raises(ValueError, match="cgroup path"):
        below_root(said)


# Rlimits


def test_rlimits_are_said_as_objects_or_by_name() -> None:
    named: dict[str, int | tuple[int, int]] = {"core": 0, "rlimit_nproc": (1, -1)}
    assert rlimit_entries([Rlimit("NOFILE", 1, 2)]) == [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}]
    assert rlimit_entries(named) == [
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
        {"type": "RLIMIT_NPROC", "soft": 1, "hard": UNLIMITED},
    ]
    assert Rlimit("nofile", 5) == Rlimit("RLIMIT_NOFILE", 5, 5)


@pytest.mark.parametrize(("soft", "hard"), [(2, 1), (-1, 5), (-2, None), (1 << 64, None)])
def test_an_rlimit_whose_soft_limit_is_above_the_hard_one_is_refused(soft: int, hard: int | None) -> None:
    with pytest.raises(ValueError, match="RLIMIT_NOFILE: soft limit"):
        Rlimit("NOFILE", soft, hard)


# Mounts


def test_a_mount_is_an_entry_of_config_json_and_back() -> None:
    mount = Mount("/data", source="/srv", options=["rbind", "ro"])
    assert mount.to_config() == {"destination": "/data", "type": "bind", "source": "/srv", "options": ["rbind", "ro"]}
    assert Mount.from_config(mount.to_config()) == mount
    assert Mount.from_config({"destination": "/x", "source": "/y", "options": ["rbind"]}).type == "bind"
    assert Mount.from_config({"destination": "/x"}).type == "none"


@pytest.mark.parametrize(
    ("said", "mount"),
    [
        ("type=bind,src=/a,dst=/b", Mount.bind("/a", "/b")),
        ("source=/a,target=/b,readonly", Mount.bind("/a", "/b", read_only=True)),
        ("src=/a,destination=/b,ro=false", Mount.bind("/a", "/b")),
        ("type=tmpfs,dst=/b", Mount.tmpfs("/b")),
        ("type=tmpfs,dst=/b,tmpfs-size=1M,tmpfs-mode=700", Mount.tmpfs("/b", size="1M", mode=0o700)),
    ],
)
def test_docker_s_spelling_of_mounts_is_read(said: str, mount: Mount) -> None:
    assert Mount.parse(said) == mount


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("", "'' is not known"),
        ("src=/a", "there is no dst"),
        ("dst=/b", "there is no src"),
        ("src=/a,dst=b", "'b' is not absolute"),
        ("src=/a,dst=/b,dst=/c", "dst is said twice"),
        ("src=/a,dst=/b,nonsense", "'nonsense' is not known"),
        ("src,dst=/b", "src has no value"),
        ("type=volume,src=a,dst=/b", "neither bind nor tmpfs"),
        ("type=tmpfs,src=/a,dst=/b", "src does not go with type tmpfs"),
        ("type=tmpfs,dst=/b,tmpfs-mode=9", "is not octal"),
        ("src=/a,dst=/b,ro=maybe", "neither true nor false"),
        ("src=/a,dst=/b,bind-propagation=up", "is not one of private"),
    ],
)
def test_a_mount_that_cannot_be_read_names_the_part(said: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Mount.parse(said)


# Signals, capabilities


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("TERM", 15),
        ("SIGTERM", 15),
        ("sigkill", 9),
        ("9", 9),
        (9, 9),
        (0, 0),
        ("IOT", 6),
        ("RTMIN", 34),
        ("SIGRTMIN+3", 37),
        ("RTMAX-1", 63),
    ],
)
def test_signals_are_said_by_name_or_number(said: str | int, value: int) -> None:
    assert number(said) == value


def test_signal_names_are_those_of_the_standard_library() -> None:
    for member in signal.Signals:
        assert number(member.name) == number(member) == member


@pytest.mark.parametrize("said", ["", "SIG", "NONSENSE", "-1", "65", 65, -1, "RTMIN-1", "RTMAX+1", "RTMIN+99", "²", "9 "])
def test_what_is_no_signal_is_refused(said: str | int) -> None:
    with pytest.raises(SpecError, match="unknown signal"):
        number(said)


@pytest.mark.parametrize("said", ["NET_ADMIN", "cap_net_admin", "CAP_NET_ADMIN"])
def test_capabilities_are_found_by_any_spelling_and_are_strings(said: str) -> None:
    assert Capability(said) is Capability.NET_ADMIN
    assert str(Capability(said)) == f"{Capability.NET_ADMIN.value}" == "CAP_NET_ADMIN"
