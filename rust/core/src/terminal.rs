//! The caller as a foreground command: signals that reach it go to the container, and with a terminal its input, output and size are relayed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{cfmakeraw, tcgetattr, tcsetattr, SetArg, Termios};
use nix::unistd::{read, write};

use crate::error::{Context, Result};
use crate::notify::Relay as Relaying;
use crate::process::Process;
use crate::sys;

/// What a terminal's user types to end the input: stty(1), "eof".
const END_OF_INPUT: u8 = 4;
const CHUNK: usize = 16 << 10;

/// Signals that tell of our own faults, or of nothing that concerns the container.
const OWN: [Signal; 8] =
    [Signal::SIGCHLD, Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGFPE, Signal::SIGILL, Signal::SIGTRAP, Signal::SIGSYS, Signal::SIGPIPE];

/// Signals by which somebody asks a command to end.
const ENDING: [Signal; 4] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM];

static HELD: AtomicBool = AtomicBool::new(false);

/// Lets signals to this thread wait until `foreground` reads them and passes them on; for good.
pub fn hold() -> Result<()> {
    HELD.store(true, Ordering::Relaxed);
    block().map(drop)
}

/// Where signals are held: takes one that asks this process to end, while there is nobody yet to pass it on to.
pub fn asked_to_end() -> Option<i32> {
    if !HELD.load(Ordering::Relaxed) {
        return None;
    }
    let fd = SignalFd::with_flags(&ENDING.into_iter().collect(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).ok()?;
    Some(fd.read_signal().ok()??.ssi_signo as i32)
}

/// Blocks what is passed on: that set, and the mask before.
fn block() -> Result<(SigSet, SigSet)> {
    let mut set = SigSet::all();
    OWN.iter().for_each(|signal| set.remove(*signal));
    let mut before = SigSet::empty();
    nix::sys::signal::pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&set), Some(&mut before)).op("block signals")?;
    Ok((set, before))
}

/// Waits until it has ended (`true`) or the time has passed.
pub fn foreground(process: &Process, terminal: bool, deadline: Option<Instant>) -> Result<bool> {
    let signals = Signals::new()?;
    let mut relay = match terminal.then(|| process.take_terminal()).flatten() {
        Some(master) => Some(Relay::new(master)?),
        None => None,
    };
    let mut notify = process.take_notify();
    loop {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Ok(false);
        }
        let timeout = left.map_or(PollTimeout::NONE, |time| PollTimeout::try_from(time.as_millis() + 1).unwrap_or(PollTimeout::MAX));
        let mut fds = vec![PollFd::new(process.pidfd(), PollFlags::POLLIN), PollFd::new(signals.fd.as_fd(), PollFlags::POLLIN)];
        let mut add = |fd, events| {
            fds.push(PollFd::new(fd, events));
            fds.len() - 1
        };
        let saying = notify.as_ref().map(|notify| add(notify.as_fd(), PollFlags::POLLIN));
        let other_side = relay.as_ref().map(|relay| add(relay.master.as_fd(), relay.wanted()));
        let stdin = relay.as_ref().filter(|relay| relay.wants_input()).map(|relay| add(relay.stdin(), PollFlags::POLLIN));
        match poll(&mut fds, timeout) {
            Err(Errno::EINTR) => continue,
            other => other.op("wait for the container")?,
        };
        let ready: Vec<PollFlags> = fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty())).collect();
        let at = |place: Option<usize>| place.map_or(PollFlags::empty(), |place| ready[place]);
        if !ready[1].is_empty() {
            signals.forward(process, relay.as_ref())?;
        }
        if !at(saying).is_empty() && notify.as_ref().map_or(Ok(false), Relaying::is_ready)? {
            // This process is the service's main one, and stays: nobody has to wait until that was seen.
            notify.take().map_or(Ok(()), |notify| notify.tell(std::process::id() as i32))?;
        }
        if let Some(relay) = &mut relay {
            if at(other_side).contains(PollFlags::POLLOUT) {
                relay.flush()?;
            }
            if at(other_side).intersects(!PollFlags::POLLOUT) {
                relay.output()?;
            }
            if !at(stdin).is_empty() {
                relay.input()?;
            }
        }
        if !ready[0].is_empty() {
            if let Some(relay) = &mut relay {
                // What it wrote before it ended is still in the pty.
                while relay.output()? {}
            }
            return Ok(true);
        }
    }
}

/// This thread's signals, read instead of delivered; as they were when dropped.
struct Signals {
    fd: SignalFd,
    before: SigSet,
}

impl Signals {
    fn new() -> Result<Self> {
        let (set, before) = block()?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).op("make a signalfd")?;
        Ok(Signals { fd, before })
    }

    fn forward(&self, process: &Process, relay: Option<&Relay>) -> Result<()> {
        while let Some(info) = self.fd.read_signal().op("read signals")? {
            let signal = info.ssi_signo as i32;
            match relay {
                Some(relay) if signal == Signal::SIGWINCH as i32 => relay.size(),
                // One that has just ended needs no signal.
                _ => match process.send_signal(signal) {
                    Ok(()) | Err(Errno::ESRCH) => {}
                    Err(errno) => return Err(errno).op(format!("pass signal {signal} on")),
                },
            }
        }
        Ok(())
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // Setting back a mask that was just read cannot fail.
        let _ = self.before.thread_set_mask();
    }
}

/// Between our own stdin and stdout and the pty's master.
struct Relay {
    master: OwnedFd,
    /// The container's side, held open: while nobody else does, poll(2) would return at once and for ever.
    _peer: Option<OwnedFd>,
    /// Our terminal's settings, to be set back.
    before: Option<Termios>,
    /// Whether stdin may still say something.
    input: bool,
    /// What stdin said and the pty has no room for yet. Waiting for room here would be a deadlock where the program waits for its output
    /// to be read.
    pending: Vec<u8>,
}

impl Relay {
    fn new(master: OwnedFd) -> Result<Self> {
        let stdin = sys::lend(0);
        let before = tcgetattr(stdin).ok();
        if let Some(settings) = &before {
            let mut raw = settings.clone();
            cfmakeraw(&mut raw);
            tcsetattr(stdin, SetArg::TCSANOW, &raw).op("put the terminal into raw mode")?;
        }
        nix::fcntl::fcntl(&master, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK)).op("set the pty non-blocking")?;
        // Where it cannot be had, the container is ending.
        let peer = sys::terminal_peer(master.as_fd()).ok();
        let relay = Relay { master, _peer: peer, before, input: true, pending: Vec::new() };
        relay.size();
        Ok(relay)
    }

    fn stdin(&self) -> BorrowedFd<'static> {
        sys::lend(0)
    }

    /// Our terminal's size becomes the container's; where stdin is no terminal, its own stays.
    fn size(&self) {
        sys::copy_terminal_size(self.stdin(), self.master.as_fd());
    }

    fn wanted(&self) -> PollFlags {
        match self.pending.is_empty() {
            true => PollFlags::POLLIN,
            false => PollFlags::POLLIN | PollFlags::POLLOUT,
        }
    }

    fn wants_input(&self) -> bool {
        self.input && self.pending.is_empty()
    }

    /// From the pty to stdout: whether there was something.
    fn output(&mut self) -> Result<bool> {
        let mut bytes = [0; CHUNK];
        match read(&self.master, &mut bytes) {
            Ok(0) | Err(Errno::EAGAIN | Errno::EIO) => Ok(false),
            Ok(count) => write_all(sys::lend(1), &bytes[..count]).op("write to stdout").map(|()| true),
            Err(errno) => Err(errno).op("read from the pty"),
        }
    }

    fn input(&mut self) -> Result<()> {
        let mut bytes = [0; CHUNK];
        match read(self.stdin(), &mut bytes) {
            Ok(0) => {
                self.input = false;
                self.pending.push(END_OF_INPUT);
            }
            Ok(count) => self.pending.extend_from_slice(&bytes[..count]),
            // Our own terminal is gone.
            Err(Errno::EIO) => self.input = false,
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(errno) => return Err(errno).op("read from stdin"),
        }
        self.flush()
    }

    /// To the pty what it has room for.
    fn flush(&mut self) -> Result<()> {
        while !self.pending.is_empty() {
            match write(&self.master, &self.pending) {
                Ok(count) => drop(self.pending.drain(..count)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                // The container's side is closed: it has ended, which the pidfd tells.
                Err(Errno::EIO) => self.pending.clear(),
                Err(errno) => return Err(errno).op("write to the pty"),
            }
        }
        Ok(())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(settings) = &self.before {
            // The terminal may be gone; there is nothing else to do for it.
            let _ = tcsetattr(self.stdin(), SetArg::TCSANOW, settings);
        }
    }
}

fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> std::result::Result<(), Errno> {
    while !bytes.is_empty() {
        match write(fd, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                let mut wanted = [PollFd::new(fd, PollFlags::POLLOUT)];
                match poll(&mut wanted, PollTimeout::NONE) {
                    Ok(_) | Err(Errno::EINTR) => {}
                    Err(errno) => return Err(errno),
                }
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
