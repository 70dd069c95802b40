//! Cgroups that systemd makes. It makes none without a process in it: so the launch asks for one when there is init, which waits meanwhile.
//!
//! Where the cgroup will be is known before, and what is written into it is the same as without systemd. Neighbours: `plan`, `group`;
//! ../systemd asks.

use std::collections::HashMap;

use nix::errno::Errno;
use oci_spec::runtime::LinuxResources;

use super::delegation::{self, Owner};
use super::devices;
use super::directory::Directory;
use super::discovery::{Hierarchies, Mode};
use super::group::{Cgroup, Member};
use super::limits::Setting;
use super::plan::{apply, CgroupPlan, Form};
use super::{processes, v2};
use crate::error::{Context, Error, Kind, Result};
use crate::systemd::{Manager, Name, Scope, ScopePlan};

/// What helps a user whose systemd cannot limit something.
const LIMITED: &str = "this user's systemd has no more: see Delegate= of user@.service";

impl Hierarchies {
    /// All that are mounted, whatever is delegated to the caller: systemd is the one who makes cgroups. `control_group`: of a user's systemd,
    /// whose controllers it has; None for the system's.
    pub fn of_systemd(control_group: Option<&str>) -> Result<Self> {
        let mut found = Hierarchies::discover()?;
        if let (Some(control_group), Some(unified)) = (control_group, &mut found.unified) {
            let controllers = Directory::open(&format!("{}{control_group}", unified.mount_point))?.read("cgroup.controllers")?;
            unified.controllers = controllers.split_whitespace().map(str::to_owned).collect();
            found.limited = Some(LIMITED);
        }
        Ok(found)
    }
}

impl CgroupPlan {
    /// Decide, for a cgroup that `manager` will make. `path` is config.json's linux.cgroupsPath, "slice:prefix:name".
    ///
    /// Errors: as `new`, and `Host` unless cgroup2 has all controllers.
    pub fn by_systemd(
        manager: &Manager,
        path: &str,
        id: &str,
        resources: Option<&LinuxResources>,
        annotations: Option<&HashMap<String, String>>,
        form: Form,
    ) -> Result<Self> {
        let hierarchies = &manager.hierarchies;
        if hierarchies.mode() != Mode::V2 {
            let mode = hierarchies.mode().name();
            let operation = format!("use the systemd cgroup manager: it needs cgroup v2 alone, and this host has {mode}");
            return Err(Error::host(operation, "use --cgroup-manager cgroupfs, or boot with systemd.unified_cgroup_hierarchy=1"));
        }
        let name = Name::new(manager, path)?;
        let mut plan = CgroupPlan::new(hierarchies, &name.path, resources, form, &[])?;
        let settings: Vec<Setting> = plan.settings().cloned().collect();
        plan.scope = Some(ScopePlan::new(manager, &name, id, &settings, annotations)?);
        Ok(plan)
    }

    /// What systemd will call it; None where pyrt makes the cgroup itself.
    pub fn scope(&self) -> Option<&Scope> {
        self.scope.as_ref().map(|plan| &plan.scope)
    }

    /// Have systemd make it around a process. Nothing of it stays where that fails; the process may be dead then.
    ///
    /// Errors: `AlreadyExists`, `Host` with what systemd said.
    pub(crate) fn create_around(&self, pid: i32) -> Result<Cgroup> {
        let Some(scope) = &self.scope else { return self.create() };
        scope.start(pid)?;
        self.open_around(pid).map(|group| group.with_scope(Some(scope.scope.clone()))).inspect_err(|_| scope.scope.undo())
    }

    fn open_around(&self, pid: i32) -> Result<Cgroup> {
        let mut members = Vec::new();
        for joined in &self.joined {
            let root = Directory::open(&joined.mount_point)?;
            let path = root.path_of(&self.path);
            let directory = match root.open_below(&self.path) {
                Err(Errno::ENOENT) => return Err(elsewhere(&path)),
                opened => opened.at("open cgroup", &path)?,
            };
            if !processes::of(&directory).at("read the processes of cgroup", &path)?.contains(&pid) {
                return Err(elsewhere(&path));
            }
            let key = joined.key.clone();
            members.push(Member { key, version: joined.version, controllers: Vec::new(), directory, topmost: false });
        }
        Ok(Cgroup::from_members(members, true))
    }

    /// Write the limits of one that systemd made. Errors: as `create`.
    pub(crate) fn limit(&self, cgroup: &Cgroup) -> Result<()> {
        for (joined, member) in self.joined.iter().zip(cgroup.members()) {
            v2::require_domain(&member.directory)?;
            v2::enable(&Directory::open(&joined.mount_point)?, &self.path, &joined.required, &joined.wished)?;
            if let Some(program) = &self.devices {
                devices::install(&member.directory, program)?;
            }
            if let Some(Owner::Outside(uid)) = self.owner {
                delegation::hand_on(&member.directory, uid)?;
            }
            apply(&member.directory, &joined.settings.iter().collect::<Vec<_>>())?;
        }
        Ok(())
    }
}

fn elsewhere(path: &str) -> Error {
    let error = Error::new(Kind::Host, "find the container in the cgroup that systemd made").with_path(path);
    error.with_hint("this is not the cgroup2 mount that systemd uses; use --cgroup-manager cgroupfs here")
}

impl Cgroup {
    pub fn with_scope(mut self, scope: Option<Scope>) -> Self {
        self.scope = scope;
        self
    }

    /// Have systemd forget what it made, when the processes have ended. Errors: EBUSY is left to the removal of the directories.
    pub(super) fn stop_scope(&self, deadline: std::time::Instant) -> Result<()> {
        let Some(scope) = &self.scope else { return Ok(()) };
        match self.v2() {
            // systemd would end with SIGTERM, and after a long wait, what is still in it.
            Some(directory) if v2::wait_until_empty(directory, deadline).is_err() => Ok(()),
            _ => scope.stop(),
        }
    }

    /// systemd writes limits of its own accord, such as after daemon-reload: it has to know the new ones.
    pub(super) fn tell_systemd(&self, settings: &[Setting]) -> Result<()> {
        let (Some(scope), Some(directory)) = (&self.scope, self.v2()) else { return Ok(()) };
        let mut settings = settings.to_vec();
        // A quota alone keeps the period that is there.
        for (file, value) in settings.iter_mut().flat_map(|setting| &mut setting.files).filter(|(file, _)| file == "cpu.max") {
            *value = directory.read(file)?.trim().to_owned();
        }
        scope.set(&settings)?;
        // It rounds what it writes, and so it has the first word, not the last.
        apply(directory, &settings.iter().collect::<Vec<_>>())
    }
}
