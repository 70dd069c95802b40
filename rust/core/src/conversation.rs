//! The caller's side of the messages with init (`pyrt_init::Message`); `launch` and `start` say what they mean.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{recvmsg, sendmsg, ControlMessageOwned, MsgFlags, UnixAddr};
use pyrt_init::{kind, Message, MESSAGE_SIZE};

use crate::error::{Context, Result};
use crate::{interruption, sys};

/// The next message, with the descriptor that comes along; `None` when init has closed its end.
pub fn receive(socket: BorrowedFd<'_>) -> Result<Option<(Message, Option<OwnedFd>)>> {
    let mut bytes = [0; MESSAGE_SIZE];
    let mut space = nix::cmsg_space!([RawFd; 1]);
    let (length, fd) = loop {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        match recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC) {
            Ok(received) => {
                let mut fd = None;
                for control in received.cmsgs().op("hear from init")? {
                    if let ControlMessageOwned::ScmRights(fds) = control {
                        fd = fds.first().copied().map(sys::adopt);
                    }
                }
                break (received.bytes, fd);
            }
            // Init may stand still for ever: frozen, stopped, traced, or in a mount that hangs.
            Err(Errno::EINTR) => interruption::check("wait for init")?,
            Err(Errno::ECONNRESET) => break (0, None),
            Err(errno) => return Err(errno).op("hear from init"),
        }
    };
    Ok((length == MESSAGE_SIZE).then(|| (Message::from_bytes(&bytes), fd)))
}

/// Lets init go on.
pub fn go(socket: BorrowedFd<'_>) -> Result<()> {
    let message = Message { kind: kind::GO, ..Message::default() };
    sendmsg::<UnixAddr>(socket.as_raw_fd(), &[IoSlice::new(&message.to_bytes())], &[], MsgFlags::MSG_NOSIGNAL, None)
        .map(drop)
        .op("answer init")
}
