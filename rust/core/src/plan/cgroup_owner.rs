//! Whose the container's cgroup is: the user's inside, where he gets it writable (config-linux.md, "Cgroup ownership").
//!
//! That is so on cgroup v2 alone, with a cgroup namespace of the container's own and a cgroup mount that is not read-only. Elsewhere handing it on
//! would let the container change its own limits. Neighbour: ../cgroup/delegation.rs changes the owner.

use std::path::{Component, Path};

use oci_spec::runtime::{Mount, Spec};

use super::builder::Builder;
use super::namespaces::Namespaces;
use crate::cgroup::{CgroupPlan, Mode};
use crate::host::HostFacts;

const MOUNT_POINT: &str = "/sys/fs/cgroup";
const CAP_CHOWN: u32 = 0;

/// The same plan, for a cgroup that becomes that user's.
pub(super) fn handed_on(group: CgroupPlan, spec: &Spec, spaces: &Namespaces, facts: &HostFacts, steps: &mut Builder) -> CgroupPlan {
    let writable = spec.mounts().iter().flatten().any(is_writable_cgroup);
    let Some(process) = spec.process().as_ref().filter(|_| writable && spaces.new_cgroup() && facts.hierarchies.mode() == Mode::V2) else {
        return group;
    };
    let inside = process.user().uid();
    if spaces.given_user().is_some() {
        return group.owned_inside_by(inside);
    }
    match spaces.host_uid(spec, inside) {
        Some(uid) if uid == facts.uid => group,
        Some(_) if !facts.capabilities.has(CAP_CHOWN) => {
            steps.warnings.push(format!("the cgroup is not handed on to user {inside} of the container: the caller lacks CAP_CHOWN"));
            group
        }
        Some(uid) => group.owned_by(uid),
        // Nobody is that user inside; init says so when it becomes him.
        None => group,
    }
}

fn is_writable_cgroup(mount: &Mount) -> bool {
    let is_cgroup = mount.source().as_deref() == Some(Path::new("cgroup")) || matches!(mount.typ().as_deref(), Some("cgroup" | "cgroup2"));
    let there = mount.destination().components().filter(|part| *part != Component::CurDir).eq(Path::new(MOUNT_POINT).components());
    is_cgroup && there && !mount.options().iter().flatten().any(|option| option == "ro")
}
