//! What cgroup v1 does with a cgroup: cpuset's inheritance, the freezer, and ending all processes where there is no cgroup2.
//!
//! Source: Documentation/admin-guide/cgroup-v1/. v1 tells nothing by events, so what has to be waited for is read again after
//! short, bounded pauses: the freezer's state, and a removal that the kernel refuses right after the last process ended.
//! Neighbour: `v2` answers the same questions.

use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::directory::Directory;
use super::{processes, v2};
use crate::error::{Context, Error, Kind, Result};

const STATE: &str = "freezer.state";
const FROZEN: &str = "FROZEN";
const THAWED: &str = "THAWED";

/// Pauses between two looks at what has no event grow from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_micros(100);
const LAST_PAUSE: Duration = Duration::from_millis(10);

/// How long ending waits for the freezer, which only makes it quicker.
const FREEZE_TO_KILL: Duration = Duration::from_millis(500);

/// A new cpuset has no CPUs and memory nodes, and takes no process before it has: each from `root` down to `leaf`, which is `relative` to
/// it, gets its parent's where it has none (cpusets.rst, 1.4). `new`: the leaf was made just now.
pub(super) fn inherit_cpuset(root: &Directory, relative: &str, leaf: &Directory, new: bool) -> Result<()> {
    let between = relative.match_indices('/').map(|(end, _)| &relative[..end]);
    let between = between.map(|path| root.open_below(path).at("open cgroup", root.path_of(path))).collect::<Result<Vec<_>>>()?;
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let mut above = root.read(file)?;
        for directory in &between {
            let own = directory.read(file)?;
            if own.trim().is_empty() {
                directory.write(file, above.trim())?;
            } else {
                above = own;
            }
        }
        // A look at every file of a new cgroup costs an inode.
        if new || leaf.read(file)?.trim().is_empty() {
            leaf.write(file, above.trim())?;
        }
    }
    Ok(())
}

pub(super) fn frozen(freezer: &Directory) -> Result<bool> {
    Ok(freezer.read_if_there(STATE)?.is_some_and(|state| state.trim_end() == FROZEN))
}

/// Freeze, and return when everything inside stands still. A fork in between leaves FREEZING, until the state is written again.
pub(super) fn freeze(freezer: &Directory, deadline: Instant) -> Result<()> {
    let mut pause = FIRST_PAUSE;
    loop {
        freezer.write(STATE, FROZEN)?;
        if frozen(freezer)? {
            return Ok(());
        }
        if Instant::now() >= deadline {
            freezer.write(STATE, THAWED)?;
            let error = Error { errno: Some(Errno::ETIMEDOUT), ..Error::new(Kind::System, "freeze cgroup") };
            let hint = "a process inside sleeps in the kernel and cannot be stopped; it was thawed again";
            return Err(error.with_path(freezer.path()).with_hint(hint));
        }
        sleep(pause);
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

pub(super) fn thaw(freezer: &Directory) -> Result<()> {
    freezer.write(STATE, THAWED)?;
    match freezer.read_if_there("freezer.parent_freezing")? {
        Some(above) if above.trim_end() == "1" => Err(v2::frozen_above(freezer)),
        _ => Ok(()),
    }
}

/// SIGKILL to everything in and below `directory`; returns when it is empty. `freezer`, where joined, stops forks meanwhile.
pub(super) fn kill(directory: &Directory, freezer: Option<&Directory>, deadline: Instant) -> Result<()> {
    loop {
        let inside = processes::of_all(directory)?;
        if inside.is_empty() {
            return Ok(());
        }
        if inside.contains(&nix::unistd::getpid().as_raw()) {
            let error = Error::new(Kind::InvalidState, "end the processes of cgroup").with_path(directory.path());
            return Err(error.with_hint("the calling process is one of them"));
        }
        let signalled = match freezer {
            // A frozen process takes the signal but dies only when thawed. One that cannot be frozen gets the signal all the same.
            Some(freezer) => {
                let stopped = freeze(freezer, (Instant::now() + FREEZE_TO_KILL).min(deadline));
                let signalled = processes::signal_all(directory, nix::libc::SIGKILL);
                if stopped.is_ok() {
                    thaw(freezer)?;
                }
                signalled?
            }
            None => processes::signal_all(directory, nix::libc::SIGKILL)?,
        };
        for pidfd in &signalled {
            if !processes::wait_for_end(pidfd, deadline).at("wait for the processes of cgroup", directory.path())? {
                let error = Error { errno: Some(Errno::ETIMEDOUT), ..Error::new(Kind::System, "wait for the processes of cgroup") };
                let hint = format!("{} still there, asleep in the kernel", processes::list(&processes::of_all(directory)?));
                return Err(error.with_path(directory.path()).with_hint(hint));
            }
        }
        if signalled.is_empty() {
            // All on the list are past the signal already, but not off the list yet.
            sleep(FIRST_PAUSE);
        }
    }
}

/// Repeat a removal while the kernel answers EBUSY, which it does until the last process is wholly gone.
pub(super) fn retry_while_busy(deadline: Instant, mut remove: impl FnMut() -> nix::Result<()>) -> nix::Result<()> {
    let mut pause = FIRST_PAUSE;
    loop {
        match remove() {
            Err(Errno::EBUSY) if Instant::now() < deadline => {}
            outcome => return outcome,
        }
        sleep(pause);
        pause = (pause * 2).min(LAST_PAUSE);
    }
}
