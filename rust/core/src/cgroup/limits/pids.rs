//! pids: how many tasks.

use oci_spec::runtime::LinuxPids;

use super::{or_max, Limits, UNLIMITED};
use crate::error::Result;

const LIMIT: &str = "linux.resources.pids.limit";

/// Negative is "no limit". runtime-spec 1.3 makes 0 a limit of its own, but `oci_spec` reads a missing limit as 0 too, and engines of
/// before 1.3 (podman 4's `--pids-limit -1`, CRI-O) send 0 for "none"; so 0 stays "not set", which a new cgroup has as "no limit".
pub(super) fn pids(limits: &mut Limits<'_>, pids: &LinuxPids) -> Result<()> {
    let limit = pids.limit().max(UNLIMITED);
    if limit == 0 || (limit == UNLIMITED && limits.hierarchies.locate("pids").is_none()) {
        return Ok(());
    }
    let at = limits.require("pids", LIMIT)?;
    limits.set(at, LIMIT, "pids.max", or_max(limit));
    Ok(())
}
