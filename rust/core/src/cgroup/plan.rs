//! `CgroupPlan`: which cgroups are made where, and what is written into them; and the making, which leaves nothing behind when it fails.
//!
//! `new` is pure: it takes what `discovery` found and opens nothing. Neighbours: `limits` (the values), `group` (what comes out).

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use oci_spec::runtime::LinuxResources;

use super::delegation::{self, Owner};
use super::devices::{self, Program};
use super::directory::{Directory, Version};
use super::discovery::{Hierarchies, Hierarchy, Mode};
use super::group::{Cgroup, Member};
use super::limits::{self, Setting, Settings};
use super::{above, processes, v1, v2, UNIFIED};
use crate::error::{Context, Error, Kind, Result};
use crate::systemd::ScopePlan;

const CGROUPS_PATH: &str = "linux.cgroupsPath";

/// The longest name that a directory can have (limits.h).
const NAME_MAX: usize = 255;

/// Another container's end may remove the parent that we are about to use; then it is made again, this often.
const MAKE_ATTEMPTS: usize = 64;

/// For whom the container is; it decides which hierarchies are joined even where no limit asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// All that engines read: podman and containerd find usage through `/proc/PID/cgroup`.
    Engine,
    /// What makes usage and cause of death complete, and no more: each v1 hierarchy costs 0.1 ms.
    Library,
}

impl Form {
    fn controllers(self, mode: Mode) -> &'static [&'static str] {
        match (self, mode) {
            (Form::Engine, _) => &["memory", "cpu", "cpuacct", "pids", "blkio", "cpuset", "devices", "freezer"],
            // Without cgroup2 nothing else counts CPU time or can stop a process that forks while it is killed.
            (Form::Library, Mode::V1) => &["memory", "pids", "cpuacct", "freezer"],
            // On v2 another controller is one word more, and io has no other counter.
            (Form::Library, Mode::V2) => &["memory", "pids", "io"],
            (Form::Library, _) => &["memory", "pids"],
        }
    }
}

/// What will be made. Nothing exists yet.
#[derive(Debug, Clone, PartialEq)]
pub struct CgroupPlan {
    /// Below each hierarchy's root, without a slash at either end.
    pub(super) path: String,
    pub(super) joined: Vec<Joined>,
    /// For the cgroup2 directory.
    pub(super) devices: Option<Program>,
    warnings: Vec<String>,
    exclusive: bool,
    /// Whose the cgroup2 directory becomes.
    pub(super) owner: Option<Owner>,
    /// Why there is no hierarchy to make it in, where that is so.
    nowhere: &'static str,
    /// systemd makes it.
    pub(super) scope: Option<ScopePlan>,
}

/// One hierarchy that the cgroup will be made in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Joined {
    pub key: String,
    pub version: Version,
    pub mount_point: String,
    pub controllers: Vec<String>,
    pub settings: Vec<Setting>,
    /// cgroup2: controllers that the settings need, and that usage would like.
    pub required: Vec<String>,
    pub wished: Vec<String>,
}

impl CgroupPlan {
    /// Decide. `path` is absolute or relative, and taken below each hierarchy's root either way. `extra_controllers` are joined too.
    ///
    /// Errors: `Kind::Spec` for a path that could leave the root and for values out of range, `Kind::Host` for a limit that no
    /// controller here can enforce and for an extra controller that is missing.
    pub fn new(
        hierarchies: &Hierarchies,
        path: &str,
        resources: Option<&LinuxResources>,
        form: Form,
        extra_controllers: &[String],
    ) -> Result<Self> {
        let path = checked_path(path)?;
        let (settings, devices, warnings) = match resources {
            Some(resources) => {
                let Settings { files, devices, warnings } = limits::settings(hierarchies, resources)?;
                (files, devices, warnings)
            }
            None => Default::default(),
        };
        let mut wanted: Vec<(Version, String)> =
            form.controllers(hierarchies.mode()).iter().filter_map(|controller| hierarchies.locate(controller)).collect();
        for controller in extra_controllers {
            wanted.push(hierarchies.locate(controller).ok_or_else(|| {
                let hint = format!("available here: {}", hierarchies.controllers().join(" "));
                Error::host(format!("join cgroup controller {controller:?}: not on this host"), hint)
            })?);
        }
        wanted.extend(settings.iter().map(|setting| (setting.version, setting.controller.clone())));

        let mut joined = Vec::new();
        // cgroup2 is always joined: it tracks and kills, with or without controllers.
        if let Some(unified) = hierarchies.unified() {
            joined.push(Joined::unified(unified, &wanted, &settings));
        }
        for hierarchy in hierarchies.v1() {
            if wanted.iter().any(|(version, name)| *version == Version::V1 && hierarchy.controllers.contains(name)) {
                joined.push(Joined::v1(hierarchy, &settings));
            }
        }
        // Where nothing is denied, the caller need not have the right to load programs.
        let devices = devices.filter(|program| !program.allows_everything());
        let nowhere = hierarchies.limited().unwrap_or("mount cgroup2 on /sys/fs/cgroup");
        Ok(CgroupPlan { path, joined, devices, warnings, exclusive: false, owner: None, nowhere, scope: None })
    }

    /// Hierarchy and absolute directory: ("unified", "/sys/fs/cgroup/unified/pyrt/x"), ("memory", ...). v1 hierarchies are named by their
    /// controllers, comma between.
    pub fn paths(&self) -> Vec<(String, String)> {
        self.joined.iter().map(|joined| (joined.key.clone(), format!("{}/{}", joined.mount_point, self.path))).collect()
    }

    /// The path below each hierarchy's root, "/pyrt/ID".
    pub fn path(&self) -> String {
        format!("/{}", self.path)
    }

    /// What the config asks for that is not enforced and yet no error.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    pub(super) fn settings(&self) -> impl Iterator<Item = &Setting> {
        self.joined.iter().flat_map(|joined| &joined.settings)
    }

    /// One that exists already is refused, even an empty one.
    pub fn exclusive(mut self) -> Self {
        self.exclusive = true;
        self
    }

    /// Make the cgroups and write the limits. On any failure all that was made is removed again; controllers given down stay.
    ///
    /// Errors: `AlreadyExists` where the cgroup has processes or cgroups in it, `Host` for a limit that the kernel has no file
    /// for, for a device program that it does not take and where there is no hierarchy, `System` with file and value that the kernel refused.
    pub fn create(&self) -> Result<Cgroup> {
        if self.joined.is_empty() {
            return Err(Error::host(format!("make cgroup {}", self.path()), self.nowhere));
        }
        let cgroup = self.create_for_launch()?;
        match self.limit_memory(&cgroup) {
            Ok(()) => Ok(cgroup),
            Err(error) => {
                // The failure that counts is the limit's.
                let _ = cgroup.remove();
                Err(error)
            }
        }
    }

    /// As `create`, without cgroup2's memory limits: they are written with `limit_memory` when init has memory of its own. Until its exec it
    /// shares the caller's, and the kernel's OOM killer ends all who share the memory of the one that it picks.
    pub fn create_for_launch(&self) -> Result<Cgroup> {
        let mut roots = Vec::new();
        for joined in &self.joined {
            let root = Directory::open(&joined.mount_point)?;
            if root.version()? != Some(joined.version) {
                let error = Error::new(Kind::Host, "make cgroup: not a cgroup file system any more").with_path(root.path());
                return Err(error.with_hint("the mounts changed; discover them again"));
            }
            roots.push(root);
        }
        let mut made = Vec::new();
        self.make(&roots, &mut made).inspect_err(|_| {
            for (root, relative) in made.iter().rev() {
                // A parent that another container uses by now stays, and what is already gone is gone: neither hides the failure.
                let _ = root.rmdir_below(relative);
            }
        })
    }

    /// What `create_for_launch` left out.
    pub fn limit_memory(&self, cgroup: &Cgroup) -> Result<()> {
        let late: Vec<&Setting> = self.settings().filter(|setting| is_late(setting)).collect();
        match cgroup.v2() {
            Some(directory) if !late.is_empty() => apply(directory, &late),
            _ => Ok(()),
        }
    }

    fn make<'a>(&self, roots: &'a [Directory], made: &mut Vec<(&'a Directory, String)>) -> Result<Cgroup> {
        let mut members = Vec::new();
        let mut reused = false;
        for (joined, root) in self.joined.iter().zip(roots) {
            let directory = make_leaf(root, &self.path, self.exclusive, made)?;
            let new = made.last().is_some_and(|(last, relative)| std::ptr::eq(*last, root) && *relative == self.path);
            match joined.version {
                Version::V2 => {
                    reused = !new;
                    v2::require_domain(&directory)?;
                    v2::enable(root, &self.path, &joined.required, &joined.wished)?;
                    if let Some(program) = &self.devices {
                        devices::install(&directory, program)?;
                    }
                    if let Some(Owner::Outside(uid)) = self.owner {
                        delegation::hand_on(&directory, uid)?;
                    }
                }
                Version::V1 if joined.controllers.iter().any(|name| name == "cpuset") => {
                    v1::inherit_cpuset(root, &self.path, &directory, new)?
                }
                Version::V1 => {}
            }
            let early: Vec<&Setting> = joined.settings.iter().filter(|setting| !is_late(setting)).collect();
            apply(&directory, &early)?;
            if joined.version == Version::V2 {
                limits::cpuset::require_effect(&directory, &early)?;
            }
            members.push(Member {
                key: joined.key.clone(),
                version: joined.version,
                controllers: joined.controllers.clone(),
                directory,
                topmost: !self.path.contains('/'),
            });
        }
        Ok(Cgroup::from_members(members, reused))
    }
}

impl Joined {
    fn unified(hierarchy: &Hierarchy, wanted: &[(Version, String)], settings: &[Setting]) -> Joined {
        let settings: Vec<Setting> = settings.iter().filter(|setting| setting.version == Version::V2).cloned().collect();
        let mut required: Vec<String> = Vec::new();
        for controller in settings.iter().map(|setting| &setting.controller).filter(|name| hierarchy.controllers.contains(name)) {
            if !required.contains(controller) {
                required.push(controller.clone());
            }
        }
        let mut wished: Vec<String> = Vec::new();
        for (_, controller) in wanted.iter().filter(|(version, name)| *version == Version::V2 && hierarchy.controllers.contains(name)) {
            if !required.contains(controller) && !wished.contains(controller) {
                wished.push(controller.clone());
            }
        }
        let mount_point = hierarchy.mount_point.clone();
        Joined { key: UNIFIED.to_owned(), version: Version::V2, mount_point, controllers: Vec::new(), settings, required, wished }
    }

    fn v1(hierarchy: &Hierarchy, settings: &[Setting]) -> Joined {
        let ours = |setting: &&Setting| setting.version == Version::V1 && hierarchy.controllers.contains(&setting.controller);
        Joined {
            key: hierarchy.key(),
            version: Version::V1,
            mount_point: hierarchy.mount_point.clone(),
            controllers: hierarchy.controllers.clone(),
            settings: settings.iter().filter(ours).cloned().collect(),
            required: Vec::new(),
            wished: Vec::new(),
        }
    }
}

/// The path without the slash in front. Each component must be a name, so that it stays below the root.
fn checked_path(path: &str) -> Result<String> {
    let relative = path.strip_prefix('/').unwrap_or(path);
    for component in relative.split('/') {
        let reason = match component {
            "" => "has an empty component",
            "." | ".." => "has a component that is no name of its own",
            name if name.contains('\0') || name.contains('\n') => "has a character that no cgroup name can have",
            name if name.len() > NAME_MAX => "has a component longer than 255 bytes",
            _ => continue,
        };
        return Err(Error::spec(CGROUPS_PATH, format!("{path:?} {reason}")));
    }
    Ok(relative.to_owned())
}

/// Make the directory and those above it, noting each in `made`. One that exists is taken if it is empty.
fn make_leaf<'a>(root: &'a Directory, relative: &str, exclusive: bool, made: &mut Vec<(&'a Directory, String)>) -> Result<Directory> {
    let absolute = root.path_of(relative);
    for _ in 0..MAKE_ATTEMPTS {
        let existing = match root.make(relative) {
            Ok(()) => {
                made.push((root, relative.to_owned()));
                false
            }
            Err(Errno::EEXIST) if exclusive => {
                return Err(Error::new(Kind::AlreadyExists, "make cgroup: it already exists:").with_path(absolute));
            }
            Err(Errno::EEXIST) => true,
            Err(Errno::ENOENT) => {
                make_parents(root, relative, made)?;
                continue;
            }
            Err(errno) => return Err(not_made(absolute, errno)),
        };
        match root.open_below(relative) {
            // The last container's end removed it between our two calls.
            Err(Errno::ENOENT) => continue,
            Err(Errno::ENOTDIR) => return Err(Error::spec(CGROUPS_PATH, format!("{absolute} is a file of the cgroup above it"))),
            opened => {
                let directory = opened.at("open cgroup", &absolute)?;
                if existing {
                    require_empty(&directory)?;
                    above::keep(&directory)?;
                }
                return Ok(directory);
            }
        }
    }
    Err(not_made(absolute, Errno::ENOENT))
}

fn make_parents<'a>(root: &'a Directory, relative: &str, made: &mut Vec<(&'a Directory, String)>) -> Result<()> {
    for (end, _) in relative.match_indices('/') {
        let parent = &relative[..end];
        match above::make(root, parent) {
            Ok(true) => made.push((root, parent.to_owned())),
            // ENOENT: it, or the one above, went away again; the caller starts over.
            Ok(false) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(not_made(root.path_of(parent), errno)),
        }
    }
    Ok(())
}

fn not_made(path: String, errno: Errno) -> Error {
    let hint = match errno {
        Errno::EROFS => "the cgroup file system is mounted read-only",
        Errno::EACCES | Errno::EPERM => "run as root, or choose linux.cgroupsPath below a cgroup that is delegated to this user",
        Errno::EAGAIN => "a cgroup above limits how many there may be (cgroup.max.descendants, cgroup.max.depth)",
        Errno::ENOSPC | Errno::ENOMEM => "the kernel has no room for another cgroup of this kind",
        Errno::ENOTDIR => "a component of the path is a file of the cgroup above it",
        _ => return Error::system("make cgroup", path, errno),
    };
    Error::system("make cgroup", path, errno).with_hint(hint)
}

fn require_empty(directory: &Directory) -> Result<()> {
    let path = directory.path();
    let pids = processes::of(directory).at("read the processes of cgroup", path)?;
    let reason = match (pids.is_empty(), directory.has_children().at("stat cgroup", path)?) {
        (false, _) => format!("{} in it", processes::list(&pids)),
        (true, true) => "cgroups are in it".to_owned(),
        (true, false) => return Ok(()),
    };
    let error = Error::new(Kind::AlreadyExists, "make cgroup: it already exists and is not empty:").with_path(path);
    Err(error.with_hint(format!("{reason}; choose another linux.cgroupsPath, or end and remove them")))
}

fn is_late(setting: &Setting) -> bool {
    setting.version == Version::V2 && setting.controller == "memory"
}

/// Write the settings in order. What depends on another value yet to be written (memory on memory plus swap, quota on period and burst) is
/// refused with EINVAL at first, and tried once more after the others.
pub(super) fn apply(directory: &Directory, settings: &[&Setting]) -> Result<()> {
    let mut deferred = Vec::new();
    let mut open = None;
    for setting in settings.iter().copied() {
        match write(directory, setting, &mut open) {
            Err(error) if error.errno == Some(Errno::EINVAL) && settings.len() > 1 => deferred.push(setting),
            outcome => outcome?,
        }
    }
    deferred.into_iter().try_for_each(|setting| write(directory, setting, &mut open))
}

/// `open`: the file that was written last, since the lines of a list of devices all go to one.
fn write<'a>(directory: &Directory, setting: &'a Setting, open: &mut Option<(&'a str, OwnedFd)>) -> Result<()> {
    for (file, value) in &setting.files {
        let fd = match open.take().filter(|(name, _)| name == file) {
            Some((_, fd)) => Ok(fd),
            None => directory.open_file(file, OFlag::O_WRONLY),
        };
        let written = fd.and_then(|fd| nix::unistd::write(&fd, value.as_bytes()).map(|_| *open = Some((file.as_str(), fd))));
        match written {
            Ok(()) => return Ok(()),
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(directory.refused(file, value, errno)),
        }
    }
    if setting.optional {
        return Ok(());
    }
    let names = setting.files.iter().map(|(file, _)| file.as_str()).collect::<Vec<_>>().join(" or ");
    let operation = format!("limit {}: this kernel has no {names} in", setting.json_path);
    Err(Error::host(operation, "leave the limit out").with_path(directory.path()))
}

/// Where a container's cgroup is unless its config says: at the root of every hierarchy. A parent of pyrt's own would have to be made by
/// the first container and removed by the last, in every hierarchy: measured, a tenth of a launch.
pub fn default_path(id: &str) -> String {
    format!("/pyrt-{id}")
}

/// The same where systemd makes it: pyrt-ID.scope in the slice that is its owner's default.
pub fn default_scope(id: &str) -> String {
    format!(":pyrt:{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_could_leave_the_root_are_refused() {
        assert_eq!(checked_path("/a/b").unwrap(), "a/b");
        assert_eq!(checked_path("a/b:c").unwrap(), "a/b:c");
        for bad in ["", "/", "/a/", "//a", "a//b", "..", "/a/../b", "a/.", "a\0b", "a\nb"] {
            let error = checked_path(bad).unwrap_err();
            assert_eq!((error.kind, error.json_path.as_deref()), (Kind::Spec, Some(CGROUPS_PATH)), "{bad:?}");
        }
    }

    #[test]
    fn the_form_chooses_the_hierarchies_and_limits_add_theirs() {
        let hybrid = Hierarchies::described(
            Some(("/u", &["hugetlb"])),
            &[("/c", &["cpu", "cpuacct"]), ("/m", &["memory"]), ("/p", &["pids"]), ("/f", &["freezer"])],
            true,
        );
        let keys = |form, resources: Option<&LinuxResources>, extra: &[String]| -> Vec<String> {
            let plan = CgroupPlan::new(&hybrid, "/pyrt/x", resources, form, extra).unwrap();
            plan.paths().into_iter().map(|(key, _)| key).collect()
        };
        assert_eq!(keys(Form::Library, None, &[]), ["unified", "memory", "pids"]);
        assert_eq!(keys(Form::Engine, None, &[]), ["unified", "cpu,cpuacct", "memory", "pids", "freezer"]);
        assert_eq!(keys(Form::Library, None, &["freezer".to_owned()]), ["unified", "memory", "pids", "freezer"]);
        let resources: LinuxResources = serde_json::from_str(r#"{"cpu": {"quota": 50000}}"#).unwrap();
        assert_eq!(keys(Form::Library, Some(&resources), &[]), ["unified", "cpu,cpuacct", "memory", "pids"]);
        let missing = CgroupPlan::new(&hybrid, "/x", None, Form::Library, &["rdma".to_owned()]).unwrap_err();
        assert_eq!(missing.kind, Kind::Host);
    }
}
