//! The wait for a process that is to end: bounded, and with words for what keeps one alive that was sent SIGKILL.
//!
//! The init of a pid namespace ends last: the kernel keeps it until all that joined its namespace are reaped, by parents that are outside of it
//! (pid_namespaces(7)). Those parents may be the very process that waits here, with handles that nobody waits on meanwhile: so the statuses of
//! such children are taken, into their handles, as they end.
//!
//! Neighbours: `process` sends the signal, `cgroup` ends all that is inside.

use std::fs;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};

use crate::error::{Context, Error, Result};
use crate::interruption::{self, PIECE};
use crate::process::Waited;
use crate::sys::{self, PerProcess};

/// Until what was sent SIGKILL must be gone: longer only where something holds it that may hold it for ever.
pub const KILL_PATIENCE: Duration = Duration::from_secs(30);

/// How many zombies an error names.
const NAMED: usize = 3;

const OPERATION: &str = "wait for the end of";

/// Children that joined a pid namespace which others made, while they live and somebody has a handle.
static GUESTS: PerProcess<Mutex<Vec<Weak<Waited>>>> = PerProcess::new();

/// Keeps in mind a child that is in a pid namespace of others.
pub(crate) fn remember(waited: &Arc<Waited>) {
    let mut guests = GUESTS.get().lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    guests.retain(|guest| guest.strong_count() > 0);
    guests.push(Arc::downgrade(waited));
}

/// Those that have not been finished.
fn guests() -> Vec<Arc<Waited>> {
    let guests = GUESTS.get().lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    guests.iter().filter_map(Weak::upgrade).filter(|guest| guest.ended().is_none()).collect()
}

/// Waits until the process has ended. Errors: ETIMEDOUT after `KILL_PATIENCE`, naming the process and what holds it; `Interrupted`.
pub fn await_end(pidfd: BorrowedFd<'_>) -> Result<()> {
    until(pidfd, Instant::now() + KILL_PATIENCE, || interruption::check(OPERATION))
}

/// The same for cleaning up after another error, or where nobody could be told: a signal waits until that is done.
pub fn await_end_uninterrupted(pidfd: BorrowedFd<'_>) -> Result<()> {
    until(pidfd, Instant::now() + KILL_PATIENCE, || Ok(()))
}

fn readable(fd: BorrowedFd<'_>) -> PollFd<'_> {
    PollFd::new(fd, PollFlags::POLLIN)
}

fn until(pidfd: BorrowedFd<'_>, deadline: Instant, interrupted: impl Fn() -> Result<()>) -> Result<()> {
    let mut guests = guests();
    loop {
        let mut fds: Vec<PollFd<'_>> = std::iter::once(pidfd).chain(guests.iter().map(|guest| guest.pidfd())).map(readable).collect();
        let left = deadline.saturating_duration_since(Instant::now());
        match poll(&mut fds, PollTimeout::try_from(left.min(PIECE).as_millis()).unwrap_or(PollTimeout::MAX)) {
            Ok(0) if left.is_zero() => break,
            Ok(0) => interrupted()?,
            Ok(_) => {}
            Err(Errno::EINTR) => interrupted()?,
            Err(errno) => return Err(errno).op(OPERATION),
        }
        let ended: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        if ended[0] {
            return Ok(());
        }
        // One that cannot be reaped is its tracer's first, and looked at no more.
        let mut ended = ended[1..].iter();
        guests.retain(|guest| {
            let ended = ended.next() == Some(&true);
            if ended {
                let _ = guest.finish();
            }
            !ended
        });
    }
    let Ok(pid) = sys::pidfd_pid(pidfd) else { return Ok(()) };
    Err(Error::system(OPERATION, format!("process {pid}"), Errno::ETIMEDOUT).with_hint(obstacle(pid)))
}

/// What keeps a process that was sent SIGKILL: proc_pid_status(5), proc_pid_wchan(5).
fn obstacle(pid: i32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let state = field(&status, "State").unwrap_or("unknown").to_owned();
    let place = fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
    if place == "zap_pid_ns_processes" {
        let zombies = zombies_of_other_namespaces();
        let named = if zombies.is_empty() { "others".to_owned() } else { zombies.join(", ") };
        return format!(
            "it is the init of a pid namespace, which the kernel keeps until the parents of all in it have reaped them: {named}"
        );
    }
    if place.contains("refrigerator") {
        return "it is frozen by a cgroup that is not the container's: thaw that one".to_owned();
    }
    match field(&status, "TracerPid") {
        Some(tracer) if tracer != "0" => format!("its state is {state}; process {tracer} traces it"),
        _ => format!("its state is {state}; see /proc/{pid}/stack, and dmesg for a hung task"),
    }
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// "zombie 7 (child of 5)": NSpid names more than one PID for whoever is in a pid namespace below ours.
fn zombies_of_other_namespaces() -> Vec<String> {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let below = field(&status, "NSpid")?.split_whitespace().count() > 1;
        let parent = field(&status, "PPid")?;
        (below && field(&status, "State")?.starts_with('Z')).then(|| format!("zombie {pid} (child of {parent})"))
    })
    .take(NAMED)
    .collect()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::process::Command;

    use super::*;

    #[test]
    fn one_that_does_not_end_is_named_with_its_state() {
        let mut child = Command::new("sleep").arg("100").spawn().unwrap();
        let pid = child.id() as i32;
        let pidfd = sys::pidfd_open(pid).unwrap();
        let error = until(pidfd.as_fd(), Instant::now(), || Ok(())).unwrap_err();
        child.kill().unwrap();
        assert_eq!((error.errno, error.path), (Some(Errno::ETIMEDOUT), Some(format!("process {pid}"))));
        assert!(error.hint.unwrap().starts_with("its state is "));
        await_end(pidfd.as_fd()).unwrap();
        child.wait().unwrap();
    }
}
