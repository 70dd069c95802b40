//! The root of a container that runs, from outside.

use super::{Container, Status};
use crate::error::{Context, Result};
use crate::layer::Root;
use crate::oci::Config;
use crate::plan::root_owner;
use crate::process;

impl Container {
    /// As it is now. Errors: `InvalidState` unless there is a process in it.
    pub fn root(&self) -> Result<Root> {
        let state = self.directory.read()?;
        self.require(&state, "copy files of", &[Status::Created, Status::Running, Status::Paused], None)?;
        let init = self.directory.init()?.ok_or(nix::errno::Errno::ESRCH);
        let opened = init.and_then(|init| Ok((init.pid, process::open(init.pid, init.start_time)?)));
        let (pid, pidfd) = opened.op("open the init's pidfd")?;
        let owner = root_owner(&Config::of(state.config.get().as_bytes())?.spec);
        process::root_of(pid, std::os::fd::AsFd::as_fd(&pidfd), owner)
    }
}
