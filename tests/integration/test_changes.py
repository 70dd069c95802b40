"""keep_changes: what a container changed, by the host view and by a rootfs; the changes as a layer of another root.

Neighbours: test_copies.py (files in and out), test_overlay.py (the upper layer itself), ../security/test_hostile_files.py.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
from pathlib import Path

import pytest

import pyrt
from helpers.bundles import Bundle
from helpers.hosts import requires

CHANGE = "echo new > /new; echo changed > /etc/passwd; rm /etc/group; rm -r /srv; mkdir /bin/deeper; touch /bin/deeper/file; chmod 700 /tmp"


def kept(script: str, rootfs: Path) -> pyrt.Changes:
    done = pyrt.run(["sh", "-e", "-c", script], rootfs=rootfs, keep_changes=True)
    assert done.returncode == 0
    return done.changes


def test_a_run_says_what_was_added_changed_and_deleted(rootfs: Path) -> None:
    changes = kept(CHANGE, rootfs)
    assert changes.added == ["/bin/deeper", "/bin/deeper/file", "/new"]
    assert changes.changed == ["/etc/passwd", "/tmp"]
    assert changes.deleted == ["/etc/group", "/srv"]


def test_a_run_that_changes_nothing_has_no_changes(rootfs: Path) -> None:
    # Not even the directories that the mounts needed: this root has none.
    for name in ("dev", "proc", "sys"):
        (rootfs / name).rmdir()
    changes = kept("test -e /proc/self && test -e /dev/null && test -e /sys", rootfs)
    assert (changes.added, changes.changed, changes.deleted) == ([], [], [])
    assert not changes


def test_what_is_written_where_a_mount_was_wanted_counts_all_the_same(rootfs: Path) -> None:
    done = pyrt.run(["sh", "-c", "touch /a/b/inside /a/beside"], rootfs=rootfs, tmpfs=["/a/b"], keep_changes=True)
    assert done.changes.added == ["/a/beside"]


def test_without_being_asked_a_run_keeps_no_changes(rootfs: Path) -> None:
    assert pyrt.run(["touch", "/new"], rootfs=rootfs).changes is None


def test_of_the_host_view_only_what_the_container_did_counts() -> None:
    script = """
    echo x > /new; echo y >> /etc/passwd; rm /etc/group; rm -r /media /usr/share/doc; touch /usr/added; chmod 600 /usr/bin/env
    rm -r /opt; mkdir /opt
    """
    done = pyrt.run(["sh", "-c", script], keep_changes=True)
    assert done.returncode == 0
    assert done.changes.added == ["/new", "/usr/added"]
    assert done.changes.changed == ["/etc/passwd", "/usr/bin/env"]
    assert done.changes.deleted == ["/etc/group", "/media", "/usr/share/doc"]


def test_a_directory_that_is_made_anew_has_lost_what_was_in_it(rootfs: Path) -> None:
    (rootfs / "srv" / "old").mkdir()
    (rootfs / "srv" / "deep" / "old").mkdir(parents=True)
    (rootfs / "srv" / "both").write_text("before")
    changes = kept("rm -r /srv; mkdir -p /srv/deep; touch /srv/both /srv/new", rootfs)
    assert (changes.added, changes.changed, changes.deleted) == (["/srv/new"], ["/srv/both"], ["/srv/deep/old", "/srv/old"])


def test_a_file_in_the_place_of_a_directory_and_the_other_way_round_are_changes(rootfs: Path) -> None:
    (rootfs / "srv" / "file").touch()
    changes = kept("rm -r /srv /etc/group; touch /srv; mkdir /etc/group; touch /etc/group/inside", rootfs)
    assert (changes.added, changes.changed, changes.deleted) == (["/etc/group/inside"], ["/etc/group", "/srv"], [])


def test_a_directory_that_was_moved_is_deleted_and_added(rootfs: Path) -> None:
    (rootfs / "srv" / "file").write_text("moved")
    changes = kept("mv /srv /moved", rootfs)
    assert (changes.added, changes.changed, changes.deleted) == (["/moved", "/moved/file"], [], ["/srv"])


def test_names_that_are_not_utf8_are_as_os_fsdecode_has_them(rootfs: Path) -> None:
    changes = kept(r"touch /srv/$(printf 'a\377b') '/srv/new\nline'", rootfs)
    assert changes.added == [os.fsdecode(b"/srv/a\xffb"), "/srv/new\\nline"]


def test_changes_pickle_and_compare(rootfs: Path) -> None:
    changes = kept("touch /new", rootfs)
    assert pickle.loads(pickle.dumps(changes)) == changes
    assert changes != kept("true", rootfs)


def test_a_popen_knows_its_changes_while_it_runs_and_until_it_is_closed(rootfs: Path) -> None:
    with pyrt.Popen(["sh", "-c", "touch /one; read line; touch /two"], rootfs=rootfs, keep_changes=True, stdin=pyrt.PIPE, text=True) as box:
        box.copy_in(__file__, "/three")
        box.communicate("go on\n")
        assert box.returncode == 0
        assert box.changes().added == ["/one", "/three", "/two"]
    with pytest.raises(pyrt.InvalidState, match="Layer is closed"):
        box.changes()


def test_a_popen_that_keeps_nothing_says_what_to_ask_for(rootfs: Path) -> None:
    with pyrt.Popen(["sleep", "1000"], rootfs=rootfs) as box:
        with pytest.raises(ValueError, match="keep_changes=True"):
            box.changes()
        with pytest.raises(ValueError, match="keep_changes=True"):
            box.commit("/tmp/layer")


def test_changes_of_a_root_without_an_upper_layer_are_refused(rootfs: Path) -> None:
    with pytest.raises(ValueError, match="keep_changes= needs an upper layer"):
        pyrt.run(["true"], rootfs=rootfs, overlay=False, keep_changes=True)


def test_an_upper_layer_that_is_kept_tells_of_all_runs(rootfs: Path, tmp_path: Path) -> None:
    kept_in = tmp_path / "kept"
    kept_in.mkdir()
    for name in ("one", "two"):
        done = pyrt.run(["touch", f"/{name}"], rootfs=rootfs, overlay=kept_in, keep_changes=True)
    assert done.changes.added == ["/one", "/two"]


def test_a_cancelled_or_ended_run_of_asyncio_leaves_nothing_of_its_changes(rootfs: Path) -> None:
    async def main() -> list[str]:
        done = await pyrt.aio.run(["touch", "/new"], rootfs=rootfs, keep_changes=True)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(pyrt.aio.run(["sleep", "1000"], rootfs=rootfs, keep_changes=True), 0.3)
        process = await pyrt.aio.create_subprocess_exec("sh", "-c", "touch /other", rootfs=rootfs, keep_changes=True)
        async with process:
            await process.wait()
            changes = await process.changes()
        added: list[str] = done.changes.added + changes.added
        return added

    assert asyncio.run(main()) == ["/new", "/other"]


def test_in_a_forked_child_what_is_kept_is_worth_nothing(rootfs: Path) -> None:
    with pyrt.Popen(["true"], rootfs=rootfs, keep_changes=True) as box:
        box.wait()
        pid = os.fork()
        if pid == 0:
            try:
                with box:
                    box.changes()
            except pyrt.InvalidState:
                os._exit(0)
            os._exit(1)
        assert os.waitpid(pid, 0)[1] == 0
        assert not box.changes()


# --- commit


def test_committed_changes_are_a_layer_that_gives_the_same_root(rootfs: Path, tmp_path: Path) -> None:
    find = "find . -xdev ! -path './proc*' ! -path './dev*' ! -path './sys*' -exec stat -c '%n %f %u %g %s' {} + | sort"
    look = ["sh", "-c", f"cd /; {find}; cat /etc/passwd"]
    with pyrt.Popen(["sh", "-c", CHANGE], rootfs=rootfs, keep_changes=True) as box:
        assert box.wait() == 0
        box.commit(tmp_path / "layer")
        changes = box.changes()
    with pyrt.Overlay([tmp_path / "layer", rootfs]) as both:
        again = pyrt.run(look, rootfs=both, capture_output=True, text=True)
    direct = pyrt.run(["sh", "-c", f"{CHANGE}; {look[2]}"], rootfs=rootfs, capture_output=True, text=True)
    sizes_differ = [line for line in set(again.stdout.splitlines()) ^ set(direct.stdout.splitlines()) if " 41" not in line]
    assert sizes_differ == []
    assert "changed\n" in again.stdout
    assert changes.deleted == ["/etc/group", "/srv"]


def test_a_layer_keeps_owners_modes_links_attributes_and_opaque_directories(rootfs: Path, tmp_path: Path) -> None:
    (rootfs / "srv" / "hidden").touch()
    script = """
    rm -r /srv; mkdir /srv; touch /srv/seen
    echo one > /first; ln /first /second; ln -s first /link; chown 5:6 /first; chmod 4711 /first; mkfifo /pipe
    """
    with pyrt.Popen(["sh", "-e", "-c", script], rootfs=rootfs, keep_changes=True) as box:
        assert box.wait() == 0
        box.commit(tmp_path / "layer")
    layer = tmp_path / "layer"
    status = (layer / "first").stat()
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid, status.st_nlink) == (0o4711, 5, 6, 2)
    assert (layer / "second").stat().st_ino == status.st_ino
    assert os.readlink(layer / "link") == "first"
    assert (layer / "pipe").is_fifo()
    assert os.getxattr(layer / "srv", "trusted.overlay.opaque") == b"y"
    with pyrt.Overlay([layer, rootfs]) as both:
        assert os.listdir(both.path / "srv") == ["seen"]


def test_changes_of_a_root_of_several_layers_are_against_all_of_them(rootfs: Path, tmp_path: Path) -> None:
    upper = tmp_path / "upper-layer"
    with pyrt.Overlay([rootfs]) as root:
        os.unlink(root.path / "etc/group")
        Path(root.path / "new").touch()
        root.commit(upper)
        assert root.changes() == pyrt.Changes(["/new"], [], ["/etc/group"])
    with pyrt.Overlay([upper, rootfs]) as root:
        assert not root.changes()
        Path(root.path / "etc/group").touch()
        Path(root.path / "new").write_text("again")
        os.unlink(root.path / "etc/passwd")
        assert root.changes() == pyrt.Changes(["/etc/group"], ["/new"], ["/etc/passwd"])


def test_a_commit_to_what_is_not_empty_is_refused_and_leaves_it_as_it_was(rootfs: Path, tmp_path: Path) -> None:
    (tmp_path / "layer").mkdir()
    (tmp_path / "layer" / "mine").touch()
    with pyrt.Popen(["touch", "/new"], rootfs=rootfs, keep_changes=True) as box:
        box.wait()
        with pytest.raises(pyrt.Error) as failure:
            box.commit(tmp_path / "layer")
    assert failure.value.path == str(tmp_path / "layer")
    assert sorted(os.listdir(tmp_path)) == ["bundle", "layer"]
    assert os.listdir(tmp_path / "layer") == ["mine"]


@requires("user namespaces")
def test_in_a_user_namespace_changes_are_told_too(rootfs: Path) -> None:
    done = pyrt.run(["touch", "/new"], rootfs=rootfs, user_namespace=True, keep_changes=True)
    assert done.changes.added == ["/new"]


def test_a_container_that_is_killed_still_has_its_changes(rootfs: Path) -> None:
    with pyrt.Popen(
        ["sh", "-c", "touch /new; echo made; sleep 1000"], rootfs=rootfs, keep_changes=True, stdout=pyrt.PIPE, text=True
    ) as box:
        assert box.stdout is not None
        assert box.stdout.readline() == "made\n"
        box.send_signal(signal.SIGKILL)
        assert box.wait() == -signal.SIGKILL
        assert box.changes().added == ["/new"]


def test_a_container_with_state_refuses_to_keep_changes(runtime: pyrt.Runtime, bundle: Bundle) -> None:
    with pytest.raises(TypeError, match=r"Runtime\.create\(\) takes no keep_changes: its container outlives the caller"):
        runtime.create("warm-keeps", bundle=bundle.path, keep_changes=True)
