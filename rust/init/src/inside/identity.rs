//! Who the program is: user, groups, capabilities. The order is capabilities(7)'s: what needs a right comes before it is given up.

use core::ffi::CStr;

use linux_raw_sys::errno::{EINVAL, EPERM};
use linux_raw_sys::general::{__NR_setgroups, CAP_KILL, CAP_LAST_CAP, O_WRONLY, RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_XDEV};
use pyrt_init::{setgroups, Words};

use crate::sys::{self, refused, Capabilities, Result};
use crate::Init;

/// NGROUPS_MAX is 65,536; a process with more than this many is a mistake in its configuration.
const GROUPS_MAX: usize = 4096;

/// In a new user namespace, after its maps are written.
pub fn become_mapped(uid: u64, gid: u64) -> Result<()> {
    // The exec of this program kept capabilities only through the ambient set; once root here, nothing may inherit them (CVE-2022-29162).
    sys::setresgid(gid)?;
    sys::keep_capabilities(true)?;
    sys::setresuid(uid)?;
    sys::keep_capabilities(false)?;
    sys::ambient_clear()?;
    let sets = sys::capget()?;
    sys::capset(Capabilities { inheritable: 0, effective: sets.permitted, ..sets })?;
    sys::not_dumpable()
}

/// In a given user namespace: its root, where it has one; setns(2) gave all capabilities already.
pub fn become_root_of_namespace() -> Result<()> {
    for attempt in [sys::setresgid(0), sys::setresuid(0)] {
        match attempt {
            // Without a mapping for 0 the identity stays, until the plan's own `Identity`.
            Err(failure) if failure.errno == EINVAL as i32 => {}
            other => other?,
        }
    }
    sys::not_dumpable()
}

pub struct User<'a> {
    pub uid: u64,
    pub gid: u64,
    pub groups: Words<'a>,
    /// Of `pyrt_init::setgroups`.
    pub setgroups: u64,
}

pub struct Sets {
    pub bounding: u64,
    pub thread: Capabilities,
    pub ambient: u64,
}

pub fn become_user(user: User<'_>, sets: Sets) -> Result<()> {
    // Before the uid changes: dropping from the bounding set needs CAP_SETPCAP in the effective set, which that clears.
    for capability in each().filter(|capability| sets.bounding & 1 << capability == 0) {
        match sys::bounding_drop(capability) {
            // A capability that this kernel does not know cannot be had either, and without the right to drop there may be nothing to drop.
            Err(failure) if failure.errno != EPERM as i32 || !matches!(sys::bounding_has(capability), Ok(true)) => {}
            dropped => dropped?,
        }
    }
    match set_groups(&user) {
        Err(failure) if failure.errno == EPERM as i32 && user.setgroups == setgroups::UNKNOWN && user.groups.iter().next().is_none() => {}
        other => other?,
    }
    sys::setresgid(user.gid)?;
    sys::keep_capabilities(true)?;
    sys::setresuid(user.uid)?;
    sys::keep_capabilities(false)?;
    sys::capset(sets.thread)?;
    sys::ambient_clear()?;
    each().filter(|capability| sets.ambient & 1 << capability != 0).try_for_each(sys::ambient_raise)?;
    sys::not_dumpable()
}

/// Before a user namespace is joined that may deny setgroups(2): what groups the caller has are not for those inside.
pub fn drop_groups() -> Result<()> {
    match sys::setgroups(&[]) {
        // Without the right to, they are the caller's alone to have.
        Err(failure) if failure.errno == EPERM as i32 => Ok(()),
        other => other,
    }
}

fn set_groups(user: &User<'_>) -> Result<()> {
    if user.setgroups == setgroups::DENIED {
        return Ok(());
    }
    let mut list = [0u32; GROUPS_MAX];
    let mut count = 0;
    for group in user.groups.iter() {
        match list.get_mut(count) {
            Some(slot) => *slot = group as u32,
            None => return refused(__NR_setgroups, EINVAL),
        }
        count += 1;
    }
    sys::setgroups(&list[..count])
}

/// Through the procfs that was verified before anything of the container was mounted, and nothing mounted over a part of it (CVE-2019-16884,
/// CVE-2025-52881). `self` is its one symbolic link.
pub fn label(init: &Init, attribute: &CStr, value: &CStr) -> Result<()> {
    let file = sys::openat2(init.proc, attribute, O_WRONLY, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV)?;
    let result = sys::write(file, value.to_bytes()).map(drop);
    sys::close(file);
    result
}

/// A PID 1 that stays keeps one right: to signal a child that has another user.
pub fn keep_only_kill() -> Result<()> {
    let kill = 1 << CAP_KILL & sys::capget()?.permitted;
    sys::ambient_clear()?;
    sys::capset(Capabilities { effective: kill, permitted: kill, inheritable: 0 })
}

fn each() -> impl Iterator<Item = u64> {
    0..=u64::from(CAP_LAST_CAP)
}
