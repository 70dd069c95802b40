//! memory: limit, soft limit, swap, swappiness, the OOM killer.
//!
//! The spec's `swap` is memory *plus* swap, as v1 counts (`memory.memsw`); v2 limits swap alone, so the limit is subtracted.
//! Order: the limit comes before memsw, which may not be smaller; where that is refused, the writer turns the two around.

use oci_spec::runtime::LinuxMemory;

use super::{bytes, in_range, not_on_v2, or_max, Limits, Setting, UNLIMITED};
use crate::cgroup::directory::Version;
use crate::error::{Error, Result};

const LIMIT: &str = "linux.resources.memory.limit";
const RESERVATION: &str = "linux.resources.memory.reservation";
const SWAP: &str = "linux.resources.memory.swap";
const KERNEL: &str = "linux.resources.memory.kernel";
const KERNEL_TCP: &str = "linux.resources.memory.kernelTCP";
const SWAPPINESS: &str = "linux.resources.memory.swappiness";
const DISABLE_OOM_KILLER: &str = "linux.resources.memory.disableOOMKiller";
const USE_HIERARCHY: &str = "linux.resources.memory.useHierarchy";

pub(super) fn memory(limits: &mut Limits<'_>, memory: &LinuxMemory) -> Result<()> {
    let limit = bytes(memory.limit(), LIMIT)?;
    if let Some(limit) = limit {
        set_bytes(limits, LIMIT, limit, "memory.limit_in_bytes", "memory.max")?;
    }
    swap(limits, limit, bytes(memory.swap(), SWAP)?)?;
    if let Some(reservation) = bytes(memory.reservation(), RESERVATION)? {
        set_bytes(limits, RESERVATION, reservation, "memory.soft_limit_in_bytes", "memory.low")?;
    }
    if let Some(limit) = bytes(memory.kernel_tcp(), KERNEL_TCP)? {
        if limit != UNLIMITED || limits.hierarchies.locate("memory").is_some_and(|(version, _)| version == Version::V1) {
            let controller = limits.require_v1("memory", KERNEL_TCP)?;
            limits.set((Version::V1, controller), KERNEL_TCP, "memory.kmem.tcp.limit_in_bytes", limit);
        }
    }
    if let Some(swappiness) = memory.swappiness() {
        let swappiness = in_range(swappiness, 0..=100, SWAPPINESS)?;
        let controller = limits.require_v1("memory", SWAPPINESS)?;
        limits.set((Version::V1, controller), SWAPPINESS, "memory.swappiness", swappiness);
    }
    if let Some(disable) = memory.disable_oom_killer() {
        match limits.hierarchies.locate("memory") {
            Some((Version::V1, controller)) => {
                limits.set((Version::V1, controller), DISABLE_OOM_KILLER, "memory.oom_control", u8::from(disable))
            }
            Some(_) if disable => return Err(not_on_v2(DISABLE_OOM_KILLER)),
            None if disable => limits.require("memory", DISABLE_OOM_KILLER).map(drop)?,
            _ => {}
        }
    }
    if memory.use_hierarchy() == Some(false) {
        return Err(Error::host(format!("{USE_HIERARCHY}: this kernel always counts hierarchically"), "leave it out, or set it to true"));
    }
    #[allow(deprecated)] // the field is deprecated by the spec, and still sent by engines
    if bytes(memory.kernel(), KERNEL)?.is_some() {
        limits.warnings.push(format!("{KERNEL} is ignored: Linux has no such limit since 5.16, and the spec deprecates it"));
    }
    Ok(())
}

/// No controller is needed for "no limit" on a host that has none.
fn set_bytes(limits: &mut Limits<'_>, json_path: &str, value: i64, v1: &str, v2: &str) -> Result<()> {
    if value == UNLIMITED && limits.hierarchies.locate("memory").is_none() {
        return Ok(());
    }
    match limits.require("memory", json_path)? {
        at @ (Version::V1, _) => limits.set(at, json_path, v1, value),
        at @ (Version::V2, _) => limits.set(at, json_path, v2, or_max(value)),
    }
    Ok(())
}

/// The cases are runc's: unlimited memory without a word on swap makes swap unlimited too (a limit of before would stay); swap
/// without a memory limit means nothing.
fn swap(limits: &mut Limits<'_>, limit: Option<i64>, swap: Option<i64>) -> Result<()> {
    let total = match (limit, swap) {
        (Some(UNLIMITED), None) => UNLIMITED,
        (_, None) => return Ok(()),
        (_, Some(UNLIMITED)) => UNLIMITED,
        (None, Some(_)) => return Err(Error::spec(SWAP, "is memory plus swap, so it needs linux.resources.memory.limit beside it")),
        (Some(limit), Some(total)) if limit != UNLIMITED && total < limit => {
            return Err(Error::spec(SWAP, format!("{total} is memory plus swap and cannot be below the memory limit, {limit}")));
        }
        (_, Some(total)) => total,
    };
    match limits.hierarchies.locate("memory") {
        // Nothing counts swap here, so nothing limits it: what -1 asks for holds. Any other sum would be a promise that nobody keeps.
        None if total == UNLIMITED => {}
        Some((Version::V1, _)) if !limits.hierarchies.memsw() && total == UNLIMITED => {}
        Some((Version::V1, _)) if !limits.hierarchies.memsw() => {
            let hint = "leave linux.resources.memory.swap out or set it to -1, or boot with swapaccount=1";
            return Err(Error::host(format!("limit {SWAP}: this kernel does not count swap (no memory.memsw.limit_in_bytes)"), hint));
        }
        Some(at @ (Version::V1, _)) => limits.set(at, SWAP, "memory.memsw.limit_in_bytes", total),
        _ => {
            let (version, controller) = limits.require("memory", SWAP)?;
            // With memory unlimited there is no sum to split: the number is taken as swap, as runc does.
            let alone = limit.filter(|limit| *limit != UNLIMITED && total != UNLIMITED).map_or(total, |limit| total - limit);
            let files = vec![("memory.swap.max".to_owned(), or_max(alone))];
            let optional = alone == UNLIMITED;
            limits.settings.push(Setting { version, controller, files, optional, json_path: SWAP.to_owned() });
        }
    }
    Ok(())
}
