//! Cgroups above ours that were made only because ours was asked for: they go with the last cgroup in them, whoever removes that.
//!
//! The kernel remembers which they are, by an extended attribute: no file of state can be lost or wrong about it, and several containers
//! may share one. runc and crun leave them for ever. Neighbours: `plan` makes, `group` removes, `init/src/inside/watch.rs` removes too.

use std::ffi::CStr;

use nix::errno::Errno;

use super::directory::{Directory, Version};
use crate::error::{Error, Result};
use crate::sys::xattr;

/// A user's attribute: whoever may make a cgroup may set it (kernfs has them since Linux 5.7). It has no value.
const MADE: &CStr = pyrt_init::CGROUP_MADE_ABOVE;

/// Make `relative` below `root`, one that holds no processes of ours. False where it exists already.
pub(super) fn make(root: &Directory, relative: &str) -> nix::Result<bool> {
    match root.make(relative) {
        Ok(()) => {}
        Err(Errno::EEXIST) => return Ok(false),
        Err(errno) => return Err(errno),
    }
    match root.open_below(relative).and_then(|directory| xattr::set(directory.fd(), MADE, &[])) {
        // Without attributes it stays, as with other runtimes.
        Ok(()) | Err(Errno::EOPNOTSUPP) => Ok(true),
        Err(errno) => {
            let _ = root.rmdir_below(relative);
            Err(errno)
        }
    }
}

/// It is somebody's own from now on.
pub(super) fn keep(directory: &Directory) -> Result<()> {
    match xattr::remove(directory.fd(), MADE) {
        Ok(()) | Err(Errno::ENODATA) => Ok(()),
        Err(errno) => Err(Error::system("take cgroup", directory.path().to_owned(), errno)),
    }
}

/// Remove those above `path`, the lowest first, up to the first that was not made so or is in use.
pub(super) fn remove(path: &str, version: Version) -> Result<()> {
    let mut above = path;
    while let Some((parent, _)) = above.rsplit_once('/') {
        above = parent;
        // What is found by its path is looked at again by descriptor.
        match xattr::is_at(parent, MADE) {
            Ok(false) => return Ok(()),
            Ok(true) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(Error::system("look at cgroup", parent.to_owned(), errno)),
        }
        let directory = match Directory::open(parent) {
            // Another one's removal was quicker.
            Err(error) if error.errno == Some(Errno::ENOENT) => continue,
            opened => opened?,
        };
        if directory.version()? != Some(version) || !is_made(&directory) {
            return Ok(());
        }
        match directory.rmdir() {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(Errno::EBUSY | Errno::ENOTEMPTY) => return Ok(()),
            Err(errno) => return Err(Error::system("remove cgroup", parent.to_owned(), errno)),
        }
    }
    Ok(())
}

fn is_made(directory: &Directory) -> bool {
    matches!(xattr::get(directory.fd(), MADE), Ok(Some(_)))
}
