//! The answering side of a filter's notifications: seccomp_unotify(2). What to answer is the library's caller's own business
//! (python/pyrt/system_calls.py).

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use nix::errno::Errno;

use super::of_call;
use crate::error::{Context, Result};
use crate::sys::seccomp::{self, Response, CONTINUE};

/// The listener of a filter: readable while somebody waits for an answer, hung up when nobody is left under the filter.
#[derive(Debug)]
pub struct Listener(OwnedFd);

/// A call that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    pub id: u64,
    /// Of the thread that calls, in the reader's pid namespace.
    pub pid: u32,
    /// `None` for one that stands for another call by a number in memory or in its first argument (socketcall(2), ipc(2)).
    pub name: Option<&'static str>,
    pub architecture: Option<&'static str>,
    pub number: u32,
    pub arguments: [u64; 6],
}

#[derive(Debug, Clone, Copy)]
pub enum Answer<'a> {
    Error(i32),
    Value(i64),
    Descriptor {
        fd: BorrowedFd<'a>,
        close_on_exec: bool,
    },
    /// The kernel carries the call out.
    Proceed,
}

impl Listener {
    pub fn new(fd: OwnedFd) -> Self {
        Listener(fd)
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// The next one, of a listener that is readable; `None` where it ended, or was interrupted, meanwhile.
    pub fn receive(&self) -> Result<Option<Asked>> {
        let notification = match seccomp::receive_notification(self.fd()) {
            Err(Errno::ENOENT | Errno::ENOTCONN | Errno::EINTR) => return Ok(None),
            received => received.op("receive a seccomp notification")?,
        };
        let number = notification.number as u32;
        let architecture = of_call(notification.audit, number);
        let through = |name: &&'static str| architecture.is_some_and(|one| one.number(name) == Some(number));
        Ok(Some(Asked {
            id: notification.id,
            pid: notification.pid,
            name: architecture.and_then(|one| one.call(number, notification.arguments[0])).filter(through),
            architecture: architecture.map(|one| one.name()),
            number,
            arguments: notification.arguments,
        }))
    }

    /// Whether the one who asked still waits for this answer.
    pub fn still_waits(&self, id: u64) -> Result<bool> {
        seccomp::still_waits(self.fd(), id).op("look at a seccomp notification")
    }

    /// Nothing happens where the one who asked is gone.
    pub fn answer(&self, id: u64, answer: Answer<'_>) -> Result<()> {
        let response = Response { id, value: 0, error: 0, flags: 0 };
        let sent = match answer {
            Answer::Error(errno) => seccomp::send_response(self.fd(), Response { error: -errno, ..response }),
            Answer::Value(value) => seccomp::send_response(self.fd(), Response { value, ..response }),
            Answer::Proceed => seccomp::send_response(self.fd(), Response { flags: CONTINUE, ..response }),
            Answer::Descriptor { fd, close_on_exec } => seccomp::answer_with_descriptor(self.fd(), id, fd, close_on_exec),
        };
        match sent {
            Err(Errno::ENOENT) => Ok(()),
            sent => sent.op("answer a system call"),
        }
    }

    /// Up to `length` bytes of the caller's memory, fewer where the rest cannot be read; `None` where it is gone.
    pub fn read(&self, asked: &Asked, address: u64, length: usize) -> Result<Option<Vec<u8>>> {
        let path = format!("/proc/{}/mem", asked.pid);
        let opened = File::open(&path);
        // What was opened is the caller's own only where the caller still waits: its number may be somebody else's by now.
        if !self.still_waits(asked.id)? {
            return Ok(None);
        }
        let memory = opened.at("read the memory of", &path)?;
        let mut bytes = vec![0; length];
        let mut filled = 0;
        while filled < length {
            match memory.read_at(&mut bytes[filled..], address.saturating_add(filled as u64)) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.raw_os_error() == Some(Errno::EIO as i32) => break,
                failed => failed.map(drop).at("read the memory of", &path)?,
            }
        }
        bytes.truncate(filled);
        // Interrupted, it may have come back from the call, and its memory be of something else.
        Ok(self.still_waits(asked.id)?.then_some(bytes))
    }
}
