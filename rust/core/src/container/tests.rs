//! The state directory without a container: writing, locks, removal. What hostile content does is in tests/unit/test_state.py.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::PathBuf;
use std::sync::mpsc;

use nix::errno::Errno;

use super::{Cgroups, Directory, Init, State};
use crate::error::Kind;

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
        directory.begin(&[("unified".into(), "/sys/fs/cgroup/pyrt-web".into())], None, &state()).unwrap();
        drop(lock);
        directory
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

const CONFIG: &str = "{ \"ociVersion\" : \"1.3.0\" }";

fn state() -> State {
    let text = format!(
        r#"{{"version": 1, "id": "web", "boot_id": "boot", "oci_version": "1.3.0", "bundle": "/bundles/web", "rootfs": "/bundles/web/rootfs",
            "created": "2026-11-25T12:00:00.5Z", "annotations": {{"key": "value"}}, "own_pid_namespace": true, "has_poststart": false,
            "has_poststop": true, "new_keyring": true, "config": {CONFIG}}}"#
    );
    State::from_json(text.as_bytes(), "web").unwrap()
}

#[test]
fn what_is_written_is_read_back_and_is_the_owners_alone() {
    let root = Root::new("written");
    let directory = root.written();
    let kept = directory.read().unwrap();
    assert_eq!((kept.id.as_str(), kept.bundle.as_str(), kept.has_poststart, kept.has_poststop), ("web", "/bundles/web", false, true));
    assert_eq!(kept.annotations, state().annotations);
    assert_eq!(kept.config.get(), CONFIG, "to the letter");
    assert_eq!(
        directory.read_cgroups().unwrap(),
        Cgroups { paths: vec![("unified".into(), "/sys/fs/cgroup/pyrt-web".into())], scope: None }
    );
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(root.0.join("deep")), mode(directory.path().to_owned())), (0o700, 0o700));
    for name in ["cgroup", "state.json"] {
        assert_eq!(mode(directory.path().join(name)), 0o600, "{name}");
    }
}

#[test]
fn what_somebody_put_in_the_place_of_a_file_is_not_followed() {
    let root = Root::new("symlink");
    let directory = root.directory("web");
    let lock = directory.create().unwrap();
    let victim = root.0.join("victim");
    symlink(&victim, directory.path().join("cgroup")).unwrap();
    let error = directory.begin(&[], None, &state()).unwrap_err();
    assert_eq!((error.errno, victim.exists()), (Some(Errno::EEXIST), false));
    drop(lock);
}

#[test]
fn the_process_is_recorded_once() {
    let root = Root::new("init");
    let directory = root.written();
    assert_eq!(directory.init().unwrap(), None);
    let held = directory.lock().unwrap();
    let init = Init { pid: 4711, start_time: u64::MAX };
    directory.set_init(held.as_fd(), init).unwrap();
    assert_eq!(directory.init().unwrap(), Some(init));
    assert_eq!(directory.set_init(held.as_fd(), init).unwrap_err().errno, Some(Errno::EEXIST));
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
    let held = directory.lock().unwrap();
    assert!(directory.try_lock().unwrap().is_none());
    drop(held);
    assert!(directory.try_lock().unwrap().is_some());
}

#[test]
fn whoever_waited_for_the_lock_of_a_deleted_container_is_told() {
    let root = Root::new("waited");
    let directory = root.written();
    let held = directory.lock().unwrap();
    let (started, waiting) = mpsc::channel();
    let other = directory.clone();
    let thread = std::thread::spawn(move || {
        started.send(()).unwrap();
        other.lock().map(drop)
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
    let first = directory.lock().unwrap().into_descriptor(&directory).unwrap();
    directory.record_exit(first.as_fd(), -9).unwrap();
    assert_eq!(directory.recorded_exit(), Some(-9));
    directory.remove().unwrap();
    let second = directory.create().unwrap();
    directory.record_exit(first.as_fd(), 7).unwrap();
    assert_eq!(directory.recorded_exit(), None);
    drop(second);
}
