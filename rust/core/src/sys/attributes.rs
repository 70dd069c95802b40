//! Extended attributes of an open file (xattr(7)).

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc;

use super::{checked, Result};

/// The value, as far as it fits into `value`: how long it is. ENODATA where there is no such attribute.
pub fn fgetxattr(file: BorrowedFd<'_>, name: &CStr, value: &mut [u8]) -> Result<usize> {
    // SAFETY: name and buffer live past the call, and the buffer's length is passed.
    let length = unsafe { libc::fgetxattr(file.as_raw_fd(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    checked(length as libc::c_long).map(|length| length as usize)
}

pub fn fsetxattr(file: BorrowedFd<'_>, name: &CStr, value: &[u8]) -> Result<()> {
    // SAFETY: name and value live past the call, and the value's length is passed.
    let result = unsafe { libc::fsetxattr(file.as_raw_fd(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    checked(libc::c_long::from(result)).map(drop)
}

pub fn fremovexattr(file: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    // SAFETY: the name lives past the call.
    checked(libc::c_long::from(unsafe { libc::fremovexattr(file.as_raw_fd(), name.as_ptr()) })).map(drop)
}
