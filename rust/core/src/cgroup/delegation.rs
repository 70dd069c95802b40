//! Delegation on cgroup2 (cgroups(7), "Cgroups v2 delegation"), in both directions: the caller makes room in the cgroup that was delegated to it,
//! and a container's own cgroup is handed on to the user inside.
//!
//! Neighbours: `v2` gives controllers down, `plan` makes.

use std::ffi::CStr;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::unistd::{fchown, fchownat, Uid};

use super::directory::Directory;
use super::group::Cgroup;
use super::plan::CgroupPlan;
use super::processes;
use crate::error::{Context, Error, Result};
use crate::sys::xattr;
use crate::watcher;

/// Where the caller goes in its own cgroup, which may have no processes as soon as it gives controllers down.
const LEAF: &str = "pyrt-caller";

/// systemd marks by these which cgroups it leaves to others (systemd.resource-control(5), "Delegate="); the first only root can read.
const MARKS: [&CStr; 2] = [c"trusted.delegate", c"user.delegate"];

/// sd_booted(3).
const SYSTEMD: &str = "/run/systemd/system";

/// Which files of a cgroup its new owner gets, as this kernel has it (cgroups(7)); and those that config-linux.md, "Cgroup ownership", has for an
/// older one.
const FILES: &str = "/sys/kernel/cgroup/delegate";
const FILES_OF_OLD: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";

/// Move the caller out of this cgroup into a leaf of it, its watcher too.
///
/// `refused` is why that is necessary, and the error where others are in the way, which it then names, or where systemd did not delegate the
/// cgroup. The caller stays in the leaf: with controllers given down there is no way back.
pub(super) fn make_room(directory: &Directory, refused: Error) -> Result<()> {
    let inside = match processes::of_any_namespace(directory) {
        Ok(inside) if !inside.is_empty() => inside,
        _ => return Err(refused),
    };
    let own = std::process::id() as i32;
    let movable = [Some(own), watcher::pid()];
    let others: Vec<i32> = inside.iter().copied().filter(|pid| !movable.contains(&Some(*pid))).collect();
    if !others.is_empty() {
        let others: Vec<i32> = others.into_iter().filter(|pid| *pid != 0).collect();
        let hint = "in that cgroup itself; move them into a cgroup below it, only then can it give controllers down";
        return Err(refused.with_hint(format!("{} {hint}", processes::list(&others))));
    }
    if Path::new(SYSTEMD).exists() && !is_delegated(directory).at("look for systemd's mark on cgroup", directory.path())? {
        return Err(refused.with_hint("the caller is in that cgroup itself, which systemd has not delegated; set Delegate=yes in its unit"));
    }
    match directory.make(LEAF) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(Error::system("make cgroup for the caller", directory.path_of(LEAF), errno)),
    }
    let leaf = directory.open_below(LEAF).at("open cgroup", directory.path_of(LEAF))?;
    inside.iter().try_for_each(|pid| match leaf.try_write("cgroup.procs", &pid.to_string()) {
        // A watcher that ended meanwhile.
        Err(Errno::ESRCH) if *pid != own => Ok(()),
        Err(errno) => Err(leaf.refused("cgroup.procs", &pid.to_string(), errno)),
        Ok(()) => Ok(()),
    })
}

/// Whether systemd says so of the cgroup, or of one that it lies in.
fn is_delegated(directory: &Directory) -> nix::Result<bool> {
    let mut current = directory.open_below(".")?;
    loop {
        for mark in MARKS {
            if xattr::get(current.fd(), mark)?.as_deref() == Some(b"1") {
                return Ok(true);
            }
        }
        if current.is_mount_root().map_err(|error| error.errno.unwrap_or(Errno::EIO))? {
            return Ok(false);
        }
        current = current.open_below("..")?;
    }
}

/// Who gets a container's cgroup2 directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// A user as the caller knows him.
    Outside(u32),
    /// One of a user namespace whose mapping is not known yet.
    Inside(u32),
}

impl CgroupPlan {
    /// The cgroup2 directory is handed on to this user.
    pub fn owned_by(mut self, uid: u32) -> Self {
        self.owner = Some(Owner::Outside(uid));
        self
    }

    /// The same for a user of a namespace that the container joins: `hand_on_inside` follows when it has.
    pub fn owned_inside_by(mut self, uid: u32) -> Self {
        self.owner = Some(Owner::Inside(uid));
        self
    }

    /// What `owned_inside_by` asked for, with the mapping of a process that is in the user namespace. Nobody gets it where the user is not mapped.
    pub fn hand_on_inside(&self, cgroup: &Cgroup, pid: i32) -> Result<()> {
        let (Some(Owner::Inside(inside)), Some(directory)) = (self.owner, cgroup.v2()) else { return Ok(()) };
        let path = format!("/proc/{pid}/uid_map");
        let maps = std::fs::read_to_string(&path).at("read", &path)?;
        match maps.lines().find_map(|line| mapped(line, inside)) {
            Some(uid) => hand_on(directory, uid),
            None => Ok(()),
        }
    }
}

/// By a line of uid_map: first id inside, first id outside, how many (user_namespaces(7)).
fn mapped(line: &str, inside: u32) -> Option<u32> {
    let mut numbers = line.split_whitespace().map(str::parse::<u32>);
    let (first, outside, count) = (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?);
    let offset = inside.checked_sub(first).filter(|offset| *offset < count)?;
    outside.checked_add(offset)
}

/// Make the user the owner of the directory and of the files in it that are for whom it is delegated to.
pub(super) fn hand_on(directory: &Directory, uid: u32) -> Result<()> {
    let uid = Some(Uid::from_raw(uid));
    fchown(directory.fd(), uid, None).at("change the owner of cgroup", directory.path())?;
    let listed = std::fs::read_to_string(FILES).unwrap_or_else(|_| FILES_OF_OLD.to_owned());
    listed.lines().try_for_each(|file| match fchownat(directory.fd(), file, uid, None, AtFlags::AT_SYMLINK_NOFOLLOW) {
        // Of a controller that this cgroup does not have.
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(Error::system("change the owner of", directory.path_of(file), errno)),
    })
}

#[cfg(test)]
mod tests {
    use super::mapped;

    #[test]
    fn a_user_inside_is_who_the_map_says_outside() {
        assert_eq!(mapped("         0     100000      65536", 7), Some(100_007));
        assert_eq!(mapped("      1000          0          1", 1000), Some(0));
        assert_eq!(mapped("      1000          0          1", 1001), None);
        assert_eq!(mapped("      1000          0          1", 999), None);
    }
}
