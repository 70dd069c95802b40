//! Messages over the `SOCK_SEQPACKET` pair. Init sends numbers, never words: nothing inside can put text into an error.

pub const MESSAGE_SIZE: usize = 32;
pub const HELLO_SIZE: usize = 16;

/// The longest message to the watcher: `WATCH` with the paths of a cgroup in every hierarchy, each with its NUL, cgroup2's first (empty
/// where there is none).
pub const WATCH_SIZE: usize = 4096;

/// What a message says.
pub mod kind {
    /// Init reached a `Step::Meet` and waits; the answer is one `GO`.
    pub const MEET: u32 = 1;
    /// The pidfd of the real process comes along (path B): from itself, and from the process that made it; the first counts.
    pub const PROCESS: u32 = 2;
    /// The pty's master comes along; value is its number.
    pub const TERMINAL: u32 = 3;
    /// A step failed: step, call, errno; value is a hook's wait status.
    pub const FAILED: u32 = 4;
    /// Init waits for `start`.
    pub const READY: u32 = 5;
    /// The next thing is execve; a FAILED may still follow.
    pub const EXECUTING: u32 = 6;
    /// PID 1 stays, and its child has executed the program.
    pub const STARTED: u32 = 7;
    /// The program ended: value is its wait status, extra its largest resident set in bytes.
    pub const EXITED: u32 = 8;
    /// A detached mount comes along.
    pub const MOUNT: u32 = 10;
    /// Caller to watcher: remember these cgroups. `value` is the caller's number for them; their paths follow the message.
    pub const WATCH: u32 = 11;
    /// Caller to watcher: forget what `value` names.
    pub const FORGET: u32 = 12;
    /// The seccomp filter is loaded, and its listener comes along; the answer is one `GO`.
    pub const LISTENER: u32 = 13;
    /// A netlink socket comes along; the answer is one `GO`.
    pub const NETWORK: u32 = 15;
    /// The upper layer's directory comes along.
    pub const UPPER: u32 = 16;
    /// The root comes along, as it is with all its layers.
    pub const ROOT: u32 = 17;
    /// Caller to init: go on.
    pub const GO: u32 = 9;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Message {
    pub kind: u32,
    pub step: u32,
    pub call: u32,
    pub errno: i32,
    pub value: u64,
    pub extra: u64,
}

impl Message {
    pub fn to_bytes(self) -> [u8; MESSAGE_SIZE] {
        let mut bytes = [0; MESSAGE_SIZE];
        bytes[..4].copy_from_slice(&self.kind.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.step.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.call.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.errno.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.value.to_le_bytes());
        bytes[24..].copy_from_slice(&self.extra.to_le_bytes());
        bytes
    }

    pub fn from_bytes(bytes: &[u8; MESSAGE_SIZE]) -> Self {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        Message { kind: word(0), step: word(4), call: word(8), errno: word(12) as i32, value: long(16), extra: long(24) }
    }
}

/// The first message, caller to init. The descriptors come along: the plan first, then those that its steps name by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hello {
    /// Length of the plan in bytes.
    pub length: u64,
    /// The lowest descriptor that init may use for itself; below are stdio and those that the program keeps.
    pub floor: u32,
    /// How many descriptors come along, the plan's own among them.
    pub count: u32,
}

impl Hello {
    pub fn to_bytes(self) -> [u8; HELLO_SIZE] {
        let mut bytes = [0; HELLO_SIZE];
        bytes[..8].copy_from_slice(&self.length.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.floor.to_le_bytes());
        bytes[12..].copy_from_slice(&self.count.to_le_bytes());
        bytes
    }

    pub fn from_bytes(bytes: &[u8; HELLO_SIZE]) -> Self {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Hello { length: u64::from(word(0)) | u64::from(word(4)) << 32, floor: word(8), count: word(12) }
    }
}
