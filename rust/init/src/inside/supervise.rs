//! PID 1 that stays above the program: passes signals on, reaps what is orphaned, reports how the program ended, and ends with it.

use linux_raw_sys::general::{CLONE_VFORK, SIGCHLD};
use pyrt_init::{kind, Message};

use crate::sys::{self, Result};
use crate::{identity, Init};

/// Returns in the child alone, which goes on with the plan.
pub fn stay(init: &Init, caller: Option<i32>, subreaper: bool) -> Result<()> {
    if subreaper {
        sys::child_subreaper()?;
    }
    // CLONE_VFORK: this process stands still until the child has executed the program or ended, so STARTED can follow only what the
    // child itself had to say.
    let Some(child) = sys::fork(u64::from(CLONE_VFORK), None)? else { return sys::not_dumpable() };
    supervise(init.socket, caller, child.pid)
}

fn supervise(socket: i32, caller: Option<i32>, child: i32) -> Result<()> {
    // Out of the caller's process group: what its terminal sends reaches the program once, from the caller.
    sys::setsid()?;
    identity::keep_only_kill()?;
    let mut kept = [socket, caller.unwrap_or(socket)];
    kept.sort_unstable();
    sys::close_all_but(&kept);
    let signals = sys::signalfd()?;
    sys::send(socket, Message { kind: kind::STARTED, ..Message::default() }, None)?;
    loop {
        let ready = sys::poll(&[signals, caller.unwrap_or(-1)], -1)?;
        if ready & 2 != 0 {
            // The calling process is gone: with PID 1 everything in the namespace ends.
            sys::exit(crate::FAILED_STATUS)
        }
        match sys::next_signal(signals)? as u32 {
            SIGCHLD => {
                while let Some((pid, status, largest)) = sys::wait_any()? {
                    if pid == child {
                        end(socket, status, largest);
                    }
                }
            }
            // One that ended just now cannot be signalled, and needs no signal.
            signal => drop(sys::kill(child, signal as i32)),
        }
    }
}

fn end(socket: i32, status: u64, largest: u64) -> ! {
    // Where the caller is gone, nobody asks.
    let _ = sys::send(socket, Message { kind: kind::EXITED, value: status, extra: largest, ..Message::default() }, None);
    sys::exit(0)
}

/// Holds namespaces open, as the PID 1 of a pid namespace too.
pub fn hold(init: &Init, caller: i32) -> Result<()> {
    identity::keep_only_kill()?;
    sys::send(init.socket, Message { kind: kind::READY, ..Message::default() }, None)?;
    sys::close_all_but(&[caller]);
    let signals = sys::signalfd()?;
    loop {
        if sys::poll(&[signals, caller], -1)? & 2 != 0 {
            sys::exit(0)
        }
        sys::next_signal(signals)?;
        while sys::wait_any().unwrap_or(None).is_some() {}
    }
}
