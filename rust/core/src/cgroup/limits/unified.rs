//! `unified`: cgroup2 files by name, written as they are.

use std::collections::HashMap;

use super::Limits;
use crate::cgroup::directory::Version;
use crate::error::{Error, Result};

/// Of the core files, those that limit; the others move processes or end them (`cgroup.procs`, `cgroup.kill`).
const CORE_LIMITS: &[&str] = &["cgroup.max.depth", "cgroup.max.descendants", "cgroup.pressure"];

/// What the core files' setting is called; every cgroup2 has them without a controller.
pub(super) const CORE: &str = "cgroup";

pub(super) fn unified(limits: &mut Limits<'_>, files: &HashMap<String, String>) -> Result<()> {
    let mut files: Vec<_> = files.iter().collect();
    files.sort();
    for (file, value) in files {
        let path = format!("linux.resources.unified[{file:?}]");
        let controller = match file.split_once('.') {
            Some((controller, rest)) if !controller.is_empty() && !rest.is_empty() && !file.contains(['/', '\0']) => controller,
            _ => return Err(Error::spec(path, "is not a cgroup2 file, CONTROLLER.NAME")),
        };
        if controller == CORE && !CORE_LIMITS.contains(&file.as_str()) {
            return Err(Error::spec(path, format!("is no limit; of the cgroup.* files {} can be set", CORE_LIMITS.join(", "))));
        }
        let Some(unified) = limits.hierarchies.unified() else {
            return Err(Error::host(format!("limit {path}: no cgroup2 on this host"), "use the fields of linux.resources"));
        };
        if controller != CORE && !unified.controllers.iter().any(|name| name == controller) {
            let hint = format!("use the fields of linux.resources; cgroup2 has here: {}", unified.controllers.join(" "));
            return Err(Error::host(format!("limit {path}: cgroup2 has no {controller} controller on this host"), hint));
        }
        // Files with a line for each device take one line a write.
        for line in value.lines().filter(|line| !line.is_empty()) {
            limits.set((Version::V2, controller.to_owned()), &path, file, line);
        }
    }
    Ok(())
}
