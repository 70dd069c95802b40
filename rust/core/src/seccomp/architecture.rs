//! Which system call has which number on which architecture, and which architectures one kernel serves.

use oci_spec::runtime::Arch;

use super::table::SYSCALLS;

/// An ABI as libseccomp tells them apart: x32 is x86_64 to the kernel, with a bit in the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    X86_64,
    X86,
    X32,
    Aarch64,
    Arm,
}

/// `__X32_SYSCALL_BIT` of asm/unistd.h.
pub const X32_BIT: u32 = 0x4000_0000;

impl Architecture {
    pub const ALL: [Architecture; 5] =
        [Architecture::X86_64, Architecture::X86, Architecture::X32, Architecture::Aarch64, Architecture::Arm];

    /// The one that pyrt itself is built for.
    pub const NATIVE: Architecture = if cfg!(target_arch = "aarch64") { Architecture::Aarch64 } else { Architecture::X86_64 };

    /// `None` for those that no kernel which pyrt runs on can serve: no process could make a call of theirs.
    pub fn from_spec(arch: Arch) -> Option<Self> {
        match arch {
            Arch::ScmpArchNative => Some(Architecture::NATIVE),
            Arch::ScmpArchX86_64 => Some(Architecture::X86_64),
            Arch::ScmpArchX86 => Some(Architecture::X86),
            Arch::ScmpArchX32 => Some(Architecture::X32),
            Arch::ScmpArchAarch64 => Some(Architecture::Aarch64),
            Arch::ScmpArchArm => Some(Architecture::Arm),
            _ => None,
        }
    }

    /// libseccomp's name, without SCMP_ARCH_ and in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Architecture::X86_64 => "x86_64",
            Architecture::X86 => "x86",
            Architecture::X32 => "x32",
            Architecture::Aarch64 => "aarch64",
            Architecture::Arm => "arm",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|architecture| architecture.name() == name)
    }

    /// Whose system calls a kernel of this architecture serves: its own first, and x32 right after the one whose section it shares.
    pub fn served(self) -> &'static [Architecture] {
        match self {
            Architecture::Aarch64 | Architecture::Arm => &[Architecture::Aarch64, Architecture::Arm],
            _ => &[Architecture::X86_64, Architecture::X32, Architecture::X86],
        }
    }

    /// AUDIT_ARCH_* of linux/audit.h: `seccomp_data.arch`.
    pub fn audit(self) -> u32 {
        match self {
            Architecture::X86_64 | Architecture::X32 => 0xc000_003e,
            Architecture::X86 => 0x4000_0003,
            Architecture::Aarch64 => 0xc000_00b7,
            Architecture::Arm => 0x4000_0028,
        }
    }

    /// Whether arguments are compared with all their 64 bits, or, as libseccomp does for the others, with the low 32.
    pub fn is_wide(self) -> bool {
        matches!(self, Architecture::X86_64 | Architecture::Aarch64)
    }

    fn column(self) -> usize {
        match self {
            Architecture::X86_64 => 0,
            Architecture::X86 => 1,
            Architecture::X32 => 2,
            Architecture::Aarch64 => 3,
            Architecture::Arm => 4,
        }
    }

    /// Its number, where this architecture has the call.
    pub fn number(self, name: &str) -> Option<u32> {
        let row = SYSCALLS.binary_search_by(|(known, _)| (*known).cmp(name)).ok()?;
        u32::try_from(SYSCALLS[row].1[self.column()]).ok()
    }

    /// The call that a number stands for; a multiplexed one by its first argument.
    pub fn call(self, number: u32, first_argument: u64) -> Option<&'static str> {
        let column = self.column();
        let name = SYSCALLS.iter().find(|(_, numbers)| numbers[column] as u32 == number && numbers[column] >= 0).map(|row| row.0)?;
        let behind =
            self.multiplexed().iter().find(|call| call.through == name && u64::from(call.selector) == first_argument & 0xffff_ffff);
        Some(behind.map_or(name, |call| call.name))
    }

    /// Calls that programs may also make through another one, which takes a number that says which is meant (socketcall(2), ipc(2)).
    pub fn multiplexed(self) -> &'static [Multiplexed] {
        match self {
            Architecture::X86 => &MULTIPLEXED,
            _ => &[],
        }
    }
}

/// The architecture that a notification names by `seccomp_data.arch` and its number.
pub fn of_call(audit: u32, number: u32) -> Option<Architecture> {
    match Architecture::ALL.into_iter().find(|architecture| architecture.audit() == audit)? {
        Architecture::X86_64 if number & X32_BIT != 0 => Some(Architecture::X32),
        other => Some(other),
    }
}

/// Whether any architecture of Linux has a call of this name: a profile may list those of others, but not a mistake.
pub fn is_known(name: &str) -> bool {
    SYSCALLS.binary_search_by(|(known, _)| (*known).cmp(name)).is_ok()
}

pub struct Multiplexed {
    pub name: &'static str,
    pub through: &'static str,
    /// The first argument of the other: linux/net.h, linux/ipc.h.
    pub selector: u32,
}

const fn behind(through: &'static str, name: &'static str, selector: u32) -> Multiplexed {
    Multiplexed { name, through, selector }
}

static MULTIPLEXED: [Multiplexed; 32] = [
    behind("socketcall", "socket", 1),
    behind("socketcall", "bind", 2),
    behind("socketcall", "connect", 3),
    behind("socketcall", "listen", 4),
    behind("socketcall", "accept", 5),
    behind("socketcall", "getsockname", 6),
    behind("socketcall", "getpeername", 7),
    behind("socketcall", "socketpair", 8),
    behind("socketcall", "send", 9),
    behind("socketcall", "recv", 10),
    behind("socketcall", "sendto", 11),
    behind("socketcall", "recvfrom", 12),
    behind("socketcall", "shutdown", 13),
    behind("socketcall", "setsockopt", 14),
    behind("socketcall", "getsockopt", 15),
    behind("socketcall", "sendmsg", 16),
    behind("socketcall", "recvmsg", 17),
    behind("socketcall", "accept4", 18),
    behind("socketcall", "recvmmsg", 19),
    behind("socketcall", "sendmmsg", 20),
    behind("ipc", "semop", 1),
    behind("ipc", "semget", 2),
    behind("ipc", "semctl", 3),
    behind("ipc", "semtimedop", 4),
    behind("ipc", "msgsnd", 11),
    behind("ipc", "msgrcv", 12),
    behind("ipc", "msgget", 13),
    behind("ipc", "msgctl", 14),
    behind("ipc", "shmat", 21),
    behind("ipc", "shmdt", 22),
    behind("ipc", "shmget", 23),
    behind("ipc", "shmctl", 24),
];
