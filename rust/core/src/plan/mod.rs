//! Config + host facts -> launch plan. Pure: nothing here opens anything, so none of it needs root to be tested.
//!
//! `builder` collects steps · `namespaces` · `root` (what becomes /), `view` (the host's) · `mounts` · `mount_options` · `idmap` · `labels` · `netdevices` · `devices` · `process` · `seccomp` ·
//! `command` (for a container that waits) · `exec` (into a container that exists) · `hooks` · `describe` (a step and a failed call in words).

mod builder;
mod cgroup_owner;
mod command;
mod describe;
mod devices;
mod exec;
mod hooks;
mod idmap;
mod labels;
mod mount_options;
mod mounts;
mod namespaces;
mod netdevices;
mod process;
mod root;
mod scheduling;
mod seccomp;
#[cfg(test)]
mod tests;
mod view;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use builder::{Handed, StatusFile};
pub use command::CommandPlan;
pub use exec::Joined;
pub use hooks::HookStage;
pub(crate) use idmap::{IdMapped, Mapping};
pub use mount_options::names as mount_option_names;
pub(crate) use mount_options::{
    MountOptions, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NOSYMFOLLOW, MOUNT_ATTR_RDONLY,
};
pub use namespaces::{IdMap, IdMaps, Offsets, Writer};
pub(crate) use netdevices::NetDevice;
pub(crate) use root::{escaped, path as rootfs, SCRATCH_SIZE};

use oci_spec::runtime::{LinuxIdMapping, Spec};
use pyrt_init::{meet, Step};

use crate::cgroup::{CgroupPlan, Form as CgroupForm};
use crate::error::{Error, Result};
use crate::host::HostFacts;
use crate::oci::Config;
use crate::seccomp::{Answerer, Profile};
use crate::systemd::Manager;
use crate::view::ViewEntries;
use builder::Builder;

/// Two shapes of container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Init becomes the process, as the runtime-spec has it.
    Engine,
    /// Init stays as PID 1 and starts the process as its child.
    Library,
}

/// What lies over the root file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Overlay {
    Off,
    /// An upper layer on a tmpfs of so many bytes, gone with the container.
    Discard {
        size: Option<u64>,
    },
    /// upper/ and work/ below this directory.
    Keep {
        directory: PathBuf,
    },
}

/// What the caller decides beside config.json.
#[derive(Debug, Clone)]
pub struct Options {
    pub bundle: PathBuf,
    pub id: String,
    pub form: Form,
    pub overlay: Overlay,
    /// The host view that replaces root.path, as it was found on this host.
    pub view: Option<ViewEntries>,
    /// Stands for config.json's linux.seccomp.
    pub seccomp: Option<Profile>,
    /// The cgroup where config.json names none; `None` makes no cgroup.
    pub cgroup: Option<String>,
    /// Has the cgroup made by this systemd.
    pub systemd: Option<Manager>,
    pub pivot: bool,
    /// The container has a session keyring of its own, not the caller's.
    pub new_keyring: bool,
    /// How many descriptors after stdio the program keeps.
    pub preserve_fds: usize,
    /// Appended to process.env.
    pub env: Vec<String>,
    /// passwd(5) of the container, where that is to say what HOME is: neither process.env nor `env` does (`crate::passwd`).
    pub passwd: Option<Vec<u8>>,
    /// Init waits for `start` before it executes the program.
    pub waits_for_start: bool,
    /// Everything ends with the calling process (`Form::Library`).
    pub end_with_caller: bool,
    /// The caller gets the upper layer, and keeps it when the container has ended.
    pub keep_changes: bool,
    /// The program comes later: a `CommandPlan`.
    pub awaits_command: bool,
}

impl Default for Options {
    /// A process of the engine's form in the root that config.json names, without a cgroup.
    fn default() -> Self {
        Options {
            bundle: PathBuf::from("/"),
            id: String::new(),
            form: Form::Engine,
            overlay: Overlay::Off,
            view: None,
            seccomp: None,
            cgroup: None,
            systemd: None,
            pivot: true,
            new_keyring: true,
            preserve_fds: 0,
            env: Vec::new(),
            passwd: None,
            waits_for_start: false,
            end_with_caller: false,
            keep_changes: false,
            awaits_command: false,
        }
    }
}

/// What was decided. Nothing exists yet.
#[derive(Debug)]
pub struct LaunchPlan {
    pub(crate) steps: Builder,
    pub options: Options,
    pub config: Arc<Config>,
    pub cgroup: Option<CgroupPlan>,
    /// CLONE_NEW* of the first clone; path B makes its namespaces in `Step::Fork`.
    pub(crate) clone_flags: u64,
    /// Init joins namespaces that have processes already, and the real process is a second clone (path B).
    pub(crate) forks: bool,
    pub(crate) maps: Option<IdMaps>,
    pub(crate) offsets: Option<Offsets>,
    pub(crate) net_devices: Vec<NetDevice>,
    pub rootfs: PathBuf,
    pub terminal: bool,
    /// Of what the program's seccomp filter asks.
    pub(crate) answerer: Option<Answerer>,
    pub own_pid_namespace: bool,
    /// Overlays keep their marks in user.* attributes.
    pub(crate) user_attributes: bool,
}

impl LaunchPlan {
    /// Of a config.json alone: HOME is what it says.
    pub fn new(config: &[u8], options: Options, facts: &HostFacts) -> Result<Self> {
        Self::decide(Config::of(config)?, options, facts)
    }

    pub fn decide(config: Arc<Config>, options: Options, facts: &HostFacts) -> Result<Self> {
        if options.awaits_command && HookStage::ALL.iter().any(|stage| !stage.of(&config.spec).is_empty()) {
            return Err(Error::spec("hooks", "a container that waits for its command runs none"));
        }
        let mut steps = Builder::new(config.warnings.clone(), facts);
        let rootfs = root::path(&config.spec, &options)?;
        let cgroup = cgroup(&config, &options, facts, &mut steps)?;

        let spaces = namespaces::Namespaces::new(&config.spec, facts)?;
        if !spaces.new_pid() && options.form == Form::Library && cgroup.is_none() {
            return Err(Error::spec("linux.namespaces", "without a new pid namespace a cgroup is needed: only it can end what is inside"));
        }
        if !spaces.own_mount() {
            return Err(Error::spec(
                "linux.namespaces",
                "a mount namespace is needed: without one the container's root would be the host's",
            ));
        }
        let cgroup = cgroup.map(|group| cgroup_owner::handed_on(group, &config.spec, &spaces, facts, &mut steps));
        steps.stdio();
        spaces.enter(&mut steps, cgroup.as_ref())?;
        if spaces.forks() && cgroup.is_none() && !options.end_with_caller {
            steps.push(Step::Meet { what: meet::RECORD });
        }
        let net_devices = netdevices::build(&mut steps, &config.spec, &spaces)?;
        spaces.settle(&mut steps, &config.spec)?;
        let terminal = config.spec.process().as_ref().and_then(|process| process.terminal()).unwrap_or(false);
        // A given mount namespace is taken as it is: its root, and nothing mounted in it.
        if spaces.new_mount() {
            root::build(&mut steps, &config.spec, &options, &rootfs, &spaces, facts)?;
            mounts::build(&mut steps, &config.spec, &options, &spaces, facts, cgroup.as_ref())?;
            devices::build(&mut steps, &config.spec, &spaces, facts)?;
            process::directory(&mut steps, &config.spec, &options)?;
            mounts::hide(&mut steps, &config.spec)?;
        }
        if terminal {
            process::terminal(&mut steps, &config.spec, true)?;
        }
        hooks::before_pivot(&mut steps, &config.spec, spaces.new_mount())?;
        labels::process(&mut steps, &config.spec, &options, facts)?;
        if spaces.new_mount() {
            root::enter(&mut steps, &config.spec, &options)?;
        }
        let answerer = process::build(&mut steps, &config, &options, &spaces, facts)?;
        let plan = Self::of(steps, spaces, options, config, facts)?;
        Ok(LaunchPlan { net_devices, cgroup, rootfs, terminal, answerer, ..plan })
    }

    /// A plan that makes namespaces and holds them: the `linux` section of config.json says which.
    pub(crate) fn holding(config: &[u8], facts: &HostFacts) -> Result<Self> {
        Self::bare(config, facts, |steps, _, _| {
            let caller = steps.hand(Handed::Caller);
            steps.push(Step::Hold { caller });
            Ok(())
        })
    }

    /// A plan that makes an overlay in a mount namespace of its own and hands it out.
    pub(crate) fn overlaying(config: &[u8], lower: &[PathBuf], overlay: &Overlay, facts: &HostFacts) -> Result<Self> {
        Self::bare(config, facts, |steps, spec, spaces| {
            root::overlay_only(steps, spec, lower, overlay, spaces, facts)?;
            steps.push(Step::SendRoot {});
            Ok(())
        })
    }

    /// A plan for the watcher.
    pub(crate) fn watching(facts: &HostFacts) -> Result<Self> {
        let config = br#"{"ociVersion": "1.3.0", "process": {"cwd": "/", "user": {"uid": 0, "gid": 0}, "args": ["-"]}}"#;
        Self::bare(config, facts, |steps, _, _| {
            let caller = steps.hand(Handed::Caller);
            steps.push(Step::Detach {});
            steps.push(Step::Watch { caller });
            Ok(())
        })
    }

    fn bare(
        config: &[u8],
        facts: &HostFacts,
        last: impl FnOnce(&mut Builder, &Spec, &namespaces::Namespaces) -> Result<()>,
    ) -> Result<Self> {
        let config = Config::of(config)?;
        let spaces = namespaces::Namespaces::new(&config.spec, facts)?;
        let mut steps = Builder::default();
        spaces.enter(&mut steps, None)?;
        spaces.settle(&mut steps, &config.spec)?;
        last(&mut steps, &config.spec, &spaces)?;
        let options = Options { new_keyring: false, end_with_caller: true, ..Options::default() };
        Self::of(steps, spaces, options, config, facts)
    }

    /// With these namespaces and steps, and nothing else.
    fn of(steps: Builder, spaces: namespaces::Namespaces, options: Options, config: Arc<Config>, facts: &HostFacts) -> Result<Self> {
        Ok(LaunchPlan {
            clone_flags: spaces.clone_flags(),
            forks: spaces.forks(),
            own_pid_namespace: spaces.own_pid(),
            user_attributes: root::is_foreign(&spaces, facts),
            maps: spaces.into_maps(),
            offsets: Offsets::new(&config.spec)?,
            net_devices: Vec::new(),
            steps,
            options,
            config,
            cgroup: None,
            rootfs: PathBuf::from("/"),
            terminal: false,
            answerer: None,
        })
    }

    pub fn warnings(&self) -> &[String] {
        &self.steps.warnings
    }

    /// Whether the program runs under a seccomp profile.
    pub fn is_filtered(&self) -> bool {
        self.options.seccomp.is_some() || self.config.seccomp.is_some()
    }

    pub fn annotations(&self) -> HashMap<String, String> {
        self.config.spec.annotations().clone().unwrap_or_default()
    }

    /// What the container's user 0 and group 0 are outside.
    pub fn root_owner(&self) -> (u32, u32) {
        root_owner(&self.config.spec)
    }

    pub fn has_poststart(&self) -> bool {
        !HookStage::Poststart.of(&self.config.spec).is_empty()
    }

    pub fn has_poststop(&self) -> bool {
        !HookStage::Poststop.of(&self.config.spec).is_empty()
    }

    pub(crate) fn oom_score_adj(&self) -> Option<i32> {
        self.config.spec.process().as_ref().and_then(|process| process.oom_score_adj())
    }
}

/// What the user 0 and group 0 of a container are outside.
pub(crate) fn root_owner(spec: &Spec) -> (u32, u32) {
    let outside = |mappings: Option<&Vec<LinuxIdMapping>>| {
        let first = mappings.into_iter().flatten().find(|mapping| mapping.container_id() == 0);
        first.map_or(0, |mapping| mapping.host_id())
    };
    let linux = spec.linux().as_ref();
    let (uids, gids) = (linux.and_then(|linux| linux.uid_mappings().as_ref()), linux.and_then(|linux| linux.gid_mappings().as_ref()));
    (outside(uids), outside(gids))
}

fn cgroup(config: &Config, options: &Options, facts: &HostFacts, steps: &mut Builder) -> Result<Option<CgroupPlan>> {
    let Some(default) = &options.cgroup else { return Ok(None) };
    let linux = config.spec.linux().as_ref();
    let asked = linux.and_then(|linux| linux.cgroups_path().as_deref()).and_then(Path::to_str).filter(|path| !path.is_empty());
    let path = asked.unwrap_or(default);
    let resources = linux.and_then(|linux| linux.resources().as_ref());
    let form = match options.form {
        Form::Engine => CgroupForm::Engine,
        Form::Library => CgroupForm::Library,
    };
    let plan = match &options.systemd {
        Some(manager) => {
            let annotations = config.spec.annotations().as_ref();
            CgroupPlan::by_systemd(manager, path, &options.id, resources, annotations, form)?
        }
        None => CgroupPlan::new(&facts.hierarchies, path, resources, form, &[])?,
    };
    steps.warnings.extend_from_slice(plan.warnings());
    match (plan.paths().is_empty(), asked, facts.hierarchies.limited()) {
        (false, ..) => Ok(Some(plan)),
        (true, Some(_), Some(hint)) => {
            steps.warnings.push(format!("config.json: linux.cgroupsPath is not used: {hint}"));
            Ok(None)
        }
        (true, ..) => Ok(None),
    }
}
