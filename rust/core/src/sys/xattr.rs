//! Extended attributes of open files: xattr(7).

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc;
use nix::NixPath;

use super::Result;

/// The value; `None` where there is none, or the file system has none at all.
pub fn get(file: BorrowedFd<'_>, name: &CStr) -> Result<Option<Vec<u8>>> {
    let mut value = vec![0u8; 256];
    loop {
        // SAFETY: the name ends with NUL, and the buffer's length is passed.
        let length = unsafe { libc::fgetxattr(file.as_raw_fd(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
        match Errno::result(length) {
            Ok(length) => {
                value.truncate(length as usize);
                return Ok(Some(value));
            }
            Err(Errno::ENODATA | Errno::EOPNOTSUPP) => return Ok(None),
            // XATTR_SIZE_MAX.
            Err(Errno::ERANGE) if value.len() < 1 << 16 => value.resize(value.len() * 2, 0),
            Err(errno) => return Err(errno),
        }
    }
}

pub fn set(file: BorrowedFd<'_>, name: &CStr, value: &[u8]) -> Result<()> {
    // SAFETY: the name ends with NUL, and the value's length is passed.
    let result = unsafe { libc::fsetxattr(file.as_raw_fd(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    Errno::result(result).map(drop)
}

pub fn remove(file: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    // SAFETY: the name ends with NUL.
    Errno::result(unsafe { libc::fremovexattr(file.as_raw_fd(), name.as_ptr()) }).map(drop)
}

/// Whether the file at this path has it; a symbolic link is looked at itself.
pub fn is_at(path: &str, name: &CStr) -> Result<bool> {
    path.with_nix_path(|path| {
        // SAFETY: path and name end with NUL; with a size of 0 nothing is written.
        let length = unsafe { libc::lgetxattr(path.as_ptr(), name.as_ptr(), std::ptr::null_mut(), 0) };
        match Errno::result(length) {
            Ok(_) => Ok(true),
            Err(Errno::ENODATA | Errno::EOPNOTSUPP) => Ok(false),
            Err(errno) => Err(errno),
        }
    })?
}

/// All names; none where the file system has no attributes.
pub fn names(file: BorrowedFd<'_>) -> Result<Vec<CString>> {
    // XATTR_LIST_MAX.
    let mut list = vec![0u8; 1 << 16];
    // SAFETY: the buffer's length is passed.
    let length = unsafe { libc::flistxattr(file.as_raw_fd(), list.as_mut_ptr().cast(), list.len()) };
    match Errno::result(length) {
        Ok(length) => {
            let names = list[..length as usize].split_inclusive(|byte| *byte == 0);
            Ok(names.filter_map(|name| CStr::from_bytes_with_nul(name).ok()).map(CStr::to_owned).collect())
        }
        Err(Errno::EOPNOTSUPP) => Ok(Vec::new()),
        Err(errno) => Err(errno),
    }
}
