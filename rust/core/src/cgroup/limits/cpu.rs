//! cpu: shares or weight, quota per period, burst, idle, realtime.

use oci_spec::runtime::LinuxCpu;

use super::{in_range, Limits};
use crate::cgroup::directory::Version;
use crate::error::{Error, Result};

const SHARES: &str = "linux.resources.cpu.shares";
const QUOTA: &str = "linux.resources.cpu.quota";
const PERIOD: &str = "linux.resources.cpu.period";
const BURST: &str = "linux.resources.cpu.burst";
const IDLE: &str = "linux.resources.cpu.idle";
const REALTIME_RUNTIME: &str = "linux.resources.cpu.realtimeRuntime";
const REALTIME_PERIOD: &str = "linux.resources.cpu.realtimePeriod";

/// What the kernel takes, in microseconds (kernel/sched/core.c: `min_cfs_quota_period`, `max_cfs_quota_period`).
const PERIODS: std::ops::RangeInclusive<u64> = 1_000..=1_000_000;
const SMALLEST_QUOTA: i64 = 1_000;

const SMALLEST_SHARES: u64 = 2;
const LARGEST_SHARES: u64 = 262_144;
const LARGEST_WEIGHT: u64 = 10_000;

pub(super) fn cpu(limits: &mut Limits<'_>, cpu: &LinuxCpu) -> Result<()> {
    let idle = cpu.idle().map(|idle| in_range(idle, 0..=1, IDLE)).transpose()?;
    // The weight of an idle group is the kernel's own; it refuses another.
    if let (Some(shares), true) = (cpu.shares().filter(|shares| *shares != 0), idle != Some(1)) {
        let shares = in_range(shares, SMALLEST_SHARES..=LARGEST_SHARES, SHARES)?;
        match limits.require("cpu", SHARES)? {
            at @ (Version::V1, _) => limits.set(at, SHARES, "cpu.shares", shares),
            at @ (Version::V2, _) => limits.set(at, SHARES, "cpu.weight", weight(shares)),
        }
    }
    bandwidth(limits, cpu)?;
    if let Some(idle) = idle {
        // 0 is what a host without the controller does anyway.
        if idle == 1 || limits.hierarchies.locate("cpu").is_some() {
            let at = limits.require("cpu", IDLE)?;
            limits.set(at, IDLE, "cpu.idle", idle);
        }
    }
    if let Some(period) = cpu.realtime_period().filter(|period| *period != 0) {
        let controller = limits.require_v1("cpu", REALTIME_PERIOD)?;
        limits.set((Version::V1, controller), REALTIME_PERIOD, "cpu.rt_period_us", period);
    }
    if let Some(runtime) = cpu.realtime_runtime().filter(|runtime| *runtime != 0) {
        let controller = limits.require_v1("cpu", REALTIME_RUNTIME)?;
        limits.set((Version::V1, controller), REALTIME_RUNTIME, "cpu.rt_runtime_us", runtime);
    }
    Ok(())
}

/// Quota, period and burst. Any negative quota is "no limit", as in runc.
fn bandwidth(limits: &mut Limits<'_>, cpu: &LinuxCpu) -> Result<()> {
    let quota = cpu.quota().filter(|quota| *quota != 0);
    if let Some(quota) = quota.filter(|quota| (1..SMALLEST_QUOTA).contains(quota)) {
        return Err(Error::spec(QUOTA, format!("{quota} is below the kernel's least, {SMALLEST_QUOTA} microseconds")));
    }
    let period = cpu.period().filter(|period| *period != 0).map(|period| in_range(period, PERIODS, PERIOD)).transpose()?;
    let burst = cpu.burst();
    if let (Some(quota), Some(burst)) = (quota.filter(|quota| *quota > 0), burst) {
        if burst > quota.unsigned_abs() {
            return Err(Error::spec(BURST, format!("{burst} is more than the quota, {quota}")));
        }
    }
    if quota.is_some_and(|quota| quota > 0) || period.is_some() || burst.is_some_and(|burst| burst != 0) {
        let json_path = if quota.is_some() {
            QUOTA
        } else if period.is_some() {
            PERIOD
        } else {
            BURST
        };
        limits.require("cpu", json_path)?;
    }
    match limits.hierarchies.locate("cpu") {
        Some((Version::V1, controller)) => {
            // The period first: a fresh cgroup has no quota yet, so any period is taken, and the quota is then judged by the right one.
            if let Some(period) = period {
                limits.set((Version::V1, controller.clone()), PERIOD, "cpu.cfs_period_us", period);
            }
            if let Some(quota) = quota {
                limits.set((Version::V1, controller.clone()), QUOTA, "cpu.cfs_quota_us", quota.max(super::UNLIMITED));
            }
            if let Some(burst) = burst {
                limits.set((Version::V1, controller), BURST, "cpu.cfs_burst_us", burst);
            }
        }
        Some(at @ (Version::V2, _)) => {
            // A lone quota keeps the period that is there; a lone period can only be written with a quota, which `update` fills in.
            let words = match (quota.map(|quota| if quota < 0 { "max".to_owned() } else { quota.to_string() }), period) {
                (None, None) => None,
                (quota, None) => quota,
                (quota, Some(period)) => Some(format!("{} {period}", quota.unwrap_or_else(|| "max".to_owned()))),
            };
            if let Some(words) = words {
                limits.set(at.clone(), if quota.is_some() { QUOTA } else { PERIOD }, "cpu.max", words);
            }
            if let Some(burst) = burst {
                limits.set(at, BURST, "cpu.max.burst", burst);
            }
        }
        None => {}
    }
    Ok(())
}

/// cpu.weight for cpu.shares: 10^((l^2 + 125 l) / 612 - 7/34), rounded up, with l = log2(shares).
///
/// The quadratic that goes through the ends of both ranges and through both defaults (1024 shares are weight 100); runc since
/// 1.3.2 and crun since 1.23 have it (opencontainers/cgroups pull 20, containers/crun pull 1767), the older linear one gave 39.
fn weight(shares: u64) -> u64 {
    match shares {
        0..=SMALLEST_SHARES => 1,
        LARGEST_SHARES.. => LARGEST_WEIGHT,
        _ => {
            let l = (shares as f64).log2();
            10f64.powf((l * l + 125.0 * l) / 612.0 - 7.0 / 34.0).ceil() as u64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::weight;

    #[test]
    fn shares_become_weights_by_the_quadratic_conversion() {
        for (shares, expected) in [(2, 1), (1024, 100), (262_144, 10_000)] {
            assert_eq!(weight(shares), expected);
        }
        assert!((2..262_144).step_by(97).all(|shares| weight(shares) <= weight(shares + 97)));
    }
}
