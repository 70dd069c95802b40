//! `Container::delete`: what is inside ends, then nothing of it stays; poststop hooks run.

use std::os::fd::AsFd;
use std::time::{Duration, SystemTime};

use nix::errno::Errno;

use super::{boot_id, Container, Lock, Remains, State, Status, SIGKILL};
use crate::cgroup::Cgroup;
use crate::ending::await_end;
use crate::error::{Context, Kind, Result};
use crate::hooks::run_all;
use crate::oci::Config;
use crate::plan::HookStage;
use crate::{process, sys};

/// How long `delete --force` waits for whoever creates or starts a container in which nothing is left: poststop hooks may run there.
const LOCK_PATIENCE: Duration = Duration::from_secs(60);

impl Container {
    /// Remove its cgroups, run its poststop hooks, remove its state. Returns what poststop hooks failed.
    ///
    /// It must be stopped, or created: then it is ended first, as runc does and the runtime-spec does not. `force`: whatever its state, also
    /// an unreadable one, and nothing happens where it does not exist. Errors: `InvalidState`.
    pub fn delete(&self, force: bool) -> Result<Vec<String>> {
        let locked = if force { self.lock_by_force() } else { self.directory.lock() };
        match locked {
            Err(error) if force && error.kind == Kind::NotFound => self.let_go(),
            locked => self.delete_locked(&locked?, force),
        }
    }

    /// Whoever creates or starts it may hang in a hook, or in the kernel: with nothing left inside they give up.
    fn lock_by_force(&self) -> Result<Lock> {
        if let Some(lock) = self.directory.try_lock()? {
            return Ok(lock);
        }
        let state = self.read_readable()?;
        self.end(state.as_ref(), self.cgroup()?.as_deref())?;
        self.directory.lock_within(LOCK_PATIENCE)
    }

    /// Somebody else deleted it: what this process still holds of it is a child to reap, and descriptors. One that was not ended, because its
    /// state was only removed by hand, ends here.
    fn let_go(&self) -> Result<Vec<String>> {
        if let Some(launched) = self.launched.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take() {
            launched.process.kill()?;
            launched.process.cgroup.as_ref().map_or(Ok(()), |group| group.remove())?;
        }
        Ok(Vec::new())
    }

    pub(super) fn delete_locked(&self, lock: &Lock, force: bool) -> Result<Vec<String>> {
        let state = match self.locked_state(lock) {
            // Whatever the reason.
            Err(error) if force && error.kind != Kind::NotFound => None,
            read => Some(read?),
        };
        if let (Some(state), false) = (&state, force) {
            self.require(state, "delete", &[Status::Created, Status::Stopped], Some("kill it first, or use delete --force"))?;
        }
        let group = self.cgroup()?;
        self.end(state.as_deref(), group.as_deref())?;
        if let (Some(state), Some(_)) = (&state, self.launched()) {
            // A file that cannot be read must not keep the container from its deletion.
            let usage = group.as_ref().and_then(|group| group.usage().ok()).unwrap_or_default();
            let _ = self.remains.set(Remains { usage, config: state.config.clone() });
        }
        if let Some(group) = group {
            group.remove()?;
        }
        let warnings = state.map_or_else(Vec::new, |state| self.run_poststop(&state));
        self.directory.remove()?;
        // Whoever keeps this handle longer keeps no descriptor; the exit status was taken by `end`.
        self.launched.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        Ok(warnings)
    }

    /// End everything inside and wait until it is gone. Without state the boot is known by the times of the marks.
    fn end(&self, state: Option<&State>, group: Option<&Cgroup>) -> Result<()> {
        let this_boot = match state {
            Some(state) => state.boot_id == boot_id()?,
            None => boot_time().is_some_and(|began| self.directory.marked_since(began)),
        };
        // A mark that cannot be read names nobody; the cgroup is asked in any case.
        let init = self.directory.init().ok().flatten().or_else(|| self.directory.made()).filter(|_| this_boot);
        let alive = init.and_then(|init| process::open(init.pid, init.start_time).ok());
        if let Some(pidfd) = &alive {
            match sys::pidfd_send_signal(pidfd.as_fd(), SIGKILL) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => return Err(errno).op("kill the container"),
            }
        }
        if let Some(group) = group {
            // Also without a living init: processes may be left where it had no pid namespace of its own.
            group.kill()?;
        }
        if let Some(pidfd) = alive {
            await_end(pidfd.as_fd())?;
            if self.process().is_none() {
                // Made by this process through a handle that is gone, it would stay a zombie; of others' children there is nothing to reap.
                let _ = sys::reap(pidfd.as_fd());
            }
        }
        if let Some(process) = self.process() {
            if process.wait_readable(Some(Duration::ZERO)) == Ok(true) {
                // Taken, so that the calling process is left no zombie; where it is not ours to take, there is none.
                let _ = process.finish();
            }
        }
        Ok(())
    }

    fn run_poststop(&self, state: &State) -> Vec<String> {
        if !state.has_poststop {
            return Vec::new();
        }
        match Config::of(state.config.get().as_bytes()) {
            Ok(config) => run_all(&config.spec, HookStage::Poststop, &self.hook_state(state, Status::Stopped)),
            Err(error) => vec![format!("poststop hooks of container {} did not run: {error}", self.directory.id())],
        }
    }

    /// `None` for a state that cannot be read, whatever the reason.
    fn read_readable(&self) -> Result<Option<State>> {
        match self.directory.read() {
            Err(error) if error.kind == Kind::NotFound => Err(error),
            read => Ok(read.ok()),
        }
    }
}

/// When this boot began, by the clock of the day, in whole seconds: /proc/stat, btime.
fn boot_time() -> Option<SystemTime> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    let seconds = text.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}
