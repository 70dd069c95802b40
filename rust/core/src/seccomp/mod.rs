//! linux.seccomp -> the classic BPF that seccomp(2) loads, compiled in the caller and kept by content.
//!
//! `section` what was said, kept · `check` what a profile may not say · `architecture` names and numbers (`table`, made by scripts/syscalls.py) · `decision` what happens to
//! each number · `program` the byte code · `listener` who answers
//! SCMP_ACT_NOTIFY · `notification` how. `plan/seccomp.rs` makes the step of it that init carries out.

mod architecture;
mod check;
mod decision;
mod listener;
mod notification;
mod program;
mod section;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompFilterFlag};
use serde_json::Value;

pub use architecture::{is_known, of_call, Architecture};
pub use check::{check, notifies};
pub use listener::{Answerer, ListenerSocket};
pub use notification::{Answer, Asked, Listener};
pub use section::Section;

use crate::error::{Error, Result};

/// What init still calls once its filter is loaded. Where the profile would not let it, the filter admits the one who has the key in the
/// sixth argument, which none of these calls uses: a random number that no program of the container ever sees.
pub const KEYED_CALLS: [&str; 9] = ["capset", "close", "execve", "exit_group", "prctl", "read", "recvmsg", "sendmsg", "write"];

/// What init calls from where it waits for a command to the program's execve.
const WAITING_CALLS: [&str; 17] = [
    "chdir",
    "close",
    "close_range",
    "dup3",
    "execve",
    "exit_group",
    "faccessat2",
    "fcntl",
    "getcwd",
    "mmap",
    "ppoll",
    "read",
    "recvfrom",
    "recvmsg",
    "rt_sigprocmask",
    "sendmsg",
    "statx",
];

/// SECCOMP_FILTER_FLAG_* of linux/seccomp.h.
const LOG: u64 = 1 << 1;
const SPEC_ALLOW: u64 = 1 << 2;
const NEW_LISTENER: u64 = 1 << 3;
/// Since Linux 5.19.
const WAIT_KILLABLE_RECV: u64 = 1 << 5;

/// A checked profile, ready to be loaded any number of times.
#[derive(Debug, Clone)]
pub struct Profile {
    pub filter: Arc<Filter>,
    /// SECCOMP_FILTER_FLAG_*.
    pub flags: u64,
    /// Where some call has to be answered.
    pub answerer: Option<Answerer>,
    pub warnings: Vec<String>,
}

impl Profile {
    /// What a configuration says.
    pub fn of(section: &Section) -> Result<Self> {
        let answerer = match (notifies(&section.profile), ListenerSocket::of(&section.profile)) {
            (false, _) => None,
            (true, Some(socket)) => Some(Answerer::Socket(socket)),
            (true, None) => return Err(Error::spec("linux.seccomp.listenerPath", "is missing, and some action is SCMP_ACT_NOTIFY")),
        };
        Profile::answered_by(section, answerer)
    }

    fn answered_by(section: &Section, answerer: Option<Answerer>) -> Result<Self> {
        let flags = flags(&section.profile) | if answerer.is_some() { NEW_LISTENER } else { 0 };
        Ok(Profile { filter: section.filter()?, flags, answerer, warnings: section.warnings.clone() })
    }

    /// Of one that stands alone. `answers`: what it asks, the caller answers. Errors name the JSON path, below linux.seccomp.
    pub fn parse(value: &Value, answers: bool) -> Result<Self> {
        let section = Section::read(&value.to_string())?;
        match answers {
            true => Profile::answered_by(&section, Some(Answerer::Caller)),
            false => Profile::of(&section),
        }
    }
}

/// Where the profile says nothing, SPEC_ALLOW, as runc and crun have it. init has one thread, so there is nothing to synchronize.
fn flags(profile: &LinuxSeccomp) -> u64 {
    let Some(flags) = profile.flags() else { return SPEC_ALLOW };
    flags.iter().fold(0, |all, flag| {
        all | match flag {
            LinuxSeccompFilterFlag::SeccompFilterFlagLog => LOG,
            LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => SPEC_ALLOW,
            LinuxSeccompFilterFlag::SeccompFilterFlagTsync => 0,
            LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => WAIT_KILLABLE_RECV,
        }
    })
}

/// linux.seccomp.flags, and since which kernel each is there.
pub fn filter_flags() -> [(&'static str, (u32, u32)); 4] {
    [
        ("SECCOMP_FILTER_FLAG_LOG", (4, 14)),
        ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", (4, 17)),
        ("SECCOMP_FILTER_FLAG_TSYNC", (3, 17)),
        ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", (5, 19)),
    ]
}

/// A compiled profile.
#[derive(Debug, PartialEq, Eq)]
pub struct Filter {
    instructions: Vec<[u8; 8]>,
    keys: Vec<program::KeyPlace>,
    lets_wait: bool,
}

impl Filter {
    /// For a kernel of this architecture. The profile must have been checked. Errors where the program is longer than the kernel takes.
    pub fn compile(profile: &LinuxSeccomp, native: Architecture) -> Result<Self> {
        let sections = decision::sections(profile, native);
        let (instructions, keys) = program::assemble(&sections);
        let lets_wait = WAITING_CALLS.iter().all(|name| decision::allows(&sections, native, name));
        match instructions.len() > program::LONGEST {
            true => Err(Error::spec(
                "linux.seccomp.syscalls",
                format!("needs a program of {} instructions, and the kernel takes {}", instructions.len(), program::LONGEST),
            )),
            false => Ok(Filter { instructions, keys, lets_wait }),
        }
    }

    /// Whether the profile forbids something that init has to do, so that `program` wants a key.
    pub fn needs_key(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Whether init can load it before it waits for a command: nothing that it does then depends on the filter.
    pub fn lets_wait(&self) -> bool {
        self.lets_wait
    }

    /// The array of struct sock_filter, with this launch's key in it.
    pub fn program(&self, key: u64) -> Vec<u8> {
        let mut program = self.instructions.concat();
        for (high, low) in &self.keys {
            for (place, half) in [(high, (key >> 32) as u32), (low, key as u32)] {
                program[place * 8 + 4..place * 8 + 8].copy_from_slice(&half.to_ne_bytes());
            }
        }
        program
    }
}
