//! Which namespaces are made, which are joined, and in which order: docs/architecture.md, "Two paths".

use std::collections::HashMap;

use nix::libc;
use oci_spec::runtime::{LinuxIdMapping, LinuxNamespaceType, LinuxTimeOffset, Spec};
use pyrt_init::{meet, setgroups, Step, NO_FD};

use super::builder::{text, Builder, Handed, Numbers};
use crate::cgroup::{CgroupPlan, UNIFIED};
use crate::error::{Error, Result};
use crate::host::HostFacts;

/// nix and libc know it under no name on every target; the number is in linux/sched.h.
const CLONE_NEWTIME: u64 = 0x80;

/// The lines of uid_map and gid_map, and who may write them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMaps {
    pub uids: IdMap,
    pub gids: IdMap,
    /// To this caller init's files in /proc are closed unless it is dumpable: they belong to the root of the initial user namespace, and
    /// CAP_SETUID in another does not open them (podman without root is such a caller).
    pub closed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMap {
    pub lines: String,
    pub writer: Writer,
}

/// user_namespaces(7), "Defining user and group ID mappings".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// The caller, with CAP_SETUID and CAP_SETGID.
    Privileged,
    /// The caller, for nothing but his own id; a gid only where setgroups(2) is denied.
    Himself,
    /// newuidmap(1) and newgidmap(1), for the ranges that /etc/subuid and /etc/subgid give him.
    Helper,
}

impl IdMap {
    fn new(maps: &[LinuxIdMapping], at: &str, own: u32, facts: &HostFacts) -> Result<Self> {
        let alone = matches!(maps, [map] if map.size() == 1 && map.host_id() == own);
        let writer = match facts.can_map_any_id() {
            true => Writer::Privileged,
            false if alone => Writer::Himself,
            false => Writer::Helper,
        };
        Ok(IdMap { lines: map_lines(maps, at)?, writer })
    }
}

/// A new time namespace's offsets, as timens_offsets wants them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offsets(pub String);

impl Offsets {
    pub fn new(spec: &Spec) -> Result<Option<Self>> {
        let Some(offsets) = spec.linux().as_ref().and_then(|linux| linux.time_offsets().as_ref()) else { return Ok(None) };
        let mut lines = String::new();
        for (clock, offset) in sorted(offsets) {
            if !matches!(clock.as_str(), "monotonic" | "boottime") {
                return Err(Error::spec(format!("linux.timeOffsets.{clock}"), "only monotonic and boottime have an offset"));
            }
            let nanoseconds = offset.nanosecs().unwrap_or(0);
            if nanoseconds >= 1_000_000_000 {
                return Err(Error::spec(format!("linux.timeOffsets.{clock}.nanosecs"), "must be below 1000000000"));
            }
            lines.push_str(&format!("{clock} {} {nanoseconds}\n", offset.secs().unwrap_or(0)));
        }
        Ok((!lines.is_empty()).then_some(Offsets(lines)))
    }
}

fn sorted(offsets: &HashMap<String, LinuxTimeOffset>) -> Vec<(&String, &LinuxTimeOffset)> {
    let mut all: Vec<_> = offsets.iter().collect();
    all.sort_by_key(|(clock, _)| *clock);
    all
}

struct Given {
    flag: u64,
    path: std::path::PathBuf,
    at: String,
}

pub struct Namespaces {
    /// CLONE_NEW* of those of a container that is entered.
    entered: u64,
    /// CLONE_NEW* of those that are made.
    new: u64,
    given: Vec<Given>,
    maps: Option<IdMaps>,
    mapped_root: (u64, u64),
    /// Of `pyrt_init::setgroups`.
    setgroups: u64,
}

fn denied(denied: bool) -> u64 {
    if denied {
        setgroups::DENIED
    } else {
        setgroups::ALLOWED
    }
}

impl Namespaces {
    pub fn new(spec: &Spec, facts: &HostFacts) -> Result<Self> {
        let mut spaces = Namespaces {
            entered: 0,
            new: 0,
            given: Vec::new(),
            maps: None,
            mapped_root: (0, 0),
            setgroups: denied(facts.setgroups_denied),
        };
        let Some(linux) = spec.linux() else { return Ok(spaces) };
        for (index, namespace) in linux.namespaces().iter().flatten().enumerate() {
            let flag = flag(namespace.typ());
            match namespace.path() {
                None => spaces.new |= flag,
                Some(path) => spaces.given.push(Given { flag, path: path.clone(), at: format!("linux.namespaces[{index}].path") }),
            }
        }
        if spaces.given_user().is_some() {
            spaces.setgroups = setgroups::UNKNOWN;
        }
        if spaces.new & CLONE_NEWTIME != 0 && !facts.exec_enters_time_namespace() {
            return Err(Error::host("create a time namespace", "an execve enters one since Linux 6.1"));
        }
        if spaces.new_user() {
            let (uids, gids) = (linux.uid_mappings().as_deref().unwrap_or_default(), linux.gid_mappings().as_deref().unwrap_or_default());
            spaces.mapped_root = (first_id(uids), first_id(gids));
            let (uids, gids) =
                (IdMap::new(uids, "linux.uidMappings", facts.uid, facts)?, IdMap::new(gids, "linux.gidMappings", facts.gid, facts)?);
            spaces.setgroups = denied(facts.setgroups_denied || gids.writer == Writer::Himself);
            let closed = !facts.initial_user_namespace || uids.writer != Writer::Privileged;
            spaces.maps = Some(IdMaps { uids, gids, closed });
        }
        Ok(spaces)
    }

    /// Those of a container that exists, by CLONE_NEW* flags: the ones that are not the caller's.
    pub fn entered(flags: u64, setgroups_denied: bool) -> Self {
        Namespaces { entered: flags, new: 0, given: Vec::new(), maps: None, mapped_root: (0, 0), setgroups: denied(setgroups_denied) }
    }

    pub fn new_pid(&self) -> bool {
        self.new & libc::CLONE_NEWPID as u64 != 0
    }

    /// The container's processes have a pid namespace that is not the caller's.
    pub fn own_pid(&self) -> bool {
        self.new_pid() || self.entered & libc::CLONE_NEWPID as u64 != 0
    }

    pub fn new_mount(&self) -> bool {
        self.new & libc::CLONE_NEWNS as u64 != 0
    }

    /// New or given: not the caller's.
    pub fn own_mount(&self) -> bool {
        self.new_mount() || self.gives(libc::CLONE_NEWNS as u64)
    }

    pub fn new_network(&self) -> bool {
        self.new & libc::CLONE_NEWNET as u64 != 0
    }

    /// New or given: not the caller's.
    pub fn own_network(&self) -> bool {
        self.new_network() || self.gives(libc::CLONE_NEWNET as u64)
    }

    pub fn new_ipc(&self) -> bool {
        self.new & libc::CLONE_NEWIPC as u64 != 0
    }

    pub fn new_cgroup(&self) -> bool {
        self.new & libc::CLONE_NEWCGROUP as u64 != 0
    }

    pub fn new_user(&self) -> bool {
        self.new & libc::CLONE_NEWUSER as u64 != 0
    }

    fn gives(&self, flag: u64) -> bool {
        self.entered & flag != 0 || self.given.iter().any(|given| given.flag == flag)
    }

    /// The user namespace that is joined: its path, and where config.json has that.
    pub fn given_user(&self) -> Option<(&std::path::Path, &str)> {
        let given = self.given.iter().find(|given| given.flag == libc::CLONE_NEWUSER as u64)?;
        Some((&given.path, &given.at))
    }

    /// The container is not in the caller's user namespace: no device nodes, no locked flags cleared.
    pub fn other_user(&self) -> bool {
        self.new_user() || self.gives(libc::CLONE_NEWUSER as u64)
    }

    /// Of `pyrt_init::setgroups`.
    pub fn setgroups(&self) -> u64 {
        self.setgroups
    }

    /// Path B: a child that shares the caller's memory must never be seen from inside something that exists already.
    pub fn forks(&self) -> bool {
        self.gives(libc::CLONE_NEWPID as u64) || self.gives(libc::CLONE_NEWUSER as u64) || (self.new_user() && !self.given.is_empty())
    }

    pub fn clone_flags(&self) -> u64 {
        if self.forks() {
            0
        } else {
            self.early()
        }
    }

    /// What a clone makes. The cgroup namespace comes later: made here its root would be the caller's cgroup, not the container's. The
    /// time namespace too: its offsets are written while nobody is in it.
    fn early(&self) -> u64 {
        self.new & !(libc::CLONE_NEWCGROUP as u64 | CLONE_NEWTIME)
    }

    /// Into cgroups and namespaces, up to being root of what is ours.
    pub fn enter(&self, steps: &mut Builder, cgroup: Option<&CgroupPlan>) -> Result<()> {
        let hierarchies = cgroup.map_or(0, |plan| plan.paths().iter().filter(|(key, _)| key != UNIFIED).count());
        let map = |steps: &mut Builder| {
            if let Some(maps) = &self.maps {
                if maps.closed {
                    steps.push(Step::Dumpable {});
                }
                steps.push(Step::Meet { what: meet::MAPS });
                steps.push(Step::BecomeMapped { uid: self.mapped_root.0, gid: self.mapped_root.1 });
            }
        };
        if !self.forks() {
            map(steps);
        }
        for number in 0..hierarchies {
            let fd = steps.hand(Handed::Tasks(number));
            steps.push(Step::JoinTasks { fd });
        }
        if !self.given.is_empty() {
            let mut pairs = Numbers::default();
            // The pid namespace last: from then on children are born in it, and nothing here makes one before `Fork`.
            let (pid, others): (Vec<_>, Vec<_>) = self.given.iter().partition(|given| given.flag == libc::CLONE_NEWPID as u64);
            for given in others.into_iter().chain(pid) {
                pairs.push(steps.hand(Handed::Namespace { path: given.path.clone(), flag: given.flag, at: given.at.clone() }));
                pairs.push(given.flag);
            }
            steps.push(Step::JoinNamespaces { pairs: pairs.words() });
        }
        if self.forks() {
            steps.push(Step::Fork { flags: self.early(), cgroup: NO_FD });
            map(steps);
        }
        // After `JoinTasks`: earlier, the host's cgroup path would show inside.
        if self.new_cgroup() {
            steps.push(Step::Unshare { flags: libc::CLONE_NEWCGROUP as u64 });
        }
        if self.new & CLONE_NEWTIME != 0 {
            steps.push(Step::Unshare { flags: CLONE_NEWTIME });
            steps.push(Step::Meet { what: meet::OFFSETS });
        }
        Ok(())
    }

    /// Names, loopback and kernel parameters of the new namespaces.
    pub fn settle(&self, steps: &mut Builder, spec: &Spec) -> Result<()> {
        if let Some(name) = spec.hostname().as_deref().filter(|name| !name.is_empty()) {
            steps.push(Step::Hostname { name: &text(name, "hostname")? });
        }
        if let Some(name) = spec.domainname().as_deref().filter(|name| !name.is_empty()) {
            steps.push(Step::Domainname { name: &text(name, "domainname")? });
        }
        if self.new_network() {
            steps.push(Step::Loopback {});
        }
        let Some(parameters) = spec.linux().as_ref().and_then(|linux| linux.sysctl().as_ref()) else { return Ok(()) };
        let mut names: Vec<_> = parameters.iter().collect();
        names.sort();
        for (name, value) in names {
            self.sysctl(steps, name, value)?;
        }
        Ok(())
    }

    /// Only what belongs to a namespace of the container's own: anything else would change the host.
    fn sysctl(&self, steps: &mut Builder, name: &str, value: &str) -> Result<()> {
        const IPC: [&str; 8] = [
            "kernel.msgmax",
            "kernel.msgmnb",
            "kernel.msgmni",
            "kernel.sem",
            "kernel.shmall",
            "kernel.shmmax",
            "kernel.shmmni",
            "kernel.shm_rmid_forced",
        ];
        let at = format!("linux.sysctl.{name}");
        let dotted = name.replace('/', ".");
        let owner = match dotted.as_str() {
            name if IPC.contains(&name) || name.starts_with("fs.mqueue.") => libc::CLONE_NEWIPC as u64,
            name if name.starts_with("net.") => libc::CLONE_NEWNET as u64,
            "kernel.hostname" | "kernel.domainname" => libc::CLONE_NEWUTS as u64,
            _ => return Err(Error::spec(at, "is not of a namespace: it would change the host")),
        };
        if self.new & owner == 0 && !self.gives(owner) {
            return Err(Error::spec(at, "needs its namespace in linux.namespaces: it would change the host"));
        }
        // sysctl(8): where the first separator is a slash, dots are part of the names (an interface such as eth0.1), else the reverse.
        let path = match name.find(['.', '/']).map(|at| &name[at..at + 1]) {
            Some("/") => format!("sys/{name}"),
            _ => format!(
                "sys/{}",
                name.chars()
                    .map(|c| if c == '.' {
                        '/'
                    } else if c == '/' {
                        '.'
                    } else {
                        c
                    })
                    .collect::<String>()
            ),
        };
        if path.split('/').any(|part| part.is_empty() || part == "..") {
            return Err(Error::spec(at, "is not the name of a kernel parameter"));
        }
        steps.push(Step::Sysctl { path: &text(&path, &at)?, value: &text(value, &at)? });
        Ok(())
    }

    /// Who a user of the container is here, where its user namespace is not a given one; None where nobody is.
    pub fn host_uid(&self, spec: &Spec, inside: u32) -> Option<u32> {
        if !self.new_user() {
            return Some(inside);
        }
        let maps = spec.linux().as_ref().and_then(|linux| linux.uid_mappings().as_deref()).unwrap_or_default();
        maps.iter().find_map(|map| {
            let offset = inside.checked_sub(map.container_id()).filter(|offset| *offset < map.size())?;
            map.host_id().checked_add(offset)
        })
    }

    pub fn into_maps(self) -> Option<IdMaps> {
        self.maps
    }
}

fn flag(kind: LinuxNamespaceType) -> u64 {
    kind as u64
}

/// Container id 0 where it is mapped, else the first that is.
fn first_id(maps: &[LinuxIdMapping]) -> u64 {
    let covers_zero = maps.iter().any(|map| map.container_id() == 0 && map.size() > 0);
    maps.first().map_or(0, |map| if covers_zero { 0 } else { u64::from(map.container_id()) })
}

/// As uid_map(5) has them; `at` is where config.json does.
pub fn map_lines(maps: &[LinuxIdMapping], at: &str) -> Result<String> {
    let mut lines = String::new();
    for (index, map) in maps.iter().enumerate() {
        if map.size() == 0 {
            return Err(Error::spec(format!("{at}[{index}].size"), "must be above 0"));
        }
        lines.push_str(&format!("{} {} {}\n", map.container_id(), map.host_id(), map.size()));
    }
    Ok(lines)
}
