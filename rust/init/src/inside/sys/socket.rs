//! Sockets: the one to the caller, the listener of `start`, rtnetlink(7), and `lo`.

use linux_raw_sys::general::*;
use linux_raw_sys::net::{cmsghdr, ifreq, msghdr, SCM_RIGHTS, SOL_SOCKET};
use pyrt_init::{Hello, Message, HELLO_SIZE, MAX_FDS, MESSAGE_SIZE};

use super::{close, Failure, Result};

/// Room for one control message with the most descriptors that the kernel passes at once.
#[repr(C, align(8))]
struct Control([u8; size_of::<cmsghdr>() + 4 * MAX_FDS + 4]);

/// The first message, with its descriptors put into `fds`. `None` when the caller is gone.
pub fn receive_hello(socket: i32, fds: &mut [i32; MAX_FDS]) -> Result<Option<Hello>> {
    const MSG_CMSG_CLOEXEC: u32 = 0x4000_0000;
    let mut bytes = [0u8; HELLO_SIZE];
    let mut control = Control([0; size_of::<Control>()]);
    let mut part = linux_raw_sys::general::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() as _ };
    // SAFETY: all zero is a valid msghdr: no name, nothing to receive into.
    let mut header: msghdr = unsafe { core::mem::zeroed() };
    header.msg_iov = (&raw mut part).cast();
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = control.0.len() as _;
    if call!(__NR_recvmsg, socket, &raw mut header, MSG_CMSG_CLOEXEC)? != HELLO_SIZE {
        return Ok(None);
    }
    let hello = Hello::from_bytes(&bytes);
    let got = (header.msg_controllen as usize).saturating_sub(size_of::<cmsghdr>()) / 4;
    if got < hello.count as usize || hello.count as usize > MAX_FDS || hello.count == 0 {
        return Ok(None);
    }
    for (index, fd) in fds.iter_mut().take(hello.count as usize).enumerate() {
        let at = size_of::<cmsghdr>() + index * 4;
        *fd = i32::from_le_bytes([control.0[at], control.0[at + 1], control.0[at + 2], control.0[at + 3]]);
    }
    Ok(Some(hello))
}

pub fn send(socket: i32, message: Message, fd: Option<i32>) -> Result<()> {
    let mut bytes = message.to_bytes();
    let mut control = Control([0; size_of::<Control>()]);
    let mut part = linux_raw_sys::general::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() as _ };
    // SAFETY: all zero is a valid msghdr.
    let mut header: msghdr = unsafe { core::mem::zeroed() };
    header.msg_iov = (&raw mut part).cast();
    header.msg_iovlen = 1;
    if let Some(fd) = fd {
        let length = size_of::<cmsghdr>() + 4;
        control.0[..8].copy_from_slice(&length.to_le_bytes());
        control.0[8..12].copy_from_slice(&(SOL_SOCKET as i32).to_le_bytes());
        control.0[12..16].copy_from_slice(&(SCM_RIGHTS as i32).to_le_bytes());
        control.0[16..20].copy_from_slice(&fd.to_le_bytes());
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = (length.next_multiple_of(8)) as _;
    }
    const MSG_NOSIGNAL: u32 = 0x4000;
    call!(__NR_sendmsg, socket, &raw const header, MSG_NOSIGNAL).map(drop)
}

/// The caller's next message; `None` when it is gone.
pub fn receive(socket: i32) -> Result<Option<Message>> {
    let mut bytes = [0u8; MESSAGE_SIZE];
    match call!(__NR_read, socket, bytes.as_mut_ptr(), bytes.len())? {
        MESSAGE_SIZE => Ok(Some(Message::from_bytes(&bytes))),
        _ => Ok(None),
    }
}

/// The next message of a socket, `None` where none is there.
pub fn receive_now(socket: i32, into: &mut [u8]) -> Result<Option<usize>> {
    const MSG_DONTWAIT: u32 = 0x40;
    match call!(__NR_recvfrom, socket, into.as_mut_ptr(), into.len(), MSG_DONTWAIT, 0, 0) {
        Err(Failure { errno, .. }) if errno == linux_raw_sys::errno::EAGAIN as i32 => Ok(None),
        other => other.map(Some),
    }
}

pub fn accept(listener: i32) -> Result<i32> {
    const SOCK_CLOEXEC: u32 = O_CLOEXEC;
    call!(__NR_accept4, listener, 0, 0, SOCK_CLOEXEC).map(|fd| fd as i32)
}

/// One for rtnetlink(7) in the network namespace that this process is in.
pub fn netlink_socket() -> Result<i32> {
    const AF_NETLINK: u32 = 16;
    const SOCK_RAW_CLOEXEC: u32 = 3 | O_CLOEXEC;
    const NETLINK_ROUTE: u32 = 0;
    call!(__NR_socket, AF_NETLINK, SOCK_RAW_CLOEXEC, NETLINK_ROUTE).map(|fd| fd as i32)
}

/// The flags of `lo` gain IFF_UP.
pub fn loopback_up() -> Result<()> {
    const AF_INET: u32 = 2;
    const SOCK_DGRAM_CLOEXEC: u32 = 2 | O_CLOEXEC;
    const SIOCSIFFLAGS: u32 = 0x8914;
    const IFF_UP: i16 = 1;
    let socket = call!(__NR_socket, AF_INET, SOCK_DGRAM_CLOEXEC, 0)? as i32;
    // SAFETY: all zero is a valid ifreq structure.
    let mut request: ifreq = unsafe { core::mem::zeroed() };
    request.ifr_ifrn.ifrn_name = [0; 16];
    // SAFETY: the name is the union's only member, and was just written.
    let name = unsafe { &mut request.ifr_ifrn.ifrn_name };
    name[0] = b'l' as _;
    name[1] = b'o' as _;
    request.ifr_ifru.ifru_flags = IFF_UP;
    let result = call!(__NR_ioctl, socket, SIOCSIFFLAGS, &raw mut request).map(drop);
    close(socket);
    result
}
