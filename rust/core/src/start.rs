//! `start`: the other end of the socket on which a created container's init waits.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{open, OFlag};
use nix::sys::stat::Mode;
use pyrt_init::{kind, Message};

use crate::container::Init;
use crate::conversation;
use crate::ending::await_end_uninterrupted;
use crate::error::{Context, Error, Kind, Result};
use crate::hooks;
use crate::oci::Config;
use crate::plan::HookStage;
use crate::process;

/// A socket's path is at most 107 bytes; through its directory's descriptor any is short enough.
pub struct ShortPath {
    path: PathBuf,
    _directory: Option<OwnedFd>,
}

/// sockaddr_un's sun_path, without the NUL at its end (unix(7)).
const PATH_LIMIT: usize = 107;

impl ShortPath {
    pub fn path(&self) -> &Path {
        &self.path
    }
}

pub fn short_path(path: &Path) -> Result<ShortPath> {
    if path.as_os_str().len() <= PATH_LIMIT {
        return Ok(ShortPath { path: path.to_owned(), _directory: None });
    }
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::system("find the start socket", path.to_string_lossy().into_owned(), Errno::EINVAL));
    };
    let directory =
        open(directory, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).at("open", directory.to_string_lossy())?;
    let path = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    Ok(ShortPath { path, _directory: Some(directory) })
}

/// Lets the waiting init go on; returns when the program runs, or when an init that says why it failed has ended. config: the container's,
/// for the words about a hook that fails. `answer` gets the listener of its seccomp filter, if that has one.
pub fn start(socket: &Path, init: Option<Init>, config: &[u8], answer: impl FnOnce(OwnedFd) -> Result<()>) -> Result<()> {
    let bound = short_path(socket)?;
    let stream = match UnixStream::connect(bound.path()) {
        Ok(stream) => stream,
        Err(error) if matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::ECONNREFUSED | Errno::ENOENT)) => {
            return Err(Error::new(Kind::InvalidState, "start: nobody waits for it: the container's init has ended or was started"));
        }
        other => other.at("connect to", socket.to_string_lossy())?,
    };
    conversation::go(stream.as_fd())?;
    let (mut executing, mut waited_in, mut answer) = (false, None, Some(answer));
    loop {
        match conversation::receive(stream.as_fd())? {
            Some((message, _)) if message.kind == kind::FAILED => {
                if let Some(pidfd) = init.and_then(|init| process::open(init.pid, init.start_time).ok()) {
                    // Or its state would still be "created" for a while. What it said counts more than what keeps it.
                    let _ = await_end_uninterrupted(pidfd.as_fd());
                }
                return Err(failure(message, waited_in, config));
            }
            Some((message, _)) if message.kind == kind::READY => waited_in = Some(message.step),
            Some((message, Some(listener))) if message.kind == kind::LISTENER => {
                if let Some(answer) = answer.take() {
                    // Where it fails, the end of this connection ends init too.
                    answer(listener)?;
                }
                conversation::go(stream.as_fd())?;
            }
            Some((message, _)) => executing |= message.kind == kind::EXECUTING,
            // The socket closes at the exec.
            None if executing => return Ok(()),
            None => return Err(Error::new(Kind::InvalidState, "start: the container's init ended before the program ran")),
        }
    }
}

/// All that can fail after `start`: the startContainer hooks, which follow the step that waited, and the execve.
fn failure(message: Message, waited_in: Option<u32>, config: &[u8]) -> Error {
    let spec = Config::parse(config).map(|config| config.spec).unwrap_or_default();
    match waited_in.and_then(|step| message.step.checked_sub(step + 1)).map(|index| index as usize) {
        Some(index) if index < HookStage::StartContainer.of(&spec).len() => {
            hooks::failed_inside(&spec, HookStage::StartContainer, index, message)
        }
        _ => Error::system("start the program", None, Errno::from_raw(message.errno)),
    }
}
