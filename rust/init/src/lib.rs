//! The wire format between the process that launches and the init: steps, one after the other, and short messages back.
//!
//! A plan is bytes: a header, then steps. Each step is an opcode and its operands, every operand a multiple of eight bytes, strings with
//! their NUL so that the init hands them to the kernel where they lie. Encoder and decoder come from one declaration (`steps!`).
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

mod message;
mod operand;
mod step;
#[cfg(all(test, feature = "alloc"))]
mod tests;

pub use message::{kind, Hello, Message, HELLO_SIZE, MESSAGE_SIZE, WATCH_SIZE};
#[cfg(feature = "alloc")]
pub use operand::Encoder;
pub use operand::{Decoder, List, Malformed, Words};
pub use step::Step;

/// Index into the descriptors that came with the plan; `NO_FD` where the operand is not used.
pub const NO_FD: u64 = u64::MAX;

/// The descriptor on which init finds its socket.
pub const SOCKET_FD: i32 = 3;

/// The most descriptors that one launch can hand over (the kernel's SCM_MAX_FD).
pub const MAX_FDS: usize = 253;

/// Of a mask of NUMA nodes (MAX_NUMNODES of a kernel) or CPUs (cpu_set_t of the C library).
pub const MASK_BITS: usize = 1024;

/// The extended attribute of a cgroup that was made only because one below it was wanted.
pub const CGROUP_MADE_ABOVE: &core::ffi::CStr = c"user.pyrt.made-above";

/// `Step::Meet`: what the caller does meanwhile.
pub mod meet {
    /// Write uid_map and gid_map.
    pub const MAPS: u64 = 1;
    /// Run the prestart and createRuntime hooks, and write the state that the others read.
    pub const HOOKS: u64 = 2;
    /// Write timens_offsets: init's own file is closed to it, since it is not dumpable.
    pub const OFFSETS: u64 = 3;
    /// Note which process this is: without a cgroup nothing else leads to it once the caller is gone.
    pub const RECORD: u64 = 4;
}

/// `Step::Identity`: whether the user namespace denies setgroups(2) (user_namespaces(7)).
pub mod setgroups {
    pub const ALLOWED: u64 = 0;
    pub const DENIED: u64 = 1;
    /// Whoever made the namespace knows: without groups to set, a refusal is none.
    pub const UNKNOWN: u64 = 2;
}

/// `Step::Mount`, `Step::Bind`: bits of `behaviour`.
pub mod behaviour {
    /// The target may lie on procfs (one of the few files that runc also allows).
    pub const ON_PROC: u64 = 1;
    /// The target must be reached without a symbolic link: procfs and sysfs (CVE-2019-19921, CVE-2023-27561).
    pub const NO_SYMLINKS: u64 = 2;
    /// What lies in the target is copied into the new file system.
    pub const COPY_UP: u64 = 4;
    /// Mode and owner of the file system's root are those of its options, not the target's.
    pub const ROOT_FROM_OPTIONS: u64 = 32;
    /// The root of the file system has the mode of the directory that it covers, where that is there.
    pub const MODE_OF_TARGET: u64 = 64;
    /// The source must be this character device: rdev in `device`.
    pub const DEVICE: u64 = 8;
    /// With the mounts below the source.
    pub const RECURSIVE: u64 = 16;
}
