//! devices: which device files may be made, read and written. v1 has files for the rules, cgroup2 an eBPF program.
//!
//! What every container needs is allowed after the list, as in runc, so that a list which denies all leaves `/dev/null` and making of
//! device nodes. Source: Documentation/admin-guide/cgroup-v1/devices.rst. Neighbour: `cgroup/devices` (the rules, the program).

use oci_spec::runtime::LinuxDeviceCgroup;

use super::Limits;
use crate::cgroup::devices::{read, Kind, Program, Rule, IMPLICIT, LIST};
use crate::error::Result;

pub(super) fn devices(limits: &mut Limits<'_>, list: &[LinuxDeviceCgroup]) -> Result<()> {
    let rules = read(list)?;
    if rules.is_empty() {
        return Ok(());
    }
    match limits.hierarchies.locate("devices") {
        Some(controller) => {
            for rule in rules.iter().chain(IMPLICIT) {
                let file = if rule.allow { "devices.allow" } else { "devices.deny" };
                for line in lines(rule) {
                    limits.set(controller.clone(), LIST, file, line);
                }
            }
        }
        None if limits.hierarchies.unified().is_some() && limits.hierarchies.limited().is_none() => {
            limits.devices = Some(Program::new(&rules));
        }
        // The default config denies all, so an error here would end every launch where no cgroups are mounted; without CAP_MKNOD and
        // with a nodev root there is nothing to open but the default devices anyway.
        None if rules.iter().any(|rule| !rule.allow) => {
            let why = match limits.hierarchies.limited() {
                Some(_) => "it needs root; a user namespace makes no devices, and has only those that are bound there",
                None => "neither cgroup2 nor the v1 devices controller is mounted",
            };
            limits.warnings.push(format!("{LIST} is not enforced: {why}"));
        }
        None => {}
    }
    Ok(())
}

/// A rule as the lines that v1 takes.
fn lines(rule: &Rule) -> Vec<String> {
    // The kernel takes "a" for everything, whatever numbers and access follow: only a rule that means everything may say so.
    let kinds: &[&str] = match rule.kind {
        None if rule.is_about_everything() => &["a"],
        None => &["b", "c"],
        Some(Kind::Block) => &["b"],
        Some(Kind::Character) => &["c"],
    };
    let number = |value: Option<u32>| value.map_or_else(|| "*".to_owned(), |number| number.to_string());
    let (major, minor, access) = (number(rule.major), number(rule.minor), rule.access.letters());
    kinds.iter().map(|kind| format!("{kind} {major}:{minor} {access}")).collect()
}
