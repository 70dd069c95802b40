//! One container, from its creation to its end: what both the Python package and the command's quick verbs act on.
//!
//! `state` is what is known of it, `directory` where that is kept, under a `lock`. The transitions: `create`, `start`, `kill`, `delete`;
//! `exec` puts another process into it, `checkpoint` writes it down and `restore` makes it of that. `root` is where its files are. Here: the
//! handle, what can be asked of it, and what its cgroup does for it.
//!
//! Every call reads the state on disk anew, so handles in several threads and processes agree. What changes the state takes the container's
//! lock; reading it and signalling do not, because both must work while a hook hangs.

mod checkpoint;
mod create;
mod delete;
mod directory;
mod exec;
mod kill;
mod lock;
mod restore;
mod root;
mod start;
mod state;
#[cfg(test)]
mod tests;

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::value::RawValue;

use crate::cgroup::{Cgroup, Usage};
use crate::error::{Context, Error, Kind, Result};
use crate::host::HostFacts;
use crate::oci::LinuxResources;
use crate::pid_namespace;
use crate::process::{self, Process};

pub use directory::{default_root, ids, Cgroups, Directory};
pub use exec::ExecOptions;
pub use lock::Lock;
pub use state::{Init, OciState, ShownState, State, Status};

const SIGKILL: i32 = Signal::SIGKILL as i32;

/// A handle; it ends nothing when it is dropped.
#[derive(Debug)]
pub struct Container {
    directory: Directory,
    /// Where this process made it, until it is deleted.
    launched: Mutex<Option<Launched>>,
    /// Of one that this process made and deleted.
    remains: OnceLock<Remains>,
}

/// What can be asked of a container after its deletion.
#[derive(Debug)]
pub struct Remains {
    pub usage: Usage,
    /// config.json.
    pub config: Box<RawValue>,
}

#[derive(Debug, Clone)]
struct Launched {
    process: Arc<Process>,
    /// The state directory itself, whatever stands at its path by now.
    directory: Arc<OwnedFd>,
    /// What was written there, which never changes.
    state: Arc<State>,
}

impl Container {
    /// Whether it exists shows when it is used.
    pub fn new(directory: Directory) -> Self {
        Container { directory, launched: Mutex::new(None), remains: OnceLock::new() }
    }

    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Its init, where this process made it and it is not deleted.
    pub fn process(&self) -> Option<Arc<Process>> {
        self.launched().map(|launched| launched.process)
    }

    /// Where this process made and deleted it.
    pub fn remains(&self) -> Option<&Remains> {
        self.remains.get()
    }

    fn launched(&self) -> Option<Launched> {
        self.launched.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    pub fn status(&self, state: &State) -> Result<Status> {
        self.found(state).map(|(status, _)| status)
    }

    /// The status, and the process that it is about.
    fn found(&self, state: &State) -> Result<(Status, Option<Init>)> {
        let this_boot = state.boot_id == boot_id()?;
        let Some(init) = self.directory.init()? else {
            return Ok((if this_boot { Status::Creating } else { Status::Stopped }, None));
        };
        if !this_boot || !self.is_alive(&init) {
            return Ok((Status::Stopped, Some(init)));
        }
        let status = if self.cgroup()?.is_some_and(|group| group.frozen().unwrap_or(false)) {
            Status::Paused
        } else if self.directory.start_socket().exists() {
            Status::Created
        } else {
            Status::Running
        };
        Ok((status, Some(init)))
    }

    fn is_alive(&self, init: &Init) -> bool {
        match self.process().filter(|process| (process.pid, process.start_time) == (init.pid, init.start_time)) {
            // Its pidfd says it for less.
            Some(process) => process.ended().is_none() && process.wait_readable(Some(Duration::ZERO)) == Ok(false),
            None => process::is_alive(init.pid, init.start_time),
        }
    }

    /// What hooks and `state` say of it.
    fn oci_state<'a>(&self, state: &'a State, status: Status, init: Option<Init>) -> OciState<'a> {
        let pid = init.filter(|_| status != Status::Stopped).map_or(0, |init| init.pid);
        OciState { oci_version: &state.oci_version, id: &state.id, status, pid, bundle: &state.bundle, annotations: &state.annotations }
    }

    pub fn shown_state<'a>(&self, state: &'a State) -> Result<ShownState<'a>> {
        let (status, init) = self.found(state)?;
        Ok(ShownState {
            oci: self.oci_state(state, status, init),
            rootfs: &state.rootfs,
            created: &state.created,
            owner: user_name(self.directory.owner()?),
        })
    }

    /// Errors: `InvalidState`, naming both states, unless the status is one of `allowed`.
    pub fn require(&self, state: &State, verb: &str, allowed: &[Status], hint: Option<&str>) -> Result<()> {
        let status = self.status(state)?;
        if allowed.contains(&status) {
            return Ok(());
        }
        let allowed: Vec<_> = allowed.iter().map(Status::to_string).collect();
        let text = format!("cannot {verb} container {}: it is {status}, not {}", self.directory.id(), allowed.join(" or "));
        let error = Error::new(Kind::InvalidState, text);
        Err(hint.map_or(error.clone(), |hint| error.with_hint(hint)))
    }

    /// Its cgroups; `None` where it has none.
    pub fn cgroup(&self) -> Result<Option<Arc<Cgroup>>> {
        if let Some(launched) = self.launched() {
            // What the launch holds open; the file is for everybody else.
            return Ok(launched.process.cgroup.clone());
        }
        match self.directory.read_cgroups()? {
            Cgroups { paths, .. } if paths.is_empty() => Ok(None),
            Cgroups { paths, scope } => Ok(Some(Arc::new(Cgroup::open(&paths)?.with_scope(scope)))),
        }
    }

    /// Freeze every process of it. Errors: `InvalidState` unless it is created or running, `Host` without a cgroup.
    pub fn pause(&self) -> Result<()> {
        let _lock = self.directory.lock()?;
        self.require(&self.directory.read()?, "pause", &[Status::Created, Status::Running], None)?;
        match self.cgroup()? {
            Some(group) => group.freeze(),
            None => Err(Error::new(Kind::Host, format!("cannot pause container {}: it has no cgroup", self.directory.id()))),
        }
    }

    /// Let a paused container go on. Errors: `InvalidState` unless it is paused.
    pub fn resume(&self) -> Result<()> {
        let _lock = self.directory.lock()?;
        self.require(&self.directory.read()?, "resume", &[Status::Paused], None)?;
        self.cgroup()?.map_or(Ok(()), |group| group.thaw())
    }

    /// New limits for its cgroup; what `resources` leaves unset stays. Errors: `InvalidState` when it has ended, `Host` without a cgroup,
    /// and those of `Cgroup::update`.
    pub fn update(&self, resources: &LinuxResources) -> Result<()> {
        let _lock = self.directory.lock()?;
        let state = self.directory.read()?;
        self.require(&state, "update", &[Status::Created, Status::Running, Status::Paused], None)?;
        let Some(group) = self.cgroup()? else {
            return Err(Error::new(Kind::Host, format!("cannot update container {}: it has no cgroup", self.directory.id())));
        };
        group.update(&HostFacts::get()?.hierarchies, resources)
    }

    fn hook_state(&self, state: &State, status: Status) -> Vec<u8> {
        let init = self.directory.init().ok().flatten();
        serde_json::to_vec(&self.oci_state(state, status, init)).unwrap_or_else(|_| unreachable!("strings and numbers are always JSON"))
    }

    /// Record the exit status for `wait` in other processes, where this process made the container.
    pub fn record_exit(&self, status: i32) -> Result<()> {
        self.launched().map_or(Ok(()), |launched| self.directory.record_exit(launched.directory.as_fd(), status))
    }

    /// Read, or known: where this process made the container, and the lock is on the directory that it made for it.
    fn locked_state(&self, lock: &Lock) -> Result<Arc<State>> {
        match self.launched() {
            Some(launched) if lock.is_on(launched.directory.as_fd())? => Ok(launched.state),
            _ => self.directory.read().map(Arc::new),
        }
    }

    /// PIDs of every process in it, as the caller sees them. Errors: `Host` where neither a cgroup nor a pid namespace tells.
    pub fn processes(&self) -> Result<Vec<i32>> {
        if let Some(group) = self.cgroup()? {
            return group.processes();
        }
        let (_, init) = self.found(&self.directory.read()?)?;
        let Some(init) = init.filter(|init| process::is_alive(init.pid, init.start_time)) else { return Ok(Vec::new()) };
        pid_namespace::processes(init.pid)?.ok_or_else(|| {
            let text = format!("cannot list the processes of container {}: it has no cgroup", self.directory.id());
            Error::host(text, "and its pid namespace is the caller's own")
        })
    }
}

/// Names this boot of the kernel (random(4)): a pid of another boot means nothing.
fn boot_id() -> Result<&'static str> {
    static BOOT_ID: OnceLock<String> = OnceLock::new();
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    if let Some(known) = BOOT_ID.get() {
        return Ok(known);
    }
    let read = std::fs::read_to_string(PATH).at("read", PATH)?;
    Ok(BOOT_ID.get_or_init(|| read.trim().to_owned()))
}

fn user_name(uid: u32) -> String {
    if uid == 0 {
        return "root".to_owned(); // without asking the name service, which may load libraries and a network's directory
    }
    let known = nix::unistd::User::from_uid(uid.into()).ok().flatten();
    known.map_or_else(|| uid.to_string(), |user| user.name)
}
