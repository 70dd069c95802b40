//! linux.seccomp in a plan: the compiled filter, which init loads last.

use nix::errno::Errno;
use pyrt_init::Step;

use super::builder::Builder;
use super::Options;
use crate::error::{Context, Error, Result};
use crate::oci::{CapabilitySet, Config};
use crate::seccomp::Profile;

/// The program's own capability sets: effective, permitted, inheritable.
#[derive(Debug, Clone, Copy)]
pub struct Sets {
    pub effective: u64,
    pub permitted: u64,
    pub inheritable: u64,
}

/// The profile that the program gets: the caller's own, or what config.json says.
pub fn profile(steps: &mut Builder, config: &Config, options: &Options) -> Result<Option<Profile>> {
    let profile = match (&options.seccomp, &config.seccomp) {
        (Some(given), _) => given.clone(),
        (None, Some(said)) => Profile::of(said)?,
        (None, None) => return Ok(None),
    };
    steps.warnings.extend_from_slice(&profile.warnings);
    Ok(Some(profile))
}

/// What init must keep in its permitted set, beside the program's own, until the filter is loaded: seccomp(2), EACCES.
pub fn kept_capability(held: u64) -> u64 {
    const CAP_SYS_ADMIN: u32 = 21;
    match CapabilitySet(held).has(CAP_SYS_ADMIN) {
        true => 1 << CAP_SYS_ADMIN,
        false => 0,
    }
}

/// The step before `Execute`.
pub fn build(steps: &mut Builder, profile: &Profile, no_new_privileges: bool, sets: Sets) -> Result<()> {
    let filter = &profile.filter;
    let key = if filter.needs_key() { random()? } else { 0 };
    steps.push(Step::Filter {
        program: &filter.program(key),
        flags: profile.flags,
        key,
        privileged: u64::from(!no_new_privileges),
        effective: sets.effective,
        permitted: sets.permitted,
        inheritable: sets.inheritable,
    });
    Ok(())
}

fn random() -> Result<u64> {
    let mut bytes = [0; 8];
    crate::sys::random(&mut bytes).op("make a key for init")?;
    match u64::from_ne_bytes(bytes) {
        0 => Err(Error::system("make a key for init", None, Errno::EAGAIN)),
        key => Ok(key),
    }
}
