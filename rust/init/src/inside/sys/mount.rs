//! Mounts, the root and the working directory. Mounts are made by descriptor alone, so that no path of the container is ever a string to
//! the kernel twice.

use core::ffi::CStr;

use linux_raw_sys::general::*;

use super::Result;

pub fn fsopen(kind: &CStr) -> Result<i32> {
    const FSOPEN_CLOEXEC: u32 = 1;
    call!(__NR_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC).map(|fd| fd as i32)
}

pub fn fsconfig_string(context: i32, key: &CStr, value: &CStr) -> Result<()> {
    call!(__NR_fsconfig, context, fsconfig_command::FSCONFIG_SET_STRING as u32, key.as_ptr(), value.as_ptr(), 0).map(drop)
}

pub fn fsconfig_flag(context: i32, key: &CStr) -> Result<()> {
    call!(__NR_fsconfig, context, fsconfig_command::FSCONFIG_SET_FLAG as u32, key.as_ptr(), 0, 0).map(drop)
}

pub fn fsconfig_create(context: i32) -> Result<()> {
    call!(__NR_fsconfig, context, fsconfig_command::FSCONFIG_CMD_CREATE as u32, 0, 0, 0).map(drop)
}

pub fn fsmount(context: i32, attributes: u32) -> Result<i32> {
    const FSMOUNT_CLOEXEC: u32 = 1;
    call!(__NR_fsmount, context, FSMOUNT_CLOEXEC, attributes).map(|fd| fd as i32)
}

/// A detached copy of the mount at a path, or of what a descriptor names where the path is empty.
pub fn open_tree(directory: i32, path: &CStr, recursive: bool) -> Result<i32> {
    const OPEN_TREE_CLOEXEC: u32 = O_CLOEXEC;
    let flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    call!(__NR_open_tree, directory, path.as_ptr(), flags).map(|fd| fd as i32)
}

pub fn mount_setattr(mount: i32, recursive: bool, set: u64, clear: u64, propagation: u64) -> Result<()> {
    let attributes = mount_attr { attr_set: set, attr_clr: clear, propagation, userns_fd: 0 };
    let flags = AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    call!(__NR_mount_setattr, mount, c"".as_ptr(), flags, &raw const attributes, size_of::<mount_attr>()).map(drop)
}

/// Puts a detached mount onto what `target` names.
pub fn move_mount(mount: i32, target: i32) -> Result<()> {
    const FROM_EMPTY_TO_EMPTY: u32 = 0x4 | 0x40;
    call!(__NR_move_mount, mount, c"".as_ptr(), target, c"".as_ptr(), FROM_EMPTY_TO_EMPTY).map(drop)
}

/// Changes the propagation of the whole tree at `path`.
pub fn mount_propagation(path: &CStr, flags: u64) -> Result<()> {
    call!(__NR_mount, c"".as_ptr(), path.as_ptr(), 0, flags, 0).map(drop)
}

pub fn pivot_root_here() -> Result<()> {
    call!(__NR_pivot_root, c".".as_ptr(), c".".as_ptr()).map(drop)
}

pub fn umount_detach(path: &CStr) -> Result<()> {
    call!(__NR_umount2, path.as_ptr(), MNT_DETACH).map(drop)
}

pub fn chroot(path: &CStr) -> Result<()> {
    call!(__NR_chroot, path.as_ptr()).map(drop)
}

pub fn chdir(path: &CStr) -> Result<()> {
    call!(__NR_chdir, path.as_ptr()).map(drop)
}

pub fn fchdir(fd: i32) -> Result<()> {
    call!(__NR_fchdir, fd).map(drop)
}

/// Whether the working directory can be reached from the root: the kernel marks one that cannot with "(unreachable)".
pub fn cwd_is_inside() -> Result<bool> {
    let mut path = [0u8; PATH_MAX as usize];
    call!(__NR_getcwd, path.as_mut_ptr(), path.len())?;
    Ok(path[0] == b'/')
}
