//! What init waits for: descriptors, signals, children.

use linux_raw_sys::general::*;

use super::Result;

/// Gives up the processor until one of the descriptors is readable, or `milliseconds` have passed (negative: for ever).
/// Says which are, bit by bit.
pub fn poll(fds: &[i32], milliseconds: i64) -> Result<u32> {
    const POLLIN: i16 = 1;
    let mut wanted = [pollfd { fd: -1, events: POLLIN, revents: 0 }; 4];
    for (slot, fd) in wanted.iter_mut().zip(fds) {
        slot.fd = *fd;
    }
    let time = __kernel_timespec { tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000 };
    let timeout = if milliseconds < 0 { core::ptr::null() } else { &raw const time };
    call!(__NR_ppoll, wanted.as_mut_ptr(), wanted.len(), timeout, 0, 0)?;
    Ok(wanted.iter().enumerate().fold(0, |ready, (index, slot)| ready | u32::from(slot.revents != 0) << index))
}

/// Gives up the processor until the kernel says that a file of a pseudo file system has changed, or the time has passed.
pub fn poll_change(fd: i32, milliseconds: i64) -> Result<()> {
    const POLLPRI: i16 = 2;
    let mut wanted = pollfd { fd, events: POLLPRI, revents: 0 };
    let time = __kernel_timespec { tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000 };
    call!(__NR_ppoll, &raw mut wanted, 1, &raw const time, 0, 0).map(drop)
}

/// A descriptor from which every signal can be read, as they are all blocked.
pub fn signalfd() -> Result<i32> {
    const SFD_CLOEXEC: u32 = O_CLOEXEC;
    let every = u64::MAX;
    call!(__NR_signalfd4, -1i32, &raw const every, size_of::<u64>(), SFD_CLOEXEC).map(|fd| fd as i32)
}

/// The number of the next signal on a signalfd(2).
pub fn next_signal(fd: i32) -> Result<i32> {
    const SIGINFO_SIZE: usize = 128;
    let mut info = [0u8; SIGINFO_SIZE];
    call!(__NR_read, fd, info.as_mut_ptr(), info.len())?;
    Ok(i32::from_le_bytes([info[0], info[1], info[2], info[3]]))
}

pub fn block_signals() -> Result<()> {
    set_signal_mask(u64::MAX)
}

pub fn unblock_signals() -> Result<()> {
    set_signal_mask(0)
}

/// Every disposition default. An ignored signal would survive execve (CPython ignores SIGPIPE and SIGXFSZ); an ignored SIGCHLD, which
/// CLONE_CLEAR_SIGHAND leaves as it is, would also leave a PID 1 that stays nothing to wait for.
pub fn default_dispositions() -> Result<()> {
    // SAFETY: all zero is a valid sigaction: SIG_DFL, no flags, no mask.
    let default: kernel_sigaction = unsafe { core::mem::zeroed() };
    for signal in (1..=_NSIG).filter(|signal| *signal != SIGKILL && *signal != SIGSTOP) {
        call!(__NR_rt_sigaction, signal, &raw const default, 0, size_of::<u64>())?;
    }
    Ok(())
}

fn set_signal_mask(mask: u64) -> Result<()> {
    call!(__NR_rt_sigprocmask, SIG_SETMASK, &raw const mask, 0, size_of::<u64>()).map(drop)
}

pub fn kill(pid: i32, signal: i32) -> Result<()> {
    call!(__NR_kill, pid, signal).map(drop)
}

/// Reaps one ended child if there is one: PID, wait status and largest resident set in bytes.
pub fn wait_any() -> Result<Option<(i32, u64, u64)>> {
    wait4(-1, WNOHANG)
}

/// Waits for this child: its wait status.
pub fn wait_for(pid: i32) -> Result<u64> {
    Ok(wait4(pid, 0)?.map_or(0, |(_, status, _)| status))
}

fn wait4(pid: i32, options: u32) -> Result<Option<(i32, u64, u64)>> {
    let mut status: i32 = 0;
    // SAFETY: all zero is a valid rusage structure; the kernel fills it.
    let mut usage: rusage = unsafe { core::mem::zeroed() };
    match call!(__NR_wait4, pid, &raw mut status, options | __WALL, &raw mut usage)? {
        0 => Ok(None),
        pid => Ok(Some((pid as i32, status as u32 as u64, usage.ru_maxrss as u64 * 1024))),
    }
}
