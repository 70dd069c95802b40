//! ioctl(2) of a seccomp filter's listener: seccomp_unotify(2), linux/seccomp.h.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc;

use super::{checked, Result};

/// struct seccomp_notif, with its struct seccomp_data.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Notification {
    pub id: u64,
    pub pid: u32,
    pub flags: u32,
    pub number: i32,
    pub audit: u32,
    pub instruction: u64,
    pub arguments: [u64; 6],
}

/// struct seccomp_notif_resp.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Response {
    pub id: u64,
    pub value: i64,
    pub error: i32,
    pub flags: u32,
}

/// SECCOMP_USER_NOTIF_FLAG_CONTINUE.
pub const CONTINUE: u32 = 1;

/// struct seccomp_notif_addfd.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct AddedDescriptor {
    id: u64,
    flags: u32,
    source: u32,
    target: u32,
    target_flags: u32,
}

/// SECCOMP_ADDFD_FLAG_SEND: the new number is the call's value, at once.
const SEND: u32 = 1 << 1;

const DIRECTION_WRITE: u64 = 1 << 30;
const DIRECTION_BOTH: u64 = 3 << 30;

/// _IOC of asm-generic/ioctl.h, of type '!'.
const fn request(direction: u64, number: u64, size: usize) -> u64 {
    direction | (size as u64) << 16 | (b'!' as u64) << 8 | number
}

/// SECCOMP_IOCTL_NOTIF_RECV. ENOENT where the one who asked is gone.
pub fn receive_notification(listener: BorrowedFd<'_>) -> Result<Notification> {
    const RECEIVE: u64 = request(DIRECTION_BOTH, 0, size_of::<Notification>());
    // The kernel wants it to be zero.
    let mut notification = Notification::default();
    // SAFETY: the structure is as large as the request's number says, and the kernel takes no larger one since Linux 5.0.
    checked(libc::c_long::from(unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE as _, &raw mut notification) }))?;
    Ok(notification)
}

/// SECCOMP_IOCTL_NOTIF_SEND. ENOENT where the one who asked is gone.
pub fn send_response(listener: BorrowedFd<'_>, response: Response) -> Result<()> {
    const RESPOND: u64 = request(DIRECTION_BOTH, 1, size_of::<Response>());
    // SAFETY: as above.
    checked(libc::c_long::from(unsafe { libc::ioctl(listener.as_raw_fd(), RESPOND as _, &raw const response) })).map(drop)
}

/// SECCOMP_IOCTL_NOTIF_ID_VALID: whether the one who asked still waits.
pub fn still_waits(listener: BorrowedFd<'_>, id: u64) -> Result<bool> {
    const VALID: u64 = request(DIRECTION_WRITE, 2, size_of::<u64>());
    // SAFETY: as above.
    match checked(libc::c_long::from(unsafe { libc::ioctl(listener.as_raw_fd(), VALID as _, &raw const id) })) {
        Err(Errno::ENOENT) => Ok(false),
        answered => answered.map(|_| true),
    }
}

/// SECCOMP_IOCTL_NOTIF_ADDFD, which also answers: the call returns the number of the new descriptor.
pub fn answer_with_descriptor(listener: BorrowedFd<'_>, id: u64, fd: BorrowedFd<'_>, close_on_exec: bool) -> Result<()> {
    const ADD: u64 = request(DIRECTION_WRITE, 3, size_of::<AddedDescriptor>());
    let added = AddedDescriptor {
        id,
        flags: SEND,
        source: fd.as_raw_fd() as u32,
        target: 0,
        target_flags: if close_on_exec { libc::O_CLOEXEC as u32 } else { 0 },
    };
    // SAFETY: as above.
    checked(libc::c_long::from(unsafe { libc::ioctl(listener.as_raw_fd(), ADD as _, &raw const added) })).map(drop)
}
