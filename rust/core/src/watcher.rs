//! The watcher's other end: one process for each calling process, made when first needed, that removes what must not outlive the caller.
//!
//! Its own side is `rust/init/src/inside/watch.rs`.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Mutex;

use nix::errno::Errno;
use nix::sys::socket::{sendmsg, MsgFlags, UnixAddr};
use pyrt_init::{kind, Message, WATCH_SIZE};

use crate::cgroup::UNIFIED;
use crate::error::{Context, Error, Result};
use crate::host::HostFacts;
use crate::launch::make_watcher;
use crate::plan::LaunchPlan;
use crate::sys::{self, PerProcess};

/// This process's watcher. A forked child makes its own, whatever its parent's threads were at.
static WATCHER: PerProcess<Mutex<Option<Watcher>>> = PerProcess::new();

pub(crate) struct Watcher {
    pub socket: OwnedFd,
    pub pidfd: OwnedFd,
}

/// A cgroup that the watcher knows of, until dropped.
#[derive(Debug)]
pub struct Watched {
    owner: u32,
    number: u64,
}

/// Has the cgroup at `paths` ended and removed when the calling process ends.
pub fn watch(paths: &[(String, String)]) -> Result<Watched> {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let unified = paths.iter().find(|(key, _)| key == UNIFIED).map_or("", |(_, path)| path);
    let mut text = format!("{unified}\0");
    paths.iter().filter(|(key, _)| key != UNIFIED).for_each(|(_, path)| text.push_str(&format!("{path}\0")));
    if text.len() > WATCH_SIZE - 16 {
        return Err(Error::system("watch the cgroup", unified.to_owned(), Errno::ENAMETOOLONG));
    }
    send(Message { kind: kind::WATCH, value: number, ..Message::default() }, text.as_bytes(), true)?;
    Ok(Watched { owner: std::process::id(), number })
}

impl Drop for Watched {
    fn drop(&mut self) {
        if self.owner == std::process::id() {
            // A watcher that is gone has forgotten already.
            let _ = send(Message { kind: kind::FORGET, value: self.number, ..Message::default() }, &[], false);
        }
    }
}

/// The watcher's PID, where one was made and lives: it is in the caller's cgroup.
pub(crate) fn pid() -> Option<i32> {
    let watcher = WATCHER.get().lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    watcher.as_ref().and_then(|watcher| sys::pidfd_pid(watcher.pidfd.as_fd()).ok())
}

/// To this process's watcher; one that is missing, or was killed, is made anew where `make` says so.
fn send(message: Message, text: &[u8], make: bool) -> Result<()> {
    let mut watcher = WATCHER.get().lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    for _ in 0..2 {
        if watcher.is_none() {
            if !make {
                return Ok(());
            }
            *watcher = Some(make_watcher(&LaunchPlan::watching(HostFacts::get()?)?)?);
        }
        let Some(Watcher { socket, .. }) = watcher.as_ref() else { continue };
        let head = message.to_bytes();
        let parts = [IoSlice::new(&head), IoSlice::new(text)];
        match sendmsg::<UnixAddr>(socket.as_raw_fd(), &parts, &[], MsgFlags::MSG_NOSIGNAL, None) {
            Err(Errno::EPIPE | Errno::ECONNRESET) => *watcher = None,
            sent => return sent.map(drop).op("tell the watcher"),
        }
    }
    Err(Error::system("tell the watcher", None, Errno::EPIPE))
}
