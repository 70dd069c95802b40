//! `Cgroup`: one cgroup in every hierarchy that it joined, held by descriptors.
//!
//! Where there is a cgroup2 directory it is asked; v1 only where there is none. Neighbours: `plan` makes it, `update` changes limits.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::directory::{Directory, Version};
use super::usage::{Texts, Usage};
use super::{above, processes, v1, v2, UNIFIED};
use crate::error::{Context, Error, Kind, Result};
use crate::systemd::Scope;

/// How long processes may take to stand still or to die before that is an error: only what sleeps in the kernel
/// uninterruptibly takes longer, and that may last for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long what was killed may take before it is looked at what hinders it.
const UNHINDERED: Duration = Duration::from_millis(500);

/// How long a removal waits for the kernel to be done with processes that have ended.
const REMOVAL_PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub struct Cgroup {
    members: Vec<Member>,
    /// The cgroup2 directory was there before.
    reused: bool,
    /// systemd made it.
    pub(super) scope: Option<Scope>,
}

/// The directory in one hierarchy.
#[derive(Debug)]
pub(super) struct Member {
    pub key: String,
    pub version: Version,
    /// v1: those of the hierarchy. On cgroup2 files tell.
    pub controllers: Vec<String>,
    pub directory: Directory,
    /// Directly below the hierarchy's root: there is none above that could go with it.
    pub topmost: bool,
}

impl Cgroup {
    pub(super) fn from_members(members: Vec<Member>, reused: bool) -> Cgroup {
        Cgroup { members, reused, scope: None }
    }

    /// Open what `paths` named earlier; those that are gone are left out.
    ///
    /// The paths may come from a state file, so they are not believed: each must lie in a cgroup file system of its kind, below
    /// the mount's root, without `..`. Errors: `InvalidState` otherwise, `System` where it cannot be opened.
    pub fn open(paths: &[(String, String)]) -> Result<Self> {
        let mut members = Vec::new();
        for (key, path) in paths {
            let refused = |reason: &str| {
                let error = Error::new(Kind::InvalidState, format!("open {key} cgroup: {reason}:")).with_path(path.clone());
                Err(error.with_hint("the state of the container is damaged"))
            };
            if !path.starts_with('/') || path.split('/').any(|component| component == ".." || component.contains('\0')) {
                return refused("not an absolute path without ..");
            }
            let directory = match Directory::open(path) {
                Err(error) if error.errno == Some(Errno::ENOENT) => continue,
                opened => opened?,
            };
            let version = if key == UNIFIED { Version::V2 } else { Version::V1 };
            if directory.version()? != Some(version) {
                return refused("not in a cgroup file system of that kind");
            }
            if directory.is_mount_root()? {
                return refused("the root of all cgroups, not one of ours");
            }
            let controllers = if version == Version::V1 { key.split(',').map(str::to_owned).collect() } else { Vec::new() };
            members.push(Member { key: key.clone(), version, controllers, directory, topmost: false });
        }
        Ok(Cgroup { members, reused: true, scope: None })
    }

    /// The same cgroup, for who reads its counters again and again: each file stays open once it was read.
    pub fn keeping_files_open(&self) -> Result<Cgroup> {
        let member = |member: &Member| {
            let Member { key, version, controllers, directory, topmost } = member;
            let directory = directory.keeping_files_open()?;
            Ok(Member { key: key.clone(), version: *version, controllers: controllers.clone(), directory, topmost: *topmost })
        };
        Ok(Cgroup { members: self.members.iter().map(member).collect::<Result<_>>()?, reused: self.reused, scope: self.scope.clone() })
    }

    /// Hierarchy and absolute directory, as `CgroupPlan::paths`.
    pub fn paths(&self) -> Vec<(String, String)> {
        self.members.iter().map(|member| (member.key.clone(), member.directory.path().to_owned())).collect()
    }

    /// The cgroup2 directory, for `CLONE_INTO_CGROUP` of a process that is to be in it from the first.
    ///
    /// None for one that was there before: once `cgroup.kill` was written there, kernels from 6.14 on kill at birth whoever is cloned into it from
    /// a cgroup that has seen another number of such writes. `join_by_number` is the way in, also where the caller's own cgroup has seen one.
    pub fn clone_target(&self) -> Option<BorrowedFd<'_>> {
        self.unified().filter(|_| !self.reused)
    }

    /// Moves a process that `clone_target` could not put there.
    pub fn join_by_number(&self, pid: i32) -> Result<()> {
        match self.v2() {
            Some(directory) => directory.write("cgroup.procs", &pid.to_string()),
            None => Ok(()),
        }
    }

    /// The cgroup2 directory.
    pub fn unified(&self) -> Option<BorrowedFd<'_>> {
        self.v2().map(Directory::fd)
    }

    /// The v1 `tasks` files, open for writing: a lone thread joins all hierarchies by writing "0" into each.
    pub fn tasks(&self) -> Result<Vec<OwnedFd>> {
        let v1 = self.members.iter().filter(|member| member.version == Version::V1);
        v1.map(|member| member.directory.open_file("tasks", OFlag::O_WRONLY).at("open", member.directory.path_of("tasks"))).collect()
    }

    /// Move the process, every thread of it, into the cgroup. Slow on v1 (5 to 15 ms a hierarchy); a launch does not use it.
    ///
    /// Errors: `NotFound` where no such process is.
    pub fn add(&self, pid: i32) -> Result<()> {
        for Member { directory, .. } in &self.members {
            match directory.try_write("cgroup.procs", &pid.to_string()) {
                Ok(()) => {}
                Err(Errno::ESRCH) => {
                    let error = Error { errno: Some(Errno::ESRCH), ..Error::new(Kind::NotFound, format!("add process {pid} to cgroup")) };
                    return Err(error.with_path(directory.path()));
                }
                Err(errno) => return Err(directory.refused("cgroup.procs", &pid.to_string(), errno)),
            }
        }
        Ok(())
    }

    /// PIDs in it and below, as the calling process sees them, in order.
    pub fn processes(&self) -> Result<Vec<i32>> {
        self.tracker().map_or(Ok(Vec::new()), processes::of_all)
    }

    /// Send a signal to every process in it and below, by pidfd. One that forks meanwhile may leave a child without it.
    pub fn signal(&self, signal: i32) -> Result<()> {
        self.tracker().map_or(Ok(()), |directory| processes::signal_all(directory, signal).map(drop))
    }

    /// Stop everything inside; returns when it stands still. Errors: `Host` where no joined hierarchy can freeze, ETIMEDOUT (and
    /// all is thawed again) where a process cannot be stopped.
    pub fn freeze(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        match (self.v2(), self.v1("freezer")) {
            (Some(directory), _) => v2::freeze(directory, deadline),
            (None, Some(freezer)) => v1::freeze(freezer, deadline),
            (None, None) => Err(no_freezer()),
        }
    }

    pub fn thaw(&self) -> Result<()> {
        match (self.v2(), self.v1("freezer")) {
            (Some(directory), _) => v2::thaw(directory, Instant::now() + PATIENCE),
            (None, Some(freezer)) => v1::thaw(freezer),
            (None, None) => Err(no_freezer()),
        }
    }

    /// Whether everything inside stands still, by this cgroup or by one above.
    pub fn frozen(&self) -> Result<bool> {
        match (self.v2(), self.v1("freezer")) {
            (Some(directory), _) => v2::frozen(directory),
            (None, Some(freezer)) => v1::frozen(freezer),
            (None, None) => Ok(false),
        }
    }

    /// SIGKILL to everything in it and below, frozen or not; returns when it is empty, at once if it is.
    ///
    /// Errors: ETIMEDOUT, naming processes that sleep in the kernel and do not die.
    pub fn kill(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        match (self.v2(), self.tracker()) {
            (Some(directory), _) => {
                let sent = v2::kill(directory, deadline.min(Instant::now() + UNHINDERED));
                match sent {
                    // What the v1 freezer holds, whoever froze it, takes no signal.
                    Err(error) if error.errno == Some(Errno::ETIMEDOUT) => {
                        self.let_die()?;
                        v2::wait_until_empty(directory, deadline)
                    }
                    sent => sent,
                }
            }
            (None, Some(directory)) => v1::kill(directory, self.v1("freezer"), deadline),
            (None, None) => Ok(()),
        }
    }

    /// For processes that were sent SIGKILL: cgroup2 lets it through to frozen ones, the v1 freezer does not. Errors: `InvalidState` where a cgroup
    /// above is the one that is frozen.
    pub fn let_die(&self) -> Result<()> {
        match self.v1("freezer") {
            Some(freezer) if v1::frozen(freezer)? => v1::thaw(freezer),
            _ => Ok(()),
        }
    }

    /// What was used until now. None where no joined controller counts it.
    pub fn usage(&self) -> Result<Usage> {
        self.usage_with(&mut Texts::default())
    }

    pub(super) fn usage_with(&self, texts: &mut Texts) -> Result<Usage> {
        let mut usage = Usage::default();
        // A controller is in one hierarchy: what v1 has, cgroup2 has not.
        match (self.v2(), self.v1("cpuacct")) {
            (Some(directory), _) => usage.read_v2_cpu(directory, texts)?,
            (None, Some(directory)) => usage.read_v1_cpuacct(directory)?,
            (None, None) => {}
        }
        match (self.v1("memory"), self.v2()) {
            (Some(directory), _) => usage.read_v1_memory(directory)?,
            (None, Some(directory)) => usage.read_v2_memory(directory, texts)?,
            (None, None) => {}
        }
        if let Some(directory) = self.v1("pids").or_else(|| self.v2()) {
            usage.read_pids(directory)?;
        }
        match (self.v1("blkio"), self.v2()) {
            (Some(directory), _) => usage.read_v1_blkio(directory, texts)?,
            (None, Some(directory)) => usage.read_v2_io(directory, texts)?,
            (None, None) => {}
        }
        Ok(usage)
    }

    /// Remove it with all cgroups below, and those above that were made only for it and have no other in them. Missing ones are fine.
    ///
    /// Errors: EBUSY, naming the processes that are still in it. What could be removed is.
    pub fn remove(&self) -> Result<()> {
        let deadline = Instant::now() + REMOVAL_PATIENCE;
        let mut outcome = self.stop_scope(deadline);
        for member in &self.members {
            let removed = member.remove(deadline);
            outcome = outcome.and(removed);
        }
        outcome
    }

    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    pub(super) fn v2(&self) -> Option<&Directory> {
        self.members.iter().find(|member| member.version == Version::V2).map(|member| &member.directory)
    }

    pub(super) fn v1(&self, controller: &str) -> Option<&Directory> {
        let has = |member: &&Member| member.version == Version::V1 && member.controllers.iter().any(|name| name == controller);
        self.members.iter().find(has).map(|member| &member.directory)
    }

    /// The hierarchy that knows the processes: cgroup2, else the freezer's (which is to stop just those), else any.
    fn tracker(&self) -> Option<&Directory> {
        let any = || self.members.first().map(|member| &member.directory);
        self.v2().or_else(|| self.v1("freezer")).or_else(|| self.v1("pids")).or_else(any)
    }
}

impl Member {
    fn remove(&self, deadline: Instant) -> Result<()> {
        let directory = &self.directory;
        let attempt = || -> nix::Result<()> {
            directory.remove_children().map_err(|error| error.errno.unwrap_or(Errno::EIO))?;
            directory.rmdir()
        };
        // Mostly nothing is below it, and then this is all.
        let mut outcome = directory.rmdir();
        if outcome == Err(Errno::EBUSY) {
            outcome = attempt();
        }
        if outcome == Err(Errno::EBUSY) {
            outcome = match self.version {
                Version::V2 => match v2::wait_until_empty(directory, deadline) {
                    Ok(()) => attempt(),
                    Err(_) => Err(Errno::EBUSY),
                },
                // v1 has no event to wait for.
                Version::V1 => v1::retry_while_busy(deadline, attempt),
            };
        }
        match outcome {
            Ok(()) | Err(Errno::ENOENT | Errno::ENODEV) if self.topmost => Ok(()),
            Ok(()) | Err(Errno::ENOENT | Errno::ENODEV) => above::remove(directory.path(), self.version),
            Err(errno) => {
                let error = Error::system("remove cgroup", directory.path().to_owned(), errno);
                Err(match processes::of_all(directory) {
                    Ok(pids) if !pids.is_empty() => error.with_hint(format!("{} still in it; kill them first", processes::list(&pids))),
                    _ => error,
                })
            }
        }
    }
}

fn no_freezer() -> Error {
    Error::host(
        "freeze cgroup: it joined neither cgroup2 nor the v1 freezer",
        "mount cgroup2, or ask for the freezer controller when it is made",
    )
}
