//! The processes of a container that has no cgroup: those of its pid namespace, and of what was made below that (pid_namespaces(7)).
//!
//! Neighbours: `container` asks where there is no cgroup; cgroup/processes.rs answers where there is one.

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::MetadataExt;

use crate::error::{Context, Result};

/// PIDs as the calling process sees them, in order. None where the namespace of `init` is the caller's own: it tells nothing then.
pub fn processes(init: i32) -> Result<Option<Vec<i32>>> {
    let Some(inside) = namespace(&init.to_string()) else { return Ok(Some(Vec::new())) };
    if Some(inside) == namespace("self") {
        return Ok(None);
    }
    let mut parents = HashMap::new();
    let mut found = HashSet::new();
    for entry in std::fs::read_dir("/proc").at("list", "/proc")? {
        let Ok(pid) = entry.at("list", "/proc")?.file_name().to_string_lossy().parse::<i32>() else { continue };
        if namespace(&pid.to_string()) == Some(inside) {
            found.insert(pid);
        } else if let Some(parent) = parent(pid) {
            parents.insert(pid, parent);
        }
    }
    // In a namespace below it, whose first process, the parent of its orphans, was made by one of ours.
    loop {
        let below: Vec<i32> = parents.iter().filter(|(_, parent)| found.contains(parent)).map(|(pid, _)| *pid).collect();
        if below.is_empty() {
            break;
        }
        parents.retain(|pid, _| !below.contains(pid));
        found.extend(below);
    }
    let mut pids: Vec<i32> = found.into_iter().collect();
    pids.sort_unstable();
    Ok(Some(pids))
}

/// Device and inode of the pid namespace. None for what has ended, and for what is none of the caller's business.
fn namespace(pid: &str) -> Option<(u64, u64)> {
    std::fs::metadata(format!("/proc/{pid}/ns/pid")).ok().map(|file| (file.dev(), file.ino()))
}

/// proc_pid_stat(5): the second field after the name in brackets.
fn parent(pid: i32) -> Option<i32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}
