//! Creation with state on disk: what `delete --force` needs is written before anything is made, and all is undone on failure.

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use super::{Container, Directory, Init, Launched, Lock, State};
use crate::error::Result;
use crate::launch::{launch_recorded, Lent};
use crate::notify::{self, Relay};
use crate::plan::LaunchPlan;
use crate::process::{Child, Process};

impl Container {
    /// Create the container that `plan` describes, from the bytes of `config`. Where the plan does not wait for `start`, the program runs,
    /// and poststart hooks have run, when this returns. `lent.start_socket` is made here. `notify`: the service manager's socket, for a
    /// config that mounts the directory `Directory::notify`.
    ///
    /// Errors: `AlreadyExists`, and all that a launch says; nothing is left then.
    pub fn create(directory: Directory, plan: &LaunchPlan, config: &[u8], lent: &Lent<'_>, notify: Option<&Path>) -> Result<Self> {
        let waits = plan.options.waits_for_start;
        let state = Arc::new(State::of(plan, directory.id(), config)?);
        let lock = directory.create()?;
        let launched = launch_with_state(&directory, &lock, plan, lent, &state, notify);
        let launched = launched.inspect_err(|_| {
            // The first error is the one that counts.
            let _ = directory.remove();
        })?;
        let held = lock.into_descriptor(&directory)?;
        let launched = Launched { process: launched, directory: Arc::new(held), state: Arc::clone(&state) };
        let container = Container { directory, launched: Mutex::new(Some(launched)), remains: OnceLock::new() };
        if !waits {
            container.run_poststart(&state)?;
        }
        Ok(container)
    }
}

fn launch_with_state(
    directory: &Directory,
    lock: &Lock,
    plan: &LaunchPlan,
    lent: &Lent<'_>,
    state: &State,
    notify: Option<&Path>,
) -> Result<Arc<Process>> {
    let group = plan.cgroup.as_ref();
    directory.begin(&group.map(|group| group.paths()).unwrap_or_default(), group.and_then(|group| group.scope()), state)?;
    notify.map_or(Ok(()), |_| notify::make_directory(&directory.notify()))?;
    // Where there is a `start`, that listens.
    let relay = notify.filter(|_| !plan.options.waits_for_start).map(|host| Relay::new(&directory.notify(), host)).transpose()?;
    let socket = directory.start_socket();
    let lent = Lent { start_socket: plan.options.waits_for_start.then_some(socket.as_path()), ..*lent };
    let record = |child: &Child| directory.set_made(lock.as_fd(), Init { pid: child.pid, start_time: child.start_time });
    let process = launch_recorded(plan, &lent, &record)?;
    if let Err(error) = directory.set_init(lock.as_fd(), Init { pid: process.pid, start_time: process.start_time }) {
        let _ = process.kill();
        if let Some(cgroup) = &process.cgroup {
            let _ = cgroup.remove();
        }
        return Err(error);
    }
    process.set_notify(relay);
    Ok(Arc::new(process))
}
