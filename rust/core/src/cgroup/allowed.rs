//! What of the hierarchies an ordinary user may use: the cgroup that is delegated to him stands for the root of each.
//!
//! Delegated is what he may write to (cgroups(7), "Delegation"): the directory, and in it the file by which processes come in. Sources:
//! cgroup-v2.rst, "Delegation Containment" (a process is moved by whoever may write to the cgroup above both places) and "No Internal
//! Process Constraint". Neighbours: `discovery` finds the hierarchies, `delegation` makes room in one, ../host.rs asks for this where the caller is not root.

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::unistd::{faccessat, AccessFlags};

use super::directory::{Directory, Version};
use super::discovery::{Hierarchies, Hierarchy};
use super::processes;
use crate::error::{Context, Result};

const OWN: &str = "/proc/self/cgroup";

/// Why there is none, and what helps.
pub const NONE: &str =
    "no cgroup is delegated to this user: under systemd, `systemd-run --user --scope -p Delegate=yes` starts a command in \
                        one of his own";
/// The same where there is one.
const FULL: &str =
    "the delegated cgroup has other processes than the caller in it, and so gives no controllers down: start the caller in a \
                    cgroup below it";

impl Hierarchies {
    /// The part of these that the calling process, which is not root, may use. Errors: /proc/self/cgroup cannot be read.
    pub fn delegated(self) -> Result<Hierarchies> {
        let own = std::fs::read_to_string(OWN).at("read", OWN)?;
        let mut found = Hierarchies { limited: Some(NONE), ..Hierarchies::default() };
        let Some((base, full)) = self.base(&own)? else { return Ok(found) };
        found.limited = Some(if full { FULL } else { NONE });
        let at = |hierarchy: &Hierarchy| Hierarchy { mount_point: format!("{}{base}", hierarchy.mount_point), ..hierarchy.clone() };
        if let Some(unified) = self.unified() {
            let mut unified = at(unified);
            let names = if full { "cgroup.subtree_control" } else { "cgroup.controllers" };
            let names = Directory::open(&unified.mount_point)?.read(names)?;
            unified.controllers = names.split_whitespace().map(str::to_owned).collect();
            found.unified = Some(unified);
        }
        // The device controller asks for CAP_SYS_ADMIN, whoever the files belong to.
        let usable = |hierarchy: &Hierarchy| !hierarchy.controllers.iter().any(|name| name == "devices");
        found.v1 = self.v1().iter().filter(|one| usable(one)).map(at).filter(|one| writable(&one.mount_point, Version::V1)).collect();
        found.memsw = self.memsw();
        Ok(found)
    }

    /// The cgroup below which the caller may make others, and whether it gives no controllers down: the nearest above his own that has no
    /// processes, else his own, in which only he himself may be (`delegation` then makes room).
    fn base(&self, own: &str) -> Result<Option<(String, bool)>> {
        let (hierarchy, version) = match (self.unified(), self.v1().first()) {
            (Some(unified), _) => (unified, Version::V2),
            (None, Some(first)) => (first, Version::V1),
            (None, None) => return Ok(None),
        };
        let Some(own) = own_path(own, hierarchy, version) else { return Ok(None) };
        let above = own.match_indices('/').map(|(end, _)| &own[..end]);
        for path in above.collect::<Vec<_>>().into_iter().rev() {
            let absolute = format!("{}{path}", hierarchy.mount_point);
            if !writable(&absolute, version) {
                break;
            }
            let directory = Directory::open(&absolute)?;
            if processes::of(&directory).at("read the processes of cgroup", &absolute)?.is_empty() {
                return Ok(Some((path.to_owned(), false)));
            }
        }
        let absolute = format!("{}{own}", hierarchy.mount_point);
        if !writable(&absolute, version) {
            return Ok(None);
        }
        let inside = processes::of(&Directory::open(&absolute)?).at("read the processes of cgroup", &absolute)?;
        let alone = inside == [std::process::id() as i32];
        Ok(Some((own.to_owned(), version == Version::V2 && !alone)))
    }
}

/// The caller's cgroup below the mount's root, from the lines of /proc/self/cgroup; `None` where the mount does not show it.
fn own_path<'a>(lines: &'a str, hierarchy: &Hierarchy, version: Version) -> Option<&'a str> {
    let of = |line: &'a str| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let ours = match version {
            Version::V2 => controllers.is_empty(),
            Version::V1 => controllers.split(',').any(|name| hierarchy.controllers.iter().any(|known| known == name)),
        };
        ours.then_some(path)
    };
    let path = lines.lines().find_map(of)?;
    let below = if hierarchy.root == "/" { path } else { path.strip_prefix(&hierarchy.root)? };
    // What lies outside of a cgroup namespace starts with "/..".
    (below.starts_with('/') && !below.starts_with("/..")).then_some(below.trim_end_matches('/'))
}

fn writable(directory: &str, version: Version) -> bool {
    let door = match version {
        Version::V2 => "cgroup.procs",
        Version::V1 => "tasks",
    };
    let may = |path: &str| faccessat(AT_FDCWD, path, AccessFlags::W_OK, nix::fcntl::AtFlags::AT_EACCESS) == Ok::<(), Errno>(());
    may(directory) && may(&format!("{directory}/{door}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hierarchy(root: &str, controllers: &[&str]) -> Hierarchy {
        Hierarchy {
            mount_point: "/m".to_owned(),
            root: root.to_owned(),
            controllers: controllers.iter().map(|name| (*name).to_owned()).collect(),
            read_only: false,
        }
    }

    #[test]
    fn the_own_cgroup_is_taken_from_the_line_of_the_hierarchy() {
        let lines = "4:memory:/mine\n1:name=systemd:/other\n0::/user.slice/session\n";
        assert_eq!(own_path(lines, &hierarchy("/", &[]), Version::V2), Some("/user.slice/session"));
        assert_eq!(own_path(lines, &hierarchy("/", &["memory"]), Version::V1), Some("/mine"));
        assert_eq!(own_path(lines, &hierarchy("/", &["pids"]), Version::V1), None);
    }

    #[test]
    fn the_own_cgroup_is_below_what_the_mount_shows_or_not_there() {
        assert_eq!(own_path("0::/docker/a/b\n", &hierarchy("/docker/a", &[]), Version::V2), Some("/b"));
        assert_eq!(own_path("0::/elsewhere\n", &hierarchy("/docker/a", &[]), Version::V2), None);
        assert_eq!(own_path("0::/\n", &hierarchy("/", &[]), Version::V2), Some(""));
        assert_eq!(own_path("0::/../other\n", &hierarchy("/", &[]), Version::V2), None);
    }
}
