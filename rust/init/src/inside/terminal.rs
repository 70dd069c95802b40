//! stdio: the caller's descriptors, or a terminal of the container's own devpts.

use linux_raw_sys::errno::ENOTTY;
use linux_raw_sys::general::*;
use pyrt_init::{kind, Message};

use crate::sys::{self, refused, Result};
use crate::Init;

/// The caller's descriptors become ours. No second copy stays: where a terminal takes their place, whoever reads the other end of the
/// caller's pipes (containerd's shim does, until end of file) must not wait for a container that has not even started.
pub fn inherit(fds: [i32; 3]) -> Result<()> {
    stdio(fds)?;
    fds.into_iter().for_each(sys::close);
    Ok(())
}

fn stdio(fds: [i32; 3]) -> Result<()> {
    fds.iter().zip(0..).try_for_each(|(fd, target)| sys::duplicate_as(*fd, target))
}

/// For a new container before the pivot, so that /dev/console can be mounted by descriptor like everything else.
pub fn open(init: &mut Init, step: u32, columns: u16, rows: u16, owner: (u32, u32), console: bool) -> Result<()> {
    let cage = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS;
    // In a container that was entered, the root is where setns(2) put us.
    let root = if init.root < 0 { sys::CWD } else { init.root };
    let master = sys::openat2(root, c"/dev/pts/ptmx", O_RDWR | O_NOCTTY, cage)?;
    if sys::file_system(master)? != DEVPTS_SUPER_MAGIC {
        return refused(__NR_fstatfs, ENOTTY);
    }
    sys::unlock_terminal(master)?;
    let slave = sys::terminal_peer(master)?;
    if columns != 0 || rows != 0 {
        sys::terminal_size(slave, columns, rows)?;
    }
    sys::fchownat(slave, c"", owner.0, owner.1)?;
    if console {
        // The masks are there already: where a link leads, the terminal would lie above them (CVE-2025-52565).
        let target = init.target(c"/dev/console", false, RESOLVE_NO_SYMLINKS)?;
        let tree = sys::open_tree(slave, c"", false)?;
        init.attach(tree, target)?;
        sys::close(tree);
        sys::close(target);
    }
    stdio([slave; 3])?;
    let message = Message { kind: kind::TERMINAL, step, value: sys::terminal_number(master)?, ..Message::default() };
    sys::send(init.socket, message, Some(master))?;
    sys::close(slave);
    sys::close(master);
    Ok(())
}

pub fn session(controlling_terminal: bool) -> Result<()> {
    sys::setsid()?;
    if controlling_terminal {
        sys::controlling_terminal(0)?;
    }
    Ok(())
}
