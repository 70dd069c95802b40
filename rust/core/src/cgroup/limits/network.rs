//! net_cls and net_prio, which only v1 has: the class of packets, and their priority by interface.

use oci_spec::runtime::LinuxNetwork;

use super::Limits;
use crate::cgroup::directory::Version;
use crate::error::{Error, Result};

const CLASS_ID: &str = "linux.resources.network.classID";

pub(super) fn network(limits: &mut Limits<'_>, network: &LinuxNetwork) -> Result<()> {
    if let Some(class) = network.class_id().filter(|class| *class != 0) {
        let controller = limits.require_v1("net_cls", CLASS_ID)?;
        limits.set((Version::V1, controller), CLASS_ID, "net_cls.classid", class);
    }
    for (index, priority) in network.priorities().iter().flatten().enumerate() {
        let path = format!("linux.resources.network.priorities[{index}]");
        let name = priority.name();
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(Error::spec(format!("{path}.name"), format!("{name:?} is no interface name")));
        }
        let controller = limits.require_v1("net_prio", &path)?;
        limits.set((Version::V1, controller), &path, "net_prio.ifpriomap", format!("{name} {}", priority.priority()));
    }
    Ok(())
}
