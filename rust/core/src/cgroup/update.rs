//! `Cgroup::update`: new limits for a cgroup that lives.
//!
//! The values come from `limits` as for a new cgroup; what the spec leaves unset and the kernel wants beside a set value is filled in
//! from what is there. Neighbour: `plan` writes both.

use oci_spec::runtime::LinuxResources;

use nix::errno::Errno;

use super::devices::{self, LIST};
use super::directory::{Directory, Version};
use super::discovery::Hierarchies;
use super::group::Cgroup;
use super::limits::{self, Setting, Settings};
use super::plan::apply;
use super::restore::Former;
use super::v2;
use crate::error::{Error, Kind, Result};

impl Cgroup {
    /// Write the limits that `resources` set; what it leaves unset stays. A list of devices takes the place of the one before on cgroup2,
    /// in one step; v1 applies its entries to what is there.
    ///
    /// On a failure all is as it was, but for entries of v1's list of devices before the one that was refused.
    ///
    /// Errors: as `CgroupPlan::new` and `create`; `Host` for a controller whose v1 hierarchy the cgroup did not join;
    /// EBUSY where `checkBeforeUpdate` is set and more memory is in use.
    pub fn update(&self, hierarchies: &Hierarchies, resources: &LinuxResources) -> Result<()> {
        let resources = self.completed(resources)?;
        let Settings { files: mut settings, devices, .. } = limits::settings(hierarchies, &resources)?;
        self.check_memory(&resources)?;
        for setting in &settings {
            self.require_joined(setting)?;
        }
        // v1's lists of devices come last: they are the only ones that cannot be set back.
        settings.sort_by_key(|setting| setting.json_path == LIST);
        if devices.is_some() && self.v2().is_none() {
            return Err(not_joined(LIST, "cgroup2"));
        }
        let mut former = Former::default();
        let changed = self.write_noting(hierarchies, &settings, &mut former).and_then(|()| match (devices, self.v2()) {
            // Last, since it replaces the program in one step or not at all.
            (Some(program), Some(directory)) => devices::install(directory, &program),
            _ => Ok(()),
        });
        let changed = changed.and_then(|()| self.tell_systemd(&settings));
        changed.map_err(|error| former.write_back(error))
    }

    fn write_noting<'a>(&'a self, hierarchies: &Hierarchies, settings: &[Setting], former: &mut Former<'a>) -> Result<()> {
        for member in self.members() {
            let ours = |setting: &&Setting| {
                setting.version == member.version && (member.version == Version::V2 || member.controllers.contains(&setting.controller))
            };
            let ours: Vec<Setting> = settings.iter().filter(ours).cloned().collect();
            if member.version == Version::V2 {
                enable(hierarchies, &member.directory, &ours)?;
            }
            former.note(&member.directory, &ours)?;
            let ours: Vec<&Setting> = ours.iter().collect();
            apply(&member.directory, &ours)?;
            if member.version == Version::V2 {
                limits::cpuset::require_effect(&member.directory, &ours)?;
            }
        }
        Ok(())
    }

    fn require_joined(&self, setting: &Setting) -> Result<()> {
        let joined = match setting.version {
            Version::V2 => self.v2().is_some(),
            Version::V1 => self.v1(&setting.controller).is_some(),
        };
        if joined {
            return Ok(());
        }
        Err(not_joined(&setting.json_path, &setting.controller))
    }

    /// Where the spec splits one kernel value into two fields and only one is given, the other is the one that is there.
    fn completed(&self, resources: &LinuxResources) -> Result<LinuxResources> {
        let mut resources = resources.clone();
        if let Some(mut cpu) = resources.cpu().clone() {
            let lone_period = cpu.period().is_some_and(|period| period != 0) && cpu.quota().is_none_or(|quota| quota == 0);
            if let (true, Some(directory)) = (lone_period, self.v2()) {
                let quota = directory.read_if_there("cpu.max")?.and_then(|text| text.split(' ').next()?.parse::<i64>().ok());
                cpu.set_quota(quota);
                resources.set_cpu(Some(cpu));
            }
        }
        if let Some(mut memory) = *resources.memory() {
            if memory.swap().is_some_and(|swap| swap > 0) && memory.limit().is_none_or(|limit| limit == 0) {
                memory.set_limit(Some(self.memory_limit()?.unwrap_or(-1)));
                resources.set_memory(Some(memory));
            }
        }
        Ok(resources)
    }

    fn memory_limit(&self) -> Result<Option<i64>> {
        let usage = self.usage()?;
        Ok(usage.memory_limit_bytes.and_then(|limit| i64::try_from(limit).ok()))
    }

    /// v1 refuses a limit below what is in use by itself; v2 would kill, unless `checkBeforeUpdate` asks to look first.
    fn check_memory(&self, resources: &LinuxResources) -> Result<()> {
        let Some(memory) = resources.memory() else { return Ok(()) };
        let (Some(true), Some(limit)) = (memory.check_before_update(), memory.limit().and_then(|limit| u64::try_from(limit).ok())) else {
            return Ok(());
        };
        match self.usage()?.memory_bytes {
            Some(used) if limit != 0 && used > limit => {
                let operation = format!("set linux.resources.memory.limit to {limit}");
                let error = Error { errno: Some(Errno::EBUSY), ..Error::new(Kind::System, operation) };
                Err(error.with_hint(format!("{used} bytes are in use, and checkBeforeUpdate is set")))
            }
            _ => Ok(()),
        }
    }
}

fn not_joined(json_path: &str, controller: &str) -> Error {
    let operation = format!("limit {json_path}: the cgroup did not join the {controller} hierarchy");
    Error::host(operation, "set a limit of that kind, or name the controller, when it is made")
}

/// cgroup2: a limit of a kind that the cgroup had none of yet.
fn enable(hierarchies: &Hierarchies, directory: &Directory, settings: &[Setting]) -> Result<()> {
    let Some(unified) = hierarchies.unified() else { return Ok(()) };
    let Some(relative) = directory.path().strip_prefix(&unified.mount_point).and_then(|rest| rest.strip_prefix('/')) else { return Ok(()) };
    let mut required: Vec<String> = settings.iter().map(|setting| setting.controller.clone()).collect();
    required.retain(|controller| unified.controllers.contains(controller));
    required.sort();
    required.dedup();
    v2::enable(&Directory::open(&unified.mount_point)?, relative, &required, &[])
}
