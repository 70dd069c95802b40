//! The only `unsafe` of the core: calls that nix lacks, by the kernel's names. Borrowed descriptors in, owned ones out.

pub mod bpf;
mod clone;
mod file_user;
mod per_process;
pub mod seccomp;
pub mod xattr;

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::libc;

pub use clone::{clone_and_execute, Clone, NEVER_RAN};
pub use file_user::as_file_user;
pub use per_process::PerProcess;

type Result<T> = std::result::Result<T, Errno>;

fn checked(result: libc::c_long) -> Result<libc::c_long> {
    Errno::result(result)
}

/// Turns the number that a call returned into a descriptor.
fn owned(result: libc::c_long) -> Result<OwnedFd> {
    let fd = checked(result)? as i32;
    // SAFETY: the kernel just made this descriptor for us, so nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn c_path(path: &Path) -> Result<CString> {
    use std::os::unix::ffi::OsStrExt;
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)
}

/// A detached copy of the mount at `path`: open_tree(2).
pub fn open_tree(path: &Path, recursive: bool) -> Result<OwnedFd> {
    const OPEN_TREE_CLONE: libc::c_int = 1;
    let path = c_path(path)?;
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: `path` lives past the call.
    owned(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) })
}

/// A file to look at and to execute, no more: open(2) with O_PATH.
pub fn open_path(path: &Path) -> Result<OwnedFd> {
    nix::fcntl::open(path, nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty())
}

/// A directory to look things up in.
pub fn open_directory(path: &Path) -> Result<OwnedFd> {
    use nix::fcntl::OFlag;
    nix::fcntl::open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty())
}

/// The ids of a detached tree become those that the user namespace maps them to: mount_setattr(2), MOUNT_ATTR_IDMAP.
pub fn map_ids(tree: BorrowedFd<'_>, recursive: bool, user_namespace: BorrowedFd<'_>) -> Result<()> {
    const MOUNT_ATTR_IDMAP: u64 = 0x10_0000;
    let attributes =
        libc::mount_attr { attr_set: MOUNT_ATTR_IDMAP, attr_clr: 0, propagation: 0, userns_fd: user_namespace.as_raw_fd() as u64 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the empty path and the structure live past the call, and the structure's size is passed.
    checked(unsafe {
        libc::syscall(libc::SYS_mount_setattr, tree.as_raw_fd(), c"".as_ptr(), flags, &raw const attributes, size_of::<libc::mount_attr>())
    })
    .map(drop)
}

/// A new file system, mounted nowhere: fsopen(2), fsconfig(2), fsmount(2).
pub fn new_mount(kind: &CStr, options: &[(&str, &str)]) -> Result<OwnedFd> {
    const CLOEXEC: libc::c_uint = 1;
    const SET_STRING: libc::c_uint = 1;
    const CREATE: libc::c_uint = 6;
    let nothing = std::ptr::null::<libc::c_char>();
    // SAFETY: `kind` lives past the call.
    let context = owned(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), CLOEXEC) })?;
    for (key, value) in options {
        let (key, value) = (CString::new(*key).map_err(|_| Errno::EINVAL)?, CString::new(*value).map_err(|_| Errno::EINVAL)?);
        // SAFETY: both strings live past the call.
        checked(unsafe { libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), SET_STRING, key.as_ptr(), value.as_ptr(), 0) })?;
    }
    // SAFETY: this command takes neither key nor value.
    checked(unsafe { libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), CREATE, nothing, nothing, 0) })?;
    // SAFETY: no pointers.
    owned(unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), CLOEXEC, 0) })
}

/// The command starts with every disposition default (CPython ignores SIGPIPE and SIGXFSZ, and ignored signals survive execve), and
/// without those descriptors after stdio that the caller left inheritable.
pub fn start_clean(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    const LAST_SIGNAL: libc::c_int = 64;
    // The kernel's struct sigaction: SIG_DFL, no flags, no mask. libc's own call refuses the signals that it keeps for itself.
    const DEFAULT: [u64; 4] = [0; 4];
    let clean = || {
        for signal in (1..=LAST_SIGNAL).filter(|signal| !matches!(*signal, libc::SIGKILL | libc::SIGSTOP)) {
            let nothing = std::ptr::null::<u64>();
            // SAFETY: DEFAULT lives past the call and is as large as the kernel's struct, whose mask has 8 bytes.
            checked(unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, DEFAULT.as_ptr(), nothing, 8) })?;
        }
        // SAFETY: no pointers.
        checked(unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) })?;
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes system calls only; it neither allocates nor takes a lock.
    unsafe { command.pre_exec(clean) };
}

/// The command keeps these descriptors under their numbers, whatever `start_clean` did before.
pub fn keep_open(command: &mut std::process::Command, descriptors: Vec<i32>) {
    use std::os::unix::process::CommandExt;
    let keep = move || {
        descriptors.iter().try_for_each(|fd| {
            // SAFETY: no pointers; a number that is not open is EBADF.
            checked(unsafe { libc::syscall(libc::SYS_fcntl, *fd, libc::F_SETFD, 0) })?;
            Ok(())
        })
    };
    // SAFETY: between fork and exec the closure reads memory and makes system calls only; it neither allocates nor takes a lock.
    unsafe { command.pre_exec(keep) };
}

/// Fills it with random bytes: getrandom(2), which gives up to 256 at once.
pub fn random(bytes: &mut [u8; 8]) -> Result<()> {
    // SAFETY: the array lives past the call and its length is passed.
    checked(unsafe { libc::syscall(libc::SYS_getrandom, bytes.as_mut_ptr(), bytes.len(), 0) }).map(drop)
}

/// The disposition of SIGPIPE as a program finds it that nobody prepared: std ignores it, and what is ignored survives execve(2).
pub fn default_sigpipe() {
    // SAFETY: SIG_DFL is no function of ours.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

pub fn pidfd_open(pid: i32) -> Result<OwnedFd> {
    // SAFETY: no pointers.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
}

pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    // SAFETY: the null siginfo asks for what kill(2) would send.
    checked(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, std::ptr::null::<libc::siginfo_t>(), 0) })
        .map(drop)
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Exited(i32),
    Signalled(i32),
}

impl Ending {
    /// From a wait(2) status.
    pub fn from_status(status: i32) -> Self {
        if libc::WIFSIGNALED(status) {
            Ending::Signalled(libc::WTERMSIG(status))
        } else {
            Ending::Exited(libc::WEXITSTATUS(status))
        }
    }

    /// As subprocess has it: the exit code, or minus the signal.
    pub fn code(self) -> i32 {
        match self {
            Ending::Exited(code) => code,
            Ending::Signalled(signal) => -signal,
        }
    }
}

/// Reaps a child that has ended: how, and its largest resident set in bytes. ECHILD where somebody else did.
pub fn reap(pidfd: BorrowedFd<'_>) -> Result<Option<(Ending, u64)>> {
    // SAFETY: all zero is a valid siginfo_t, which the kernel fills.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: all zero is a valid rusage, which the kernel fills.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // The system call itself gives the usage too, which the C function leaves out.
    // SAFETY: both structures live past the call.
    checked(unsafe {
        libc::syscall(
            libc::SYS_waitid,
            libc::P_PIDFD,
            pidfd.as_raw_fd(),
            &raw mut info,
            libc::WEXITED | libc::WNOHANG | libc::__WALL,
            &raw mut usage,
        )
    })?;
    // SAFETY: waitid fills these fields for a child, and leaves them 0 where none has ended.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return Ok(None);
    }
    let ending = if info.si_code == libc::CLD_EXITED { Ending::Exited(status) } else { Ending::Signalled(status) };
    Ok(Some((ending, usage.ru_maxrss as u64 * 1024)))
}

/// The PID behind a pidfd, and the exit status once it has ended: PIDFD_GET_INFO. The status is there since Linux 6.15.
pub fn pidfd_exit_status(pidfd: BorrowedFd<'_>) -> Result<Option<Ending>> {
    const PIDFD_INFO_EXIT: u64 = 1 << 3;
    // The first version of struct pidfd_info, 64 bytes: mask, cgroupid, pid, tgid, ppid, eight ids, exit_code.
    let mut info = [0u32; 16];
    info[0] = PIDFD_INFO_EXIT as u32;
    const PIDFD_GET_INFO: libc::c_ulong = 0xC000_0000 | (64 << 16) | (0xFF << 8) | 11;
    // SAFETY: the structure is as large as the request's number says.
    checked(libc::c_long::from(unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO as _, info.as_mut_ptr()) }))?;
    Ok((u64::from(info[0]) & PIDFD_INFO_EXIT != 0).then(|| Ending::from_status(info[15] as i32)))
}

/// Which of the eight kinds a namespace file is: NS_GET_NSTYPE, ioctl_ns(2). ENOTTY where it is none.
pub fn namespace_flag(fd: BorrowedFd<'_>) -> Result<u64> {
    const NS_GET_NSTYPE: libc::c_ulong = 0xb703;
    // SAFETY: no pointers.
    checked(libc::c_long::from(unsafe { libc::ioctl(fd.as_raw_fd(), NS_GET_NSTYPE as _) })).map(|flag| flag as u64)
}

/// An anonymous file with this content, which nobody can change any more.
pub fn sealed_file(name: &CStr, content: &[u8], executable: bool) -> Result<OwnedFd> {
    let file = anonymous_file(name, executable)?;
    seal(file.as_fd(), content)?;
    Ok(file)
}

/// An anonymous file: memfd_create(2).
pub fn anonymous_file(name: &CStr, executable: bool) -> Result<OwnedFd> {
    const MFD_EXEC: libc::c_uint = 0x10;
    const MFD_NOEXEC_SEAL: libc::c_uint = 0x8;
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    let create = |more: libc::c_uint| {
        // SAFETY: `name` lives past the call.
        owned(unsafe { libc::syscall(libc::SYS_memfd_create, name.as_ptr(), flags | more) })
    };
    // Before 6.3 there was no saying, and every memfd could be executed.
    match create(if executable { MFD_EXEC } else { MFD_NOEXEC_SEAL }) {
        Err(Errno::EINVAL) => create(0),
        other => other,
    }
}

/// Writes all that an anonymous file will ever hold.
pub fn seal(file: BorrowedFd<'_>, content: &[u8]) -> Result<()> {
    let mut rest = content;
    while !rest.is_empty() {
        let count = nix::unistd::write(file, rest)?;
        rest = &rest[count..];
    }
    let seals = libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;
    // SAFETY: no pointers.
    checked(libc::c_long::from(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) })).map(drop)
}

/// The mount that a path lies on, by the number in /proc/self/mountinfo; symbolic links are not followed.
pub fn mount_id(path: &Path) -> Result<u64> {
    let path = c_path(path)?;
    // SAFETY: all zero is a valid statx structure, which the kernel fills.
    let mut status: libc::statx = unsafe { std::mem::zeroed() };
    // SAFETY: path and structure live past the call.
    Errno::result(unsafe {
        libc::statx(libc::AT_FDCWD, path.as_ptr(), libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT, libc::STATX_MNT_ID, &raw mut status)
    })?;
    Ok(status.stx_mnt_id)
}

/// Major and minor of the running kernel.
pub fn kernel_version() -> (u32, u32) {
    let release = nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// The calling thread's permitted set.
pub fn permitted_capabilities() -> u64 {
    const VERSION_3: u32 = 0x2008_0522;
    let header = [VERSION_3, 0];
    let mut data = [0u32; 6];
    // SAFETY: header and data are as large as version 3 wants them.
    match unsafe { libc::syscall(libc::SYS_capget, header.as_ptr(), data.as_mut_ptr()) } {
        0 => u64::from(data[1]) | u64::from(data[4]) << 32,
        _ => 0,
    }
}

/// The calling thread's bounding set.
pub fn bounding_capabilities() -> u64 {
    (0..64u64)
        .filter(|number| {
            // SAFETY: no pointers; a capability that the kernel does not know is an error, which is no 1.
            unsafe { libc::prctl(libc::PR_CAPBSET_READ, *number, 0, 0, 0) == 1 }
        })
        .fold(0, |set, number| set | 1 << number)
}

/// A descriptor that came over a socket.
pub fn adopt(fd: i32) -> OwnedFd {
    // SAFETY: the kernel made it for this process when the message was received, and hands each out once.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// The PID behind a pidfd, from its fdinfo (PIDFD_GET_INFO is younger than the oldest kernel we run on).
pub fn pidfd_pid(pidfd: BorrowedFd<'_>) -> Result<i32> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).map_err(|_| Errno::ESRCH)?;
    let pid = text.lines().find_map(|line| line.strip_prefix("Pid:")).and_then(|pid| pid.trim().parse().ok());
    pid.filter(|pid| *pid > 0).ok_or(Errno::ESRCH)
}

/// A descriptor that belongs to somebody else for the time of a call: a number of the interpreter's, or stdio. One that is wrong is the
/// kernel's EBADF; -1, which `BorrowedFd` cannot hold, becomes a number that is never open.
pub fn lend<'a>(fd: i32) -> BorrowedFd<'a> {
    // SAFETY: never closed by us, and only handed to calls that check it.
    unsafe { BorrowedFd::borrow_raw(if fd < 0 { i32::MAX } else { fd }) }
}

/// The other side of a pty, whatever mount namespace its devpts is in: TIOCGPTPEER, ioctl_tty(2).
pub fn terminal_peer(master: BorrowedFd<'_>) -> Result<OwnedFd> {
    const TIOCGPTPEER: libc::c_ulong = 0x5441;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: no pointers; the request's argument is open(2)'s flags.
    owned(libc::c_long::from(unsafe { libc::ioctl(master.as_raw_fd(), TIOCGPTPEER as _, flags) }))
}

/// Where `from` is a terminal, its size becomes `to`'s.
pub fn copy_terminal_size(from: BorrowedFd<'_>, to: BorrowedFd<'_>) {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the structure is the one that both requests are about.
    unsafe {
        if libc::ioctl(from.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) == 0 {
            libc::ioctl(to.as_raw_fd(), libc::TIOCSWINSZ, &raw const size);
        }
    }
}
