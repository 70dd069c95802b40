//! Which cgroup hierarchies this process sees, and which controllers each has: found once, from `/proc/self/mountinfo`.
//!
//! Neighbours: `plan` decides with it, `limits` asks it where a controller is. Sources: proc_pid_mountinfo(5), cgroups(7).

use super::directory::{Directory, Version};
use crate::error::Result;
use crate::mountinfo::{self, unescape};

/// Names that mount options of a v1 hierarchy use for controllers (kernel/cgroup, `SUBSYS(...)`); all else there are flags.
const V1_CONTROLLERS: &[&str] = &[
    "cpuset",
    "cpu",
    "cpuacct",
    "blkio",
    "memory",
    "devices",
    "freezer",
    "net_cls",
    "perf_event",
    "net_prio",
    "hugetlb",
    "pids",
    "rdma",
    "misc",
    "dmem",
];

/// Controllers with another name on v2: (v1, v2).
const RENAMED: &[(&str, &str)] = &[("blkio", "io")];

/// What kind of cgroup set-up this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Only cgroup2: it limits, tracks and kills.
    V2,
    /// v1 controllers, and a cgroup2 mount that tracks and kills.
    Hybrid,
    V1,
    None,
}

impl Mode {
    /// The word for people and for `host_facts`.
    pub fn name(self) -> &'static str {
        match self {
            Mode::V2 => "v2",
            Mode::Hybrid => "hybrid",
            Mode::V1 => "v1",
            Mode::None => "none",
        }
    }
}

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub mount_point: String,
    /// Which of its cgroups the mount shows as root: not "/" for a bind mount of a part, as containers have it.
    pub root: String,
    pub controllers: Vec<String>,
    pub read_only: bool,
}

/// All hierarchies that limits and processes can be put into.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hierarchies {
    pub(super) unified: Option<Hierarchy>,
    pub(super) v1: Vec<Hierarchy>,
    pub(super) memsw: bool,
    /// The caller is not root and has only these; what to tell him where something is missing.
    pub(super) limited: Option<&'static str>,
}

impl Hierarchies {
    /// Read the mounts and what they offer. Errors: `/proc/self/mountinfo` cannot be read.
    pub fn discover() -> Result<Self> {
        let text = mountinfo::read()?;
        let mut found = Hierarchies::default();
        for mount in seen(parse(&text).collect()) {
            found.take(mount)?;
        }
        if let Some(memory) = found.v1.iter().find(|h| h.controllers.iter().any(|c| c == "memory")) {
            found.memsw = Directory::open(&memory.mount_point)?.has("memory.memsw.limit_in_bytes");
        }
        Ok(found)
    }

    /// Hierarchies made up, for decisions about other hosts than this one.
    pub fn described(unified: Option<(&str, &[&str])>, v1: &[(&str, &[&str])], memsw: bool) -> Self {
        let hierarchy = |(mount_point, controllers): (&str, &[&str])| Hierarchy {
            mount_point: mount_point.to_owned(),
            root: "/".to_owned(),
            controllers: controllers.iter().map(|c| (*c).to_owned()).collect(),
            read_only: false,
        };
        Hierarchies { unified: unified.map(hierarchy), v1: v1.iter().copied().map(hierarchy).collect(), memsw, limited: None }
    }

    pub fn mode(&self) -> Mode {
        match (&self.unified, self.v1.is_empty()) {
            (Some(_), true) => Mode::V2,
            (Some(_), false) => Mode::Hybrid,
            (None, false) => Mode::V1,
            (None, true) => Mode::None,
        }
    }

    /// The cgroup2 mount; its controllers are those that no v1 hierarchy took and the parent delegates.
    pub fn unified(&self) -> Option<&Hierarchy> {
        self.unified.as_ref()
    }

    /// The v1 hierarchies that have controllers.
    pub fn v1(&self) -> &[Hierarchy] {
        &self.v1
    }

    /// Where the controller is, by its v1 or v2 name, and what it is called there. None where this host has none.
    pub fn locate(&self, controller: &str) -> Option<(Version, String)> {
        let names = RENAMED.iter().find(|(old, new)| *old == controller || *new == controller);
        let (old, new) = names.copied().unwrap_or((controller, controller));
        if self.v1.iter().any(|h| h.controllers.iter().any(|c| c == old)) {
            return Some((Version::V1, old.to_owned()));
        }
        self.unified.as_ref()?.controllers.iter().any(|c| c == new).then(|| (Version::V2, new.to_owned()))
    }

    /// Whether the v1 memory controller counts swap (`memory.memsw.*`).
    pub fn memsw(&self) -> bool {
        self.memsw
    }

    /// What an ordinary user lacks, as a hint: these are only what is delegated to him. None for root.
    pub fn limited(&self) -> Option<&'static str> {
        self.limited
    }

    /// Names of all controllers, v2's first, each as it is called where it is.
    pub fn controllers(&self) -> Vec<String> {
        self.unified.iter().chain(&self.v1).flat_map(|h| h.controllers.iter().cloned()).collect()
    }

    /// Take a mount in, unless it is hidden under another one or a better one of its hierarchy is known.
    fn take(&mut self, mount: Mount) -> Result<()> {
        let Some(directory) = mount.visible() else { return Ok(()) };
        let mut hierarchy = mount.hierarchy;
        match mount.version {
            Version::V2 => {
                let controllers = directory.read("cgroup.controllers")?;
                hierarchy.controllers = controllers.split_whitespace().map(str::to_owned).collect();
                if self.unified.as_ref().is_none_or(|known| hierarchy.better_than(known)) {
                    self.unified = Some(hierarchy);
                }
            }
            Version::V1 if hierarchy.controllers.is_empty() => {}
            Version::V1 => match self.v1.iter_mut().find(|known| known.controllers == hierarchy.controllers) {
                Some(known) if hierarchy.better_than(known) => *known = hierarchy,
                Some(_) => {}
                None => self.v1.push(hierarchy),
            },
        }
        Ok(())
    }
}

impl Hierarchy {
    /// The key by which state names the hierarchy: "memory", "cpu,cpuacct".
    pub fn key(&self) -> String {
        self.controllers.join(",")
    }

    fn better_than(&self, other: &Hierarchy) -> bool {
        (!self.read_only, self.root == "/") > (!other.read_only, other.root == "/")
    }
}

/// A cgroup line of mountinfo.
#[derive(Debug)]
struct Mount {
    version: Version,
    device: (u64, u64),
    hierarchy: Hierarchy,
}

impl Mount {
    /// The mount point opened, if it shows this mount and not one that was mounted over it.
    fn visible(&self) -> Option<Directory> {
        let directory = Directory::open(&self.hierarchy.mount_point).ok()?;
        let device = directory.device().ok()?;
        let same = (nix::sys::stat::major(device), nix::sys::stat::minor(device)) == self.device;
        (same && directory.version().ok()? == Some(self.version)).then_some(directory)
    }
}

/// Fields: id, parent, major:minor, root, mount point, options, optional fields..., "-", type, source, super options.
fn parse(mountinfo: &str) -> impl Iterator<Item = Mount> + '_ {
    mountinfo.lines().filter_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut file_system = file_system.split(' ');
        let version = match file_system.next()? {
            "cgroup" => Version::V1,
            "cgroup2" => Version::V2,
            _ => return None,
        };
        let super_options = file_system.nth(1)?;
        let mut mount = mount.split(' ').skip(2);
        let (major, minor) = mount.next()?.split_once(':')?;
        let (root, mount_point, options) = (unescape(mount.next()?), unescape(mount.next()?), mount.next()?);
        let controllers = match version {
            Version::V1 => super_options.split(',').filter(|option| V1_CONTROLLERS.contains(option)).map(str::to_owned).collect(),
            Version::V2 => Vec::new(),
        };
        let read_only = [options, super_options].iter().any(|all| all.split(',').any(|option| option == "ro"));
        let hierarchy = Hierarchy { mount_point, root, controllers, read_only };
        Some(Mount { version, device: (major.parse().ok()?, minor.parse().ok()?), hierarchy })
    })
}

/// Without those that a later mount of cgroups on the same directory hides: its root is what is seen there.
fn seen(mut mounts: Vec<Mount>) -> Vec<Mount> {
    let points: Vec<String> = mounts.iter().map(|mount| mount.hierarchy.mount_point.clone()).collect();
    let mut index = 0;
    mounts.retain(|_| {
        index += 1;
        !points[index..].contains(&points[index - 1])
    });
    mounts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_gives_version_root_and_controllers() {
        let text = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
                    32 31 0:29 /docker/a /sys/fs/cgroup/cpu\\040x ro,nosuid shared:9 master:1 - cgroup cgroup rw,cpu,cpuacct,xattr\n\
                    40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
                    41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n";
        let mounts: Vec<Mount> = parse(text).collect();
        assert_eq!(mounts.len(), 3);
        assert_eq!(mounts[0].hierarchy.mount_point, "/sys/fs/cgroup/cpu x");
        assert_eq!(mounts[0].hierarchy.root, "/docker/a");
        assert_eq!(mounts[0].hierarchy.key(), "cpu,cpuacct");
        assert!(mounts[0].hierarchy.read_only);
        assert!(mounts[1].hierarchy.controllers.is_empty());
        assert_eq!((mounts[2].version, mounts[2].device), (Version::V2, (0, 38)));
    }

    #[test]
    fn the_last_mount_on_a_directory_is_the_one_that_is_seen() {
        let text =
            "1 0 0:9 / /c rw - cgroup cgroup rw,pids\n2 0 0:8 / /d rw - cgroup2 none rw\n3 1 0:9 /part /c rw - cgroup cgroup rw,pids\n";
        let roots: Vec<String> = seen(parse(text).collect()).into_iter().map(|mount| mount.hierarchy.root).collect();
        assert_eq!(roots, ["/", "/part"]);
    }

    #[test]
    fn a_controller_is_found_by_either_name() {
        let hybrid = Hierarchies::described(Some(("/u", &["hugetlb"])), &[("/b", &["blkio"])], false);
        assert_eq!(hybrid.locate("io"), Some((Version::V1, "blkio".to_owned())));
        assert_eq!(hybrid.locate("hugetlb"), Some((Version::V2, "hugetlb".to_owned())));
        assert_eq!(hybrid.locate("memory"), None);
        assert_eq!(hybrid.mode(), Mode::Hybrid);
        let pure = Hierarchies::described(Some(("/u", &["io"])), &[], false);
        assert_eq!(pure.locate("blkio"), Some((Version::V2, "io".to_owned())));
    }

    #[test]
    fn a_writable_whole_mount_is_better_than_a_part() {
        let mount = |root: &str, read_only| {
            let (mount_point, root) = ("/m".to_owned(), root.to_owned());
            Hierarchy { mount_point, root, controllers: Vec::new(), read_only }
        };
        assert!(mount("/", false).better_than(&mount("/part", false)));
        assert!(mount("/part", false).better_than(&mount("/", true)));
        assert!(!mount("/", false).better_than(&mount("/", false)));
    }
}
