//! What this kernel, this caller and its cgroup set-up can do, found out once a process.

use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

use serde_json::{json, Value};

use crate::assistant;
use crate::cgroup::{Hierarchies, Mode};
use crate::error::{Context, Error, Result};
use crate::id_maps;
use crate::oci::CapabilitySet;
use crate::rootless;
use crate::sys;

#[derive(Debug)]
pub struct HostFacts {
    pub kernel: (u32, u32),
    pub uid: u32,
    pub gid: u32,
    /// The caller is in the user namespace that the machine began with: what belongs to no namespace is within its reach.
    pub initial_user_namespace: bool,
    /// What the caller itself may hand on: nothing outside this set can be granted.
    pub capabilities: CapabilitySet,
    /// What the caller's bounding set holds.
    pub bounding: CapabilitySet,
    pub hierarchies: Hierarchies,
    /// The caller's own user namespace denies setgroups(2), and so do those below it.
    pub setgroups_denied: bool,
    pub modules: SecurityModules,
}

/// Which of the Linux security modules that config.json knows are enabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SecurityModules {
    pub apparmor: bool,
    pub selinux: bool,
}

impl SecurityModules {
    fn found() -> Self {
        SecurityModules {
            apparmor: std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|said| said.starts_with(b"Y")),
            selinux: std::path::Path::new("/sys/fs/selinux/enforce").exists(),
        }
    }
}

/// user_namespaces(7): said by whoever wrote a gid_map without CAP_SETGID. `process`: as /proc names it.
pub fn setgroups_denied(process: &str) -> Result<bool> {
    let path = format!("/proc/{process}/setgroups");
    match std::fs::read(&path) {
        // A kernel without user namespaces has nobody to deny it.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && process == "self" => Ok(false),
        read => read.at("read", &path).map(|said| said.starts_with(b"deny")),
    }
}

impl HostFacts {
    /// Read when first asked for. A process whose privileges or cgroup mounts change later keeps the first answer.
    pub fn get() -> Result<&'static HostFacts> {
        static FACTS: OnceLock<Result<HostFacts>> = OnceLock::new();
        // Read outside the lock: a child that is forked meanwhile would wait for it for ever.
        let facts = match FACTS.get() {
            Some(facts) => facts,
            None => {
                let read = HostFacts::read();
                FACTS.get_or_init(|| read)
            }
        };
        facts.as_ref().map_err(Clone::clone)
    }

    fn read() -> Result<HostFacts> {
        Ok(HostFacts {
            kernel: sys::kernel_version(),
            uid: nix::unistd::geteuid().as_raw(),
            gid: nix::unistd::getegid().as_raw(),
            initial_user_namespace: in_initial_user_namespace(),
            capabilities: CapabilitySet(sys::permitted_capabilities()),
            bounding: CapabilitySet(sys::bounding_capabilities()),
            hierarchies: hierarchies()?,
            setgroups_denied: setgroups_denied("self")?,
            modules: SecurityModules::found(),
        })
    }

    /// Since which kernel (6.1) the last execve enters a new time namespace.
    pub fn exec_enters_time_namespace(&self) -> bool {
        self.kernel >= (6, 1)
    }

    /// Device nodes can be made: CAP_MKNOD is held, and not only over a user namespace.
    pub fn can_make_devices(&self) -> bool {
        const CAP_MKNOD: u32 = 27;
        self.initial_user_namespace && self.capabilities.has(CAP_MKNOD)
    }

    /// The caller itself can mount, and copy mounts. An ordinary user cannot: for him that is done inside, in a user namespace.
    pub fn can_mount(&self) -> bool {
        const CAP_SYS_ADMIN: u32 = 21;
        self.capabilities.has(CAP_SYS_ADMIN)
    }

    /// The caller can write any map of a new user namespace (user_namespaces(7)).
    pub fn can_map_any_id(&self) -> bool {
        const CAP_SETGID: u32 = 6;
        const CAP_SETUID: u32 = 7;
        self.capabilities.has(CAP_SETUID) && self.capabilities.has(CAP_SETGID)
    }
}

/// Root writes to any cgroup, others to those that are delegated to them.
fn hierarchies() -> Result<Hierarchies> {
    let all = Hierarchies::discover()?;
    match nix::unistd::geteuid().is_root() && in_initial_user_namespace() {
        true => Ok(all),
        false => all.delegated(),
    }
}

/// Its inode number is part of the kernel's interface: PROC_USER_INIT_INO in linux/proc_ns.h.
pub(crate) fn in_initial_user_namespace() -> bool {
    const PROC_USER_INIT_INO: u64 = 0xEFFF_FFFD;
    std::fs::metadata("/proc/self/ns/user").map_or(true, |namespace| namespace.ino() == PROC_USER_INIT_INO)
}

/// Where cgroups are mounted, and their controllers: looked up, where `describe` tries things.
pub fn cgroups() -> Result<Value> {
    let hierarchies = &HostFacts::get()?.hierarchies;
    let mounts: serde_json::Map<String, Value> = hierarchies
        .unified()
        .into_iter()
        .map(|one| ("unified".to_owned(), json!(one.mount_point)))
        .chain(hierarchies.v1().iter().map(|one| (one.key(), json!(one.mount_point))))
        .collect();
    Ok(json!({"mode": hierarchies.mode().name(), "mounts": mounts, "controllers": hierarchies.controllers()}))
}

/// What `pyrt check` shows: each line found out by trying, not by reading version numbers.
pub fn describe() -> Result<Value> {
    let facts = HostFacts::get()?;
    let mut checks = vec![check("kernel", || {
        let (major, minor) = facts.kernel;
        match facts.kernel >= OLDEST_KERNEL {
            true => Ok(format!("Linux {major}.{minor}")),
            false => Err(Error::host(format!("use Linux {major}.{minor}"), "5.15 is the oldest that pyrt supports")),
        }
    })];
    checks.push(check("user", || rootless::described(facts)));
    for (kind, ..) in assistant::KINDS {
        checks.push(check(&format!("{kind} namespace"), || {
            let mut kinds = vec![kind.to_owned()];
            if !facts.can_mount() && kind != "user" {
                kinds.insert(0, "user".to_owned());
            }
            let wanted = assistant::WantedNamespaces {
                kinds,
                uid_mappings: vec![(0, facts.uid, 1)],
                gid_mappings: vec![(0, facts.gid, 1)],
                monotonic_offset: 0.0,
                boottime_offset: 0.0,
            };
            let made = assistant::create_namespaces(&wanted)?;
            if let Some((_, pidfd)) = made.keeper {
                crate::process::end(pidfd.as_fd())?;
            }
            Ok("can be made".to_owned())
        }));
    }
    checks.push(check("overlay", || {
        match facts.can_mount() {
            true => assistant::mount_overlay(&["/usr".into()], None, Some(1 << 20)).map(drop)?,
            // Not /usr, below which something may be mounted: there the kernel would refuse it.
            false => assistant::try_overlay_inside("/usr/bin".as_ref(), facts)?,
        }
        Ok("can be mounted, its upper layer on a tmpfs".to_owned())
    }));
    if !facts.can_map_any_id() {
        checks.push(check("id ranges", id_maps::described));
    }
    checks.push(check("cgroups", || match facts.hierarchies.mode() {
        Mode::None => Err(Error::host("find cgroups", facts.hierarchies.limited().unwrap_or("mount cgroup2 on /sys/fs/cgroup"))),
        mode => Ok(format!("{}, controllers: {}", mode.name(), facts.hierarchies.controllers().join(" "))),
    }));
    for limit in ["memory", "cpu", "pids", "cpuset", "io"] {
        checks.push(check(&format!("{limit} limits"), || match facts.hierarchies.locate(limit) {
            Some((version, path)) => Ok(format!("by {version:?} at {path}").to_lowercase()),
            None => Err(Error::host(
                format!("limit {limit}"),
                facts.hierarchies.limited().unwrap_or("no mounted hierarchy has this controller"),
            )),
        }));
    }
    checks.push(check("device nodes", || match facts.can_make_devices() {
        true => Ok("can be made".to_owned()),
        false => Ok("are bound from the host: CAP_MKNOD is not held over it".to_owned()),
    }));
    Ok(json!({
        "kernel": nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default(),
        "checks": checks,
        "cgroup": cgroups()?,
        "capabilities": facts.capabilities.names(),
    }))
}

const OLDEST_KERNEL: (u32, u32) = (5, 15);

fn check(name: &str, attempt: impl FnOnce() -> Result<String>) -> Value {
    match attempt() {
        Ok(detail) => json!({"name": name, "ok": true, "detail": detail, "hint": Value::Null}),
        Err(error) => json!({"name": name, "ok": false, "detail": Error { hint: None, ..error.clone() }.to_string(), "hint": error.hint}),
    }
}
