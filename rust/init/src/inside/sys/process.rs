//! Namespaces, children, scheduling, limits.

use core::ffi::CStr;

use linux_raw_sys::general::*;

use super::Result;

pub fn unshare(flags: u64) -> Result<()> {
    call!(__NR_unshare, flags).map(drop)
}

pub fn setns(fd: i32, kind: u64) -> Result<()> {
    call!(__NR_setns, fd, kind).map(drop)
}

pub fn sethostname(name: &CStr) -> Result<()> {
    call!(__NR_sethostname, name.as_ptr(), name.to_bytes().len()).map(drop)
}

pub fn setdomainname(name: &CStr) -> Result<()> {
    call!(__NR_setdomainname, name.as_ptr(), name.to_bytes().len()).map(drop)
}

/// What a clone returns in the parent: the child's PID, and its pidfd where one was asked for.
pub struct Child {
    pub pid: i32,
    pub pidfd: i32,
}

/// clone3(2) as a fork: the child has its own memory and goes on after the call (`None`).
pub fn fork(flags: u64, cgroup: Option<i32>) -> Result<Option<Child>> {
    let mut pidfd: i32 = -1;
    // SAFETY: all zero is a valid clone_args: no stack of its own, as fork has it.
    let mut arguments: clone_args = unsafe { core::mem::zeroed() };
    arguments.flags = flags | u64::from(CLONE_PIDFD);
    arguments.pidfd = &raw mut pidfd as u64;
    // With CLONE_PARENT the kernel takes the signal from the parent's own, and refuses one given here.
    arguments.exit_signal = if flags & u64::from(CLONE_PARENT) == 0 { u64::from(SIGCHLD) } else { 0 };
    if let Some(fd) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = fd as u64;
    }
    match call!(__NR_clone3, &raw mut arguments, size_of::<clone_args>())? {
        0 => Ok(None),
        pid => Ok(Some(Child { pid: pid as i32, pidfd })),
    }
}

/// A pidfd of the calling process.
pub fn own_pidfd() -> Result<i32> {
    let pid = call!(__NR_getpid)?;
    call!(__NR_pidfd_open, pid, 0).map(|fd| fd as i32)
}

/// Makes the calling process the leader of a group of its own.
pub fn process_group() -> Result<()> {
    call!(__NR_setpgid, 0, 0).map(drop)
}

pub fn setsid() -> Result<()> {
    call!(__NR_setsid).map(drop)
}

pub fn prlimit(resource: u64, soft: u64, hard: u64) -> Result<()> {
    let limit = rlimit64 { rlim_cur: soft, rlim_max: hard };
    call!(__NR_prlimit64, 0, resource, &raw const limit, 0).map(drop)
}

pub fn ioprio_set(class: u64, level: u64) -> Result<()> {
    const IOPRIO_WHO_PROCESS: u32 = 1;
    const IOPRIO_CLASS_SHIFT: u32 = 13;
    call!(__NR_ioprio_set, IOPRIO_WHO_PROCESS, 0, class << IOPRIO_CLASS_SHIFT | level).map(drop)
}

/// `struct sched_attr` in its first form, without utilization clamps.
#[repr(C)]
#[derive(Default)]
pub struct SchedulerAttributes {
    pub size: u32,
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

pub fn sched_setattr(attributes: SchedulerAttributes) -> Result<()> {
    let sized = SchedulerAttributes { size: size_of::<SchedulerAttributes>() as u32, ..attributes };
    call!(__NR_sched_setattr, 0, &raw const sized, 0).map(drop)
}

pub fn set_mempolicy(mode: u64, nodes: &[u64]) -> Result<()> {
    // The kernel reads one bit less than it is told.
    call!(__NR_set_mempolicy, mode, nodes.as_ptr(), nodes.len() * 64 + 1).map(drop)
}

pub fn sched_setaffinity(cpus: &[u64]) -> Result<()> {
    call!(__NR_sched_setaffinity, 0, size_of_val(cpus), cpus.as_ptr()).map(drop)
}

pub fn personality(persona: u64) -> Result<()> {
    call!(__NR_personality, persona).map(drop)
}

pub fn umask(mask: u64) -> Result<()> {
    call!(__NR_umask, mask).map(drop)
}
