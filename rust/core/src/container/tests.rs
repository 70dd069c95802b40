//! The state directory without a container: writing, locks, removal. What hostile content does is in tests/unit/test_state.py.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::PathBuf;
use std::sync::mpsc;

use nix::errno::Errno;

use super::state::{Beginning, Stage, State};
use super::{Directory, Lock};
use crate::error::{Error, Kind, Result};

/// A state directory of its own, below a directory that does not exist yet.
struct Root(PathBuf);

impl Root {
    fn new(name: &str) -> Self {
        Root(std::env::temp_dir().join(format!("pyrt-core-{name}-{}", std::process::id())))
    }

    fn directory(&self, id: &str) -> Directory {
        Directory::new(&self.0.join("deep"), id).unwrap()
    }

    /// With state in it.
    fn written(&self) -> Directory {
        let directory = self.directory("web");
        let lock = directory.create().unwrap();
        directory.begin(&[("unified".into(), "/sys/fs/cgroup/pyrt-web".into())], b"{}", &state()).unwrap();
        drop(lock);
        directory
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn state() -> State {
    State::new(Beginning {
        id: "web".into(),
        boot_id: "boot".into(),
        oci_version: "1.3.0".into(),
        bundle: "/bundles/web".into(),
        rootfs: "/bundles/web/rootfs".into(),
        annotations: BTreeMap::from([("key".into(), "value".into())]),
        own_pid_namespace: true,
        has_poststart: false,
        has_poststop: true,
    })
}

fn lock(directory: &Directory) -> Result<Lock> {
    directory.lock::<Error>(|| Ok(()))
}

#[test]
fn what_is_written_is_read_back_and_is_the_owners_alone() {
    let root = Root::new("written");
    let directory = root.written();
    let mut kept = directory.read().unwrap();
    let mut expected = state();
    expected.created.clone_from(&kept.created);
    assert_eq!(kept, expected);
    kept.stage = Stage::Running;
    directory.write(&kept).unwrap();
    assert_eq!(directory.read().unwrap(), kept);
    assert_eq!(directory.read_config().unwrap(), b"{}");
    assert_eq!(directory.read_cgroup_paths().unwrap(), [("unified".into(), "/sys/fs/cgroup/pyrt-web".into())]);
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(root.0.join("deep")), mode(directory.path().to_owned())), (0o700, 0o700));
    for name in ["cgroup", "config.json", "state.json"] {
        assert_eq!(mode(directory.path().join(name)), 0o600, "{name}");
    }
}

#[test]
fn a_write_that_was_cut_off_is_overwritten_and_never_seen() {
    let root = Root::new("cut");
    let directory = root.written();
    fs::write(directory.path().join("state.json.new"), b"half of a fi").unwrap();
    let kept = directory.read().unwrap();
    directory.write(&kept).unwrap();
    assert_eq!(directory.read().unwrap(), kept);
    assert!(!directory.path().join("state.json.new").exists());
}

#[test]
fn a_symlink_in_the_place_of_what_is_written_is_not_followed() {
    let root = Root::new("symlink");
    let directory = root.written();
    let victim = root.0.join("victim");
    symlink(&victim, directory.path().join("state.json.new")).unwrap();
    let error = directory.write(&state()).unwrap_err();
    assert_eq!((error.errno, victim.exists()), (Some(Errno::ELOOP), false));
}

#[test]
fn an_id_in_use_is_refused() {
    let root = Root::new("use");
    let error = root.written().create().unwrap_err();
    assert_eq!((error.kind, error.to_string().as_str()), (Kind::AlreadyExists, "container with given ID already exists: web"));
}

#[test]
fn the_lock_is_one_callers_at_a_time() {
    let root = Root::new("lock");
    let directory = root.written();
    let held = lock(&directory).unwrap();
    assert!(directory.try_lock().unwrap().is_none());
    drop(held);
    assert!(directory.try_lock().unwrap().is_some());
}

#[test]
fn whoever_waited_for_the_lock_of_a_deleted_container_is_told() {
    let root = Root::new("waited");
    let directory = root.written();
    let held = lock(&directory).unwrap();
    let (started, waiting) = mpsc::channel();
    let other = directory.clone();
    let thread = std::thread::spawn(move || {
        started.send(()).unwrap();
        lock(&other).map(drop)
    });
    waiting.recv().unwrap();
    directory.remove().unwrap();
    drop(held);
    assert_eq!(thread.join().unwrap().unwrap_err().to_string(), "container does not exist: web");
}

#[test]
fn a_removal_may_be_repeated() {
    let root = Root::new("removed");
    let directory = root.written();
    directory.remove().unwrap();
    assert!(!directory.exists().unwrap());
    directory.remove().unwrap();
}

#[test]
fn an_exit_status_goes_to_the_container_that_was_held_and_to_no_later_one_of_the_id() {
    let root = Root::new("exit");
    let directory = root.written();
    let first = lock(&directory).unwrap().into_descriptor(&directory).unwrap();
    directory.record_exit(first.as_fd(), -9).unwrap();
    assert_eq!(directory.recorded_exit(), Some(-9));
    directory.remove().unwrap();
    let second = directory.create().unwrap();
    directory.record_exit(first.as_fd(), 7).unwrap();
    assert_eq!(directory.recorded_exit(), None);
    drop(second);
}
