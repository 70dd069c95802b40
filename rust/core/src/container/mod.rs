//! One container, from its creation to its end: what both the Python package and the command's quick verbs act on.
//!
//! `state` is what is known of it, `directory` where that is kept, `create` makes it, `exec` puts another process into it, `checkpoint` writes
//! it down and `restore` makes it of that, `root` is where its files are; here are the transitions after that. Every call reads
//! the state on disk anew, so handles in several threads and processes agree. What changes the state takes the container's lock; reading
//! it and signalling do not, because both must work while a hook hangs.

mod checkpoint;
mod create;
mod directory;
mod exec;
mod restore;
mod root;
mod state;
#[cfg(test)]
mod tests;

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use serde_json::value::RawValue;

use crate::cgroup::{signal_listed, Cgroup, Usage};
use crate::ending::await_end;
use crate::error::{Context, Error, Kind, Result};
use crate::hooks::{run_all, run_stage};
use crate::host::HostFacts;
use crate::notify::Relay;
use crate::oci::{Config, LinuxResources};
use crate::pid_namespace;
use crate::plan::HookStage;
use crate::process::{self, Process};
use crate::seccomp::ListenerSocket;
use crate::sys;

pub use directory::{default_root, ids, Cgroups, Directory, Lock};
pub use exec::ExecOptions;
pub use state::{Init, OciState, ShownState, State, Status};

/// How long `delete --force` waits for whoever creates or starts a container in which nothing is left: poststop hooks may run there.
const LOCK_PATIENCE: Duration = Duration::from_secs(60);
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

    /// Let the program of a created container run. Returns when it was executed and the poststart hooks are done.
    ///
    /// A poststart hook that fails ends and deletes the container (runtime-spec, "Lifecycle"). `notify`: the socket of a service manager,
    /// which hears when the container is ready; then this returns after that, or at the container's end. `interrupted`: as
    /// `Directory::lock` has it.
    pub fn start<E: From<Error>>(
        &self,
        notify: Option<&Path>,
        mut interrupted: impl FnMut() -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let lock = self.directory.lock(&mut interrupted)?;
        let state = self.locked_state(&lock)?;
        self.require(&state, "start", &[Status::Created], None)?;
        // It was created for one, too, or it has no such socket.
        let relay =
            notify.filter(|_| self.directory.notify().exists()).map(|host| Relay::new(&self.directory.notify(), host)).transpose()?;
        let init = self.directory.init()?;
        crate::start::start(&self.directory.start_socket(), init, state.config.get().as_bytes(), |listener| {
            self.hand_listener_over(&state, listener)
        })?;
        self.directory.started()?;
        drop(lock);
        self.run_poststart(&state)?;
        let (Some(relay), Some(init)) = (relay, init) else { return Ok(()) };
        match process::open(init.pid, init.start_time) {
            Ok(pidfd) => relay.run(pidfd.as_fd(), init.pid, interrupted),
            // It has ended already.
            Err(_) => Ok(()),
        }
    }

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

    /// Freeze every process of it. Errors: `InvalidState` unless it is created or running, `Host` without a cgroup.
    pub fn pause<E: From<Error>>(&self, interrupted: impl FnMut() -> std::result::Result<(), E>) -> std::result::Result<(), E> {
        let _lock = self.directory.lock(interrupted)?;
        self.require(&self.directory.read()?, "pause", &[Status::Created, Status::Running], None)?;
        match self.cgroup()? {
            Some(group) => Ok(group.freeze()?),
            None => Err(Error::new(Kind::Host, format!("cannot pause container {}: it has no cgroup", self.directory.id())).into()),
        }
    }

    /// Let a paused container go on. Errors: `InvalidState` unless it is paused.
    pub fn resume<E: From<Error>>(&self, interrupted: impl FnMut() -> std::result::Result<(), E>) -> std::result::Result<(), E> {
        let _lock = self.directory.lock(interrupted)?;
        self.require(&self.directory.read()?, "resume", &[Status::Paused], None)?;
        Ok(self.cgroup()?.map_or(Ok(()), |group| group.thaw())?)
    }

    /// New limits for its cgroup; what `resources` leaves unset stays. Errors: `InvalidState` when it has ended, `Host` without a cgroup,
    /// and those of `Cgroup::update`.
    pub fn update<E: From<Error>>(
        &self,
        resources: &LinuxResources,
        interrupted: impl FnMut() -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let _lock = self.directory.lock(interrupted)?;
        let state = self.directory.read()?;
        self.require(&state, "update", &[Status::Created, Status::Running, Status::Paused], None)?;
        let Some(group) = self.cgroup()? else {
            return Err(Error::new(Kind::Host, format!("cannot update container {}: it has no cgroup", self.directory.id())).into());
        };
        Ok(group.update(&HostFacts::get()?.hierarchies, resources)?)
    }

    /// Remove its cgroups, run its poststop hooks, remove its state. Returns what poststop hooks failed.
    ///
    /// It must be stopped, or created: then it is ended first, as runc does and the runtime-spec does not. `force`: whatever its state, also
    /// an unreadable one, and nothing happens where it does not exist. Errors: `InvalidState`.
    pub fn delete<E: From<Error>>(
        &self,
        force: bool,
        mut interrupted: impl FnMut() -> std::result::Result<(), E>,
    ) -> std::result::Result<Vec<String>, E> {
        let lock = if force {
            match self.directory.try_lock() {
                Err(error) if error.kind == Kind::NotFound => return Ok(self.let_go()?),
                locked => match locked? {
                    Some(lock) => lock,
                    None => {
                        // Whoever creates or starts it hangs in a hook, or in the kernel: with nothing left inside they give up.
                        match self.read_readable().and_then(|state| self.end(state.as_ref(), self.cgroup()?.as_deref())) {
                            Err(error) if error.kind == Kind::NotFound => return Ok(self.let_go()?),
                            ended => ended?,
                        }
                        match self.directory.lock_within(LOCK_PATIENCE, || interrupted().map_err(Stopped::Interrupted)) {
                            Ok(lock) => lock,
                            Err(Stopped::Failed(error)) if error.kind == Kind::NotFound => return Ok(self.let_go()?),
                            Err(Stopped::Failed(error)) => return Err(error.into()),
                            Err(Stopped::Interrupted(error)) => return Err(error),
                        }
                    }
                },
            }
        } else {
            self.directory.lock(interrupted)?
        };
        Ok(self.delete_locked(&lock, force)?)
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

    fn delete_locked(&self, lock: &Lock, force: bool) -> Result<Vec<String>> {
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

    fn run_poststart(&self, state: &State) -> Result<()> {
        if !state.has_poststart {
            return Ok(());
        }
        let run = || {
            let config = Config::parse(state.config.get().as_bytes())?;
            run_stage(&config.spec, HookStage::Poststart, &self.hook_state(state, Status::Running))
        };
        run().inspect_err(|_| {
            // The hook's failure is the one that counts.
            let _ = self.delete::<Error>(true, || Ok(()));
        })
    }

    /// To whoever listens at linux.seccomp.listenerPath.
    fn hand_listener_over(&self, state: &State, listener: OwnedFd) -> Result<()> {
        let config = Config::parse(state.config.get().as_bytes())?;
        let profile = config.spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
        match (profile.and_then(ListenerSocket::of), self.directory.init()?) {
            (Some(socket), Some(init)) => {
                socket.hand_over(Path::new(&state.bundle), listener.as_fd(), init.pid, &self.hook_state(state, Status::Created))
            }
            _ => Err(Error::system("take over the seccomp listener", None, Errno::EPROTO)),
        }
    }

    fn run_poststop(&self, state: &State) -> Vec<String> {
        if !state.has_poststop {
            return Vec::new();
        }
        match Config::parse(state.config.get().as_bytes()) {
            Ok(config) => run_all(&config.spec, HookStage::Poststop, &self.hook_state(state, Status::Stopped)),
            Err(error) => vec![format!("poststop hooks of container {} did not run: {error}", self.directory.id())],
        }
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

    /// `None` for a state that cannot be read, whatever the reason.
    fn read_readable(&self) -> Result<Option<State>> {
        match self.directory.read() {
            Err(error) if error.kind == Kind::NotFound => Err(error),
            read => Ok(read.ok()),
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

    fn not_running(&self, status: Status) -> Error {
        // runc's words, which engines look for.
        let text = format!("container not running: cannot signal container {}, which is {status}", self.directory.id());
        Error::new(Kind::InvalidState, text)
    }
}

/// Why a wait for the lock ended without it.
enum Stopped<E> {
    Failed(Error),
    Interrupted(E),
}

impl<E> From<Error> for Stopped<E> {
    fn from(error: Error) -> Self {
        Stopped::Failed(error)
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

/// When this boot began, by the clock of the day, in whole seconds: /proc/stat, btime.
fn boot_time() -> Option<SystemTime> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    let seconds = text.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

fn user_name(uid: u32) -> String {
    if uid == 0 {
        return "root".to_owned(); // without asking the name service, which may load libraries and a network's directory
    }
    let known = nix::unistd::User::from_uid(uid.into()).ok().flatten();
    known.map_or_else(|| uid.to_string(), |user| user.name)
}
