//! What init gets first: the plan, and every descriptor that its steps name, opened by the caller.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{sendmsg, ControlMessage, MsgFlags, UnixAddr};
use pyrt_init::{Hello, MAX_FDS};

use super::{Entered, Launch};
use crate::cgroup::Cgroup;
use crate::error::{Context, Error, Result};
use crate::hooks;
use crate::plan::Handed;
use crate::sys;
use crate::trees::Trees;

/// What init is told first, and what comes along.
pub(super) struct Parcel {
    hello: Hello,
    /// Of descriptors that are lent, and of the opened ones.
    numbers: Vec<RawFd>,
    _opened: Vec<OwnedFd>,
}

impl Launch<'_> {
    /// The plan and every descriptor that its steps name.
    pub(super) fn pack(&mut self) -> Result<Parcel> {
        let bytes = self.plan.steps.bytes();
        let file = sys::sealed_file(c"pyrt-plan", bytes, false).op("write the launch plan")?;
        let mut opened: Vec<OwnedFd> = Vec::new();
        let mut numbers: Vec<RawFd> = vec![file.as_raw_fd()];
        let mut tasks: Vec<OwnedFd> = Vec::new();
        let mut trees = Trees::default();
        for handed in self.plan.steps.handed() {
            let fd = match handed {
                Handed::Stdio(number) => {
                    numbers.push(self.lent.stdio[*number].as_raw_fd());
                    continue;
                }
                Handed::Kept(number) => {
                    numbers.push(self.lent.kept[*number]);
                    continue;
                }
                Handed::Tasks(number) => {
                    if tasks.is_empty() {
                        let entered = self.lent.entered.and_then(|entered| entered.cgroup.as_deref());
                        tasks = entered.or(self.cgroup.as_ref()).map(Cgroup::tasks).transpose()?.unwrap_or_default();
                    }
                    numbers.push(tasks.get(*number).map_or(-1, AsRawFd::as_raw_fd));
                    continue;
                }
                Handed::Entered => {
                    numbers.push(self.lent.entered.map_or(-1, |entered| entered.process.as_raw_fd()));
                    continue;
                }
                Handed::Unified => {
                    numbers.push(self.lent.entered.and_then(Entered::unified).map_or(-1, |fd| fd.as_raw_fd()));
                    continue;
                }
                Handed::Namespace { path, flag, at } => open_namespace(path, *flag, at)?,
                Handed::Tree { path, recursive, hint, idmap } => trees
                    .open(path, *recursive, idmap.as_ref())
                    .map_err(|error| hint.map_or(error.clone(), |hint| error.with_hint(hint)))?,
                Handed::State(status) => {
                    let file = sys::anonymous_file(c"state.json", false).op("write the state for hooks")?;
                    self.states.push((*status, file.try_clone().op("write the state for hooks")?));
                    file
                }
                Handed::Program { path, operation } => sys::open_path(path).at(operation, path.to_string_lossy())?,
                Handed::HookOutput => {
                    let output = hooks::Output::new()?;
                    let fd = output.as_fd().try_clone_to_owned().op("keep what a hook says")?;
                    self.hook_output = Some(output);
                    fd
                }
                Handed::StartListener => self.start_listener()?,
                Handed::Caller => sys::pidfd_open(std::process::id() as i32).op("open the caller's pidfd")?,
            };
            numbers.push(fd.as_raw_fd());
            opened.push(fd);
        }
        if numbers.len() > MAX_FDS {
            return Err(Error::system("hand descriptors over", None, Errno::E2BIG).with_hint(format!("more than {MAX_FDS} are needed")));
        }
        let hello = Hello { length: bytes.len() as u64, floor: 3 + self.lent.kept.len() as u32, count: numbers.len() as u32 };
        opened.push(file);
        opened.append(&mut tasks);
        Ok(Parcel { hello, numbers, _opened: opened })
    }

    pub(super) fn hello(&self, parcel: &Parcel) -> Result<()> {
        let rights = [ControlMessage::ScmRights(&parcel.numbers)];
        let bytes = parcel.hello.to_bytes();
        sendmsg::<UnixAddr>(self.socket().as_raw_fd(), &[IoSlice::new(&bytes)], &rights, MsgFlags::MSG_NOSIGNAL, None)
            .map(drop)
            .or_else(|errno| self.lost().map_or(Ok(()), Err).and(Err(errno).op("send the launch plan")))
    }

    fn start_listener(&self) -> Result<OwnedFd> {
        let Some(path) = self.lent.start_socket else { return Err(Error::system("wait for start", None, Errno::EINVAL)) };
        let bound = crate::start::short_path(path)?;
        UnixListener::bind(bound.path()).map(OwnedFd::from).at("make the start socket", path.to_string_lossy())
    }
}

/// A namespace file, checked to be of the kind that config.json says.
pub(crate) fn open_namespace(path: &Path, flag: u64, at: &str) -> Result<OwnedFd> {
    let file = std::fs::File::open(path).at("open namespace", path.to_string_lossy())?;
    let shown = path.display();
    match sys::namespace_flag(file.as_fd()) {
        Ok(found) if found == flag => {}
        Ok(found) => {
            let (found, wanted) = (crate::assistant::kind_name(found), crate::assistant::kind_name(flag));
            return Err(Error::spec(at, format!("{shown} is of kind {found}, not {wanted}")));
        }
        Err(_) => return Err(Error::spec(at, format!("{shown} is no namespace"))),
    }
    // setns(2) answers EINVAL to whoever is in it already, and all that was planned for another user namespace would be wrong.
    if flag == libc::CLONE_NEWUSER as u64 && is_own_user_namespace(&file)? {
        return Err(
            Error::spec(at, format!("{shown} is the user namespace of pyrt itself")).with_hint("leave it out: it is the one without any")
        );
    }
    Ok(file.into())
}

fn is_own_user_namespace(file: &std::fs::File) -> Result<bool> {
    const OWN: &str = "/proc/self/ns/user";
    let (given, own) = (file.metadata().op("look at a namespace")?, std::fs::metadata(OWN).at("look at", OWN)?);
    Ok((given.dev(), given.ino()) == (own.dev(), own.ino()))
}
