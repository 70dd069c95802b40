//! sd_notify(3) of a container: its READY=1 reaches whoever started pyrt with $NOTIFY_SOCKET, as runc does it.
//!
//! The container sees a directory of the state directory as /run/notify, read-only; the socket is made in it by `run`, or by `start`, and
//! listens until READY=1 came or the container has ended. Nothing else of what the container says is passed on.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::socket::{sendmsg, ControlMessage, MsgFlags, UnixAddr};

use crate::error::{Context, Error, Result};
use crate::interruption::{self, PIECE};
use crate::process::wait_readable;

/// How long the service manager may take to see what was said: sd_notify_barrier(3) has no time of its own, and runc waits as long.
const BARRIER_PATIENCE: Duration = Duration::from_secs(30);
/// A longer message than service managers read is cut.
const MESSAGE: usize = 4096;

/// The container's socket, and whom it is for.
#[derive(Debug)]
pub struct Relay {
    socket: UnixDatagram,
    host: UnixDatagram,
}

/// Makes the directory that the container sees.
pub fn make_directory(directory: &Path) -> Result<()> {
    std::fs::DirBuilder::new().mode(0o755).create(directory).at("make directory", directory.to_string_lossy())?;
    // The umask is the caller's.
    set_mode(directory, 0o755)
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).at("set the mode of", path.to_string_lossy())
}

impl Relay {
    /// Listen in `directory`, for `host`: a path, or @NAME in the abstract namespace (unix(7)).
    pub fn new(directory: &Path, host: &Path) -> Result<Self> {
        const OPERATION: &str = "connect to $NOTIFY_SOCKET";
        let address = match host.as_os_str().as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            _ => SocketAddr::from_pathname(host),
        };
        // std refuses what is too long for an address, without an errno.
        let address = address.map_err(|_| Error::system(OPERATION, host.to_string_lossy().into_owned(), Errno::EINVAL))?;
        let manager = UnixDatagram::unbound().op(OPERATION)?;
        manager.connect_addr(&address).at(OPERATION, host.to_string_lossy())?;
        let path: PathBuf = directory.join("notify.sock");
        let operation = "make the notify socket";
        let short = crate::start::short_path(&path)?;
        let socket = UnixDatagram::bind(short.path()).at(operation, path.to_string_lossy())?;
        socket.set_nonblocking(true).at(operation, path.to_string_lossy())?;
        // Whoever the program runs as may say that it is ready.
        set_mode(&path, 0o777)?;
        Ok(Relay { socket, host: manager })
    }

    /// Whether READY=1 is among the messages that are there, if any are. Descriptors that come along are closed by the kernel: a barrier of
    /// the container's is over at once.
    pub fn is_ready(&self) -> Result<bool> {
        let mut bytes = [0; MESSAGE];
        loop {
            match self.socket.recv(&mut bytes) {
                Ok(length) if bytes[..length].split(|byte| *byte == b'\n').any(|line| line == b"READY=1") => return Ok(true),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                other => return other.op("hear from the notify socket").map(|_| false),
            }
        }
    }

    /// Say that it is ready, and which process is the service's main one.
    pub fn tell(&self, main_pid: i32) -> Result<()> {
        let operation = "tell $NOTIFY_SOCKET";
        self.host.send(b"READY=1\n").op(operation)?;
        self.host.send(format!("MAINPID={main_pid}\n").as_bytes()).op(operation).map(drop)
    }

    /// Wait until that was seen, for otherwise nobody may be left of whom the service manager knows where it belongs.
    fn barrier(&self) -> Result<()> {
        let operation = "tell $NOTIFY_SOCKET";
        let (ours, theirs) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).op(operation)?;
        let fds = [theirs.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&fds)];
        sendmsg::<UnixAddr>(self.host.as_raw_fd(), &[IoSlice::new(b"BARRIER=1")], &rights, MsgFlags::MSG_NOSIGNAL, None).op(operation)?;
        drop(theirs);
        let deadline = Instant::now() + BARRIER_PATIENCE;
        // One that does not know barriers keeps the pipe open: then the patience is all that there is.
        while matches!(wait_readable(ours.as_fd(), Some(deadline.saturating_duration_since(Instant::now()))), Err(Errno::EINTR)) {}
        Ok(())
    }

    /// Wait until it is ready, and tell; or until it has ended, and say nothing. Errors: `Interrupted`.
    pub fn run(&self, pidfd: BorrowedFd<'_>, pid: i32) -> Result<()> {
        let operation = "wait for the container to be ready";
        loop {
            let mut fds = [PollFd::new(self.as_fd(), PollFlags::POLLIN), PollFd::new(pidfd, PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::try_from(PIECE.as_millis()).unwrap_or(PollTimeout::MAX)) {
                Ok(0) | Err(Errno::EINTR) => interruption::check(operation)?,
                other => {
                    other.op(operation)?;
                }
            }
            let ended = fds[1].any().unwrap_or(false);
            // One that ended right after it was ready was ready.
            if self.is_ready()? {
                self.tell(pid)?;
                return self.barrier();
            }
            if ended {
                return Ok(());
            }
        }
    }
}

impl AsFd for Relay {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
