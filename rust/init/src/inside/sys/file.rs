//! Files, directories, extended attributes and descriptors. Paths are C strings; a descriptor is a plain number, since init closes all of
//! them at once, at its execve or its end.

use core::ffi::CStr;

use linux_raw_sys::general::*;

use super::Result;

pub const CWD: i32 = AT_FDCWD;

pub fn openat2(directory: i32, path: &CStr, flags: u32, resolve: u32) -> Result<i32> {
    let how = open_how { flags: u64::from(flags | O_CLOEXEC), mode: 0, resolve: u64::from(resolve) };
    call!(__NR_openat2, directory, path.as_ptr(), &raw const how, size_of::<open_how>()).map(|fd| fd as i32)
}

pub fn create(directory: i32, path: &CStr, mode: u32) -> Result<i32> {
    let how = open_how { flags: u64::from(O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC), mode: u64::from(mode), resolve: 0 };
    call!(__NR_openat2, directory, path.as_ptr(), &raw const how, size_of::<open_how>()).map(|fd| fd as i32)
}

pub fn close(fd: i32) {
    // A descriptor that we opened: nothing that close can say would change what we do.
    let _ = call!(__NR_close, fd);
}

pub fn write(fd: i32, bytes: &[u8]) -> Result<usize> {
    call!(__NR_write, fd, bytes.as_ptr(), bytes.len())
}

pub fn rewind(fd: i32) -> Result<()> {
    call!(__NR_lseek, fd, 0, SEEK_SET).map(drop)
}

pub fn mkdirat(directory: i32, path: &CStr, mode: u32) -> Result<()> {
    call!(__NR_mkdirat, directory, path.as_ptr(), mode).map(drop)
}

pub fn rmdir(directory: i32, path: &CStr) -> Result<()> {
    call!(__NR_unlinkat, directory, path.as_ptr(), AT_REMOVEDIR).map(drop)
}

/// Entries of a directory into `buffer`, as getdents64(2) has them: how many bytes; 0 at the end.
pub fn getdents(directory: i32, buffer: &mut [u8]) -> Result<usize> {
    call!(__NR_getdents64, directory, buffer.as_mut_ptr(), buffer.len())
}

pub fn read(fd: i32, into: &mut [u8]) -> Result<usize> {
    call!(__NR_read, fd, into.as_mut_ptr(), into.len())
}

pub fn mknodat(directory: i32, path: &CStr, mode: u32, device: u32) -> Result<()> {
    call!(__NR_mknodat, directory, path.as_ptr(), mode, device).map(drop)
}

/// The kernel's own 32-bit form of a device number: makedev(3).
pub fn encoded_device(number: u64) -> u32 {
    let (major, minor) = ((number >> 32) as u32, number as u32);
    (minor & 0xff) | (major & 0xfff) << 8 | (minor & !0xff) << 12
}

/// Everything that is left in `from`: sendfile(2).
pub fn copy_content(from: i32, to: i32) -> Result<()> {
    const AT_ONCE: usize = 1 << 30;
    while call!(__NR_sendfile, to, from, 0, AT_ONCE)? != 0 {}
    Ok(())
}

/// How long the target is, of which as much as fits is put into `into`.
pub fn readlinkat(directory: i32, path: &CStr, into: &mut [u8]) -> Result<usize> {
    call!(__NR_readlinkat, directory, path.as_ptr(), into.as_mut_ptr(), into.len())
}

/// Follows symbolic links.
pub fn fchmodat(directory: i32, path: &CStr, mode: u32) -> Result<()> {
    call!(__NR_fchmodat, directory, path.as_ptr(), mode).map(drop)
}

/// Those of last access and change become the same as `status` has them.
pub fn set_times(directory: i32, path: &CStr, status: &Status) -> Result<()> {
    let times = status.times.map(|(seconds, nanoseconds)| __kernel_timespec { tv_sec: seconds, tv_nsec: nanoseconds });
    call!(__NR_utimensat, directory, path.as_ptr(), times.as_ptr(), AT_SYMLINK_NOFOLLOW).map(drop)
}

pub fn symlinkat(target: &CStr, directory: i32, path: &CStr) -> Result<()> {
    call!(__NR_symlinkat, target.as_ptr(), directory, path.as_ptr()).map(drop)
}

pub fn fchownat(directory: i32, path: &CStr, uid: u32, gid: u32) -> Result<()> {
    call!(__NR_fchownat, directory, path.as_ptr(), uid, gid, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH).map(drop)
}

pub fn lsetxattr(path: &CStr, name: &CStr, value: &[u8]) -> Result<()> {
    call!(__NR_lsetxattr, path.as_ptr(), name.as_ptr(), value.as_ptr(), value.len(), 0).map(drop)
}

/// The length of an extended attribute, and as much of it as `value` has room for.
pub fn getxattr(path: &CStr, name: &CStr, value: &mut [u8]) -> Result<usize> {
    call!(__NR_lgetxattr, path.as_ptr(), name.as_ptr(), value.as_mut_ptr(), value.len())
}

/// The names of a file's extended attributes, each with its NUL; how many bytes. An empty buffer only asks that.
pub fn flistxattr(file: i32, names: &mut [u8]) -> Result<usize> {
    call!(__NR_flistxattr, file, names.as_mut_ptr(), names.len())
}

pub fn fgetxattr(file: i32, name: &CStr, value: &mut [u8]) -> Result<usize> {
    call!(__NR_fgetxattr, file, name.as_ptr(), value.as_mut_ptr(), value.len())
}

pub fn fsetxattr(file: i32, name: &CStr, value: &[u8]) -> Result<()> {
    call!(__NR_fsetxattr, file, name.as_ptr(), value.as_ptr(), value.len(), 0).map(drop)
}

pub fn faccess_execute(path: &CStr) -> Result<()> {
    faccessat2_execute(CWD, path, 0)
}

/// The same of a descriptor's file.
pub fn faccess_execute_at(fd: i32) -> Result<()> {
    faccessat2_execute(fd, c"", AT_EMPTY_PATH)
}

fn faccessat2_execute(directory: i32, path: &CStr, flags: u32) -> Result<()> {
    const X_OK: u32 = 1;
    const AT_EACCESS: u32 = 0x200;
    call!(__NR_faccessat2, directory, path.as_ptr(), X_OK, AT_EACCESS | flags).map(drop)
}

/// Of a file. `device`: major number in the upper half, minor in the lower. `times`: last access and last change, seconds and nanoseconds.
pub struct Status {
    pub mode: u32,
    pub device: u64,
    pub uid: u32,
    pub gid: u32,
    pub times: [(i64, i64); 2],
}

impl Status {
    pub fn is(&self, kind: u32) -> bool {
        self.mode & S_IFMT == kind
    }
}

pub fn statx(directory: i32, path: &CStr, flags: u32) -> Result<Status> {
    // SAFETY: all zero is a valid statx structure; the kernel fills it.
    let mut status: statx = unsafe { core::mem::zeroed() };
    call!(__NR_statx, directory, path.as_ptr(), flags | AT_EMPTY_PATH | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &raw mut status)?;
    Ok(Status {
        mode: u32::from(status.stx_mode),
        device: u64::from(status.stx_rdev_major) << 32 | u64::from(status.stx_rdev_minor),
        uid: status.stx_uid,
        gid: status.stx_gid,
        times: [status.stx_atime, status.stx_mtime].map(|time| (time.tv_sec, i64::from(time.tv_nsec))),
    })
}

pub fn file_system(fd: i32) -> Result<u32> {
    // SAFETY: all zero is a valid statfs structure; the kernel fills it.
    let mut status: statfs = unsafe { core::mem::zeroed() };
    call!(__NR_fstatfs, fd, &raw mut status)?;
    Ok(status.f_type as u32)
}

/// A copy of it at `lowest` or above, closed on exec.
pub fn duplicate_above(fd: i32, lowest: u32) -> Result<i32> {
    call!(__NR_fcntl, fd, F_DUPFD_CLOEXEC, lowest).map(|fd| fd as i32)
}

/// A copy of it as `target`, kept across exec.
pub fn duplicate_as(fd: i32, target: i32) -> Result<()> {
    call!(__NR_dup3, fd, target, 0).map(drop)
}

pub fn close_on_exec(from: u32) -> Result<()> {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    call!(__NR_close_range, from, u32::MAX, CLOSE_RANGE_CLOEXEC).map(drop)
}

/// Closes everything but these, which are in ascending order.
pub fn close_all_but(kept: &[i32]) {
    let mut from = 0;
    for fd in kept.iter().map(|fd| *fd as u32).chain([u32::MAX]) {
        if fd > from {
            // All of it is ours; a kernel that cannot close a range is older than the oldest that we run on.
            let _ = call!(__NR_close_range, from, fd - 1, 0);
        }
        from = fd.wrapping_add(1);
    }
}
