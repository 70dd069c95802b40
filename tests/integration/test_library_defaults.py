"""What a container of the library is given unless somebody says otherwise: a test for each row of the table in docs/library.md, "Defaults".

Neighbours: test_host_view.py (what the root shows, file by file), test_capabilities.py, test_command_line.py (the people's form).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import pyrt
from helpers import proc
from helpers.hosts import requires
from pyrt import defaults

DOCKERS_CAPABILITIES = {
    f"CAP_{name}"
    for name in [
        "CHOWN",
        "DAC_OVERRIDE",
        "FSETID",
        "FOWNER",
        "MKNOD",
        "NET_RAW",
        "SETGID",
        "SETUID",
        "SETFCAP",
        "SETPCAP",
        "NET_BIND_SERVICE",
        "SYS_CHROOT",
        "KILL",
        "AUDIT_WRITE",
    ]
}
"""Written down anew, from docker's documentation."""


def output(script: str, **options: object) -> str:
    """What a shell script prints in a container."""
    done = pyrt.run(["sh", "-c", script], capture_output=True, text=True, **options)  # type: ignore[call-overload]
    assert (done.stderr, done.returncode) == ("", 0)
    text: str = done.stdout
    return text


# root


def test_the_root_is_the_host_view() -> None:
    assert output("cat /etc/os-release") == Path("/etc/os-release").read_text()
    assert output("ls -A /home /srv /opt /var/tmp") == "/home:\n\n/opt:\n\n/srv:\n\n/var/tmp:\n"


def test_the_root_is_copy_on_write_and_thrown_away() -> None:
    assert output("echo x > /usr/pyrt-made; rm /usr/bin/env; cat /usr/pyrt-made") == "x\n"
    assert not os.path.exists("/usr/pyrt-made")
    assert os.path.exists("/usr/bin/env")
    assert output("ls -d /usr/bin/env") == "/usr/bin/env\n"


def test_a_rootfs_is_copy_on_write_too(rootfs: Path) -> None:
    assert output("echo x > /made; cat /made", rootfs=rootfs) == "x\n"
    assert not (rootfs / "made").exists()


# namespaces


def test_pid_mount_ipc_uts_cgroup_and_network_are_new_and_no_user_namespace_is() -> None:
    inside, outside = proc.printed_namespaces(output(proc.SHOW_NAMESPACES)), proc.namespaces_of("self")
    shared = {kind for kind in inside if inside[kind] == outside[kind]}
    assert shared == {"user", "time"}


def test_a_spec_of_the_defaults_names_what_was_chosen() -> None:
    said = repr(pyrt.Spec.for_run(["true"]))
    for part in ("args=['true']", "no_new_privileges=True", "'network': None", "'CAP_KILL'", "hostname='pyrt'"):
        assert part in said


def test_the_host_name_is_pyrt() -> None:
    assert output("uname -n") == "pyrt\n"
    assert output("uname -n", hostname="other") == "other\n"


# network


def test_the_network_has_only_lo_which_is_up() -> None:
    interfaces = output("cat /proc/net/dev").splitlines()[2:]
    assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]
    listen = "import socket; s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname()); print('connected')"
    assert output(f'python3 -c "{listen}"') == "connected\n"


def test_localhost_and_the_host_name_have_addresses_and_no_server_is_asked() -> None:
    script = "python3 -c 'import socket; print(*[socket.gethostbyname(name) for name in (\"localhost\", socket.gethostname())])'"
    assert output(script) == "127.0.0.1 127.0.1.1\n"
    assert output(script, hostname="other") == "127.0.0.1 127.0.1.1\n"
    assert output("cat /etc/hosts") == "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\tpyrt\n"
    assert pyrt.run(["test", "-e", "/etc/resolv.conf"]).returncode == 1


@pytest.mark.parametrize("options", [{"network": "host"}, {"namespaces": {"net": "host"}}], ids=str)
def test_the_host_s_network_comes_with_its_names(options: dict[str, object]) -> None:
    assert proc.printed_namespaces(output(proc.SHOW_NAMESPACES, **options))["network"] == proc.namespaces_of("self")["network"]
    for name in ("/etc/hosts", "/etc/resolv.conf"):
        if os.path.exists(name) and os.stat(name).st_mode & 0o004:
            assert output(f"cat {name}", **options) == Path(name).read_text()


def test_hidden_names_of_the_network_stay_hidden() -> None:
    view = pyrt.HostView(hide=["/etc/hosts", "/etc/resolv.conf"])
    assert output("ls /etc/hosts /etc/resolv.conf 2>&1 | grep -c 'No such file'", host_view=view) == "2\n"
    assert output("ls /etc/hosts /etc/resolv.conf 2>&1 | grep -c 'No such file'", host_view=view, network="host") == "2\n"


# env


def test_the_environment_is_path_home_lang_and_term(monkeypatch: pytest.MonkeyPatch, rootfs: Path) -> None:
    monkeypatch.setenv("LANG", "xx_XX")
    monkeypatch.setenv("SECRET_OF_THE_CALLER", "1")
    usual = {"HOME": "/root", "LANG": "C.UTF-8", "TERM": "xterm"}
    assert lines(pyrt.run(["env"], rootfs=rootfs, stdout=pyrt.PIPE, text=True).stdout) == {**usual, "PATH": defaults.PATH}
    in_view = lines(pyrt.run(["env"], stdout=pyrt.PIPE, text=True).stdout)
    assert in_view.pop("PATH").endswith(defaults.PATH)
    assert in_view == usual


def lines(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines())


# capabilities, privileges, devices


def test_capabilities_are_docker_s_less_mknod_with_no_new_privileges() -> None:
    status = proc.status(output("cat /proc/self/status"))
    held = proc.mask((DOCKERS_CAPABILITIES - {"CAP_MKNOD"}) & proc.held())
    assert (status["CapEff"], status["CapBnd"]) == (held, held)
    assert (status["CapInh"], status["CapAmb"], status["NoNewPrivs"]) == (proc.mask([]), proc.mask([]), "1")


def test_devices_are_the_usual_ones_and_no_other_can_be_made() -> None:
    names = output("cd /dev; ls -1").split()
    assert sorted(names) == sorted(
        ["fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom", "zero"]
    )
    done = pyrt.run(["mknod", "/tmp/null", "c", "1", "3"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "mknod: /tmp/null: Operation not permitted\n")


@pytest.fixture
def planted_device(rootfs: Path) -> Iterator[Path]:
    """/dev/null's device, outside /dev."""
    path = rootfs / "device"
    os.mknod(path, 0o666 | 0o020000, os.makedev(1, 3))
    yield path
    path.unlink()


@pytest.mark.parametrize("overlay", [True, False])
def test_a_device_that_the_root_brings_cannot_be_opened(rootfs: Path, planted_device: Path, overlay: bool) -> None:
    planted_device.read_bytes()  # the host's root can
    done = pyrt.run(["cat", "/device"], rootfs=rootfs, overlay=overlay, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "cat: can't open '/device': Permission denied\n")


def test_a_device_of_a_bind_mount_cannot_be_opened_unless_dev_is_said(rootfs: Path, planted_device: Path) -> None:
    mount = pyrt.Mount.bind(rootfs, "/mnt")
    assert pyrt.run(["cat", "/mnt/device"], mounts=[mount], stderr=pyrt.DEVNULL).returncode == 1
    open_to_devices = pyrt.Mount("/mnt", source=rootfs, options=["rbind", "dev"])
    assert pyrt.run(["cat", "/mnt/device"], mounts=[open_to_devices], stderr=pyrt.DEVNULL).returncode == 0


def test_kernel_files_that_tell_or_change_too_much_are_masked_or_read_only() -> None:
    for path in ("/proc/kcore", "/proc/keys", "/proc/timer_list"):
        if os.path.exists(path):
            assert output(f"head -c 1 {path}") == ""
    assert "Read-only file system" in output("(echo 1 > /proc/sys/kernel/panic) 2>&1; (echo h > /proc/sysrq-trigger) 2>&1; :")
    assert output("(mkdir /sys/fs/cgroup/x) 2>&1 || :").endswith("Read-only file system\n")


# session, stdin, cwd, umask


def test_the_session_is_the_container_s_own_without_a_terminal() -> None:
    # Fields 6 and 7 of proc_pid_stat(5): session and terminal.
    assert output("cut -d ' ' -f 6,7 /proc/$$/stat") == output("echo $$ 0")
    assert output("(: < /dev/tty) 2>&1 || :").endswith("No such device or address\n")


def test_standard_input_is_dev_null() -> None:
    assert output("readlink /proc/self/fd/0") == "/dev/null\n"


def test_the_current_directory_is_the_root_and_the_umask_022(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = os.umask(0o077)
    try:
        assert output("pwd; umask") == "/\n0022\n"
    finally:
        os.umask(before)
    assert output("pwd", here=True) == f"{tmp_path}\n"


# upper layer, limits


@pytest.mark.parametrize(("options", "size"), [({}, 1 << 30), ({"memory": "64M"}, 64 << 20), ({"memory": "64M", "size": "8M"}, 8 << 20)])
def test_what_may_be_written_is_as_large_as_the_memory_limit_else_1_gib(options: dict[str, object], size: int) -> None:
    blocks, block_size = (int(word) for word in output("stat -f -c '%b %S' /", **options).split())
    assert blocks * block_size == size


@requires("pids controller")
def test_pids_are_limited_and_memory_and_cpu_are_not() -> None:
    spec = pyrt.Spec.for_run(["true"])
    assert spec.config["linux"]["resources"] == {"pids": {"limit": 2048}}
    assert pyrt.run(["true"]).usage.memory_limit_bytes is None


def test_the_defaults_need_no_warning() -> None:
    lacking = (DOCKERS_CAPABILITIES - {"CAP_MKNOD"}) - proc.held()
    assert (pyrt.run(["true"]).warnings == []) is (not lacking)
