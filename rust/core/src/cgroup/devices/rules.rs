//! The list of config.json as rules, and the rules that every container has.
//!
//! config-linux.md, "Allowed Device list": entries apply in the listed order, so for each of making, reading and writing the last entry
//! that names it for a device decides. What no entry names is not on the list of what is allowed, and denied.

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

use crate::error::{Error, Result};

pub(in crate::cgroup) const LIST: &str = "linux.resources.devices";

/// Entries of a list. Engines send a dozen; with 8 instructions for each, jumps over all of them still fit into their 16 bits, and the
/// kernel's verifier does not give up (BPF_COMPLEXITY_LIMIT_JMP_SEQ).
pub(super) const MOST: usize = 2048;

/// The spec's "any" for a device number.
const ANY: i64 = -1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cgroup) enum Kind {
    Block,
    Character,
}

/// What is done with a device: bits by the numbers of cgroup2's programs (BPF_DEVCG_ACC_* of linux/bpf.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cgroup) struct Access(u32);

impl Access {
    pub const MAKE: Access = Access(1);
    pub const READ: Access = Access(2);
    pub const WRITE: Access = Access(4);
    pub const ALL: Access = Access(7);

    const LETTERS: [(char, Access); 3] = [('r', Access::READ), ('w', Access::WRITE), ('m', Access::MAKE)];

    fn parse(letters: &str) -> Option<Access> {
        letters.chars().try_fold(Access(0), |sum, letter| {
            let (_, access) = Access::LETTERS.iter().find(|(known, _)| *known == letter)?;
            Some(Access(sum.0 | access.0))
        })
    }

    pub fn bits(self) -> u32 {
        self.0
    }

    /// As the spec and v1 spell it.
    pub fn letters(self) -> String {
        Access::LETTERS.iter().filter(|(_, access)| self.0 & access.0 != 0).map(|(letter, _)| letter).collect()
    }
}

/// One entry of the list. None stands for any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cgroup) struct Rule {
    pub allow: bool,
    pub kind: Option<Kind>,
    pub major: Option<u32>,
    pub minor: Option<u32>,
    pub access: Access,
}

impl Rule {
    /// Whether nothing that came before it counts any more.
    pub fn is_about_everything(&self) -> bool {
        self.kind.is_none() && self.major.is_none() && self.minor.is_none() && self.access == Access::ALL
    }
}

const fn character(major: u32, minor: Option<u32>) -> Rule {
    Rule { allow: true, kind: Some(Kind::Character), major: Some(major), minor, access: Access::ALL }
}

/// Above any list: making of nodes, which init does itself (one that the list denies still cannot be opened), the spec's default
/// devices, and terminals. Lists of engines take them for granted.
pub(in crate::cgroup) const IMPLICIT: &[Rule] = &[
    Rule { allow: true, kind: None, major: None, minor: None, access: Access::MAKE },
    character(1, Some(3)), // null
    character(1, Some(5)), // zero
    character(1, Some(7)), // full
    character(1, Some(8)), // random
    character(1, Some(9)), // urandom
    character(5, Some(0)), // tty
    character(5, Some(2)), // ptmx
    character(136, None),  // pts/N
];

/// The list's entries, in its order. Errors: `Kind::Spec` for a type, number or access that names no device, and for too long a list.
pub(in crate::cgroup) fn read(list: &[LinuxDeviceCgroup]) -> Result<Vec<Rule>> {
    if list.len() > MOST {
        return Err(Error::spec(LIST, format!("{} entries are more than {MOST}", list.len())));
    }
    list.iter().enumerate().map(|(index, entry)| rule(entry, index)).collect()
}

fn rule(entry: &LinuxDeviceCgroup, index: usize) -> Result<Rule> {
    let path = |field: &str| format!("{LIST}[{index}].{field}");
    let number = |value: Option<i64>, field: &str| match value.unwrap_or(ANY) {
        ANY => Ok(None),
        value => match u32::try_from(value) {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(Error::spec(path(field), format!("{value} is no device number, nor -1 for any"))),
        },
    };
    let access = match entry.access().as_deref() {
        // Engines written in Go send an empty string for a field that nobody gave.
        None | Some("") => Access::ALL,
        Some(letters) => {
            Access::parse(letters).ok_or_else(|| Error::spec(path("access"), format!("{letters:?} has letters other than r, w and m")))?
        }
    };
    let kind = match entry.typ().unwrap_or_default() {
        LinuxDeviceType::A => None,
        LinuxDeviceType::B => Some(Kind::Block),
        LinuxDeviceType::C | LinuxDeviceType::U => Some(Kind::Character),
        LinuxDeviceType::P => return Err(Error::spec(path("type"), "a FIFO is no device; a, b or c")),
    };
    Ok(Rule { allow: entry.allow(), kind, major: number(entry.major(), "major")?, minor: number(entry.minor(), "minor")?, access })
}
