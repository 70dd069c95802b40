//! The steps that init knows: the whole of what can happen inside before the user's program runs.

use core::ffi::CStr;

use crate::operand::Operand;
#[cfg(feature = "alloc")]
use crate::Encoder;
use crate::{Decoder, List, Malformed, Words};

macro_rules! steps {
    ($( $(#[$doc:meta])* $code:literal $name:ident { $( $(#[$field_doc:meta])* $field:ident: $kind:ty ),* $(,)? } )*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Step<'a> {
            $( $(#[$doc])* $name { $( $(#[$field_doc])* $field: $kind ),* }, )*
        }

        impl<'a> Step<'a> {
            pub fn decode(from: &mut Decoder<'a>) -> Result<Self, Malformed> {
                match from.word()? {
                    $( $code => Ok(Step::$name { $( $field: <$kind>::decode(from)? ),* }), )*
                    _ => Err(Malformed),
                }
            }

            #[cfg(feature = "alloc")]
            pub fn encode(&self, to: &mut Encoder) {
                match self {
                    $( Step::$name { $( $field ),* } => { to.word($code); $( $field.encode(to); )* } )*
                }
            }
        }
    };
}

steps! {
    // Place, first half: namespaces and cgroups.

    /// Tell the caller where we are and wait until it answers (`meet`).
    1 Meet { what: u64 }
    /// Let a caller without rights over us write our maps: /proc/PID is his only while we are dumpable. `BecomeMapped` ends that.
    80 Dumpable {}
    /// Become this user and group of the new user namespace, and give up what was kept for that: ambient and inheritable capabilities.
    2 BecomeMapped { uid: u64, gid: u64 }
    /// Enter a v1 hierarchy: write 0 into its `tasks`, opened by the caller.
    3 JoinTasks { fd: u64 }
    /// unshare(2).
    4 Unshare { flags: u64 }
    /// setns(2) into each: descriptor, CLONE_NEW* flag, descriptor, ...; what is refused is tried again after the user namespace.
    6 JoinNamespaces { pairs: Words<'a> }
    /// Path B: make the real process, a child of the caller, and hand its pidfd over.
    7 Fork { flags: u64, cgroup: u64 }

    /// setns(2) into the namespaces of the process `target`, a pidfd: all at once, by CLONE_NEW* flags.
    35 Enter { target: u64, flags: u64 }

    /// Do nothing but hold the namespaces, reaping what is orphaned, until killed or until `caller` (a pidfd) ends.
    8 Hold { caller: u64 }

    /// Leave the caller's children, so that its own waits never meet this process.
    9 Detach {}
    /// Remember the cgroups that the caller names over the socket; when `caller` (a pidfd) ends, end what is in them and remove them.
    34 Watch { caller: u64 }

    // Place, second half: the root and what is mounted in it.

    /// Propagation of everything that was copied into the new mount namespace.
    10 Propagation { flags: u64 }
    /// A tree becomes the root: `source` as init sees it, or the caller's detached one.
    11 RootTree { source: &'a CStr, fd: u64, attributes: u64 }
    /// A tmpfs that nothing but an overlay's upper layer uses; the following `Make*` steps work in it.
    12 Scratch { options: List<'a> }
    13 MakeDirectory { path: &'a CStr, mode: u64 }
    14 MakeSymlink { path: &'a CStr, target: &'a CStr }
    15 MakeFile { path: &'a CStr, mode: u64, content: &'a [u8] }
    16 SetAttribute { path: &'a CStr, name: &'a CStr, value: &'a [u8] }
    /// An overlay becomes the root, or the directory `inside` of it.
    17 RootOverlay { options: List<'a>, inside: &'a CStr, attributes: u64 }
    /// Hand the caller the upper layer's directory, and the root over it.
    36 SendLayer { upper: &'a CStr }
    /// A new file system.
    18 Mount { kind: &'a CStr, source: &'a CStr, target: &'a CStr, options: List<'a>, attributes: u64, propagation: u64, behaviour: u64 }
    /// A bind mount: of `source` as init sees it, or of the caller's detached tree `fd`.
    19 Bind { source: &'a CStr, fd: u64, target: &'a CStr, set: u64, clear: u64, set_all: u64, clear_all: u64, propagation: u64, behaviour: u64, device: u64 }
    /// mknod(2).
    20 Device { path: &'a CStr, mode: u64, device: u64, uid: u64, gid: u64 }
    /// symlink(2) inside the root; one that is there already stays.
    21 Link { path: &'a CStr, target: &'a CStr }
    /// Make the program's working directory, with its parents, where it is missing.
    38 WorkingDirectory { path: &'a CStr }
    /// Hide a path: an empty read-only directory or /dev/null over it; one that is missing is fine.
    22 Mask { path: &'a CStr }
    /// Make a path read-only; one that is missing is fine.
    23 ReadOnly { path: &'a CStr }
    /// mount_setattr(2) of the root mount itself, after it was entered.
    24 RootAttributes { attributes: u64, propagation: u64 }
    /// mount_setattr(2) of what is mounted at a path.
    32 Attributes { path: &'a CStr, set: u64 }
    /// Hand a detached copy of the root to the caller, and end.
    33 SendRoot {}
    /// Write below /proc/sys.
    25 Sysctl { path: &'a CStr, value: &'a CStr }
    26 Hostname { name: &'a CStr }
    27 Domainname { name: &'a CStr }
    /// Hand a netlink socket of the network namespace to the caller, and wait until it has moved devices there.
    61 Network {}
    /// Bring `lo` up.
    28 Loopback {}
    /// Run a hook and wait for it: `state` is its stdin, `output` where it writes, else to the container's own. Its program: by path, and
    /// where that is not wanted, or closed to us (a user namespace), as the caller opened it.
    29 Hook {
        path: &'a CStr, program: u64, by_path: u64, arguments: List<'a>, environment: List<'a>, state: u64, output: u64,
        /// Seconds; 0 is none.
        timeout: u64,
    }
    /// pivot_root(2), and leave nothing of the old root.
    30 Pivot {}
    /// Enter the root without pivot_root(2), for a root file system that cannot be pivoted.
    31 Chroot {}

    // Process.

    /// A terminal of the container's own devpts: the master goes to the caller, the slave becomes stdio.
    40 Terminal { columns: u64, rows: u64, uid: u64, gid: u64, console: u64 }
    /// The caller's descriptors become 0, 1, 2.
    41 Stdio { input: u64, output: u64, error: u64 }
    /// Stay as PID 1, make a child, and go on in that; end when `caller` (a pidfd) does.
    42 Stay { caller: u64, subreaper: u64 }
    43 Session { controlling_terminal: u64 }
    45 Limit { resource: u64, soft: u64, hard: u64 }
    46 Umask { mask: u64 }
    47 NoNewPrivileges {}
    /// User, groups and the five capability sets. `setgroups`: of the module of that name.
    48 Identity { uid: u64, gid: u64, groups: Words<'a>, setgroups: u64, bounding: u64, effective: u64, permitted: u64, inheritable: u64, ambient: u64 }
    /// ioprio_set(2).
    54 IoPriority { class: u64, level: u64 }
    /// sched_setattr(2).
    55 Scheduler { policy: u64, flags: u64, nice: u64, priority: u64, runtime: u64, deadline: u64, period: u64 }
    /// set_mempolicy(2); `nodes`: a bit mask.
    56 MemoryPolicy { mode: u64, nodes: Words<'a> }
    57 Personality { persona: u64 }
    /// keyctl(2): a session keyring that is nobody else's, and leave the caller's.
    58 Keyring { name: &'a CStr }
    /// sched_setaffinity(2); `cpus`: a bit mask.
    59 Affinity { cpus: Words<'a> }
    /// Write an attribute of this process below the verified /proc: the security label of its next execve.
    60 Label { attribute: &'a CStr, value: &'a CStr }
    49 Directory { path: &'a CStr }
    /// Find the program now, so that a missing one fails `create`.
    50 Find { candidates: List<'a> }
    /// Tell the caller that all is ready, and wait on this listening socket for `start`.
    51 AwaitStart { listener: u64 }
    /// Tell the caller that all is ready, and go on with another plan, which it sends with descriptors of its own; end when `caller` (a
    /// pidfd) does.
    37 AwaitPlan { caller: u64 }
    /// Descriptors that the program keeps, renumbered from 3.
    52 Keep { fds: Words<'a> }
    /// The seccomp filter that `Execute` loads last, and who has it pass: `key` in the sixth argument of init's own calls. The capability
    /// sets are the program's, where `Identity` left CAP_SYS_ADMIN for the loading.
    70 Filter { program: &'a [u8], flags: u64, key: u64, privileged: u64, effective: u64, permitted: u64, inheritable: u64 }
    /// Load it now: it admits all that init still does.
    71 LoadFilter {}
    /// execve(2) of what `Find` found.
    53 Execute { arguments: List<'a>, environment: List<'a> }
}
