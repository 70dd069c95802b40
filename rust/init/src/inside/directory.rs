//! What is in a directory: read for the watcher, which removes cgroups, and copied for `tmpcopyup`.
//!
//! The source of a copy is the container's root, which others may change meanwhile: each name is opened once, without following links, and
//! what is copied is what was opened. The target is a new file system that nobody else can reach.

use core::ffi::CStr;

use linux_raw_sys::errno::{EINVAL, ELOOP, ENODATA, EOPNOTSUPP, EPERM};
use linux_raw_sys::general::*;

use crate::sys::{self, refused, Failure, Result, Status};

/// Each level takes descriptors and some stack.
const DEEPEST: u32 = 100;
/// A name of the source, never a path.
const ONE_NAME: u32 = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
const NO_TARGET: Failure = Failure { call: __NR_readlinkat, errno: EINVAL as i32, status: 0 };

/// Calls `visit` with every name but `.` and `..`.
pub fn entries(directory: i32, mut visit: impl FnMut(&CStr) -> Result<()>) -> Result<()> {
    // struct linux_dirent64: inode and offset of 8 bytes each, then record length (2), type (1), name.
    const LENGTH: usize = 16;
    const NAME: usize = 19;
    let mut buffer = [0u8; 1024];
    sys::rewind(directory)?;
    loop {
        let count = sys::getdents(directory, &mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        let mut rest = &buffer[..count];
        while let [_, ..] = rest {
            let length = usize::from(u16::from_le_bytes([rest[LENGTH], rest[LENGTH + 1]]));
            match CStr::from_bytes_until_nul(&rest[NAME..length]) {
                Ok(name) if name != c"." && name != c".." => visit(name)?,
                _ => {}
            }
            rest = &rest[length..];
        }
    }
}

/// Copies what is in `from` into `to`, with modes, owners, times and extended attributes; its own too, unless `to` has had them from its options.
pub fn copy(from: i32, to: i32, own: bool) -> Result<()> {
    let source = sys::openat2(from, c".", O_RDONLY | O_DIRECTORY, ONE_NAME)?;
    let status = sys::statx(source, c"", 0)?;
    copy_entries(source, to, 0)?;
    if own {
        give(to, c".", &status)?;
        let target = sys::openat2(to, c".", O_RDONLY | O_DIRECTORY, ONE_NAME)?;
        copy_attributes(source, target)?;
        sys::close(target);
    }
    sys::close(source);
    Ok(())
}

fn copy_entries(from: i32, to: i32, depth: u32) -> Result<()> {
    if depth > DEEPEST {
        return refused(__NR_openat2, ELOOP);
    }
    entries(from, |name| copy_entry(from, to, name, depth))
}

fn copy_entry(from: i32, to: i32, name: &CStr, depth: u32) -> Result<()> {
    let entry = sys::openat2(from, name, O_PATH | O_NOFOLLOW, ONE_NAME)?;
    let mut status = sys::statx(entry, c"", 0)?;
    let mut opened = None;
    match status.mode & S_IFMT {
        S_IFDIR => {
            let source = sys::openat2(entry, c".", O_RDONLY | O_DIRECTORY, ONE_NAME)?;
            sys::mkdirat(to, name, 0o700)?;
            let target = sys::openat2(to, name, O_RDONLY | O_DIRECTORY, ONE_NAME)?;
            copy_entries(source, target, depth + 1)?;
            opened = Some((source, target));
        }
        S_IFREG => {
            // Not a device, should one stand there by now: neither waiting for it nor becoming its session's.
            let source = sys::openat2(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, ONE_NAME)?;
            status = sys::statx(source, c"", 0)?;
            if !status.is(S_IFREG) {
                return refused(__NR_openat2, ELOOP);
            }
            let target = sys::create(to, name, 0o600)?;
            sys::copy_content(source, target)?;
            opened = Some((source, target));
        }
        S_IFLNK => copy_link(entry, to, name)?,
        // Nobody listens on the copy of a socket.
        S_IFSOCK => {
            sys::close(entry);
            return Ok(());
        }
        kind => sys::mknodat(to, name, kind | 0o600, sys::encoded_device(status.device))?,
    }
    sys::close(entry);
    give(to, name, &status)?;
    if let Some((source, target)) = opened {
        copy_attributes(source, target)?;
        sys::close(target);
        sys::close(source);
    }
    Ok(())
}

/// Extended attributes (xattr(7)): file capabilities, access control lists, what the user keeps. After the owner, whose change takes
/// capabilities away. A tmpfs may not have them all (`user.` since Linux 6.6), nor a user namespace the right to all.
#[inline(never)]
fn copy_attributes(from: i32, to: i32) -> Result<()> {
    match sys::flistxattr(from, &mut []) {
        // Most files have none: no buffers for them.
        Ok(0) => return Ok(()),
        // A file system without any.
        Err(failure) if failure.errno == EOPNOTSUPP as i32 => return Ok(()),
        other => other?,
    };
    let (mut names, mut value) = ([0u8; XATTR_LIST_MAX as usize], [0u8; XATTR_SIZE_MAX as usize]);
    let length = sys::flistxattr(from, &mut names)?;
    for name in names[..length].split_inclusive(|byte| *byte == 0).filter_map(|name| CStr::from_bytes_with_nul(name).ok()) {
        let size = match sys::fgetxattr(from, name, &mut value) {
            Ok(size) => size,
            // Gone since it was listed.
            Err(failure) if failure.errno == ENODATA as i32 => continue,
            Err(failure) => return Err(failure),
        };
        match sys::fsetxattr(to, name, &value[..size]) {
            Err(failure) if failure.errno == EOPNOTSUPP as i32 || failure.errno == EPERM as i32 => {}
            set => set?,
        }
    }
    Ok(())
}

fn copy_link(link: i32, to: i32, name: &CStr) -> Result<()> {
    // One byte more than any target has: the last stays 0.
    let mut target = [0u8; PATH_MAX as usize + 1];
    let room = target.len() - 1;
    sys::readlinkat(link, c"", &mut target[..room])?;
    sys::symlinkat(CStr::from_bytes_until_nul(&target).map_err(|_| NO_TARGET)?, to, name)
}

/// Owner first, since changing it takes set-user-ID away; times last.
fn give(directory: i32, name: &CStr, status: &Status) -> Result<()> {
    match sys::fchownat(directory, name, status.uid, status.gid) {
        // An owner whom the user namespace does not have: the copy stays init's.
        Err(failure) if failure.errno == EINVAL as i32 => {}
        other => other?,
    }
    if !status.is(S_IFLNK) {
        sys::fchmodat(directory, name, status.mode & 0o7777)?;
    }
    sys::set_times(directory, name, status)
}
