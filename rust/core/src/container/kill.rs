//! `Container::kill`: a signal for the init, for everything in its cgroup, or without one for everything in its pid namespace.

use std::os::fd::AsFd;

use nix::errno::Errno;

use super::{boot_id, Container, State, Status, SIGKILL};
use crate::cgroup::signal_listed;
use crate::error::{Context, Error, Kind, Result};
use crate::{pid_namespace, process, sys};

impl Container {
    /// Send a signal to the init, or with `all` to every process, also where the init has ended already.
    ///
    /// A container without a pid namespace of its own is ended as a whole by SIGKILL. Errors: `InvalidState` when it has ended.
    pub fn kill(&self, signal: i32, all: bool) -> Result<()> {
        let identity = self.directory.identity()?;
        let state = self.directory.read()?;
        let status = self.status(&state)?;
        if status == Status::Creating || (status == Status::Stopped && !all) {
            return Err(self.not_running(status));
        }
        let group = self.cgroup()?;
        if self.directory.identity()? != identity {
            // Deleted meanwhile, and created anew: the cgroup may already be the new one's.
            return Err(self.not_running(Status::Stopped));
        }
        match &group {
            Some(group) if all || (signal == SIGKILL && !state.own_pid_namespace) => group.signal(signal)?,
            None if all => self.signal_namespace(&state, signal)?,
            _ => self.signal_init(&state, signal, all)?,
        }
        match group {
            Some(group) if signal == SIGKILL => group.let_die(),
            _ => Ok(()),
        }
    }

    /// Without a cgroup, everything in its pid namespace; where that is the caller's too, its init.
    fn signal_namespace(&self, state: &State, signal: i32) -> Result<()> {
        let Some(init) = self.directory.init()?.filter(|init| process::is_alive(init.pid, init.start_time)) else { return Ok(()) };
        if !state.own_pid_namespace || signal == SIGKILL {
            // The kernel ends a pid namespace with its PID 1.
            return self.signal_init(state, signal, true);
        }
        let listed = || Ok(pid_namespace::processes(init.pid)?.unwrap_or_default());
        signal_listed(listed, &format!("container {}", self.directory.id()), signal).map(drop)
    }

    fn signal_init(&self, state: &State, signal: i32, missing_is_fine: bool) -> Result<()> {
        let Some(init) = self.directory.init()?.filter(|_| boot_id().is_ok_and(|boot| boot == state.boot_id)) else { return Ok(()) };
        match process::open(init.pid, init.start_time).and_then(|pidfd| sys::pidfd_send_signal(pidfd.as_fd(), signal)) {
            Err(Errno::ESRCH) if missing_is_fine => Ok(()),
            Err(Errno::ESRCH) => Err(self.not_running(Status::Stopped)),
            sent => sent.at(format!("send signal {signal} to"), format!("process {}", init.pid)),
        }
    }

    pub(super) fn not_running(&self, status: Status) -> Error {
        // runc's words, which engines look for.
        let text = format!("container not running: cannot signal container {}, which is {status}", self.directory.id());
        Error::new(Kind::InvalidState, text)
    }
}
