//! Namespaces: joining given ones, the second clone of path B, and what is set once inside.

use core::ffi::CStr;

use linux_raw_sys::errno::{EINVAL, EPERM};
use linux_raw_sys::general::*;
use pyrt_init::{kind, Message, Words, NO_FD};

use crate::sys::{self, Result};
use crate::{identity, Init};

/// Enters each namespace of `pairs` (descriptor, CLONE_NEW* flag), in the caller's order. What needs rights that only the given user
/// namespace has is refused the first time, and tried again after it.
pub fn join(init: &Init, pairs: Words<'_>) -> Result<()> {
    let each = || {
        let mut words = pairs.iter();
        core::iter::from_fn(move || Some((words.next()?, words.next()?)))
    };
    let user = each().position(|(_, flag)| flag == u64::from(CLONE_NEWUSER));
    // Bit by bit: which are still to be joined.
    let mut left: u32 = 0;
    for (index, (fd, flag)) in each().enumerate() {
        if Some(index) == user {
            continue;
        }
        match sys::setns(init.fd(fd), flag) {
            Err(failure) if user.is_some() && (failure.errno == EPERM as i32 || failure.errno == EINVAL as i32) => left |= 1 << index,
            other => other?,
        }
    }
    if let Some((fd, flag)) = user.and_then(|index| each().nth(index)) {
        identity::drop_groups()?;
        sys::setns(init.fd(fd), flag)?;
        for (_, (fd, flag)) in each().enumerate().filter(|(index, _)| left & 1 << index != 0) {
            sys::setns(init.fd(fd), flag)?;
        }
        identity::become_root_of_namespace()?;
    }
    Ok(())
}

/// Enters namespaces of a process that has them already. In its user namespace, if that is among them, init is root from here on.
pub fn enter(target: i32, flags: u64) -> Result<()> {
    let user = flags & u64::from(CLONE_NEWUSER) != 0;
    if user {
        identity::drop_groups()?;
    }
    sys::setns(target, flags)?;
    if user {
        identity::become_root_of_namespace()?;
    }
    Ok(())
}

/// Makes the real process, a child of the caller like this one, and ends; the child goes on with the plan.
///
/// Both hand the child's pidfd over. The child does before it says anything else, so that the caller knows whom it hears however late this
/// process comes to it; this one does in case the child is killed before it can speak, when nobody else could reap it.
pub fn fork(init: &Init, flags: u64, cgroup: u64) -> Result<()> {
    let group = (cgroup != NO_FD).then(|| init.fd(cgroup));
    match sys::fork(flags | u64::from(CLONE_PARENT), group)? {
        None => {
            sys::not_dumpable()?;
            let own = sys::own_pidfd()?;
            hand_over(init, own)?;
            sys::close(own);
            Ok(())
        }
        Some(child) => {
            hand_over(init, child.pidfd)?;
            sys::exit(0)
        }
    }
}

fn hand_over(init: &Init, pidfd: i32) -> Result<()> {
    sys::send(init.socket, Message { kind: kind::PROCESS, ..Message::default() }, Some(pidfd))
}

/// The child goes on, with whoever adopts orphans as its parent.
pub fn detach() -> Result<()> {
    match sys::fork(0, None)? {
        Some(_) => sys::exit(0),
        None => sys::setsid(),
    }
}

/// Hands out a socket of this network namespace, through which the caller moves devices into it.
pub fn network(init: &Init) -> Result<()> {
    let socket = sys::netlink_socket()?;
    sys::send(init.socket, Message { kind: kind::NETWORK, ..Message::default() }, Some(socket))?;
    sys::close(socket);
    match sys::receive(init.socket)? {
        Some(Message { kind: kind::GO, .. }) => Ok(()),
        _ => sys::exit(crate::FAILED_STATUS),
    }
}

/// Writes a value below /proc/sys, through the procfs that was verified before anything of the container was mounted (CVE-2025-52881).
pub fn sysctl(init: &Init, path: &CStr, value: &CStr) -> Result<()> {
    let file = sys::openat2(init.proc, path, O_WRONLY, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV)?;
    let result = sys::write(file, value.to_bytes()).map(drop);
    sys::close(file);
    result
}
