//! What the process may, as credentials(7) and capabilities(7) have it: ids, capabilities, keyrings; prctl(2) and seccomp(2).

use core::ffi::CStr;
use core::sync::atomic::Ordering;

use linux_raw_sys::general::*;
use linux_raw_sys::prctl::*;

use super::{Result, KEY};

/// linux/filter.h. The program lies in the plan, whose operands start at multiples of eight.
#[repr(C)]
struct sock_fprog {
    len: u16,
    filter: *const u8,
}

const SECCOMP_SET_MODE_FILTER: u32 = 1;
const SECCOMP_FILTER_FLAG_NEW_LISTENER: u64 = 1 << 3;

pub fn prctl(option: u32, value: u64) -> Result<usize> {
    call!(__NR_prctl, option, value, 0, 0, 0)
}

pub fn not_dumpable() -> Result<()> {
    dumpable(false)
}

pub fn dumpable(allowed: bool) -> Result<()> {
    prctl(PR_SET_DUMPABLE, u64::from(allowed)).map(drop)
}

pub fn set_name(name: &CStr) -> Result<()> {
    call!(__NR_prctl, PR_SET_NAME, name.as_ptr(), 0, 0, 0).map(drop)
}

pub fn no_new_privileges() -> Result<()> {
    prctl(PR_SET_NO_NEW_PRIVS, 1).map(drop)
}

/// seccomp(2) with a program of struct sock_filter; from here on this process's calls carry the key.
pub fn load_filter(program: &[u8], flags: u64, key: u64) -> Result<Option<i32>> {
    let filter = sock_fprog { len: (program.len() / 8) as u16, filter: program.as_ptr() };
    KEY.store(key as usize, Ordering::Relaxed);
    let loaded = call!(__NR_seccomp, SECCOMP_SET_MODE_FILTER, flags, &raw const filter)?;
    Ok((flags & SECCOMP_FILTER_FLAG_NEW_LISTENER != 0).then_some(loaded as i32))
}

pub fn keep_capabilities(keep: bool) -> Result<()> {
    prctl(PR_SET_KEEPCAPS, u64::from(keep)).map(drop)
}

pub fn child_subreaper() -> Result<()> {
    prctl(PR_SET_CHILD_SUBREAPER, 1).map(drop)
}

/// Whether the bounding set has it; an error where the kernel does not know the capability.
pub fn bounding_has(capability: u64) -> Result<bool> {
    prctl(PR_CAPBSET_READ, capability).map(|answer| answer == 1)
}

pub fn bounding_drop(capability: u64) -> Result<()> {
    prctl(PR_CAPBSET_DROP, capability).map(drop)
}

pub fn ambient_clear() -> Result<()> {
    prctl(PR_CAP_AMBIENT, u64::from(PR_CAP_AMBIENT_CLEAR_ALL)).map(drop)
}

pub fn ambient_raise(capability: u64) -> Result<()> {
    call!(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0).map(drop)
}

#[derive(Clone, Copy)]
pub struct Capabilities {
    pub effective: u64,
    pub permitted: u64,
    pub inheritable: u64,
}

pub fn capget() -> Result<Capabilities> {
    let header = [_LINUX_CAPABILITY_VERSION_3, 0];
    let mut data = [0u32; 6];
    call!(__NR_capget, header.as_ptr(), data.as_mut_ptr())?;
    let set = |index: usize| u64::from(data[index]) | u64::from(data[index + 3]) << 32;
    Ok(Capabilities { effective: set(0), permitted: set(1), inheritable: set(2) })
}

pub fn capset(sets: Capabilities) -> Result<()> {
    let header = [_LINUX_CAPABILITY_VERSION_3, 0];
    let (e, p, i) = (sets.effective, sets.permitted, sets.inheritable);
    let data = [e as u32, p as u32, i as u32, (e >> 32) as u32, (p >> 32) as u32, (i >> 32) as u32];
    call!(__NR_capset, header.as_ptr(), data.as_ptr()).map(drop)
}

pub fn setgroups(groups: &[u32]) -> Result<()> {
    call!(__NR_setgroups, groups.len(), groups.as_ptr()).map(drop)
}

pub fn setresgid(gid: u64) -> Result<()> {
    call!(__NR_setresgid, gid, gid, gid).map(drop)
}

pub fn setresuid(uid: u64) -> Result<()> {
    call!(__NR_setresuid, uid, uid, uid).map(drop)
}

/// A keyring of that name that can be searched, or else a new one; without a name always a new one.
pub fn join_session_keyring(name: Option<&CStr>) -> Result<i32> {
    const KEYCTL_JOIN_SESSION_KEYRING: u32 = 1;
    call!(__NR_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.map_or(core::ptr::null(), CStr::as_ptr)).map(|key| key as i32)
}

/// How long the description is, which is cut to what `into` holds.
pub fn describe_key(key: i32, into: &mut [u8]) -> Result<usize> {
    const KEYCTL_DESCRIBE: u32 = 6;
    call!(__NR_keyctl, KEYCTL_DESCRIBE, key, into.as_mut_ptr(), into.len())
}
