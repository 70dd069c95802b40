//! blkio on v1, io on v2: weights and throttles of block devices.
//!
//! Weights are BFQ's where the kernel has it (10 to 1000 as the spec says); v2's own `io.weight` goes from 1 to 10000.

use oci_spec::runtime::{LinuxBlockIo, LinuxThrottleDevice};

use super::{in_range, not_on_v2, Limits};
use crate::cgroup::directory::Version;
use crate::error::{Error, Result};

const WEIGHT: &str = "linux.resources.blockIO.weight";
const LEAF_WEIGHT: &str = "linux.resources.blockIO.leafWeight";
const WEIGHTS: std::ops::RangeInclusive<u16> = 10..=1000;

pub(super) fn block_io(limits: &mut Limits<'_>, io: &LinuxBlockIo) -> Result<()> {
    if let Some(value) = io.weight().filter(|weight| *weight != 0) {
        let value = in_range(value, WEIGHTS, WEIGHT)?;
        set_weight(limits, WEIGHT, "", value)?;
    }
    if let Some(value) = io.leaf_weight().filter(|weight| *weight != 0) {
        let value = in_range(value, WEIGHTS, LEAF_WEIGHT)?;
        let controller = limits.require_v1("blkio", LEAF_WEIGHT)?;
        limits.set((Version::V1, controller), LEAF_WEIGHT, "blkio.leaf_weight", value);
    }
    for (index, device) in io.weight_device().iter().flatten().enumerate() {
        let path = format!("linux.resources.blockIO.weightDevice[{index}]");
        let number = device_number(device.major(), device.minor(), &path)?;
        if let Some(value) = device.weight().filter(|weight| *weight != 0) {
            set_weight(limits, &path, &number, in_range(value, WEIGHTS, &format!("{path}.weight"))?)?;
        }
        if let Some(value) = device.leaf_weight().filter(|weight| *weight != 0) {
            let value = in_range(value, WEIGHTS, &format!("{path}.leafWeight"))?;
            match limits.require("blkio", &path)? {
                (Version::V2, _) => return Err(not_on_v2(&format!("{path}.leafWeight"))),
                at => limits.set(at, &path, "blkio.leaf_weight_device", format!("{number} {value}")),
            }
        }
    }
    for (field, devices, v1, v2) in [
        ("throttleReadBpsDevice", io.throttle_read_bps_device(), "blkio.throttle.read_bps_device", "rbps"),
        ("throttleWriteBpsDevice", io.throttle_write_bps_device(), "blkio.throttle.write_bps_device", "wbps"),
        ("throttleReadIOPSDevice", io.throttle_read_iops_device(), "blkio.throttle.read_iops_device", "riops"),
        ("throttleWriteIOPSDevice", io.throttle_write_iops_device(), "blkio.throttle.write_iops_device", "wiops"),
    ] {
        throttle(limits, field, devices.as_deref().unwrap_or_default(), v1, v2)?;
    }
    Ok(())
}

/// `device` is "major:minor", or empty for the weight that holds for all.
fn set_weight(limits: &mut Limits<'_>, json_path: &str, device: &str, weight: u16) -> Result<()> {
    let value = |weight: u64| if device.is_empty() { weight.to_string() } else { format!("{device} {weight}") };
    let plain = u64::from(weight);
    let (version, controller) = limits.require("blkio", json_path)?;
    let files = match (version, device.is_empty()) {
        (Version::V1, true) => vec![("blkio.bfq.weight".to_owned(), value(plain)), ("blkio.weight".to_owned(), value(plain))],
        (Version::V1, false) => {
            vec![("blkio.bfq.weight_device".to_owned(), value(plain)), ("blkio.weight_device".to_owned(), value(plain))]
        }
        (Version::V2, _) => vec![("io.bfq.weight".to_owned(), value(plain)), ("io.weight".to_owned(), value(io_weight(plain)))],
    };
    limits.set_first(version, controller, json_path, files);
    Ok(())
}

/// 10..1000 to 1..10000, linear, as runc and crun do.
fn io_weight(weight: u64) -> u64 {
    1 + (weight - 10) * 9999 / 990
}

/// A rate of 0 lifts the limit: v1 takes it as such, v2 wants the word.
fn throttle(limits: &mut Limits<'_>, field: &str, devices: &[LinuxThrottleDevice], v1: &str, v2: &str) -> Result<()> {
    for (index, device) in devices.iter().enumerate() {
        let path = format!("linux.resources.blockIO.{field}[{index}]");
        let number = device_number(device.major(), device.minor(), &path)?;
        let rate = device.rate();
        match limits.require("blkio", &path)? {
            at @ (Version::V1, _) => limits.set(at, &path, v1, format!("{number} {rate}")),
            at @ (Version::V2, _) => {
                let rate = if rate == 0 { "max".to_owned() } else { rate.to_string() };
                limits.set(at, &path, "io.max", format!("{number} {v2}={rate}"));
            }
        }
    }
    Ok(())
}

fn device_number(major: i64, minor: i64, json_path: &str) -> Result<String> {
    if major < 0 || minor < 0 {
        return Err(Error::spec(json_path, format!("{major}:{minor} is no device number")));
    }
    Ok(format!("{major}:{minor}"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn weights_reach_both_ends_of_io_weight() {
        assert_eq!((super::io_weight(10), super::io_weight(1000)), (1, 10_000));
    }
}
