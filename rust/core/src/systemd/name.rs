//! What linux.cgroupsPath means to systemd: "slice:prefix:name" is the scope `prefix-name.scope` in that slice, as in runc and crun.

use super::{Manager, Owner};
use crate::error::{Error, Result};

const CGROUPS_PATH: &str = "linux.cgroupsPath";
const SCOPE: &str = ".scope";
const SLICE: &str = ".slice";
/// Bytes in a unit's name (systemd.unit(5)).
const UNIT_NAME_MAX: usize = 255;
/// A cgroup of such a name would be taken for a file of the kernel's, so systemd puts "_" before it.
const CONTROLLERS: [&str; 8] = ["cgroup", "cpu", "cpuset", "io", "memory", "pids", "devices", "hugetlb"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    pub slice: String,
    pub unit: String,
    /// Its cgroup below the mount's root.
    pub path: String,
}

impl Name {
    /// `path` as config.json has it. An empty slice is system.slice, or user.slice for a user's own systemd.
    pub fn new(manager: &Manager, path: &str) -> Result<Self> {
        let parts: Vec<&str> = path.split(':').collect();
        let &[slice, prefix, name] = parts.as_slice() else {
            // runc's words.
            let reason = format!("expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {path:?} instead");
            return Err(Error::spec(CGROUPS_PATH, reason));
        };
        let slice = match (slice, manager.owner) {
            ("", Owner::System) => "system.slice",
            ("", Owner::User) => "user.slice",
            ("-", _) => "-.slice",
            (slice, _) => slice,
        };
        if name.is_empty() {
            return Err(Error::spec(CGROUPS_PATH, format!("{path:?} has no name after the last colon")));
        }
        if name.ends_with(SLICE) {
            return Err(Error::spec(CGROUPS_PATH, format!("{path:?} names a slice, and a slice has no processes of its own")));
        }
        let unit = format!("{}-{}{SCOPE}", escaped(prefix), escaped(name));
        if unit.len() > UNIT_NAME_MAX {
            return Err(Error::spec(CGROUPS_PATH, format!("{unit:?} is longer than the {UNIT_NAME_MAX} bytes of a unit's name")));
        }
        let above = expanded(slice).ok_or_else(|| Error::spec(CGROUPS_PATH, format!("{slice:?} is no slice like a-b.slice")))?;
        let path = format!("{}{above}/{}", manager.control_group, directory(&unit));
        Ok(Name { slice: slice.to_owned(), unit, path })
    }
}

/// "a-b.slice" lies in "a.slice" (systemd.slice(5)): "/a.slice/a-b.slice". The root slice is "".
fn expanded(slice: &str) -> Option<String> {
    let name = slice.strip_suffix(SLICE)?;
    if name == "-" {
        return Some(String::new());
    }
    if slice.len() > UNIT_NAME_MAX || !name.bytes().all(is_plain) || name.split('-').any(str::is_empty) {
        return None;
    }
    let ends = name.match_indices('-').map(|(end, _)| end).chain([name.len()]);
    Some(ends.map(|end| format!("/{}", directory(&format!("{}{SLICE}", &name[..end])))).collect())
}

/// The name of a unit's cgroup.
fn directory(unit: &str) -> String {
    let reserved =
        unit.starts_with(['_', '.']) || CONTROLLERS.iter().any(|name| unit.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')));
    if reserved {
        format!("_{unit}")
    } else {
        unit.to_owned()
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b":-_.\\".contains(&byte)
}

/// What a unit's name cannot have, an id's "+" above all, as systemd-escape(1) writes it.
fn escaped(text: &str) -> String {
    text.bytes().map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("\\x{byte:02x}") }).collect()
}

pub(super) fn is_scope(unit: &str) -> bool {
    unit.len() <= UNIT_NAME_MAX && unit.ends_with(SCOPE) && unit.len() > SCOPE.len() && unit.bytes().all(is_plain)
}
