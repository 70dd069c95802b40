//! Security labels: `process.apparmorProfile`, `process.selinuxLabel`, `linux.mountLabel`. Refused where the kernel has no such module.

use std::ffi::CStr;

use oci_spec::runtime::Spec;
use pyrt_init::Step;

use super::builder::{text, Builder};
use super::Options;
use crate::error::{Error, Kind, Result};
use crate::host::HostFacts;

/// The label of keys that are made from now on (keyrings(7)).
pub const KEY_LABEL: &CStr = c"self/attr/keycreate";

/// What the program's execve changes to. Before the pivot takes the verified procfs away; forks inherit it, and nothing else executes but
/// startContainer hooks, which belong inside.
pub fn process(steps: &mut Builder, spec: &Spec, options: &Options, facts: &HostFacts) -> Result<()> {
    let Some(process) = spec.process() else { return Ok(()) };
    let modules = facts.modules;
    let profile = process.apparmor_profile().as_deref().unwrap_or_default();
    // Without AppArmor everything is unconfined.
    if !profile.is_empty() && (modules.apparmor || profile != "unconfined") {
        let at = "process.apparmorProfile";
        needed(modules.apparmor, "AppArmor", at)?;
        let value = text(&format!("exec {profile}"), at)?;
        steps.push(Step::Label { attribute: c"self/attr/apparmor/exec", value: &value });
    }
    let label = process.selinux_label().as_deref().unwrap_or_default();
    if !label.is_empty() {
        let at = "process.selinuxLabel";
        needed(modules.selinux, "SELinux", at)?;
        let value = text(label, at)?;
        steps.push(Step::Label { attribute: c"self/attr/exec", value: &value });
        // Else the session keyring would have init's label, and the policy keep the program from its own; execve(2) takes it back.
        if options.new_keyring {
            steps.push(Step::Label { attribute: KEY_LABEL, value: &value });
        }
    }
    Ok(())
}

/// The option that gives new file systems their label.
pub fn mount_option(spec: &Spec, facts: &HostFacts) -> Result<Option<String>> {
    let label = spec.linux().as_ref().and_then(|linux| linux.mount_label().as_deref()).unwrap_or_default();
    if label.is_empty() {
        return Ok(None);
    }
    needed(facts.modules.selinux, "SELinux", "linux.mountLabel")?;
    Ok(Some(format!("context={label}")))
}

/// Those that show the kernel's own state have their labels from the policy, as runc has it.
pub fn takes_mount_option(kind: &str) -> bool {
    !matches!(kind, "proc" | "sysfs" | "mqueue" | "cgroup" | "cgroup2")
}

fn needed(there: bool, name: &str, at: &str) -> Result<()> {
    match there {
        true => Ok(()),
        false => Err(Error {
            json_path: Some(at.to_owned()),
            ..Error::new(Kind::Host, format!("this kernel runs without {name}")).with_hint("remove the field, or enable it at boot (lsm=)")
        }),
    }
}
