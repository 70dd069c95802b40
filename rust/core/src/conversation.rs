//! The caller's side of the messages with init (`pyrt_init::Message`); `launch` and `start` say what they mean.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{recvmsg, sendmsg, ControlMessageOwned, MsgFlags, UnixAddr, UnixCredentials};
use pyrt_init::{kind, Message, MESSAGE_SIZE};

use crate::error::{Context, Result};
use crate::interruption::{self, PIECE};
use crate::process::wait_readable;
use crate::sys;

/// The next message, with the descriptor that comes along; `None` when init has closed its end.
pub fn receive(socket: BorrowedFd<'_>) -> Result<Option<(Message, Option<OwnedFd>)>> {
    Ok(receive_from(socket)?.map(|received| (received.message, received.fd)))
}

pub struct Received {
    pub message: Message,
    pub fd: Option<OwnedFd>,
    /// The PID of whoever sent it, in the caller's namespace, where the socket has SO_PASSCRED (unix(7)).
    pub sender: Option<i32>,
}

pub fn receive_from(socket: BorrowedFd<'_>) -> Result<Option<Received>> {
    let mut bytes = [0; MESSAGE_SIZE];
    let mut space = nix::cmsg_space!([RawFd; 1], UnixCredentials);
    let (length, fd, sender) = loop {
        // Init may stand still for ever: frozen, stopped, traced, or in a mount that hangs.
        match wait_readable(socket, Some(PIECE)) {
            Ok(true) => {}
            Ok(false) | Err(Errno::EINTR) => {
                interruption::check("wait for init")?;
                continue;
            }
            Err(errno) => return Err(errno).op("wait for init"),
        }
        let mut parts = [IoSliceMut::new(&mut bytes)];
        match recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC) {
            Ok(received) => {
                let (mut fd, mut sender) = (None, None);
                for control in received.cmsgs().op("hear from init")? {
                    match control {
                        ControlMessageOwned::ScmRights(fds) => fd = fds.first().copied().map(sys::adopt),
                        ControlMessageOwned::ScmCredentials(who) => sender = Some(who.pid()),
                        _ => {}
                    }
                }
                break (received.bytes, fd, sender);
            }
            Err(Errno::EINTR) => {}
            Err(Errno::ECONNRESET) => break (0, None, None),
            Err(errno) => return Err(errno).op("hear from init"),
        }
    };
    Ok((length == MESSAGE_SIZE).then(|| Received { message: Message::from_bytes(&bytes), fd, sender }))
}

/// Lets init go on.
pub fn go(socket: BorrowedFd<'_>) -> Result<()> {
    let message = Message { kind: kind::GO, ..Message::default() };
    sendmsg::<UnixAddr>(socket.as_raw_fd(), &[IoSlice::new(&message.to_bytes())], &[], MsgFlags::MSG_NOSIGNAL, None)
        .map(drop)
        .op("answer init")
}
