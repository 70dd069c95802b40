//! Hooks that the caller runs, in the runtime namespace (config.md, "POSIX-platform Hooks"): prestart, createRuntime, poststart, poststop.
//!
//! Neighbours: `plan/hooks` says which there are, and plans those that init runs; `launch`, `container` know when.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{killpg, Signal};
use nix::unistd::Pid;
use oci_spec::runtime::{Hook, Spec};
use pyrt_init::Message;

use crate::error::{quoted, Context, Error, Kind, Result};
use crate::interruption::{self, PIECE};
use crate::plan::HookStage;
use crate::process;
use crate::sys::{self, Ending};

/// Bytes of a failed hook's last words that an error repeats.
const WORDS: u64 = 1024;

/// Runs a stage, one hook after the other, with `state` on stdin; the first failure ends it.
pub fn run_stage(spec: &Spec, stage: HookStage, state: &[u8]) -> Result<()> {
    stage.of(spec).iter().enumerate().try_for_each(|(index, hook)| run(hook, &stage.operation(index), state))
}

/// As `run_stage`, but every hook runs, and failures come back as words: runtime.md's rule for poststop.
pub fn run_all(spec: &Spec, stage: HookStage, state: &[u8]) -> Vec<String> {
    let failure = |(index, hook)| run(hook, &stage.operation(index), state).err();
    stage.of(spec).iter().enumerate().filter_map(failure).map(|error| error.to_string()).collect()
}

/// What a hook writes to stdout and stderr: told where it fails, dropped where it succeeds, as runc does. In a file, so that no hook ever
/// waits for a reader, and one that leaves a process behind does not keep anybody waiting.
#[derive(Debug)]
pub struct Output(File);

impl Output {
    pub fn new() -> Result<Self> {
        sys::anonymous_file(c"hook-output", false).map(|fd| Output(File::from(fd))).op("keep what a hook says")
    }

    pub(crate) fn stdio(&self) -> std::io::Result<Stdio> {
        self.0.try_clone().map(Stdio::from)
    }

    /// All of it, from its beginning.
    pub(crate) fn read(&self) -> std::io::Result<File> {
        let mut file = self.0.try_clone()?;
        file.seek(SeekFrom::Start(0))?;
        Ok(file)
    }

    /// The last of it, on one line; `None` where there is nothing to read.
    fn last_words(&self) -> Option<String> {
        let length = self.0.metadata().ok()?.len();
        let mut bytes = vec![0; length.min(WORDS) as usize];
        self.0.read_exact_at(&mut bytes, length.saturating_sub(WORDS)).ok()?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Some(quoted(text.trim())).filter(|_| !text.trim().is_empty())
    }

    /// A failure of the hook that wrote this.
    pub fn tell(&self, error: Error) -> Error {
        match (self.last_words(), error.hint.clone()) {
            (None, _) => error,
            (Some(words), None) => error.with_hint(format!("it said {words}")),
            (Some(words), Some(how)) => error.with_hint(format!("{how} and said {words}")),
        }
    }
}

impl AsFd for Output {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A hook that ended badly.
fn failed(operation: &str, ending: Ending) -> Error {
    let how = match ending {
        Ending::Exited(code) => format!("it ended with status {code}"),
        Ending::Signalled(signal) => format!("signal {signal} ended it"),
    };
    Error::new(Kind::System, operation).with_hint(how)
}

/// One program, with `state` on stdin.
pub(crate) fn run(hook: &Hook, operation: &str, state: &[u8]) -> Result<()> {
    let path = hook.path().display().to_string();
    let output = Output::new()?;
    carry_out(hook, operation, &path, state, &output).map_err(|error| output.tell(error))
}

fn carry_out(hook: &Hook, operation: &str, path: &str, state: &[u8], output: &Output) -> Result<()> {
    // A file, not a pipe: a hook that does not read a long state must not keep us from its timeout.
    let mut stdin = File::from(sys::sealed_file(c"state.json", state, false).op("write the state for hooks")?);
    stdin.seek(SeekFrom::Start(0)).op("write the state for hooks")?;
    let mut command = Command::new(hook.path());
    if let Some([name, args @ ..]) = hook.args().as_deref() {
        command.arg0(name).args(args);
    }
    command.env_clear().stdin(stdin).stdout(output.stdio().at(operation, path)?).stderr(output.stdio().at(operation, path)?);
    command.envs(hook.env().iter().flatten().filter_map(|variable| variable.split_once('=')));
    if hook.timeout().is_some() {
        // A group of its own, so that its children end with it. Without a timeout it stays in the caller's, for Ctrl-C to end it.
        command.process_group(0);
    }
    sys::start_clean(&mut command);
    let child = command.spawn().at(operation, path)?;
    let pid = child.id() as i32;
    let Some(pidfd) = open(pid).at(operation, path)? else { return Err(unknown(operation).with_path(path)) };
    let ended = ended_within(pidfd.as_fd(), hook.timeout(), operation).inspect_err(|_| {
        // Given up: the hook must not go on without us.
        let _ = process::end(pidfd.as_fd());
    })?;
    if !ended {
        match killpg(Pid::from_raw(pid), Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => return Err(errno).at(operation, path),
        }
        process::end(pidfd.as_fd())?;
        return Err(timed_out(operation, path, hook.timeout().unwrap_or(0)));
    }
    let ending = match sys::reap(pidfd.as_fd()) {
        Ok(ended) => ended.map(|(ending, _)| ending),
        // The caller ignores SIGCHLD, or reaps children that are not its.
        Err(Errno::ECHILD) => sys::pidfd_exit_status(pidfd.as_fd()).ok().flatten(),
        Err(errno) => return Err(errno).at(operation, path),
    };
    match ending {
        Some(Ending::Exited(0)) => Ok(()),
        Some(ending) => Err(failed(operation, ending).with_path(path)),
        None => Err(unknown(operation).with_path(path)),
    }
}

/// `None` where somebody else has reaped it already.
fn open(pid: i32) -> std::result::Result<Option<OwnedFd>, Errno> {
    match sys::pidfd_open(pid) {
        Ok(pidfd) => Ok(Some(pidfd)),
        Err(Errno::ESRCH) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn ended_within(pidfd: BorrowedFd<'_>, seconds: Option<i64>, operation: &str) -> Result<bool> {
    // One that no clock reaches is none.
    let deadline = seconds.and_then(|seconds| Instant::now().checked_add(Duration::from_secs(seconds.unsigned_abs())));
    loop {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        match process::wait_readable(pidfd, Some(left.map_or(PIECE, |left| left.min(PIECE)))) {
            Ok(false) if left != Some(Duration::ZERO) => interruption::check(operation)?,
            Err(Errno::EINTR) => interruption::check(operation)?,
            other => return other.op(operation),
        }
    }
}

fn timed_out(operation: &str, path: &str, seconds: i64) -> Error {
    Error { hint: Some(format!("it did not end within {seconds} s")), ..Error::system(operation, path.to_owned(), Errno::ETIMEDOUT) }
}

fn unknown(operation: &str) -> Error {
    Error::system(operation, None, Errno::ECHILD).with_hint("its exit status is unknown: the calling process ignores SIGCHLD")
}

/// A hook that init ran, from its FAILED message.
pub(crate) fn failed_inside(spec: &Spec, stage: HookStage, index: usize, message: Message) -> Error {
    let operation = stage.operation(index);
    let hook = stage.of(spec).get(index);
    let path = hook.map(|hook| hook.path().display().to_string()).unwrap_or_default();
    match Errno::from_raw(message.errno) {
        Errno::UnknownErrno => failed(&operation, Ending::from_status(message.value as i32)).with_path(path),
        Errno::ETIMEDOUT => timed_out(&operation, &path, hook.and_then(Hook::timeout).unwrap_or(0)),
        errno => Error::system(operation, path, errno),
    }
}
