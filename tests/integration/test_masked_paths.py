"""linux.maskedPaths and linux.readonlyPaths: what is hidden, what can only be read.

Neighbours: test_rootfs.py (root.readonly), test_mounts.py.
"""

from __future__ import annotations

import pytest

from helpers import mountinfo
from helpers.bundles import Bundle
from helpers.commands import Command
from helpers.mountinfo import MOUNTINFO


def output(command: Command, bundle: Bundle, script: str) -> str:
    return command("run", "--bundle", bundle.shell(script).path, "masked").ok().stdout


@pytest.fixture
def writable(bundle: Bundle) -> Bundle:
    bundle.spec["root"]["readonly"] = False
    return bundle


def test_a_masked_file_is_empty_and_takes_what_is_written(command: Command, writable: Bundle) -> None:
    writable.linux["maskedPaths"] = ["/etc/passwd"]
    assert output(command, writable, "cat /etc/passwd; echo secret > /etc/passwd; cat /etc/passwd; stat -c '%t:%T' /etc/passwd") == "1:3\n"
    assert "root:x:0:0" in (writable.rootfs / "etc/passwd").read_text()


def test_a_masked_directory_is_empty_and_read_only(command: Command, writable: Bundle) -> None:
    writable.linux["maskedPaths"] = ["/etc"]
    assert output(command, writable, "ls -A /etc; touch /etc/new 2>/dev/null || echo refused") == "refused\n"


def test_several_masked_directories_are_all_covered(command: Command, writable: Bundle) -> None:
    writable.linux["maskedPaths"] = ["/etc", "/bin/../usr", "/proc/sys", "/proc/irq"]
    info = output(command, writable, f"ls -A /etc /proc/sys /proc/irq >&2; cat {MOUNTINFO}")
    assert {mountinfo.at(info, point).kind for point in ("/etc", "/usr", "/proc/sys", "/proc/irq")} == {"tmpfs"}


def test_a_masked_path_that_is_missing_is_fine(command: Command, bundle: Bundle) -> None:
    bundle.linux["maskedPaths"] = ["/no/such/path"]
    assert output(command, bundle, "echo runs") == "runs\n"


def test_a_masked_symbolic_link_cannot_cover_anything_outside(command: Command, writable: Bundle) -> None:
    (writable.rootfs / "etc/link").symlink_to("../../../../../../etc/passwd")
    writable.linux["maskedPaths"] = ["/etc/link"]
    assert output(command, writable, "cat /etc/passwd") == "", "the link is the container's own /etc/passwd"


def test_the_default_masks_hide_what_tells_of_the_machine(command: Command, bundle: Bundle) -> None:
    script = "for path in /proc/keys /proc/timer_list /proc/kcore /proc/interrupts; do [ -e $path ] && wc -c < $path; done"
    assert set(output(command, bundle, f"{script}; ls -A /sys/firmware").split()) <= {"0"}


def test_a_read_only_path_can_be_read_and_not_written(command: Command, writable: Bundle) -> None:
    writable.linux["readonlyPaths"] = ["/etc", "/proc/sys"]
    script = "touch /etc/new || echo x > /proc/sys/kernel/hostname || echo refused; touch /srv/new && echo written"
    assert output(command, writable, f"head -c 4 /etc/passwd; echo; ({script}) 2>/dev/null").split() == ["root", "refused", "written"]


def test_a_read_only_path_takes_the_mounts_below_it_along(command: Command, writable: Bundle) -> None:
    writable.mount("/mnt/below", "tmpfs", "tmpfs")
    writable.linux["readonlyPaths"] = ["/mnt"]
    assert output(command, writable, "touch /mnt/below/new 2>/dev/null || echo refused") == "refused\n"


def test_a_read_only_path_that_is_missing_is_fine(command: Command, bundle: Bundle) -> None:
    bundle.linux["readonlyPaths"] = ["/no/such/path"]
    assert output(command, bundle, "echo runs") == "runs\n"


@pytest.mark.parametrize("key", ["maskedPaths", "readonlyPaths"])
def test_a_path_that_is_not_absolute_is_refused_with_its_place(command: Command, bundle: Bundle, key: str) -> None:
    bundle.linux[key] = ["/etc", "proc/keys"]
    done = command("run", "--bundle", bundle.args("true").path, "masked")
    assert (done.status, done.stderr) == (1, f'pyrt: config.json: linux.{key}[1]: "proc/keys" is not an absolute path\n')


def test_the_library_s_default_container_has_both(command: Command) -> None:
    script = f"cat {MOUNTINFO}; cat /proc/keys | wc -c; echo x > /proc/sys/kernel/hostname || echo refused"
    done = command("run", "--", "sh", "-c", script).ok()
    assert done.stdout.splitlines()[-2:] == ["0", "refused"]
    assert "ro" in mountinfo.at("\n".join(done.stdout.splitlines()[:-2]), "/proc/sys").options
