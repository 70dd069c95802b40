//! `mounts`, `maskedPaths`, `readonlyPaths`.

use std::path::Path;

use nix::libc;
use oci_spec::runtime::{Mount, Spec};
use pyrt_init::{behaviour, Step, NO_FD};

use super::builder::{text, Builder, Strings};
use super::idmap::{self, IdMapped};
use super::mount_options::{MountOptions, MOUNT_ATTR_ATIME, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY};
use super::namespaces::Namespaces;
use super::{labels, Options};
use crate::cgroup::{CgroupPlan, Mode, UNIFIED};
use crate::error::{Error, Result};
use crate::host::HostFacts;
use crate::oci::plain_path;

/// What may be mounted below /proc, as in runc: files that tell of the machine, and are faked by lxcfs.
const ON_PROC: [&str; 11] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/net/dev",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
];

const CGROUP_ATTRIBUTES: u64 = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;

/// One mount of config.json, with what every kind of it needs.
struct Wanted<'a> {
    kind: &'a str,
    source: String,
    target: String,
    options: MountOptions,
    idmap: Option<IdMapped>,
    at: String,
}

pub fn build(
    steps: &mut Builder,
    spec: &Spec,
    options: &Options,
    spaces: &Namespaces,
    facts: &HostFacts,
    cgroup: Option<&CgroupPlan>,
) -> Result<()> {
    let label = labels::mount_option(spec, facts)?;
    for (index, mount) in spec.mounts().iter().flatten().enumerate() {
        let at = format!("mounts[{index}]");
        let mut wanted = Wanted::new(mount, options, spec, spaces, at)?;
        if !wanted.options.bind && labels::takes_mount_option(wanted.kind) {
            wanted.options.data.extend(label.clone());
        }
        match wanted.kind {
            _ if wanted.options.bind => wanted.bind(steps, spaces)?,
            "cgroup" => wanted.cgroup(steps, spaces, facts, cgroup)?,
            "sysfs" if !spaces.new_network() && spaces.other_user() => wanted.bind_from_host(steps, "/sys")?,
            "mqueue" if spaces.other_user() && !spaces.new_ipc() => wanted.bind_from_host(steps, "/dev/mqueue")?,
            _ => wanted.file_system(steps)?,
        }
    }
    Ok(())
}

impl<'a> Wanted<'a> {
    fn new(mount: &'a Mount, launch: &Options, spec: &Spec, spaces: &Namespaces, at: String) -> Result<Self> {
        let mut options = MountOptions::parse(mount.options().as_deref().unwrap_or_default(), &format!("{at}.options"))?;
        let kind = mount.typ().as_deref().unwrap_or_default();
        options.bind |= kind == "bind";
        if options.copy_up && (kind != "tmpfs" || options.bind) {
            return Err(Error::spec(format!("{at}.options"), "tmpcopyup is for a tmpfs"));
        }
        let idmap = idmap::of(mount, options.idmap, options.bind, spec, spaces, &at)?;
        let source = match mount.source().as_deref() {
            // A bind's source may be relative to the bundle.
            Some(source) if options.bind => launch.bundle.join(source),
            Some(source) => source.to_owned(),
            None if options.bind => return Err(Error::spec(format!("{at}.source"), "a bind mount needs one")),
            None => Path::new(kind).to_owned(),
        };
        if kind.is_empty() && !options.bind {
            return Err(Error::spec(format!("{at}.type"), "is missing"));
        }
        let source = source.to_str().ok_or_else(|| Error::spec(format!("{at}.source"), "is not UTF-8"))?.to_owned();
        let target = plain_path(mount.destination(), &format!("{at}.destination"))?;
        if target == "/" {
            return Err(Error::spec(format!("{at}.destination"), "is the root itself: root.path says what that is"));
        }
        Ok(Wanted { kind, source, target, options, idmap, at })
    }

    fn behaviour(&self) -> u64 {
        let allowed = self.target == "/proc" || ON_PROC.contains(&self.target.as_str());
        if allowed {
            behaviour::ON_PROC
        } else {
            0
        }
    }

    fn copying(&self) -> u64 {
        let says = |option: &String| ["mode=", "uid=", "gid="].iter().any(|key| option.starts_with(key));
        match self.options.copy_up {
            true if self.options.data.iter().any(says) => behaviour::COPY_UP | behaviour::ROOT_FROM_OPTIONS,
            true => behaviour::COPY_UP,
            // As runc and crun have it: an image's /run does not become everybody's.
            false if self.kind == "tmpfs" && !self.options.data.iter().any(|option| option.starts_with("mode=")) => {
                behaviour::MODE_OF_TARGET
            }
            false => 0,
        }
    }

    fn target(&self) -> Result<std::ffi::CString> {
        text(&self.target, &format!("{}.destination", self.at))
    }

    fn file_system(&self, steps: &mut Builder) -> Result<()> {
        let real = matches!(self.kind, "proc" | "sysfs");
        let how = self.behaviour() | self.copying() | if real { behaviour::NO_SYMLINKS } else { 0 };
        self.new_file_system(steps, &self.target, self.kind, &self.options.data, how)
    }

    fn new_file_system(&self, steps: &mut Builder, target: &str, kind: &str, data: &[String], how: u64) -> Result<()> {
        let mut options = Strings::default();
        for option in data {
            options.push_option(option, &format!("{}.options", self.at))?;
        }
        steps.push(Step::Mount {
            kind: &text(kind, &format!("{}.type", self.at))?,
            source: &text(&self.source, &format!("{}.source", self.at))?,
            target: &text(target, &format!("{}.destination", self.at))?,
            options: options.list(),
            attributes: self.options.set | self.options.set_all,
            propagation: self.options.propagation & !libc::MS_REC,
            behaviour: how,
        });
        Ok(())
    }

    fn bind(&self, steps: &mut Builder, spaces: &Namespaces) -> Result<()> {
        // In another user namespace init may not reach the source (a 0700 directory above it), or copy what is locked: the caller does.
        let recursive = self.options.recursive;
        // And what changes ids needs rights over the source's file system.
        let fd = match spaces.other_user() || self.idmap.is_some() {
            true => steps.tree(self.source.clone().into(), recursive, None, self.idmap.clone())?,
            false => NO_FD,
        };
        self.bind_of(steps, &self.source, fd, recursive, self.options.set_all)
    }

    fn bind_of(&self, steps: &mut Builder, source: &str, fd: u64, recursive: bool, set_all: u64) -> Result<()> {
        let options = &self.options;
        // The kernel refuses to clear one atime mode without all of them.
        let whole = |clear: u64| if clear & MOUNT_ATTR_ATIME != 0 { clear | MOUNT_ATTR_ATIME } else { clear };
        steps.push(Step::Bind {
            source: &text(source, &format!("{}.source", self.at))?,
            fd,
            target: &self.target()?,
            set: options.set,
            clear: whole(options.clear),
            set_all,
            clear_all: whole(options.clear_all),
            propagation: options.propagation,
            behaviour: self.behaviour() | if recursive { behaviour::RECURSIVE } else { 0 },
            device: 0,
        });
        Ok(())
    }

    /// What a user namespace may not mount anew without the namespace that it shows, is taken from the host.
    fn bind_from_host(&self, steps: &mut Builder, source: &str) -> Result<()> {
        let hint = Some("it is the host's: in another user namespace only one's own network, ipc or cgroup namespace can be mounted anew");
        let fd = steps.tree(source.into(), true, hint, None)?;
        // What is asked of the one file system binds all that the host has mounted in it, such as its cgroups (CVE-2023-25809).
        let whole = |set: u64| set & (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
        self.bind_of(steps, source, fd, true, self.options.set_all | whole(self.options.set))
    }

    /// `cgroup`: the container's own cgroups. On cgroup v2 one file system; elsewhere a tmpfs with one for each hierarchy that the
    /// container joined: another would show the caller's.
    fn cgroup(&self, steps: &mut Builder, spaces: &Namespaces, facts: &HostFacts, cgroup: Option<&CgroupPlan>) -> Result<()> {
        let hierarchies = cgroup.map(CgroupPlan::paths).unwrap_or_default();
        if facts.hierarchies.mode() == Mode::V2 || cgroup.is_some_and(|group| group.scope().is_some()) {
            return match hierarchies.first() {
                Some((_, path)) if !spaces.new_cgroup() => self.bind_from_host(steps, path),
                _ => self.new_file_system(steps, &self.target, "cgroup2", &[], 0),
            };
        }
        let mode = ["mode=755".to_owned()];
        let tmpfs = Wanted {
            kind: "tmpfs",
            source: "tmpfs".to_owned(),
            target: self.target.clone(),
            options: MountOptions { set: CGROUP_ATTRIBUTES, ..MountOptions::default() },
            idmap: None,
            at: self.at.clone(),
        };
        tmpfs.new_file_system(steps, &self.target, "tmpfs", &mode, 0)?;
        for (key, path) in &hierarchies {
            let target = format!("{}/{key}", self.target);
            let one = Wanted {
                kind: self.kind,
                source: "cgroup".to_owned(),
                target: target.clone(),
                options: MountOptions { data: Vec::new(), ..self.options.clone() },
                idmap: None,
                at: self.at.clone(),
            };
            if !spaces.new_cgroup() {
                one.bind_from_host(steps, path)?;
            } else if key == UNIFIED {
                one.new_file_system(steps, &target, "cgroup2", &[], 0)?;
            } else {
                let controllers: Vec<String> = key.split(',').map(str::to_owned).collect();
                one.new_file_system(steps, &target, "cgroup", &controllers, 0)?;
            }
            for alias in key.split(',').filter(|alias| alias != key) {
                let link = text(&format!("{}/{alias}", self.target), &self.at)?;
                steps.push(Step::Link { path: &link, target: &text(key, &self.at)? });
            }
        }
        steps.push(Step::Attributes { path: &self.target()?, set: self.options.set });
        Ok(())
    }
}

/// maskedPaths and readonlyPaths, when everything is mounted.
pub fn hide(steps: &mut Builder, spec: &Spec) -> Result<()> {
    let Some(linux) = spec.linux() else { return Ok(()) };
    for (index, path) in linux.readonly_paths().iter().flatten().enumerate() {
        let at = format!("linux.readonlyPaths[{index}]");
        steps.push(Step::ReadOnly { path: &text(&plain_path(Path::new(path), &at)?, &at)? });
    }
    for (index, path) in linux.masked_paths().iter().flatten().enumerate() {
        let at = format!("linux.maskedPaths[{index}]");
        steps.push(Step::Mask { path: &text(&plain_path(Path::new(path), &at)?, &at)? });
    }
    Ok(())
}
