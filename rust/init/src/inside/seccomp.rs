//! The program's seccomp filter: loaded as the last thing before its execve, so that the profile binds the program and not this init. In a
//! container that waits for its command it is loaded before the wait, where it does not stand in init's way.

use linux_raw_sys::general::CAP_SYS_ADMIN;

use crate::sys::{self, Capabilities, Result};

pub struct Filter {
    pub program: &'static [u8],
    pub flags: u64,
    /// What lets init's own last calls pass.
    pub key: u64,
    /// Without no_new_privs only CAP_SYS_ADMIN may load a filter: kept in the permitted set until now, and given up for these sets.
    pub sets: Option<Capabilities>,
}

/// Returns the descriptor of the filter's listener, where the flags ask for one.
pub fn load(filter: &Filter) -> Result<Option<i32>> {
    let Some(sets) = filter.sets else { return sys::load_filter(filter.program, filter.flags, filter.key) };
    let needed = 1 << CAP_SYS_ADMIN & sys::capget()?.permitted;
    sys::capset(Capabilities { effective: sets.effective | needed, permitted: sets.permitted | needed, ..sets })?;
    let listener = sys::load_filter(filter.program, filter.flags, filter.key)?;
    sys::capset(sets)?;
    Ok(listener)
}
