//! What becomes `/`: a tree of the caller's, or an overlay; how it is entered; and how the old root is left behind.
//!
//! Everything is mounted on top of the old root itself, by descriptor: no directory of the host is needed for it, and a lookup of `/`
//! by this process does not see it until the pivot.

use core::ffi::CStr;

use linux_raw_sys::general::*;
use pyrt_init::{kind, List, Message};

use crate::mounts::{new_file_system, FileSystem};
use crate::sys::{self, Result};
use crate::Init;

/// Puts a detached mount on top of everything that is mounted on the old root.
fn stack(init: &mut Init, mount: i32) -> Result<()> {
    let old = sys::openat2(sys::CWD, c"/", O_PATH | O_DIRECTORY, 0)?;
    sys::move_mount(mount, old)?;
    sys::close(old);
    init.stacked += 1;
    Ok(())
}

pub fn tree(init: &mut Init, source: &CStr, given: Option<i32>, attributes: u64) -> Result<()> {
    let tree = match given {
        Some(fd) => fd,
        None => sys::open_tree(sys::CWD, source, true)?,
    };
    // The caller's copy is still in its peer groups: without this, what is mounted in it would appear on the host.
    sys::mount_setattr(tree, true, 0, 0, u64::from(MS_SLAVE))?;
    if attributes != 0 {
        sys::mount_setattr(tree, false, attributes, 0, 0)?;
    }
    stack(init, tree)?;
    init.root = tree;
    Ok(())
}

pub fn scratch(init: &mut Init, options: List<'_>) -> Result<()> {
    let mount = new_file_system(FileSystem { kind: c"tmpfs", source: c"tmpfs", options, attributes: 0 })?;
    stack(init, mount)?;
    sys::fchdir(mount)
}

pub fn overlay(init: &mut Init, options: List<'_>, inside: &CStr, attributes: u64) -> Result<()> {
    let whole = new_file_system(FileSystem { kind: c"overlay", source: c"overlay", options, attributes })?;
    stack(init, whole)?;
    init.root = whole;
    if !inside.is_empty() {
        let part = sys::openat2(whole, inside, O_PATH | O_DIRECTORY, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)?;
        init.root = sys::open_tree(part, c"", false)?;
        sys::close(part);
        stack(init, init.root)?;
    }
    Ok(())
}

pub fn make_directory(path: &CStr, mode: u32) -> Result<()> {
    sys::mkdirat(sys::CWD, path, mode)
}

pub fn make_file(path: &CStr, mode: u32, content: &[u8]) -> Result<()> {
    let file = sys::create(sys::CWD, path, mode)?;
    let mut rest = content;
    while !rest.is_empty() {
        rest = &rest[sys::write(file, rest)?..];
    }
    sys::close(file);
    Ok(())
}

/// pivot_root(2) onto the root, and every layer of the old one unmounted from this mount namespace.
pub fn pivot(init: &mut Init) -> Result<()> {
    let old = sys::openat2(sys::CWD, c"/", O_PATH | O_DIRECTORY, 0)?;
    sys::fchdir(init.root)?;
    sys::pivot_root_here()?;
    // The old root lies on the new one, what was stacked on it above; the root itself is one of the stacked and was moved away.
    // Slave, so that unmounting the old root here does not unmount it on the host. From the old root on: what the container's own
    // mounts were told to propagate stays.
    sys::fchdir(old)?;
    sys::close(old);
    sys::mount_propagation(c".", u64::from(MS_SLAVE | MS_REC))?;
    for _ in 0..init.stacked {
        sys::umount_detach(c".")?;
    }
    forget(init);
    sys::chdir(c"/")
}

/// Of the root mount, which has been entered.
pub fn attributes(attributes: u64, propagation: u64) -> Result<()> {
    let root = sys::openat2(sys::CWD, c"/", O_PATH | O_DIRECTORY, 0)?;
    sys::mount_setattr(root, false, attributes, 0, propagation)?;
    sys::close(root);
    Ok(())
}

/// Nothing of the host stays open, neither its /proc nor a root: no working directory or program can be named by it (CVE-2024-21626).
fn forget(init: &mut Init) {
    init.forget_parent();
    let [proc, sys] = core::mem::take(&mut init.kernel);
    let open = [Some(init.root), Some(init.proc), proc, sys, init.null.take(), init.empty.take()];
    open.into_iter().flatten().filter(|fd| *fd >= 0).for_each(sys::close);
    (init.root, init.proc) = (-1, -1);
}

/// Without pivot_root(2): the root lies on top of the old one already.
pub fn change(init: &mut Init) -> Result<()> {
    sys::fchdir(init.root)?;
    sys::chroot(c".")?;
    forget(init);
    sys::chdir(c"/")
}

/// The root as a mount of its own, for a caller who wants it without a container.
pub fn send(init: &Init) -> Result<()> {
    let copy = sys::open_tree(init.root, c"", false)?;
    sys::send(init.socket, Message { kind: kind::MOUNT, ..Message::default() }, Some(copy))?;
    sys::exit(0)
}

/// What outlives this mount namespace for as long as the caller keeps it: the upper layer as it lies on its file system, and the root.
pub fn send_layer(init: &Init, upper: &CStr) -> Result<()> {
    let upper = sys::openat2(sys::CWD, upper, O_RDONLY | O_DIRECTORY, 0)?;
    sys::send(init.socket, Message { kind: kind::UPPER, ..Message::default() }, Some(upper))?;
    sys::close(upper);
    sys::send(init.socket, Message { kind: kind::ROOT, ..Message::default() }, Some(init.root))
}
