//! A command handed out to a container that stands and waits: its plan and descriptors over the socket, and what becomes of them.

use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{sendmsg, ControlMessage, MsgFlags, UnixAddr};
use pyrt_init::{kind, Hello, MAX_FDS};

use crate::conversation;
use crate::error::{Context, Error, Result};
use crate::plan::{CommandPlan, Handed};
use crate::process::Process;
use crate::sys;

/// Returns when the program runs, and `false` where the container has ended before it took the command. Errors: the program's own (it is
/// missing, may not be executed), its directory's. Nothing of the command has run then, and the container is the caller's to end.
pub fn hand_out(process: &Process, plan: &CommandPlan, stdio: [BorrowedFd<'_>; 3], kept: &[RawFd]) -> Result<bool> {
    let Some(socket) = process.socket() else { return Err(Error::system("hand the command out", None, Errno::EINVAL)) };
    let bytes = plan.steps.bytes();
    let file = sys::sealed_file(c"pyrt-plan", bytes, false).op("write the command's plan")?;
    let mut numbers = vec![file.as_raw_fd()];
    for handed in plan.steps.handed() {
        numbers.push(match handed {
            Handed::Stdio(number) => stdio[*number].as_raw_fd(),
            Handed::Kept(number) => kept.get(*number).copied().unwrap_or(-1),
            _ => return Err(Error::system("hand the command out", None, Errno::EINVAL)),
        });
    }
    if numbers.len() > MAX_FDS {
        return Err(Error::system("hand descriptors over", None, Errno::E2BIG).with_hint(format!("more than {MAX_FDS} are needed")));
    }
    let hello = Hello { length: bytes.len() as u64, floor: 3 + plan.kept as u32, count: numbers.len() as u32 };
    let rights = [ControlMessage::ScmRights(&numbers)];
    match sendmsg::<UnixAddr>(socket.as_raw_fd(), &[IoSlice::new(&hello.to_bytes())], &rights, MsgFlags::MSG_NOSIGNAL, None) {
        Err(Errno::EPIPE | Errno::ECONNRESET) => return Ok(false),
        sent => sent.op("send the command's plan")?,
    };
    let mut executing = false;
    loop {
        let Some((message, fd)) = conversation::receive(socket)? else { return Ok(executing) };
        match message.kind {
            kind::EXECUTING => executing = true,
            kind::LISTENER => {
                process.give_listener(fd);
                conversation::go(socket)?;
            }
            kind::STARTED => return Ok(true),
            kind::FAILED => return Err(plan.failure(message)),
            other => return Err(Error::system(format!("understand init (message {other})"), None, Errno::EPROTO)),
        }
    }
}
