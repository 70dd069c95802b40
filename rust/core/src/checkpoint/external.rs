//! What of a container is not its own: mounts that are the host's, standard streams, namespaces. CRIU leaves them out of its images and is
//! told at the restore what stands for each. They are named by keys, which both sides derive from config.json.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{openat2, OFlag, OpenHow, ResolveFlag};
use nix::libc::O_NOFOLLOW;
use nix::sys::stat::major;
use oci_spec::runtime::{LinuxNamespaceType, Spec};

use super::{naming, OUTSIDE_NAMESPACES};
use crate::error::{Context, Error, Result};

/// File systems that CRIU mounts anew, though every instance is one of the host's too.
const REMOUNTED: [&str; 8] = ["proc", "sysfs", "cgroup", "cgroup2", "mqueue", "devpts", "binfmt_misc", "securityfs"];
/// What hides a file below /proc: as runc's images have it.
const MASK: &str = "/dev/null";
/// Character devices of terminals: proc(5), /proc/tty/drivers; linux/major.h.
const TERMINALS: [u64; 4] = [4, 5, 136, 204];

/// A line of mountinfo (proc_pid_mountinfo(5)), as far as it counts here.
struct Mount {
    id: u64,
    device: String,
    point: String,
    attributes: String,
    kind: String,
}

fn mountinfo(pid: &str) -> Result<Vec<Mount>> {
    let path = format!("/proc/{pid}/mountinfo");
    let text = std::fs::read_to_string(&path).at("read", &path)?;
    Ok(text.lines().filter_map(mount).collect())
}

fn mount(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut fields = before.split(' ');
    let id = fields.next()?.parse().ok()?;
    let device = fields.nth(1)?.to_owned();
    let point = plain(fields.nth(1)?);
    let attributes = fields.next()?.to_owned();
    Some(Mount { id, device, point, attributes, kind: after.split(' ').next()?.to_owned() })
}

/// Spaces and the like are octal in mountinfo.
fn plain(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}

/// Mounts that the images leave out: mount point in the container, and the key that stands for it.
pub fn mounts(spec: &Spec, pid: i32) -> Result<Vec<(String, String)>> {
    let hosts: BTreeSet<String> = mountinfo("self")?.into_iter().map(|mount| mount.device).collect();
    let named = binds_by_mount(spec, pid)?;
    let masked: BTreeSet<&str> = spec.linux().iter().flat_map(|linux| linux.masked_paths().iter().flatten()).map(String::as_str).collect();
    let mut outside: Vec<(String, String)> = Vec::new();
    for mount in mountinfo(&pid.to_string())?.into_iter().filter(|mount| mount.point != "/") {
        let key = match named.get(&mount.id) {
            Some(destination) => destination.clone(),
            None if !hosts.contains(&mount.device) || REMOUNTED.contains(&mount.kind.as_str()) => continue,
            None if masked.contains(mount.point.as_str()) => MASK.to_owned(),
            // Something below a bind of a whole tree is known by that tree's name.
            None => mount.point.clone(),
        };
        naming::readable(&mount.point)?;
        naming::readable(&key)?;
        naming::not_wider(spec, &key, &mount.point, &mount.attributes)?;
        outside.push((mount.point, key));
    }
    Ok(outside)
}

/// Config.json's bind mounts by the numbers of the mounts that they became: a destination may lead through symbolic links.
fn binds_by_mount(spec: &Spec, pid: i32) -> Result<BTreeMap<u64, String>> {
    let path = format!("/proc/{pid}/root");
    let root = std::fs::File::open(&path).at("open the root of the container", &path)?;
    let mut found = BTreeMap::new();
    for (destination, _) in binds(spec) {
        match open_below(root.as_fd(), &destination, OFlag::O_PATH) {
            // Hidden by a later mount, or moved away by what runs inside: then it is no mount that could be named.
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => {}
            opened => {
                let opened = opened.at("look at mount", &destination)?;
                if let Some(id) = mount_of(&format!("/proc/self/fdinfo/{}", opened.as_raw_fd()))? {
                    found.insert(id, destination);
                }
            }
        }
    }
    Ok(found)
}

/// The mount that an open file lies on.
fn mount_of(fdinfo: &str) -> Result<Option<u64>> {
    let text = std::fs::read_to_string(fdinfo).at("read", fdinfo)?;
    Ok(field(&text, "mnt_id:").and_then(|id| id.parse().ok()))
}

/// Of /proc/PID/fdinfo/N (proc_pid_fdinfo(5)).
fn field<'a>(fdinfo: &'a str, name: &str) -> Option<&'a str> {
    fdinfo.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

fn open_below(root: std::os::fd::BorrowedFd<'_>, path: &str, flags: OFlag) -> nix::Result<OwnedFd> {
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(root, path, how)
}

/// Destination and source of every bind mount of config.json.
fn binds(spec: &Spec) -> Vec<(String, String)> {
    let is_bind = |mount: &&oci_spec::runtime::Mount| {
        mount.typ().as_deref() == Some("bind") || mount.options().iter().flatten().any(|option| option == "bind" || option == "rbind")
    };
    let named =
        |mount: &oci_spec::runtime::Mount| Some((mount.destination().to_str()?.to_owned(), mount.source().as_ref()?.to_str()?.to_owned()));
    spec.mounts().iter().flatten().filter(is_bind).filter_map(named).collect()
}

/// What stands for each key that a checkpoint of this config.json may have used: key, and path on the host. More than there are is fine.
pub fn sources(spec: &Spec, bundle: &Path) -> Result<Vec<(String, String)>> {
    let mut sources = vec![(MASK.to_owned(), MASK.to_owned())];
    let hosts = mountinfo("self")?;
    for (destination, source) in binds(spec) {
        naming::readable(&destination)?;
        let source = bundle.join(source).to_string_lossy().into_owned();
        let below = hosts.iter().filter_map(|mount| mount.point.strip_prefix(&source).filter(|rest| rest.starts_with('/')));
        let below = below.filter(|rest| naming::readable(rest).is_ok());
        sources.extend(below.map(|rest| (format!("{destination}{rest}"), format!("{source}{rest}"))));
        sources.push((destination, source));
    }
    // Where devices cannot be made, they are bound from the host under the same names.
    let devices = spec.linux().iter().flat_map(|linux| linux.devices().iter().flatten()).filter_map(|device| device.path().to_str());
    let default = ["/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];
    sources.extend(devices.chain(default).map(|path| (path.to_owned(), path.to_owned())));
    Ok(sources)
}

/// Where config.json mounts something that is a bind: those of which the mount point must be there at the restore, and whether it is a
/// directory.
pub fn mount_points(spec: &Spec, bundle: &Path) -> Vec<(String, bool)> {
    let sources: BTreeMap<String, String> = binds(spec).into_iter().collect();
    let points = spec.mounts().iter().flatten().filter_map(|mount| mount.destination().to_str());
    // What lies on another mount is made with that one's content.
    let all: Vec<&str> = points.collect();
    let on_root = |point: &&&str| !all.iter().any(|other| point.strip_prefix(other).is_some_and(|rest| rest.starts_with('/')));
    let directory = |point: &str| sources.get(point).is_none_or(|source| bundle.join(source).is_dir());
    all.iter().filter(on_root).map(|point| ((*point).to_owned(), directory(point))).collect()
}

/// Make what is missing of a path below a root, never following a link out of it.
pub fn make_mount_point(root: std::os::fd::BorrowedFd<'_>, point: &str, directory: bool) -> Result<()> {
    let parts: Vec<&str> = point.split('/').filter(|part| !part.is_empty()).collect();
    for count in 1..=parts.len() {
        let path = parts[..count].join("/");
        match open_below(root, &path, OFlag::O_PATH) {
            Ok(_) => continue,
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno).at("open mount point", point),
        }
        let parent = match count {
            1 => root.try_clone_to_owned().at("open mount point", point)?,
            _ => open_below(root, &parts[..count - 1].join("/"), OFlag::O_PATH | OFlag::O_DIRECTORY).at("open mount point", point)?,
        };
        let name = parts[count - 1];
        if directory || count < parts.len() {
            nix::sys::stat::mkdirat(&parent, name, nix::sys::stat::Mode::from_bits_truncate(0o755)).at("make mount point", point)?;
        } else {
            let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_RDONLY;
            nix::fcntl::openat(&parent, name, flags, nix::sys::stat::Mode::from_bits_truncate(0o644)).at("make mount point", point)?;
        }
    }
    Ok(())
}

/// 0, 1, 2 of init: what each is, in CRIU's words, as runc's descriptors.json has them. A file of the host's is its key, a space, its path.
pub fn stdio(pid: i32) -> Result<Vec<String>> {
    let own: BTreeSet<u64> = mountinfo(&pid.to_string())?.into_iter().map(|mount| mount.id).collect();
    (0..3).map(|number| stream(pid, number, &own)).collect()
}

fn stream(pid: i32, number: i32, own: &BTreeSet<u64>) -> Result<String> {
    let path = format!("/proc/{pid}/fd/{number}");
    let target = match std::fs::read_link(&path) {
        // The program has closed it.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(String::new()),
        read => read.at("look at", &path)?.to_string_lossy().into_owned(),
    };
    let info = format!("/proc/{pid}/fdinfo/{number}");
    let text = std::fs::read_to_string(&info).at("read", &info)?;
    let Some(mount) = field(&text, "mnt_id:").and_then(|id| id.parse::<u64>().ok()) else { return Ok(target) };
    if own.contains(&mount) || !target.starts_with('/') {
        return Ok(target);
    }
    let found = std::fs::metadata(&path).at("look at", &path)?;
    if found.file_type().is_char_device() && TERMINALS.contains(&major(found.rdev())) {
        return Ok(target);
    }
    let flags = field(&text, "flags:").and_then(|flags| i32::from_str_radix(flags, 8).ok()).unwrap_or(0);
    if flags & O_NOFOLLOW != 0 {
        // Found out now, while the container still is: CRIU opens what is handed to it anew, by a link.
        let error = Error::host(format!("checkpoint descriptor {number}: it was opened with O_NOFOLLOW"), "criu could not open it again");
        return Err(error.with_path(target));
    }
    // A file that only the caller had: its name inside means nothing.
    Ok(format!("{FILE}{mount:x}:{:x}] {target}", found.ino()))
}

/// Begins the key of an open file of the host's: criu(8), --external.
const FILE: &str = "file[";
/// Begins what CRIU calls a pipe that leads out of the container.
const PIPE: &str = "pipe:[";

/// Of a stream, the key of a file of the host's.
pub fn file_key(stream: &str) -> Option<&str> {
    stream.starts_with(FILE).then(|| stream.split(' ').next().unwrap_or(stream))
}

/// What the caller's descriptor must be handed over for, and whether it is /dev/null, for which there is no need of the caller's.
pub fn inherited(stream: &str) -> Option<(&str, bool)> {
    let key = file_key(stream).or_else(|| stream.starts_with(PIPE).then_some(stream))?;
    Some((key, stream.ends_with("] /dev/null")))
}

/// Namespaces that are the host's files: what CRIU calls them, their number, and the key.
pub fn namespaces(spec: &Spec) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (name, key) in OUTSIDE_NAMESPACES {
        if let Some(path) = namespace_path(spec, name) {
            let inode = std::fs::metadata(path).at("look at namespace", path.to_string_lossy())?.ino();
            found.push(format!("{name}[{inode}]:{key}"));
        }
    }
    Ok(found)
}

/// The file of a namespace that config.json gives.
pub fn namespace_path<'a>(spec: &'a Spec, name: &str) -> Option<&'a Path> {
    let wanted = |kind: LinuxNamespaceType| kind_name(kind) == name;
    let spaces = spec.linux().as_ref()?.namespaces().as_ref()?;
    spaces.iter().find(|space| wanted(space.typ())).and_then(|space| space.path().as_deref())
}

fn kind_name(kind: LinuxNamespaceType) -> &'static str {
    match kind {
        LinuxNamespaceType::Mount => "mnt",
        LinuxNamespaceType::Cgroup => "cgroup",
        LinuxNamespaceType::Uts => "uts",
        LinuxNamespaceType::Ipc => "ipc",
        LinuxNamespaceType::User => "user",
        LinuxNamespaceType::Pid => "pid",
        LinuxNamespaceType::Network => "net",
        LinuxNamespaceType::Time => "time",
    }
}

/// Given namespaces that CRIU joins by path at the restore: name and path.
pub fn joined(spec: &Spec) -> Vec<(&'static str, &Path)> {
    let spaces = spec.linux().iter().flat_map(|linux| linux.namespaces().iter().flatten());
    let named = spaces.filter_map(|space| Some((kind_name(space.typ()), space.path().as_deref()?)));
    named.filter(|(name, _)| OUTSIDE_NAMESPACES.iter().all(|(outside, _)| outside != name)).collect()
}

/// Whether the container's root is the directory on the host that its state names, not a layer that only its mount namespace has.
pub fn root_is(rootfs: &Path, pid: i32) -> Result<bool> {
    let inside = format!("/proc/{pid}/root");
    let inside = std::fs::metadata(&inside).at("look at the root of the container", &inside)?;
    match std::fs::metadata(rootfs) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        found => found
            .at("look at the root file system", rootfs.to_string_lossy())
            .map(|found| (found.dev(), found.ino()) == (inside.dev(), inside.ino())),
    }
}
