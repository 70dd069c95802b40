//! devices on v1: which device files may be made, read and written. (cgroup2 has an eBPF program for it; that comes with issue 5.)
//!
//! Source: Documentation/admin-guide/cgroup-v1/devices.rst. As in runc, what every container needs is allowed after the list, so
//! that a list which denies all leaves `/dev/null` and making of device nodes.

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

use super::Limits;
use crate::cgroup::directory::Version;
use crate::error::{Error, Result};

const DEVICES: &str = "linux.resources.devices";
const ALL_ACCESS: &str = "rwm";
const ANY: i64 = -1;

/// What runc allows whatever the list says: making any node, the spec's default devices, and terminals.
const IMPLICIT: &[&str] = &[
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",   // null
    "c 1:5 rwm",   // zero
    "c 1:7 rwm",   // full
    "c 1:8 rwm",   // random
    "c 1:9 rwm",   // urandom
    "c 5:0 rwm",   // tty
    "c 5:2 rwm",   // ptmx
    "c 136:* rwm", // pts/N
];

pub(super) fn devices(limits: &mut Limits<'_>, list: &[LinuxDeviceCgroup]) -> Result<()> {
    let mut rules = Vec::new();
    for (index, device) in list.iter().enumerate() {
        rules.extend(lines(device, index)?.into_iter().map(|line| (device.allow(), line)));
    }
    if rules.is_empty() {
        return Ok(());
    }
    let Some((Version::V1, controller)) = limits.hierarchies.locate("devices") else {
        if rules.iter().any(|(allow, _)| !allow) {
            // The default config denies all, so an error here would end every launch; without CAP_MKNOD and with a
            // nodev root there is nothing to open but the default devices anyway.
            limits.warnings.push(format!("{DEVICES} is not enforced: no devices controller on this host"));
        }
        return Ok(());
    };
    rules.extend(IMPLICIT.iter().map(|line| (true, (*line).to_owned())));
    for (allow, line) in rules {
        let file = if allow { "devices.allow" } else { "devices.deny" };
        limits.set((Version::V1, controller.clone()), DEVICES, file, line);
    }
    Ok(())
}

/// One rule of the list as the kernel's lines.
fn lines(device: &LinuxDeviceCgroup, index: usize) -> Result<Vec<String>> {
    let path = |field: &str| format!("{DEVICES}[{index}].{field}");
    let number = |value: Option<i64>, field: &str| match value.unwrap_or(ANY) {
        ANY => Ok("*".to_owned()),
        value if value >= 0 => Ok(value.to_string()),
        value => Err(Error::spec(path(field), format!("{value} is no device number, nor -1 for any"))),
    };
    let access = match device.access().as_deref() {
        None | Some("") => ALL_ACCESS,
        Some(access) if access.bytes().all(|byte| ALL_ACCESS.as_bytes().contains(&byte)) => access,
        Some(access) => return Err(Error::spec(path("access"), format!("{access:?} has letters other than r, w and m"))),
    };
    let (major, minor) = (number(device.major(), "major")?, number(device.minor(), "minor")?);
    let kinds: &[&str] = match device.typ().unwrap_or_default() {
        // The kernel takes "a" for everything, whatever numbers and access follow: only a rule that means everything may say so.
        LinuxDeviceType::A if major == "*" && minor == "*" && ALL_ACCESS.bytes().all(|byte| access.as_bytes().contains(&byte)) => &["a"],
        LinuxDeviceType::A => &["b", "c"],
        LinuxDeviceType::B => &["b"],
        LinuxDeviceType::C | LinuxDeviceType::U => &["c"],
        LinuxDeviceType::P => return Err(Error::spec(path("type"), "a FIFO is no device; a, b or c")),
    };
    Ok(kinds.iter().map(|kind| format!("{kind} {major}:{minor} {access}")).collect())
}
