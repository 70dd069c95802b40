//! Terminals: ioctl_tty(2).

use linux_raw_sys::general::*;
use linux_raw_sys::ioctl::{TIOCGPTN, TIOCGPTPEER, TIOCSCTTY, TIOCSPTLCK, TIOCSWINSZ};

use super::Result;

pub fn unlock_terminal(master: i32) -> Result<()> {
    let unlocked: i32 = 0;
    call!(__NR_ioctl, master, TIOCSPTLCK, &raw const unlocked).map(drop)
}

pub fn terminal_number(master: i32) -> Result<u64> {
    let mut number: u32 = 0;
    call!(__NR_ioctl, master, TIOCGPTN, &raw mut number)?;
    Ok(u64::from(number))
}

/// The slave, by its master alone: no path of the container is believed.
pub fn terminal_peer(master: i32) -> Result<i32> {
    call!(__NR_ioctl, master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC).map(|fd| fd as i32)
}

pub fn terminal_size(fd: i32, columns: u16, rows: u16) -> Result<()> {
    let size: [u16; 4] = [rows, columns, 0, 0];
    call!(__NR_ioctl, fd, TIOCSWINSZ, size.as_ptr()).map(drop)
}

pub fn controlling_terminal(fd: i32) -> Result<()> {
    call!(__NR_ioctl, fd, TIOCSCTTY, 0).map(drop)
}
