//! What cgroup2 does with one of its cgroups: give controllers down, freeze, kill, tell by events.
//!
//! Source: Documentation/admin-guide/cgroup-v2.rst. Waiting is poll(2) on `cgroup.events`, which the kernel wakes with POLLPRI.
//! Neighbour: `v1` answers the same questions where there is no cgroup2.

use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};

use super::directory::Directory;
use super::{delegation, processes};
use crate::error::{Context, Error, Kind, Result};

const EVENTS: &str = "cgroup.events";
const FREEZE: &str = "cgroup.freeze";
const SUBTREE_CONTROL: &str = "cgroup.subtree_control";

/// `cgroup.events` has two short lines; this is more than they ever take.
const EVENTS_BYTES: usize = 128;

/// Give controllers to the cgroup `relative` below `root`: every cgroup above it gains what it lacks in `cgroup.subtree_control`.
///
/// `required` are what limits need: an error where they cannot be had; a caller that sits in the way itself, in a cgroup that is delegated to it,
/// moves into a leaf there. `wished` only make usage complete: where a cgroup above has processes of its own, or is not ours to change, the
/// cgroup does without, and usage says None.
pub(super) fn enable(root: &Directory, relative: &str, required: &[String], wished: &[String]) -> Result<()> {
    if required.is_empty() && wished.is_empty() {
        return Ok(());
    }
    let ends = relative.match_indices('/').map(|(end, _)| end);
    give(root, required, wished)?;
    for end in ends {
        let above = &relative[..end];
        let directory = root.open_below(above).at("open cgroup", root.path_of(above))?;
        give(&directory, required, wished)?;
    }
    Ok(())
}

fn give(directory: &Directory, required: &[String], wished: &[String]) -> Result<()> {
    let present = directory.read(SUBTREE_CONTROL)?;
    let missing = |names: &[String]| -> Vec<String> {
        names.iter().filter(|name| !present.split_whitespace().any(|known| known == *name)).map(|name| format!("+{name}")).collect()
    };
    let (required, wished) = (missing(required), missing(wished));
    let all = [required.clone(), wished.clone()].concat().join(" ");
    if all.is_empty() || directory.try_write(SUBTREE_CONTROL, &all).is_ok() {
        return Ok(());
    }
    // One write is all or nothing. What limits need comes first; each wish then stands for itself, and one refused is seen in the usage.
    if !required.is_empty() {
        let value = required.join(" ");
        let attempt = || directory.try_write(SUBTREE_CONTROL, &value).map_err(|errno| directory.refused(SUBTREE_CONTROL, &value, errno));
        match attempt() {
            Err(error) if error.errno == Some(Errno::EBUSY) => {
                delegation::make_room(directory, error)?;
                attempt()?;
            }
            outcome => outcome?,
        }
    }
    for wish in wished {
        let _ = directory.try_write(SUBTREE_CONTROL, &wish);
    }
    Ok(())
}

/// Errors unless the cgroup can hold processes and controllers: in a threaded subtree it cannot.
pub(super) fn require_domain(directory: &Directory) -> Result<()> {
    let kind = directory.read("cgroup.type")?;
    match kind.trim_end() {
        "domain" => Ok(()),
        kind => {
            let operation = format!("make cgroup {}: its type would be {kind:?}", directory.path());
            Err(Error::host(operation, "choose a path outside the threaded cgroup"))
        }
    }
}

pub(super) fn populated(directory: &Directory) -> Result<bool> {
    holds(directory, "populated")
}

pub(super) fn frozen(directory: &Directory) -> Result<bool> {
    holds(directory, "frozen")
}

fn holds(directory: &Directory, event: &str) -> Result<bool> {
    // A cgroup that was removed has nothing in it and nothing that stands still.
    Ok(directory.read_if_there(EVENTS)?.is_some_and(|text| value_of(&text, event)))
}

/// Freeze, and return when everything inside stands still. Undone where that is not so by the deadline.
pub(super) fn freeze(directory: &Directory, deadline: Instant) -> Result<()> {
    directory.write(FREEZE, "1")?;
    wait(directory, "frozen", true, deadline).map_err(|error| match directory.write(FREEZE, "0") {
        Ok(()) => error.with_hint("a process inside sleeps in the kernel and cannot be stopped; it was thawed again"),
        Err(thaw) => error.with_hint(format!("and it could not be thawed again: {thaw}")),
    })
}

pub(super) fn thaw(directory: &Directory, deadline: Instant) -> Result<()> {
    directory.write(FREEZE, "0")?;
    let above = directory.open_below("..").at("open", directory.path_of(".."))?;
    if frozen(&above)? {
        return Err(frozen_above(directory));
    }
    wait(directory, "frozen", false, deadline)
}

/// For a thaw that this cgroup alone cannot bring about.
pub(super) fn frozen_above(directory: &Directory) -> Error {
    let error = Error::new(Kind::InvalidState, "thaw cgroup").with_path(directory.path());
    error.with_hint("a cgroup above it is frozen; thaw that one")
}

/// SIGKILL to everything in and below, frozen or not, forking or not; returns when it is empty.
pub(super) fn kill(directory: &Directory, deadline: Instant) -> Result<()> {
    if !populated(directory)? {
        return Ok(());
    }
    match directory.try_write("cgroup.kill", "1") {
        // Removed meanwhile: then it was empty.
        Ok(()) | Err(Errno::ENODEV) => {}
        Err(errno) => return Err(directory.refused("cgroup.kill", "1", errno)),
    }
    wait_until_empty(directory, deadline)
}

pub(super) fn wait_until_empty(directory: &Directory, deadline: Instant) -> Result<()> {
    wait(directory, "populated", false, deadline).map_err(|error| match processes::of_all(directory) {
        Ok(pids) => error.with_hint(format!("{} still there, asleep in the kernel", processes::list(&pids))),
        Err(_) => error,
    })
}

/// Wait until the event has this value.
fn wait(directory: &Directory, event: &str, wanted: bool, deadline: Instant) -> Result<()> {
    let file = match directory.open_file(EVENTS, OFlag::O_RDONLY) {
        Ok(fd) => std::fs::File::from(fd),
        Err(Errno::ENOENT) if !wanted => return Ok(()),
        Err(errno) => return Err(Error::system("open", directory.path_of(EVENTS), errno)),
    };
    let mut buffer = [0; EVENTS_BYTES];
    loop {
        // Read before poll: what changes after this read wakes the poll.
        let length = match file.read_at(&mut buffer, 0) {
            Err(e) if e.raw_os_error() == Some(Errno::ENODEV as i32) && !wanted => return Ok(()),
            read => read.at("read", directory.path_of(EVENTS))?,
        };
        if value_of(&String::from_utf8_lossy(&buffer[..length]), event) == wanted {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let operation = format!("wait for {event} {} of cgroup", u8::from(wanted));
            return Err(Error { errno: Some(Errno::ETIMEDOUT), ..Error::new(Kind::System, operation) }.with_path(directory.path()));
        }
        // Rounded up: a wait of 0 ms would spin through the last one.
        let milliseconds = i32::try_from(left.as_millis() + 1).unwrap_or(i32::MAX);
        let mut wait_for = [PollFd::new(file.as_fd(), PollFlags::POLLPRI)];
        match poll(&mut wait_for, PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::system("poll", directory.path_of(EVENTS), errno)),
        }
    }
}

/// The value of `KEY 0|1` lines.
fn value_of(text: &str, key: &str) -> bool {
    text.lines().any(|line| line.strip_prefix(key) == Some(" 1"))
}
