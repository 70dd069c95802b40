//! linux.seccomp in a plan: the compiled filter, which init loads last.

use nix::errno::Errno;
use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompFilterFlag, Spec};
use pyrt_init::Step;

use super::builder::Builder;
use crate::error::{Context, Error, Kind, Result};
use crate::oci::CapabilitySet;
use crate::seccomp::{notifies, Filter};

/// SECCOMP_FILTER_FLAG_* of linux/seccomp.h.
const LOG: u64 = 1 << 1;
const SPEC_ALLOW: u64 = 1 << 2;

/// The program's own capability sets: effective, permitted, inheritable.
#[derive(Debug, Clone, Copy)]
pub struct Sets {
    pub effective: u64,
    pub permitted: u64,
    pub inheritable: u64,
}

pub fn profile(spec: &Spec) -> Option<&LinuxSeccomp> {
    spec.linux().as_ref()?.seccomp().as_ref()
}

/// What init must keep in its permitted set, beside the program's own, until the filter is loaded: seccomp(2), EACCES.
pub fn kept_capability(spec: &Spec, no_new_privileges: bool, held: u64) -> u64 {
    const CAP_SYS_ADMIN: u32 = 21;
    match profile(spec).is_some() && !no_new_privileges && CapabilitySet(held).has(CAP_SYS_ADMIN) {
        true => 1 << CAP_SYS_ADMIN,
        false => 0,
    }
}

/// The step before `Execute`.
pub fn build(steps: &mut Builder, spec: &Spec, no_new_privileges: bool, sets: Sets) -> Result<()> {
    let Some(profile) = profile(spec) else { return Ok(()) };
    if notifies(profile) {
        return Err(Error {
            json_path: Some("linux.seccomp.syscalls".to_owned()),
            ..Error::new(Kind::Host, "this version of pyrt cannot honour SCMP_ACT_NOTIFY")
                .with_hint("use another action, or a runtime that has it")
        });
    }
    let filter = Filter::of(profile)?;
    let key = if filter.needs_key() { random()? } else { 0 };
    steps.push(Step::Filter {
        program: &filter.program(key),
        flags: flags(profile),
        key,
        privileged: u64::from(!no_new_privileges),
        effective: sets.effective,
        permitted: sets.permitted,
        inheritable: sets.inheritable,
    });
    Ok(())
}

/// Where the profile says nothing, SPEC_ALLOW, as runc and crun have it. init has one thread, so there is nothing to synchronize.
fn flags(profile: &LinuxSeccomp) -> u64 {
    let Some(flags) = profile.flags() else { return SPEC_ALLOW };
    flags.iter().fold(0, |all, flag| {
        all | match flag {
            LinuxSeccompFilterFlag::SeccompFilterFlagLog => LOG,
            LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => SPEC_ALLOW,
            LinuxSeccompFilterFlag::SeccompFilterFlagTsync | LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => 0,
        }
    })
}

fn random() -> Result<u64> {
    let mut bytes = [0; 8];
    crate::sys::random(&mut bytes).op("make a key for init")?;
    match u64::from_ne_bytes(bytes) {
        0 => Err(Error::system("make a key for init", None, Errno::EAGAIN)),
        key => Ok(key),
    }
}
