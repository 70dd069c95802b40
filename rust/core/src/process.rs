//! A container's init process from outside: named by pidfd and start time, waited for, signalled, ended.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::signal::Signal;
use pyrt_init::{kind, Message, MESSAGE_SIZE};

use crate::cgroup::Cgroup;
use crate::ending::{await_end, await_end_uninterrupted};
use crate::error::{Context, Error, Result};
use crate::layer::{Layer, Root};
use crate::notify::Relay;
use crate::sys::{self, Ending};
use crate::watcher::Watched;

/// How long the kernel may take to release a process that has ended, and the time between two looks: it takes microseconds, unless something
/// more urgent has the processor.
const RELEASE_PATIENCE: Duration = Duration::from_secs(10);
const RELEASE_PAUSE: Duration = Duration::from_micros(50);

/// How it ended, as far as anybody can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// The exit code, or minus the signal; `None` where somebody else took the status and this kernel keeps none.
    pub code: Option<i32>,
    pub max_rss_bytes: Option<u64>,
}

#[derive(Debug)]
pub struct Process {
    pub pid: i32,
    /// Clock ticks since boot: /proc/PID/stat, field 22.
    pub start_time: u64,
    waited: Arc<Waited>,
    pub cgroup: Option<Arc<Cgroup>>,
    given: Mutex<Given>,
    lifetime: Lifetime,
}

/// What its end is learnt from.
#[derive(Debug)]
pub(crate) struct Waited {
    pidfd: OwnedFd,
    /// From a PID 1 that stays: it reports how the program ended.
    socket: Option<OwnedFd>,
    ended: Mutex<Option<Ended>>,
}

/// A process that this one made, and has not reaped.
#[derive(Debug)]
pub struct Child {
    pub pid: i32,
    pub pidfd: OwnedFd,
    /// Clock ticks since boot. 0 for one that has ended already: it is named by its pidfd alone, nobody can find it by its number.
    pub start_time: u64,
}

/// What there is for whoever asks for it.
#[derive(Debug, Default)]
pub struct Given {
    /// The pty's master.
    pub terminal: Option<OwnedFd>,
    /// The seccomp filter's, where the caller answers it itself.
    pub listener: Option<OwnedFd>,
    /// What hears that it is ready.
    pub notify: Option<Relay>,
    /// Its upper layer and its root, where they are kept.
    pub layer: Option<(Layer, Root)>,
}

/// What ends it.
#[derive(Debug, Default)]
pub struct Lifetime {
    /// The calling process that it must not outlive, and so not the last handle either.
    pub owner: Option<u32>,
    /// Kept for as long as the watcher is to know of its cgroup.
    pub _watched: Option<Watched>,
}

impl Process {
    pub fn new(child: Child, socket: Option<OwnedFd>, cgroup: Option<Arc<Cgroup>>, given: Given, lifetime: Lifetime) -> Self {
        let Child { pid, pidfd, start_time } = child;
        let waited = Arc::new(Waited { pidfd, socket, ended: Mutex::new(None) });
        Process { pid, start_time, waited, cgroup, given: Mutex::new(given), lifetime }
    }

    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.waited.pidfd()
    }

    /// For one in a pid namespace that is another's: `ending` takes its status before it waits for the end of that namespace.
    pub(crate) fn waited(&self) -> &Arc<Waited> {
        &self.waited
    }

    /// The pty's master, once.
    pub fn take_terminal(&self) -> Option<OwnedFd> {
        self.given.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).terminal.take()
    }

    /// The listener of its seccomp filter, where the caller is the one who answers: once.
    pub fn take_listener(&self) -> Option<OwnedFd> {
        self.given.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).listener.take()
    }

    pub(crate) fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.waited.socket.as_ref().map(AsFd::as_fd)
    }

    pub(crate) fn give_listener(&self, listener: Option<OwnedFd>) {
        self.given.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).listener = listener;
    }

    /// What it changes, and its root, for as long as whoever takes it wants: once.
    pub fn take_layer(&self) -> Option<(Layer, Root)> {
        self.given.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).layer.take()
    }

    /// Its root as it is now, while it lives.
    pub fn root(&self, owner: (u32, u32)) -> Result<Root> {
        root_of(self.pid, self.pidfd(), owner)
    }

    pub(crate) fn set_notify(&self, relay: Option<Relay>) {
        self.given.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).notify = relay;
    }

    /// What passes its READY=1 on, once, where that is wanted.
    pub fn take_notify(&self) -> Option<Relay> {
        self.given.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).notify.take()
    }

    pub fn ended(&self) -> Option<Ended> {
        self.waited.ended()
    }

    /// Waits until it has ended or the time has passed (`false`). EINTR goes to the caller, who may have signals of its own to handle.
    pub fn wait_readable(&self, timeout: Option<Duration>) -> std::result::Result<bool, Errno> {
        wait_readable(self.pidfd(), timeout)
    }

    /// For a process whose end is the business of whoever holds this pidfd from here on, and no longer of this handle.
    pub fn disown(mut self) -> std::io::Result<OwnedFd> {
        let pidfd = self.waited.pidfd.try_clone()?;
        self.lifetime = Lifetime::default();
        Ok(pidfd)
    }

    /// The status of one that has ended, taken from the kernel the first time.
    pub fn finish(&self) -> Result<Ended> {
        self.waited.finish()
    }

    pub fn send_signal(&self, signal: i32) -> std::result::Result<(), Errno> {
        sys::pidfd_send_signal(self.pidfd(), signal)
    }

    /// Ends everything inside and waits until it is empty. Errors: ETIMEDOUT, naming what does not end; `Interrupted`.
    pub fn kill(&self) -> Result<()> {
        self.kill_and(await_end)
    }

    fn kill_and(&self, await_end: impl Fn(BorrowedFd<'_>) -> Result<()>) -> Result<()> {
        match self.send_signal(Signal::SIGKILL as i32) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => return Err(errno).op("kill the container"),
        }
        // PID 1's end is the namespace's end; without a namespace of its own only the cgroup knows who is inside.
        if let Some(cgroup) = &self.cgroup {
            cgroup.kill()?;
        }
        await_end(self.pidfd())?;
        self.finish().map(drop)
    }
}

impl Waited {
    pub(crate) fn ended(&self) -> Option<Ended> {
        *self.ended.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Once it has ended: reaped the first time.
    pub(crate) fn finish(&self) -> Result<Ended> {
        let mut ended = self.ended.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(known) = *ended {
            return Ok(known);
        }
        let reported = self.socket.as_ref().and_then(|socket| last_report(socket.as_fd()));
        let own = match sys::reap(self.pidfd()) {
            Ok(Some((ending, largest))) => Ended { code: Some(ending.code()), max_rss_bytes: Some(largest) },
            Ok(None) => return Err(Error::system("wait for the container", None, Errno::EAGAIN)),
            // SIGCHLD ignored, or a reaper: the kernel may still know.
            Err(Errno::ECHILD) => Ended { code: kept_status(self.pidfd()).map(Ending::code), max_rss_bytes: None },
            Err(errno) => return Err(errno).op("wait for the container"),
        };
        let result = reported.unwrap_or(own);
        *ended = Some(result);
        Ok(result)
    }
}

impl Drop for Process {
    /// Ends what nobody can end any more. A forked child's copy of the handle does nothing.
    fn drop(&mut self) {
        if self.lifetime.owner == Some(std::process::id()) && self.ended().is_none() && self.kill_and(await_end_uninterrupted).is_ok() {
            if let Some(cgroup) = &self.cgroup {
                // There is nobody to tell.
                let _ = cgroup.remove();
            }
        }
    }
}

/// Polls one descriptor; `false` when the time has passed.
pub fn wait_readable(fd: BorrowedFd<'_>, timeout: Option<Duration>) -> std::result::Result<bool, Errno> {
    // Rounded up: a wait must not end before its time.
    let milliseconds = timeout.map(|time| time.as_nanos().div_ceil(1_000_000));
    let timeout = milliseconds.map_or(PollTimeout::NONE, |time| PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX));
    poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], timeout).map(|ready| ready > 0)
}

/// What the kernel keeps of one that somebody else has reaped, or that was reaped by itself: its pidfd is readable, and it is nobody's child any
/// more, a moment before that is there.
fn kept_status(pidfd: BorrowedFd<'_>) -> Option<Ending> {
    let deadline = Instant::now() + RELEASE_PATIENCE;
    loop {
        // Looked at first: what is gone by then has left its status.
        let released = !is_being_released(pidfd);
        match sys::pidfd_exit_status(pidfd) {
            Ok(None) if !released && Instant::now() < deadline => std::thread::sleep(RELEASE_PAUSE),
            kept => return kept.ok().flatten(),
        }
    }
}

/// Neither a zombie, whose parent has yet to take the status, nor gone: EXIT_DEAD, "X" in proc_pid_stat(5).
fn is_being_released(pidfd: BorrowedFd<'_>) -> bool {
    sys::pidfd_pid(pidfd).ok().and_then(|pid| stat(pid).ok()).is_some_and(|(state, _)| state == 'X')
}

/// PID 1's own word, which it sends before it ends. The socket is a SOCK_SEQPACKET of ours: what is there is there whole.
fn last_report(socket: BorrowedFd<'_>) -> Option<Ended> {
    use nix::sys::socket::{recv, MsgFlags};
    use std::os::fd::AsRawFd;
    let mut bytes = [0; MESSAGE_SIZE];
    while let Ok(MESSAGE_SIZE) = recv(socket.as_raw_fd(), &mut bytes, MsgFlags::MSG_DONTWAIT) {
        let message = Message::from_bytes(&bytes);
        if message.kind == kind::EXITED {
            let code = Ending::from_status(message.value as i32).code();
            return Some(Ended { code: Some(code), max_rss_bytes: Some(message.extra) });
        }
    }
    None
}

/// The exit status of a process that has ended and need not be our child: reaped where it is, asked for (Linux 6.15) where not.
pub fn status_of(pidfd: BorrowedFd<'_>) -> std::result::Result<Option<i32>, Errno> {
    match sys::reap(pidfd) {
        Ok(ended) => Ok(ended.map(|(ending, _)| ending.code())),
        Err(Errno::ECHILD) => Ok(kept_status(pidfd).map(Ending::code)),
        Err(errno) => Err(errno),
    }
}

/// SIGKILL, then waits until a child of ours has ended, and reaps it.
pub fn end(pidfd: BorrowedFd<'_>) -> Result<()> {
    const OPERATION: &str = "end the process";
    match sys::pidfd_send_signal(pidfd, Signal::SIGKILL as i32) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(errno) => return Err(errno).op(OPERATION),
    }
    await_end_uninterrupted(pidfd)?;
    match sys::reap(pidfd) {
        // Where somebody else reaps our children, it is gone already.
        Ok(_) | Err(Errno::ECHILD) => Ok(()),
        Err(errno) => Err(errno).op(OPERATION),
    }
}

/// /proc/PID/stat, field 22 and the state in field 3. The name in field 2 may hold anything, so fields count from its last parenthesis.
fn stat(pid: i32) -> std::io::Result<(char, u64)> {
    // 52 numbers and a name of 15 bytes, in one piece. Not by std, which reads what has no size in many small ones.
    let mut line = [0; 2048];
    let length = std::fs::File::open(format!("/proc/{pid}/stat"))?.read(&mut line)?;
    let text = String::from_utf8_lossy(&line[..length]);
    let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next().and_then(|state| state.chars().next()).unwrap_or('X');
    let start = fields.nth(18).and_then(|field| field.parse().ok()).unwrap_or(0);
    Ok((state, start))
}

pub fn start_time(pid: i32) -> std::io::Result<u64> {
    stat(pid).map(|(_, start)| start)
}

/// The root of the process that the pidfd names and that has the number.
pub fn root_of(pid: i32, pidfd: BorrowedFd<'_>, owner: (u32, u32)) -> Result<Root> {
    let path = format!("/proc/{pid}/root");
    let directory = sys::open_directory(std::path::Path::new(&path)).at("open the container's root", &path)?;
    // The number was its own when it was opened, if it has not ended since: only then could another process have it.
    match wait_readable(pidfd, Some(Duration::ZERO)) {
        Ok(false) => Ok(Root::new(directory, owner)),
        _ => Err(Error::system("open the container's root", path, Errno::ESRCH)),
    }
}

/// Whether this very process exists and is no zombie.
pub fn is_alive(pid: i32, start_time: u64) -> bool {
    stat(pid).is_ok_and(|(state, start)| start == start_time && !matches!(state, 'Z' | 'X'))
}

/// A pidfd of this very process; ESRCH where its number is somebody else's by now.
pub fn open(pid: i32, expected: u64) -> std::result::Result<OwnedFd, Errno> {
    let pidfd = sys::pidfd_open(pid)?;
    // Looked at after the pidfd holds it: the number cannot change owners between.
    match start_time(pid) {
        Ok(start) if start == expected => Ok(pidfd),
        _ => Err(Errno::ESRCH),
    }
}
