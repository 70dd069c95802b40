//! The processes of a cgroup: listed, and signalled by pidfd.
//!
//! Neighbours: `v1` and `v2` end what is inside, `group` chooses the hierarchy that is asked.

use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};

use super::directory::Directory;
use crate::error::{Error, Result};
use crate::sys;

const PROCS: &str = "cgroup.procs";

/// How many PIDs an error names before it says how many more there are.
const NAMED_IN_ERRORS: usize = 5;

/// PIDs in the cgroup itself, as this process sees them. 0 stands for those outside of this pid namespace and is left out.
pub(super) fn of(directory: &Directory) -> nix::Result<Vec<i32>> {
    of_any_namespace(directory).map(|pids| pids.into_iter().filter(|pid| *pid != 0).collect())
}

/// As `of`, with a 0 for each of those outside.
pub(super) fn of_any_namespace(directory: &Directory) -> nix::Result<Vec<i32>> {
    match directory.try_read(PROCS) {
        Ok(text) => Ok(text.lines().filter_map(|line| line.parse().ok()).collect()),
        // A threaded cgroup has threads only; the processes are listed by the cgroup above that the threads belong to.
        Err(Errno::EOPNOTSUPP | Errno::ENODEV | Errno::ENOENT) => Ok(Vec::new()),
        Err(errno) => Err(errno),
    }
}

/// PIDs in the cgroup and below.
pub(super) fn of_all(directory: &Directory) -> Result<Vec<i32>> {
    // A set: one that moves from cgroup to cgroup meanwhile, and a walk that starts again, see a process twice.
    let mut pids = HashSet::new();
    directory.walk(|cgroup| {
        pids.extend(of(cgroup)?);
        Ok(())
    })?;
    let mut pids: Vec<i32> = pids.into_iter().collect();
    pids.sort_unstable();
    Ok(pids)
}

/// "process 7" or "processes 7, 8", for errors.
pub(super) fn list(pids: &[i32]) -> String {
    let named = pids.iter().take(NAMED_IN_ERRORS).map(i32::to_string).collect::<Vec<_>>().join(", ");
    match pids.len() {
        0 => "processes of another pid namespace are".to_owned(),
        1 => format!("process {named} is"),
        count if count > NAMED_IN_ERRORS => format!("processes {named} and {} more are", count - NAMED_IN_ERRORS),
        _ => format!("processes {named} are"),
    }
}

/// Send the signal to every process in and below the cgroup, and return the pidfds of those that got it.
pub(super) fn signal_all(directory: &Directory, signal: i32) -> Result<Vec<OwnedFd>> {
    signal_listed(|| of_all(directory), &format!("cgroup {}", directory.path()), signal)
}

/// The same for the processes that `list` finds, those of `whose`.
///
/// A PID may be another process's by the time it is opened; so the list is read again with all pidfds open, and only who is still on it is
/// signalled.
pub(crate) fn signal_listed(list: impl Fn() -> Result<Vec<i32>>, whose: &str, signal: i32) -> Result<Vec<OwnedFd>> {
    let mut opened = Vec::new();
    for pid in list()? {
        match sys::pidfd_open(pid) {
            Ok(pidfd) => opened.push((pid, pidfd)),
            Err(Errno::ESRCH) => {}
            Err(errno) => return Err(Error::system(format!("open process {pid} of {whose}"), None, errno)),
        }
    }
    let still: HashSet<i32> = list()?.into_iter().collect();
    let mut signalled = Vec::new();
    for (pid, pidfd) in opened {
        if !still.contains(&pid) {
            continue;
        }
        match sys::pidfd_send_signal(pidfd.as_fd(), signal) {
            Ok(()) => signalled.push(pidfd),
            Err(Errno::ESRCH) => {}
            Err(errno) => return Err(Error::system(format!("signal process {pid} of {whose}"), None, errno)),
        }
    }
    Ok(signalled)
}

/// Wait until the process has ended (a pidfd is readable then); false at the deadline.
pub(super) fn wait_for_end(pidfd: &OwnedFd, deadline: Instant) -> nix::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut wait_for = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        let timeout = i32::try_from(left.as_millis()).ok().and_then(|ms| PollTimeout::try_from(ms).ok()).unwrap_or(PollTimeout::MAX);
        match poll(&mut wait_for, timeout) {
            Ok(0) if left.is_zero() => return Ok(false),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(errno) => return Err(errno),
        }
    }
}
