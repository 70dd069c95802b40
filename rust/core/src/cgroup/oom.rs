//! Who is told when a cgroup is out of memory: a descriptor to poll, at once and without a thread.
//!
//! cgroup2: `memory.events` is readable for POLLPRI when a counter in it has changed since it was last read (cgroup-v2.rst). v1: an eventfd
//! that is registered in `cgroup.event_control` for `memory.oom_control` (cgroup-v1/memory.rst, "OOM Control").

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::group::Cgroup;
use crate::error::{Context, Error, Result};

#[derive(Debug)]
pub enum OomNotifier {
    /// `memory.events`: POLLPRI; to be read from its start, before the first poll too.
    Counters(OwnedFd),
    /// POLLIN; its 8 bytes are to be read. It comes before the kill, and once more when the cgroup is removed.
    Eventfd(OwnedFd),
}

impl Cgroup {
    /// None where it joined no memory controller.
    pub fn oom_notifier(&self) -> Result<Option<OomNotifier>> {
        if let Some(directory) = self.v1("memory") {
            let eventfd = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).op("make an eventfd")?;
            let control = directory.open_file("memory.oom_control", OFlag::O_RDONLY).at("open", directory.path_of("memory.oom_control"))?;
            directory.write("cgroup.event_control", &format!("{} {}", eventfd.as_fd().as_raw_fd(), control.as_raw_fd()))?;
            return Ok(Some(OomNotifier::Eventfd(eventfd.into())));
        }
        let Some(directory) = self.v2() else { return Ok(None) };
        match directory.open_file("memory.events", OFlag::O_RDONLY) {
            Ok(counters) => Ok(Some(OomNotifier::Counters(counters))),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(Error::system("open", directory.path_of("memory.events"), errno)),
        }
    }
}
