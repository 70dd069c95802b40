//! The program criu as a worker (`criu swrk`): started with the descriptors that a request names, asked once, heard until its answer.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use nix::sys::socket::{recvmsg, send, socketpair, AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr};

use super::protocol::{kind, request, Message, Response};
use crate::error::{quoted, Context, Error, Kind, Result};
use crate::hooks::Output;
use crate::interruption;
use crate::sys;

/// An answer is far smaller: criu's own messages are at most a page.
const ANSWER_SIZE: usize = 64 * 1024;
/// How many lines of a log an error repeats: the first says why, the later ones what that led to.
const WORDS: usize = 3;
const NOT_THERE: &str = "install criu (https://criu.org), whose program must be in PATH";

/// A worker. It is ended when this is dropped.
#[derive(Debug)]
pub struct Criu {
    child: Child,
    socket: OwnedFd,
}

/// What a notification is about (criu.org/RPC, "Notifications"): its name, the init, and a descriptor that comes along.
pub struct Notified {
    pub script: String,
    pub pid: Option<i32>,
    pub descriptor: Option<OwnedFd>,
}

/// Errors: `Host` where criu is missing, or says itself that it cannot work here.
pub fn check(verb: &str) -> Result<()> {
    let output = Output::new()?;
    let mut command = Command::new("criu");
    command.arg("check").stdin(Stdio::null()).stdout(Stdio::null()).stderr(output.stdio().op("run criu")?);
    sys::start_clean(&mut command);
    let status = match command.status() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let error = Error::host(format!("{verb}: criu is not installed"), NOT_THERE);
            return Err(Error { errno: Some(Errno::ENOENT), ..error });
        }
        status => status.op("run criu check")?,
    };
    if status.success() {
        return Ok(());
    }
    let said = complaints(BufReader::new(output.read().op("read what criu said")?));
    let hint = if said.is_empty() { format!("it ended with {status}") } else { format!("it says {said}") };
    Err(Error::host(format!("{verb}: criu's own check of this host failed (criu check)"), hint))
}

impl Criu {
    /// stdio: what a restored program may inherit; nothing where it is none. kept: descriptors that requests name by number.
    pub fn start(stdio: Option<[BorrowedFd<'_>; 3]>, kept: &[RawFd]) -> Result<Self> {
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).op("make a socket pair")?;
        let mut command = Command::new("criu");
        command.args(["swrk", &theirs.as_raw_fd().to_string()]);
        let [stdin, stdout, stderr] = match stdio {
            None => [Stdio::null(), Stdio::null(), Stdio::null()],
            Some([stdin, stdout, stderr]) => {
                let copy = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map(Stdio::from).op("copy a descriptor for criu");
                [copy(stdin)?, copy(stdout)?, copy(stderr)?]
            }
        };
        command.stdin(stdin).stdout(stdout).stderr(stderr);
        sys::start_clean(&mut command);
        sys::keep_open(&mut command, kept.iter().copied().chain([theirs.as_raw_fd()]).collect());
        let child = command.spawn().op("run criu")?;
        Ok(Criu { child, socket: ours })
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Ask, answer its notifications, and return its answer.
    ///
    /// Errors: those of `notified`, which criu is told of so that it undoes what it did; `System` where it failed, in the words of `log`;
    /// `Interrupted`: then the worker ends with this.
    pub fn ask(&mut self, kind: u64, options: &Message, log: &Path, mut notified: impl FnMut(Notified) -> Result<()>) -> Result<Response> {
        let mut message = Message::default();
        message.number(request::TYPE, kind as i64);
        message.message(request::OPTS, options);
        self.send(&message)?;
        let mut failure: Option<Error> = None;
        loop {
            let (response, descriptor) = match self.receive() {
                Err(error) if error.errno == Some(Errno::EINTR) => {
                    interruption::check("wait for criu")?;
                    continue;
                }
                received => received?,
            };
            match response {
                None => return Err(failure.unwrap_or_else(|| failed(log, "it ended without an answer"))),
                // A notification that follows a failure says so too; the answer proper comes after it, if any does.
                Some(Response { kind: kind::NOTIFY, success: true, script, script_pid, .. }) => {
                    let done = notified(Notified { script, pid: script_pid, descriptor });
                    let mut answer = Message::default();
                    answer.number(request::TYPE, kind::NOTIFY as i64);
                    // Said in full: it has no default.
                    answer.number(request::NOTIFY_SUCCESS, i64::from(done.is_ok()));
                    self.send(&answer)?;
                    failure = failure.or(done.err());
                }
                Some(response) if !response.success => {
                    let reason = match (&response.message, response.errno) {
                        (Some(message), _) => message.clone(),
                        (None, 0) => "it failed".to_owned(),
                        (None, errno) => crate::error::words(Errno::from_raw(errno)),
                    };
                    return Err(failure.unwrap_or_else(|| failed(log, &reason)));
                }
                Some(response) => return Ok(response),
            }
        }
    }

    /// What a host can do of the features that requests may need: dirty memory tracking, and lazy pages.
    pub fn features() -> Result<Response> {
        let criu = Criu::start(None, &[])?;
        let mut wanted = Message::default();
        wanted.flag(super::protocol::feature::MEM_TRACK, true);
        wanted.flag(super::protocol::feature::LAZY_PAGES, true);
        let mut message = Message::default();
        message.number(request::TYPE, kind::FEATURE_CHECK as i64);
        message.message(request::FEATURES, &wanted);
        criu.send(&message)?;
        let response = loop {
            match criu.receive() {
                Err(error) if error.errno == Some(Errno::EINTR) => {}
                received => break received?.0,
            }
        };
        response.ok_or_else(|| Error::new(Kind::Host, "ask criu what it can do: it ended without an answer"))
    }

    /// Wait until the worker has ended: what it restored is another process.
    pub fn finish(mut self) {
        let _ = nix::sys::socket::shutdown(self.socket.as_raw_fd(), nix::sys::socket::Shutdown::Both);
        // Where somebody else reaps our children, it is gone already.
        let _ = self.child.wait();
    }

    fn send(&self, message: &Message) -> Result<()> {
        match send(self.socket.as_raw_fd(), message.as_bytes(), MsgFlags::MSG_NOSIGNAL) {
            // Its end is read as the answer that is missing.
            Ok(_) | Err(Errno::EPIPE) => Ok(()),
            Err(errno) => Err(errno).op("ask criu"),
        }
    }

    /// `None` when it has closed its end.
    fn receive(&self) -> Result<(Option<Response>, Option<OwnedFd>)> {
        let mut bytes = vec![0; ANSWER_SIZE];
        let mut space = nix::cmsg_space!([RawFd; 1]);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let (length, descriptor) =
            match recvmsg::<UnixAddr>(self.socket.as_fd().as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC) {
                Ok(received) => {
                    let mut descriptor = None;
                    for control in received.cmsgs().op("hear criu")? {
                        if let ControlMessageOwned::ScmRights(fds) = control {
                            descriptor = fds.first().copied().map(sys::adopt);
                        }
                    }
                    (received.bytes, descriptor)
                }
                Err(Errno::ECONNRESET) => (0, None),
                Err(errno) => return Err(errno).op("hear criu"),
            };
        Ok(((length > 0).then(|| Response::parse(&bytes[..length])).transpose()?, descriptor))
    }
}

impl Drop for Criu {
    fn drop(&mut self) {
        // Both fail where it has ended and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What went wrong, from the log, which says more than the answer.
fn failed(log: &Path, reason: &str) -> Error {
    let said = File::open(log).map(|file| complaints(BufReader::new(file))).unwrap_or_default();
    let text = if said.is_empty() { reason.to_owned() } else { said };
    Error::new(Kind::System, format!("run criu: {text}")).with_hint(format!("its log is {}", log.display()))
}

/// The first lines that tell of errors, without time and place in criu's sources.
fn complaints(text: impl BufRead) -> String {
    let lines = text.split(b'\n').map_while(std::result::Result::ok);
    let errors = lines.filter_map(|line| {
        let line = String::from_utf8_lossy(&line).into_owned();
        let (_, error) = line.split_once("Error (")?;
        let (_, words) = error.split_once("): ")?;
        Some(quoted(words.trim()))
    });
    errors.take(WORDS).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::complaints;

    #[test]
    fn of_a_log_the_errors_are_told_on_one_line() {
        let log = b"(00.1) Warn  (criu/a.c:1): no\n(00.2) Error (criu/net.c:20): no \x1b iptables\n(00.3) Error (criu/b.c:1): so failed\n";
        assert_eq!(complaints(&log[..]), "'no \\u{1b} iptables', 'so failed'");
    }
}
