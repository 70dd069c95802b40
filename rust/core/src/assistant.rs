//! Namespaces and overlays without a container: made by an init in namespaces of its own, handed out as descriptors.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::stat::Mode;
use serde_json::{json, Value};

use crate::error::{Context, Error, Kind, Result};
use crate::host::HostFacts;
use crate::launch::{launch, make_layers, make_mount, Lent};
use crate::layer::Layer;
use crate::plan::{escaped, LaunchPlan, Overlay, SCRATCH_SIZE};
use crate::sys;

/// The eight kinds: config.json's name, the name in /proc/PID/ns, the CLONE_NEW* flag.
pub const KINDS: [(&str, &str, u64); 8] = [
    ("user", "user", libc::CLONE_NEWUSER as u64),
    ("mount", "mnt", libc::CLONE_NEWNS as u64),
    ("pid", "pid", libc::CLONE_NEWPID as u64),
    ("network", "net", libc::CLONE_NEWNET as u64),
    ("ipc", "ipc", libc::CLONE_NEWIPC as u64),
    ("uts", "uts", libc::CLONE_NEWUTS as u64),
    ("cgroup", "cgroup", libc::CLONE_NEWCGROUP as u64),
    ("time", "time", 0x80),
];

/// config.json's name of a CLONE_NEW* flag.
pub fn kind_name(flag: u64) -> &'static str {
    KINDS.iter().find(|kind| kind.2 == flag).map_or("unknown", |kind| kind.0)
}

pub struct WantedNamespaces {
    pub kinds: Vec<String>,
    /// Container id, host id, size.
    pub uid_mappings: Vec<(u32, u32, u32)>,
    pub gid_mappings: Vec<(u32, u32, u32)>,
    /// Seconds.
    pub monotonic_offset: f64,
    pub boottime_offset: f64,
}

pub struct MadeNamespaces {
    pub files: Vec<(&'static str, OwnedFd)>,
    /// The PID 1 of a pid namespace, without which nobody could join it.
    pub keeper: Option<(i32, OwnedFd)>,
}

pub fn create_namespaces(wanted: &WantedNamespaces) -> Result<MadeNamespaces> {
    let kinds = wanted.kinds.iter().map(|name| known(name)).collect::<Result<Vec<_>>>()?;
    let mut linux = json!({"namespaces": wanted.kinds.iter().map(|kind| json!({"type": kind})).collect::<Vec<_>>()});
    if wanted.kinds.iter().any(|kind| kind == "user") {
        linux["uidMappings"] = mappings(&wanted.uid_mappings);
        linux["gidMappings"] = mappings(&wanted.gid_mappings);
    }
    if wanted.kinds.iter().any(|kind| kind == "time") {
        linux["timeOffsets"] = json!({"monotonic": offset(wanted.monotonic_offset), "boottime": offset(wanted.boottime_offset)});
    }
    let plan = LaunchPlan::holding(&bare_config(linux), HostFacts::get()?)?;
    let lent = Lent { stdio: [0, 1, 2].map(sys::lend), start_socket: None, console_socket: None, kept: &[], entered: None };
    let holder = launch(&plan, &lent)?;
    let open = |kind: &(&'static str, &str, u64)| {
        // A time or pid namespace that was unshared is the one for children.
        let file = if kind.0 == "time" { "time_for_children" } else { kind.1 };
        let path = format!("/proc/{}/ns/{file}", holder.pid);
        std::fs::File::open(&path).map(|file| (kind.0, OwnedFd::from(file))).at("open namespace", &path)
    };
    let files = kinds.into_iter().map(open).collect::<Result<Vec<_>>>();
    match files {
        Ok(files) if wanted.kinds.iter().any(|kind| kind == "pid") => {
            let pid = holder.pid;
            let pidfd = holder.disown().op("keep the namespaces")?;
            Ok(MadeNamespaces { files, keeper: Some((pid, pidfd)) })
        }
        // The descriptors hold them from here on.
        files => holder.kill().and(files).map(|files| MadeNamespaces { files, keeper: None }),
    }
}

fn known(name: &str) -> Result<&'static (&'static str, &'static str, u64)> {
    KINDS.iter().find(|kind| kind.0 == name).ok_or_else(|| Error::spec("linux.namespaces", format!("{name:?} is no kind of namespace")))
}

fn mappings(lines: &[(u32, u32, u32)]) -> Value {
    lines.iter().map(|(container, host, size)| json!({"containerID": container, "hostID": host, "size": size})).collect()
}

fn offset(seconds: f64) -> Value {
    let whole = seconds.floor();
    json!({"secs": whole as i64, "nanosecs": ((seconds - whole) * 1e9) as u32})
}

/// A config that says nothing but its namespaces.
fn bare_config(linux: Value) -> Vec<u8> {
    json!({"ociVersion": crate::oci::VERSION, "process": {"cwd": "/", "user": {"uid": 0, "gid": 0}, "args": ["-"]}, "linux": linux})
        .to_string()
        .into_bytes()
}

/// A detached overlay mount, of which nothing is mounted on the host, and its upper layer.
pub fn mount_overlay(lower: &[PathBuf], upper: Option<&Path>, size: Option<u64>) -> Result<(OwnedFd, Layer)> {
    let overlay = match upper {
        Some(directory) => Overlay::Keep { directory: directory.to_owned() },
        None => Overlay::Discard { size },
    };
    let privileged = |error: Error| match error.errno {
        Some(Errno::EPERM) => Error { kind: Kind::Host, ..error }.with_hint("mounting needs CAP_SYS_ADMIN"),
        _ => error,
    };
    let mounted = match mount_here(lower, upper, size) {
        // Before 6.15 a detached tmpfs cannot hold an upper layer: there it is mounted in a namespace of its own, which makes the mount
        // good for its path, but not for another container's root.
        Err(error) if upper.is_none() && error.errno == Some(Errno::EINVAL) => {
            let config = bare_config(json!({"namespaces": [{"type": "mount"}]}));
            let plan = LaunchPlan::overlaying(&config, lower, &overlay, HostFacts::get()?)?;
            make_mount(&plan).map_err(privileged)
        }
        made => made.map_err(privileged),
    };
    mounted.map(|(mount, layer)| (mount, Layer::over(lower, layer)))
}

/// Whether one who may not mount can make an overlay in a user namespace of his own.
pub fn try_overlay_inside(lower: &Path, facts: &HostFacts) -> Result<()> {
    let linux = json!({
        "namespaces": [{"type": "user"}, {"type": "mount"}],
        "uidMappings": mappings(&[(0, facts.uid, 1)]),
        "gidMappings": mappings(&[(0, facts.gid, 1)]),
    });
    let plan = LaunchPlan::overlaying(&bare_config(linux), &[lower.to_owned()], &Overlay::Discard { size: Some(1 << 20) }, facts)?;
    make_mount(&plan).map(drop)
}

/// By the caller itself: such a mount can be copied into containers, since Linux 6.15.
fn mount_here(lower: &[PathBuf], upper: Option<&Path>, size: Option<u64>) -> Result<(OwnedFd, OwnedFd)> {
    let scratch = match upper {
        Some(directory) => {
            make_layers(directory, &lower[0])?;
            None
        }
        None => {
            let size = size.unwrap_or(SCRATCH_SIZE).to_string();
            let tmpfs = sys::new_mount(c"tmpfs", &[("size", &size), ("mode", "755")]).op("mount tmpfs for the upper layer")?;
            for name in ["upper", "work"] {
                nix::sys::stat::mkdirat(&tmpfs, name, Mode::from_bits_truncate(0o755)).at("make directory", name)?;
            }
            Some(tmpfs)
        }
    };
    let base = match (&scratch, upper) {
        (Some(tmpfs), _) => format!("/proc/self/fd/{}", tmpfs.as_raw_fd()),
        (None, Some(directory)) => escaped(directory, "upper")?,
        (None, None) => String::new(),
    };
    let layer = match (&scratch, upper) {
        (Some(tmpfs), _) => nix::fcntl::openat(tmpfs, "upper", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()),
        (None, directory) => sys::open_directory(&directory.unwrap_or(Path::new("/")).join("upper")),
    };
    let layer = layer.op("open the upper layer")?;
    let lower = lower.iter().map(|path| escaped(path, "lower")).collect::<Result<Vec<_>>>()?.join(":");
    let (upper, work) = (format!("{base}/upper"), format!("{base}/work"));
    let mount = sys::new_mount(
        c"overlay",
        &[("lowerdir", &lower), ("upperdir", &upper), ("workdir", &work), ("redirect_dir", "nofollow"), ("metacopy", "off")],
    );
    Ok((mount.at("mount overlay over", lower)?, layer))
}
