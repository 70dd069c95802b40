"""pyrt.run for a user other than root: a user namespace of his own id alone, and the root that can be had in one.

Neighbours: test_rootless_ids.py (ranges of /etc/subuid), test_rootless_cgroups.py (limits), test_rootless_engine.py (the verbs).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from helpers import callers, hosts
from helpers import ordinary as users
from helpers.hosts import requires
from helpers.waiting import until

if TYPE_CHECKING:
    from helpers.ordinary import Ordinary

pytestmark = requires("ordinary users")

SHOW = """
words = sys.argv[2:]
done = pyrt.run(["sh", "-c", sys.argv[1]], capture_output=True, text=True)
print(json.dumps([done.returncode, done.stdout, done.stderr]))
"""
REFUSED = """
try:
    pyrt.run(["true"], **eval(sys.argv[1]))
except pyrt.Error as error:
    print(json.dumps([type(error).__name__, error.errno, str(error)]))
else:
    print(json.dumps(None))
"""


def shown(user: Ordinary, script: str) -> str:
    """Standard output of a shell script in a default container, which succeeds."""
    status, stdout, stderr = user.told(SHOW, script)
    assert (status, stderr) == (0, "")
    return str(stdout)


def with_rootfs(user: Ordinary, script: str, **options: str | bool) -> tuple[int, str]:
    code = "done = pyrt.run(['sh', '-c', sys.argv[1]], rootfs='rootfs', stdout=pyrt.PIPE, text=True, **json.loads(sys.argv[2]))\n"
    code += "print(json.dumps([done.returncode, done.stdout]))"
    status, stdout = user.told(code, script, json.dumps(options))
    return status, stdout


def test_the_caller_is_root_inside_and_nobody_else_is_mapped(ordinary: Ordinary) -> None:
    said = shown(ordinary, "id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups").split()
    assert said == ["0", "0", "0", str(ordinary.uid), "1", "0", str(ordinary.gid), "1", "deny"]


def test_every_kind_of_namespace_is_new_and_pid_1_is_inits(ordinary: Ordinary) -> None:
    kinds = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
    inside = shown(ordinary, f"cat /proc/1/comm; cd /proc/self/ns; readlink {' '.join(kinds)}").split()
    assert inside[0] == "pyrt-init"
    assert not {os.readlink(f"/proc/self/ns/{kind}") for kind in kinds} & set(inside[1:])


def test_the_view_shows_what_it_shows_to_root(ordinary: Ordinary) -> None:
    import pyrt

    script = "ls /etc /var /run; cat /etc/hosts; test -x /usr/bin/env"
    as_root = pyrt.run(["sh", "-c", script], stdout=pyrt.PIPE, text=True)
    assert shown(ordinary, script) == as_root.stdout


NOTHING_BELOW_USR = pytest.mark.skipif(
    any(line.split()[4].startswith("/usr/") for line in Path("/proc/self/mountinfo").read_text().splitlines()),
    reason="something is mounted below /usr here: it is read-only",
)


@NOTHING_BELOW_USR
def test_what_is_shown_can_be_written_and_the_host_has_none_of_it(ordinary: Ordinary) -> None:
    name = f"/usr/{ordinary.directory.name}"
    assert shown(ordinary, f"echo mine > {name}; cat {name}; echo new > /etc/new; cat /etc/new") == "mine\nnew\n"
    assert not Path(name).exists()
    assert not Path("/etc/new").exists()


@NOTHING_BELOW_USR
def test_what_is_written_to_all_parts_of_the_view_counts_against_one_size(ordinary: Ordinary) -> None:
    code = "script = 'head -c 900000 /dev/zero > /usr/a && head -c 900000 /dev/zero > /etc/b'\n"
    code += (
        "done = pyrt.run(['sh', '-c', script], size='1M', stderr=pyrt.PIPE, text=True)\nprint(json.dumps([done.returncode, done.stderr]))"
    )
    status, stderr = ordinary.told(code)
    assert status == 1
    assert "No space left on device" in stderr


def test_here_is_copy_on_write(ordinary: Ordinary) -> None:
    (ordinary.directory / "kept").write_text("old\n")
    (ordinary.directory / "removed").write_text("old\n")
    ordinary.owned(ordinary.directory)
    code = "done = pyrt.run(['sh', '-c', 'pwd; echo new > kept; rm removed; cat kept; ls'], here=True, stdout=pyrt.PIPE, text=True)\n"
    said = ordinary.told(code + "print(json.dumps(done.stdout))").split()
    assert said == [str(ordinary.directory), "new", "kept"]
    assert (ordinary.directory / "kept").read_text() == "old\n"
    assert (ordinary.directory / "removed").exists()


def test_a_directory_with_a_mount_below_it_is_shown_with_that_and_read_only(ordinary: Ordinary) -> None:
    """Locked mounts: the kernel gives no overlay of what they cover ("failed to clone lowerpath")."""
    below = ordinary.directory / "shown/below"
    below.mkdir(parents=True)
    ordinary.owned(ordinary.directory)
    code = """
show = os.path.join(os.getcwd(), "shown")
script = f"cat {show}/below/inside; echo x > {show}/new"
done = pyrt.run(["sh", "-c", script], host_view=pyrt.HostView(show=[show]), capture_output=True, text=True)
print(json.dumps([done.returncode, done.stdout, done.stderr]))
"""
    mount = users.inside("unshare --mount", f"mount -t tmpfs none {below}; echo mounted > {below}/inside")
    status, stdout, stderr = ordinary.told(code, before=mount)
    assert (status, stdout) != (0, "")
    assert stdout == "mounted\n"
    assert "Read-only file system" in stderr


def test_a_directory_on_another_mount_is_copy_on_write(ordinary: Ordinary) -> None:
    """As a home on a disk of its own, which an overlay of `/` could only show read-only."""
    shown = ordinary.directory / "shown"
    shown.mkdir()
    ordinary.owned(ordinary.directory)
    code = """
script = "cat inside; echo new > inside; cat inside"
os.chdir("shown")
done = pyrt.run(["sh", "-c", script], here=True, capture_output=True, text=True)
print(json.dumps([done.returncode, done.stdout, done.stderr, open("inside").read()]))
"""
    prepare = f"mount -t tmpfs none {shown}; echo old > {shown}/inside; chown -R {ordinary.uid}:{ordinary.gid} {shown}"
    told = ordinary.told(code, before=users.inside("unshare --mount", prepare))
    assert told == [0, "old\nnew\n", "", "old\n"]


def test_a_rootfs_is_copy_on_write(ordinary: Ordinary) -> None:
    rootfs = ordinary.rootfs()
    assert with_rootfs(ordinary, "echo new > /made; rm /bin/true; rm -r /home; mkdir /home; ls /home; cat /made") == (0, "new\n")
    assert not (rootfs / "made").exists()
    assert (rootfs / "bin/true").is_symlink() or (rootfs / "bin/true").exists()


def test_without_an_overlay_the_rootfs_is_written_as_the_caller(ordinary: Ordinary) -> None:
    rootfs = ordinary.rootfs()
    assert with_rootfs(ordinary, "echo new > /made", overlay=False) == (0, "")
    assert (rootfs / "made").stat().st_uid == ordinary.uid


def test_an_upper_layer_can_be_kept(ordinary: Ordinary) -> None:
    ordinary.rootfs()
    assert with_rootfs(ordinary, "echo new > /made", overlay="kept") == (0, "")
    assert (ordinary.directory / "kept/upper/made").read_text() == "new\n"
    assert with_rootfs(ordinary, "cat /made", overlay="kept") == (0, "new\n")


def test_a_bind_mount_brings_the_callers_files(ordinary: Ordinary) -> None:
    source = ordinary.directory / "source"
    source.mkdir(mode=0o700)
    (source / "file").write_text("read\n")
    ordinary.owned(ordinary.directory)
    code = "mounts = [f'type=bind,src={os.getcwd()}/source,dst=/mnt/in']\n"
    code += "done = pyrt.run(['sh', '-c', 'cat /mnt/in/file; echo new > /mnt/in/made'], mounts=mounts, stdout=pyrt.PIPE, text=True)\n"
    assert ordinary.told(code + "print(json.dumps([done.returncode, done.stdout]))") == [0, "read\n"]
    assert (source / "made").stat().st_uid == ordinary.uid


def test_what_belongs_to_root_stays_closed(ordinary: Ordinary, tmp_path: Path) -> None:
    secret = ordinary.directory / "secret"
    secret.write_text("secret\n")
    secret.chmod(0o600)
    code = "mounts = [f'type=bind,src={os.getcwd()}/secret,dst=/mnt/secret']\n"
    code += "done = pyrt.run(['cat', '/mnt/secret'], mounts=mounts, capture_output=True, text=True)\n"
    status, stdout, stderr = ordinary.told(code + "print(json.dumps([done.returncode, done.stdout, done.stderr]))")
    assert (status, stdout) == (1, "")
    assert "Permission denied" in stderr


def test_default_devices_are_the_hosts_own(ordinary: Ordinary) -> None:
    said = shown(ordinary, "cd /dev; stat -c %n:%t,%T null zero full random urandom tty; echo x > null; head -c 3 zero | wc -c").split()
    assert said == ["null:1,3", "zero:1,5", "full:1,7", "random:1,8", "urandom:1,9", "tty:5,0", "3"]


def test_the_hosts_network_brings_the_hosts_sysfs(ordinary: Ordinary) -> None:
    code = "done = pyrt.run(['ls', '/sys/class/net'], network='host', stdout=pyrt.PIPE, text=True)\nprint(json.dumps(done.stdout))"
    assert ordinary.told(code).split() == sorted(os.listdir("/sys/class/net"))


def test_the_clocks_of_a_time_namespace_are_set(ordinary: Ordinary) -> None:
    code = """
spec = pyrt.Spec.for_run(["cat", "/proc/uptime"])
spec.config["linux"]["namespaces"] = [*spec.config["linux"]["namespaces"], {"type": "time"}]
spec.config["linux"]["timeOffsets"] = {"boottime": {"secs": 1000000}}
print(json.dumps(pyrt.run(spec=spec, host_view=pyrt.HostView(), stdout=pyrt.PIPE, text=True).stdout))
"""
    outside = float(Path("/proc/uptime").read_text().split()[0])
    assert float(ordinary.told(code).split()[0]) >= outside + 1_000_000


def test_oom_score_adj_is_set(ordinary: Ordinary) -> None:
    code = """
spec = pyrt.Spec.for_run(["cat", "/proc/self/oom_score_adj"])
spec.config["process"]["oomScoreAdj"] = 321
print(json.dumps(pyrt.run(spec=spec, host_view=pyrt.HostView(), stdout=pyrt.PIPE, text=True).stdout))
"""
    assert ordinary.told(code) == "321\n"


def test_a_timeout_ends_everything_inside(ordinary: Ordinary) -> None:
    marker = callers.new_marker()
    code = """
try:
    pyrt.run(["sh", "-c", "sleep 1000 & wait", sys.argv[1]], timeout=0.5)
except pyrt.ContainerTimeout as error:
    print(json.dumps(error.result.cause.name))
"""
    assert ordinary.told(code, marker) == "TIMEOUT"
    assert callers.marked(marker) == []


def test_the_callers_sigkill_ends_everything_inside(ordinary: Ordinary) -> None:
    marker = callers.new_marker()
    code = "pyrt.run(['sh', '-c', 'echo started; sleep 1000 & wait', sys.argv[1]])"
    line = ordinary.command(str(users.python()), "-c", users.PREAMBLE + code, marker)
    with subprocess.Popen(line, stdout=subprocess.PIPE, cwd=ordinary.directory, env=ordinary.environment) as caller:
        assert caller.stdout is not None
        assert caller.stdout.readline() == b"started\n"
        caller.send_signal(signal.SIGKILL)
        caller.wait(timeout=users.TIMEOUT)
        until(lambda: callers.marked(marker) == [], "the end of the container")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            "dict(mounts=[pyrt.Mount('/mnt', source='/usr', options=['bind', 'ridmap'])])",
            "map the ids of /usr; it needs CAP_SYS_ADMIN over its file system, which the caller lacks",
        ),
        (
            "dict(mounts=[pyrt.Mount('/mnt', source='/dev', options=['bind'])])",
            "bind mount /dev on /mnt: invalid argument (EINVAL); what is mounted below the source cannot be left out in a user namespace: "
            "rbind takes it along",
        ),
        (
            "dict(user_namespace=False)",
            "create namespaces: operation not permitted (EPERM); run as root, or in a user namespace of its own "
            "(`pyrt spec --rootless` asks for one)",
        ),
    ],
)
def test_what_only_root_can_do_is_refused_in_one_line(ordinary: Ordinary, options: str, text: str) -> None:
    assert ordinary.told(REFUSED, options)[2] == text


def test_a_host_that_forbids_user_namespaces_is_named_with_its_switch(ordinary: Ordinary) -> None:
    """The limit of a user namespace in which the test's user lives, so that the host's own stays as it is."""
    import pyrt

    whole = [(0, 0, (1 << 32) - 1)]
    with pyrt.Namespaces.create("user", uid_mappings=whole, gid_mappings=whole) as namespaces:
        user = f"nsenter --user=/proc/{os.getpid()}/fd/{namespaces['user'].fd}"
        enter = users.inside(user, "echo 0 > /proc/sys/user/max_user_namespaces")
        kind, errno, text = ordinary.told(REFUSED, "{}", before=enter)
    assert (kind, errno) == ("HostError", 28)
    assert text == (
        "create namespaces: no space left on device (ENOSPC); this host forbids user namespaces: sysctl user.max_user_namespaces is 0, "
        "and a number above allows them"
    )


def test_the_checks_of_the_host_are_about_this_user(ordinary: Ordinary) -> None:
    code = "from pyrt import _native\nprint(json.dumps({check['name']: check for check in _native.host_facts()['checks']}))"
    checks = ordinary.told(code)
    assert checks["user"]["detail"] == f"may make user namespaces, as user {ordinary.uid}"
    needed = ["kernel", "user", "overlay", *(f"{kind} namespace" for kind in ("user", "mount", "pid", "network", "ipc", "uts", "cgroup"))]
    assert [name for name in needed if not checks[name]["ok"]] == []
    assert checks["id ranges"]["ok"] is hosts.has("newuidmap")
    assert checks["device nodes"]["detail"] == "are bound from the host: CAP_MKNOD is not held over it"
