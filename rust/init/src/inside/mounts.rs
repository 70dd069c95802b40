//! What is mounted and made inside the root: file systems, binds, devices, links, masks. All before the pivot, all by descriptor.

use core::ffi::CStr;

use linux_raw_sys::errno::{EEXIST, ENODEV, ENOTDIR, EPERM};
use linux_raw_sys::general::*;
use pyrt_init::{behaviour, List};

use crate::resolve::accept_existing;
use crate::sys::{self, refused, Result};
use crate::{directory, Init};

pub struct FileSystem<'a> {
    pub kind: &'a CStr,
    pub source: &'a CStr,
    /// `=key`, value for a string; `key` alone for a flag.
    pub options: List<'a>,
    pub attributes: u64,
}

/// A new, detached file system.
pub fn new_file_system(wanted: FileSystem<'_>) -> Result<i32> {
    let context = sys::fsopen(wanted.kind)?;
    if !wanted.source.is_empty() {
        sys::fsconfig_string(context, c"source", wanted.source)?;
    }
    let mut options = wanted.options.iter();
    while let Some(option) = options.next() {
        match option.to_bytes_with_nul() {
            [b'=', key @ ..] => {
                let key = CStr::from_bytes_with_nul(key).unwrap_or(c"");
                sys::fsconfig_string(context, key, options.next().unwrap_or(c""))?;
            }
            _ => sys::fsconfig_flag(context, option)?,
        }
    }
    sys::fsconfig_create(context)?;
    let mount = sys::fsmount(context, wanted.attributes as u32);
    sys::close(context);
    mount
}

/// The target of a mount. On procfs only what the plan allows: a container must not be able to hide or fake the rest (CVE-2019-16884).
fn target(init: &mut Init, path: &'static CStr, directory: bool, how: u64) -> Result<i32> {
    let links = if how & behaviour::NO_SYMLINKS != 0 { RESOLVE_NO_SYMLINKS } else { 0 };
    let fd = init.target(path, directory, links)?;
    if how & behaviour::ON_PROC == 0 && sys::file_system(fd)? == PROC_SUPER_MAGIC {
        return refused(__NR_move_mount, EPERM);
    }
    // move_mount(2) would only say EINVAL.
    if sys::statx(fd, c"", 0)?.is(S_IFDIR) != directory {
        return refused(__NR_move_mount, ENOTDIR);
    }
    Ok(fd)
}

pub fn mount(init: &mut Init, wanted: FileSystem<'_>, path: &'static CStr, propagation: u64, how: u64) -> Result<()> {
    let mode = if how & behaviour::MODE_OF_TARGET != 0 { mode_of(init, path)? } else { None };
    let target = target(init, path, true, how)?;
    let mount = match mode {
        Some(mode) => prepared(wanted, |mount| sys::fchmodat(mount, c".", mode))?,
        // With a copy of what lies in the target.
        None if how & behaviour::COPY_UP != 0 => {
            prepared(wanted, |mount| directory::copy(target, mount, how & behaviour::ROOT_FROM_OPTIONS == 0))?
        }
        None => new_file_system(wanted)?,
    };
    if propagation != 0 {
        sys::mount_setattr(mount, true, 0, 0, propagation)?;
    }
    init.attach(mount, target)?;
    sys::close(target);
    init.mounted(path, mount)
}

fn mode_of(init: &Init, path: &CStr) -> Result<Option<u32>> {
    let Some(covered) = init.resolve_if_there(path)? else { return Ok(None) };
    let mode = sys::statx(covered, c"", 0)?.mode & 0o7777;
    sys::close(covered);
    Ok(Some(mode))
}

/// A new file system that is written to before its attributes could forbid that.
fn prepared(wanted: FileSystem<'_>, write: impl FnOnce(i32) -> Result<()>) -> Result<i32> {
    let attributes = wanted.attributes;
    let mount = new_file_system(FileSystem { attributes: 0, ..wanted })?;
    write(mount)?;
    sys::mount_setattr(mount, false, attributes, u64::from(MOUNT_ATTR__ATIME), 0)?;
    Ok(mount)
}

/// What a bind mount shows: a path as init sees it, or a tree that the caller made.
pub struct Tree<'a> {
    pub source: &'a CStr,
    pub fd: Option<i32>,
    pub behaviour: u64,
    pub device: u64,
}

/// mount_setattr(2): for the mount itself, and for the whole tree.
pub struct Changes {
    pub set: u64,
    pub clear: u64,
    pub set_all: u64,
    pub clear_all: u64,
    pub propagation: u64,
}

pub fn bind(init: &mut Init, tree: Tree<'_>, path: &'static CStr, changes: Changes) -> Result<()> {
    let mount = match tree.fd {
        Some(fd) => fd,
        None => sys::open_tree(sys::CWD, tree.source, tree.behaviour & behaviour::RECURSIVE != 0)?,
    };
    let status = sys::statx(mount, c"", 0)?;
    if tree.behaviour & behaviour::DEVICE != 0 && !(status.is(S_IFCHR) && status.device == tree.device) {
        return refused(__NR_statx, ENODEV);
    }
    let target = target(init, path, status.is(S_IFDIR), tree.behaviour)?;
    // A copy is in its original's peer groups: a mount inside must not come out to the host.
    sys::mount_setattr(mount, true, 0, 0, u64::from(MS_SLAVE))?;
    if changes.set_all | changes.clear_all != 0 {
        sys::mount_setattr(mount, true, changes.set_all, changes.clear_all, 0)?;
    }
    if changes.set | changes.clear != 0 {
        sys::mount_setattr(mount, false, changes.set, changes.clear, 0)?;
    }
    if changes.propagation != 0 {
        let recursive = changes.propagation & u64::from(MS_REC) != 0;
        sys::mount_setattr(mount, recursive, 0, 0, changes.propagation & !u64::from(MS_REC))?;
    }
    init.attach(mount, target)?;
    sys::close(target);
    init.mounted(path, mount)
}

pub fn device(init: &mut Init, path: &'static CStr, mode: u32, number: u64, uid: u32, gid: u32) -> Result<()> {
    let (parent, name) = init.parent(path, 0)?;
    let created = sys::mknodat(parent, name, mode, sys::encoded_device(number));
    if created.is_ok() && uid == 0 && gid == 0 {
        return Ok(());
    }
    accept_existing(created)?;
    // Whatever stands there now is looked at through its own descriptor: it may have been there before, or been exchanged.
    let made = sys::openat2(parent, name, O_PATH | O_NOFOLLOW, RESOLVE_BENEATH)?;
    let status = sys::statx(made, c"", 0)?;
    let is_device = mode & S_IFMT == S_IFCHR || mode & S_IFMT == S_IFBLK;
    if !status.is(mode & S_IFMT) || is_device && status.device != number {
        return refused(__NR_mknodat, EEXIST);
    }
    sys::fchownat(made, c"", uid, gid)?;
    sys::close(made);
    Ok(())
}

pub fn link(init: &mut Init, path: &'static CStr, to: &CStr) -> Result<()> {
    let (parent, name) = init.parent(path, 0)?;
    accept_existing(sys::symlinkat(to, parent, name))
}

/// One that cannot be looked at is the program's to enter, as the user that it is.
pub fn working_directory(init: &mut Init, path: &'static CStr) -> Result<()> {
    match init.resolve_if_there(path) {
        Ok(None) => sys::close(init.target(path, true, 0)?),
        Ok(Some(there)) => sys::close(there),
        Err(_) => {}
    }
    Ok(())
}

pub fn mask(init: &mut Init, path: &CStr) -> Result<()> {
    let Some(target) = init.resolve_if_there(path)? else { return Ok(()) };
    let cover = if sys::statx(target, c"", 0)?.is(S_IFDIR) { empty_directory(init)? } else { null(init)? };
    init.attach(cover, target)?;
    // The first empty directory is kept: the others are copies of it.
    if init.empty != Some(cover) {
        sys::close(cover);
    }
    sys::close(target);
    Ok(())
}

fn empty_directory(init: &mut Init) -> Result<i32> {
    if let Some(first) = init.empty {
        return sys::open_tree(first, c"", false);
    }
    let attributes = u64::from(MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    let first = new_file_system(FileSystem { kind: c"tmpfs", source: c"tmpfs", options: List::EMPTY, attributes })?;
    init.empty = Some(first);
    Ok(first)
}

/// A bind of the host's /dev/null, which is checked to be that device (CVE-2025-31133).
fn null(init: &mut Init) -> Result<i32> {
    const NULL_DEVICE: u64 = 1 << 32 | 3;
    let source = match init.null {
        Some(fd) => fd,
        None => {
            let fd = sys::openat2(sys::CWD, c"/dev/null", O_PATH, 0)?;
            let status = sys::statx(fd, c"", 0)?;
            if !status.is(S_IFCHR) || status.device != NULL_DEVICE {
                return refused(__NR_statx, ENODEV);
            }
            init.null = Some(fd);
            fd
        }
    };
    sys::open_tree(source, c"", false)
}

pub fn read_only(init: &mut Init, path: &CStr) -> Result<()> {
    let Some(target) = init.resolve_if_there(path)? else { return Ok(()) };
    let tree = sys::open_tree(target, c"", true)?;
    sys::mount_setattr(tree, true, u64::from(MOUNT_ATTR_RDONLY), 0, 0)?;
    init.attach(tree, target)?;
    sys::close(tree);
    sys::close(target);
    Ok(())
}

pub fn attributes(init: &Init, path: &CStr, set: u64) -> Result<()> {
    let mount = init.resolve(path, 0, 0)?;
    sys::mount_setattr(mount, false, set, 0, 0)?;
    sys::close(mount);
    Ok(())
}
