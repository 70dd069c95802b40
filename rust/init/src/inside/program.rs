//! The user's program: found early, perhaps started later, executed last.

use core::ffi::CStr;

use linux_raw_sys::errno::{EACCES, EISDIR, ENOENT};
use linux_raw_sys::general::*;
use pyrt_init::{kind, List, Message, Words};

use crate::sys::{self, refused, Failure, Pointers, Result};
use crate::{seccomp, Init};

/// The working directory, which must lie inside the root (CVE-2024-21626).
pub fn directory(path: &CStr) -> Result<()> {
    sys::chdir(path)?;
    check_directory()
}

fn check_directory() -> Result<()> {
    if sys::cwd_is_inside()? {
        Ok(())
    } else {
        refused(__NR_getcwd, ENOENT)
    }
}

/// The first candidate that can be executed. EACCES says more than ENOENT, so it is what is reported where both were seen.
pub fn find(init: &mut Init, candidates: List<'static>) -> Result<()> {
    let mut worst = Failure { call: __NR_execve, errno: ENOENT as i32, status: 0 };
    for candidate in candidates.iter() {
        match executable(candidate) {
            Ok(()) => {
                init.program = Some(candidate);
                return Ok(());
            }
            Err(failure) if failure.errno != ENOENT as i32 => worst = failure,
            Err(_) => {}
        }
    }
    Err(worst)
}

fn executable(path: &CStr) -> Result<()> {
    let status = sys::statx(sys::CWD, path, 0)?;
    if status.is(S_IFDIR) {
        return refused(__NR_execve, EISDIR);
    }
    if !status.is(S_IFREG) {
        return refused(__NR_execve, EACCES);
    }
    sys::faccess_execute(path)
}

/// From here on the caller of `create` is free to end; whoever calls `start` connects, and gets the reports instead.
pub fn await_start(init: &mut Init, step: u32, listener: i32) -> Result<()> {
    init.send(Message { kind: kind::READY, ..Message::default() })?;
    sys::close(init.socket);
    loop {
        init.socket = sys::accept(listener)?;
        // One that ends before it says go has changed its mind.
        if let Some(Message { kind: kind::GO, .. }) = sys::receive(init.socket)? {
            break;
        }
        sys::close(init.socket);
    }
    sys::close(listener);
    // From where steps count, for whoever has no plan at hand.
    init.send(Message { kind: kind::READY, step, ..Message::default() })
}

/// What the program is comes later. A caller that ends says so by its pidfd: a child that it forked may hold the socket's other end.
pub fn await_plan(init: &mut Init, caller: Option<i32>) -> Result<()> {
    init.send(Message { kind: kind::READY, ..Message::default() })?;
    let ready = sys::poll(&[init.socket, caller.unwrap_or(-1)], -1)?;
    if ready & 2 == 0 {
        if let Some(plan) = init.receive_plan()? {
            crate::run(init, plan);
        }
    }
    sys::exit(crate::FAILED_STATUS)
}

pub fn keep(init: &mut Init, fds: Words<'_>) -> Result<()> {
    for (fd, target) in fds.iter().zip(3..) {
        sys::duplicate_as(init.fd(fd), target)?;
        init.kept += 1;
    }
    Ok(())
}

pub fn execute(init: &Init, step: u32, arguments: List<'_>, environment: List<'_>) -> Result<()> {
    let Some(program) = init.program else { return refused(__NR_execve, ENOENT) };
    let (arguments, environment) = (Pointers::new(arguments)?, Pointers::new(environment)?);
    check_directory()?;
    init.send(Message { kind: kind::EXECUTING, step, ..Message::default() })?;
    // The socket too: its end tells the caller that the program runs.
    sys::close_on_exec(3 + init.kept)?;
    sys::unblock_signals()?;
    if let Some(filter) = &init.filter {
        if let Some(listener) = seccomp::load(filter)? {
            // Whoever answers has it before the program makes its first call. It closes at the exec, as the kernel makes it.
            sys::send(init.socket, Message { kind: kind::LISTENER, step, ..Message::default() }, Some(listener))?;
            init.await_go()?;
        }
    }
    Err(sys::execve(program, &arguments, &environment))
}
