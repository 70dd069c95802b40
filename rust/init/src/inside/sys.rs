//! The only `unsafe` of the init: system calls by number, the program's entry, and the plan's memory.
//!
//! One function a call, the kernel's name. A failure carries the number of the call, so that the caller can say in words what failed.

use core::arch::{asm, global_asm};
use core::ffi::CStr;
use core::sync::atomic::{AtomicUsize, Ordering};

use linux_raw_sys::general::*;
use linux_raw_sys::ioctl::{TIOCGPTN, TIOCGPTPEER, TIOCSCTTY, TIOCSPTLCK, TIOCSWINSZ};
use linux_raw_sys::net::{cmsghdr, ifreq, msghdr, SCM_RIGHTS, SOL_SOCKET};
use linux_raw_sys::prctl::*;
use pyrt_init::{Hello, Message, HELLO_SIZE, MAX_FDS, MESSAGE_SIZE};

/// linux/filter.h. The program lies in the plan, whose operands start at multiples of eight.
#[repr(C)]
struct sock_fprog {
    len: u16,
    filter: *const u8,
}

const SECCOMP_SET_MODE_FILTER: u32 = 1;
const SECCOMP_FILTER_FLAG_NEW_LISTENER: u64 = 1 << 3;

/// A system call that failed.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    pub call: u32,
    pub errno: i32,
    /// The wait status of a hook; 0 elsewhere.
    pub status: u64,
}

pub type Result<T> = core::result::Result<T, Failure>;

/// Something that is no system call's own failure: the errno that says it, and the call that found it.
pub fn refused<T>(call: u32, errno: u32) -> Result<T> {
    Err(Failure { call, errno: errno as i32, status: 0 })
}

// The kernel enters here with the stack pointer at argc and no return address.
#[cfg(target_arch = "x86_64")]
global_asm!(".globl _start", "_start:", "xor %ebp, %ebp", "and $-16, %rsp", "call {main}", "ud2", main = sym crate::main, options(att_syntax));
#[cfg(target_arch = "aarch64")]
global_asm!(".globl _start", "_start:", "mov x29, #0", "bl {main}", "brk #1", main = sym crate::main);

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(PANIC_STATUS)
}

/// What the caller sees when this program has a defect; nothing of ours exits with it otherwise.
const PANIC_STATUS: i32 = 114;

// What the compiler calls for copies and comparisons; there is no libc here. Written so that it cannot turn them into calls of themselves.
#[no_mangle]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    // SAFETY: the compiler passes two areas of `count` bytes that do not overlap.
    unsafe { copy_forwards(to, from, count) };
    to
}

#[no_mangle]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    if (to as usize).wrapping_sub(from as usize) >= count {
        // SAFETY: both areas have `count` bytes, and no byte that is still to be read lies where one is written.
        unsafe { copy_forwards(to, from, count) };
    } else {
        for index in (0..count).rev() {
            // SAFETY: both areas have `count` bytes; from the end, since the target lies above the source and overlaps it.
            unsafe { to.add(index).write_volatile(from.add(index).read_volatile()) };
        }
    }
    to
}

#[no_mangle]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, count: usize) -> *mut u8 {
    // SAFETY: the compiler passes an area of `count` bytes; the direction flag is clear, as the ABI has it.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!("rep stosb", inout("rcx") count => _, inout("rdi") to => _, in("al") byte as u8, options(nostack, preserves_flags))
    };
    #[cfg(not(target_arch = "x86_64"))]
    for index in 0..count {
        // SAFETY: as above.
        unsafe { to.add(index).write_volatile(byte as u8) };
    }
    to
}

unsafe fn copy_forwards(to: *mut u8, from: *const u8, count: usize) {
    // SAFETY: the callers pass two areas of `count` bytes; the direction flag is clear, as the ABI has it.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!("rep movsb", inout("rcx") count => _, inout("rdi") to => _, inout("rsi") from => _, options(nostack, preserves_flags))
    };
    #[cfg(not(target_arch = "x86_64"))]
    for index in 0..count {
        // SAFETY: as above.
        unsafe { to.add(index).write_volatile(from.add(index).read_volatile()) };
    }
}

#[no_mangle]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, count: usize) -> i32 {
    let mut index = 0;
    while index < count {
        // SAFETY: the compiler passes two areas of `count` bytes.
        let (a, b) = unsafe { (left.add(index).read_volatile(), right.add(index).read_volatile()) };
        if a != b {
            return i32::from(a) - i32::from(b);
        }
        index += 1;
    }
    0
}

#[no_mangle]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, count: usize) -> i32 {
    // SAFETY: the same contract as memcmp.
    unsafe { memcmp(left, right, count) }
}

#[no_mangle]
unsafe extern "C" fn strlen(string: *const u8) -> usize {
    let mut length = 0;
    // SAFETY: the caller passes a string that ends with NUL.
    while unsafe { string.add(length).read_volatile() } != 0 {
        length += 1;
    }
    length
}

/// Any system call. The wrappers below are what makes a given one sound.
#[cfg(target_arch = "x86_64")]
unsafe fn raw(number: u32, a: [usize; 6]) -> isize {
    let result;
    // SAFETY: the kernel reads and writes what the number says; rcx and r11 are all that it destroys.
    unsafe {
        asm!("syscall", inlateout("rax") number as isize => result, in("rdi") a[0], in("rsi") a[1], in("rdx") a[2], in("r10") a[3],
            in("r8") a[4], in("r9") a[5], lateout("rcx") _, lateout("r11") _)
    };
    result
}

#[cfg(target_arch = "aarch64")]
unsafe fn raw(number: u32, a: [usize; 6]) -> isize {
    let result;
    // SAFETY: the kernel reads and writes what the number says; it keeps every register but x0.
    unsafe {
        asm!("svc #0", in("x8") number as usize, inlateout("x0") a[0] => result, in("x1") a[1], in("x2") a[2], in("x3") a[3],
            in("x4") a[4], in("x5") a[5])
    };
    result
}

/// In the sixth argument of every call that has fewer, where the kernel does not look and a seccomp filter may: 0 until one is loaded.
static KEY: AtomicUsize = AtomicUsize::new(0);

/// A system call whose failure is kept; EINTR is tried again (every signal is blocked, so it is rare).
macro_rules! call {
    ($number:ident $(, $argument:expr)*) => {{
        let arguments = [$($argument as usize),*];
        let mut all = [0, 0, 0, 0, 0, KEY.load(Ordering::Relaxed)];
        all[..arguments.len()].copy_from_slice(&arguments);
        loop {
            // SAFETY: every pointer among the arguments comes from a reference that lives past the call, with its length beside it
            // where the kernel wants one; no call here keeps a pointer.
            let result = unsafe { raw($number, all) };
            if result >= 0 {
                break Ok(result as usize);
            }
            if result != -(linux_raw_sys::errno::EINTR as isize) {
                break Err(Failure { call: $number, errno: -result as i32, status: 0 });
            }
        }
    }};
}

pub fn exit(status: i32) -> ! {
    loop {
        // SAFETY: ends the process.
        unsafe { raw(__NR_exit_group, [status as usize, 0, 0, 0, 0, KEY.load(Ordering::Relaxed)]) };
    }
}

// Files. Paths are C strings; a descriptor is a plain number here, since init closes all of them at once, at its execve or its end.

pub const CWD: i32 = AT_FDCWD;

pub fn openat2(directory: i32, path: &CStr, flags: u32, resolve: u32) -> Result<i32> {
    let how = open_how { flags: u64::from(flags | O_CLOEXEC), mode: 0, resolve: u64::from(resolve) };
    call!(__NR_openat2, directory, path.as_ptr(), &raw const how, size_of::<open_how>()).map(|fd| fd as i32)
}

pub fn create(directory: i32, path: &CStr, mode: u32) -> Result<i32> {
    let how = open_how { flags: u64::from(O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC), mode: u64::from(mode), resolve: 0 };
    call!(__NR_openat2, directory, path.as_ptr(), &raw const how, size_of::<open_how>()).map(|fd| fd as i32)
}

pub fn close(fd: i32) {
    // A descriptor that we opened: nothing that close can say would change what we do.
    let _ = call!(__NR_close, fd);
}

pub fn write(fd: i32, bytes: &[u8]) -> Result<usize> {
    call!(__NR_write, fd, bytes.as_ptr(), bytes.len())
}

pub fn rewind(fd: i32) -> Result<()> {
    call!(__NR_lseek, fd, 0, SEEK_SET).map(drop)
}

pub fn mkdirat(directory: i32, path: &CStr, mode: u32) -> Result<()> {
    call!(__NR_mkdirat, directory, path.as_ptr(), mode).map(drop)
}

pub fn rmdir(directory: i32, path: &CStr) -> Result<()> {
    call!(__NR_unlinkat, directory, path.as_ptr(), AT_REMOVEDIR).map(drop)
}

/// Entries of a directory into `buffer`, as getdents64(2) has them: how many bytes; 0 at the end.
pub fn getdents(directory: i32, buffer: &mut [u8]) -> Result<usize> {
    call!(__NR_getdents64, directory, buffer.as_mut_ptr(), buffer.len())
}

pub fn read(fd: i32, into: &mut [u8]) -> Result<usize> {
    call!(__NR_read, fd, into.as_mut_ptr(), into.len())
}

/// The next message of a socket, `None` where none is there.
pub fn receive_now(socket: i32, into: &mut [u8]) -> Result<Option<usize>> {
    const MSG_DONTWAIT: u32 = 0x40;
    match call!(__NR_recvfrom, socket, into.as_mut_ptr(), into.len(), MSG_DONTWAIT, 0, 0) {
        Err(Failure { errno, .. }) if errno == linux_raw_sys::errno::EAGAIN as i32 => Ok(None),
        other => other.map(Some),
    }
}

/// Gives up the processor until the kernel says that a file of a pseudo file system has changed, or the time has passed.
pub fn poll_change(fd: i32, milliseconds: i64) -> Result<()> {
    const POLLPRI: i16 = 2;
    let mut wanted = pollfd { fd, events: POLLPRI, revents: 0 };
    let time = __kernel_timespec { tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000 };
    call!(__NR_ppoll, &raw mut wanted, 1, &raw const time, 0, 0).map(drop)
}

pub fn mknodat(directory: i32, path: &CStr, mode: u32, device: u32) -> Result<()> {
    call!(__NR_mknodat, directory, path.as_ptr(), mode, device).map(drop)
}

/// The kernel's own 32-bit form of a device number: makedev(3).
pub fn encoded_device(number: u64) -> u32 {
    let (major, minor) = ((number >> 32) as u32, number as u32);
    (minor & 0xff) | (major & 0xfff) << 8 | (minor & !0xff) << 12
}

/// Everything that is left in `from`: sendfile(2).
pub fn copy_content(from: i32, to: i32) -> Result<()> {
    const AT_ONCE: usize = 1 << 30;
    while call!(__NR_sendfile, to, from, 0, AT_ONCE)? != 0 {}
    Ok(())
}

/// How long the target is, of which as much as fits is put into `into`.
pub fn readlinkat(directory: i32, path: &CStr, into: &mut [u8]) -> Result<usize> {
    call!(__NR_readlinkat, directory, path.as_ptr(), into.as_mut_ptr(), into.len())
}

/// Follows symbolic links.
pub fn fchmodat(directory: i32, path: &CStr, mode: u32) -> Result<()> {
    call!(__NR_fchmodat, directory, path.as_ptr(), mode).map(drop)
}

/// Those of last access and change become the same as `status` has them.
pub fn set_times(directory: i32, path: &CStr, status: &Status) -> Result<()> {
    let times = status.times.map(|(seconds, nanoseconds)| __kernel_timespec { tv_sec: seconds, tv_nsec: nanoseconds });
    call!(__NR_utimensat, directory, path.as_ptr(), times.as_ptr(), AT_SYMLINK_NOFOLLOW).map(drop)
}

pub fn symlinkat(target: &CStr, directory: i32, path: &CStr) -> Result<()> {
    call!(__NR_symlinkat, target.as_ptr(), directory, path.as_ptr()).map(drop)
}

pub fn fchownat(directory: i32, path: &CStr, uid: u32, gid: u32) -> Result<()> {
    call!(__NR_fchownat, directory, path.as_ptr(), uid, gid, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH).map(drop)
}

pub fn lsetxattr(path: &CStr, name: &CStr, value: &[u8]) -> Result<()> {
    call!(__NR_lsetxattr, path.as_ptr(), name.as_ptr(), value.as_ptr(), value.len(), 0).map(drop)
}

/// The length of an extended attribute, and as much of it as `value` has room for.
pub fn getxattr(path: &CStr, name: &CStr, value: &mut [u8]) -> Result<usize> {
    call!(__NR_lgetxattr, path.as_ptr(), name.as_ptr(), value.as_mut_ptr(), value.len())
}

/// The names of a file's extended attributes, each with its NUL; how many bytes. An empty buffer only asks that.
pub fn flistxattr(file: i32, names: &mut [u8]) -> Result<usize> {
    call!(__NR_flistxattr, file, names.as_mut_ptr(), names.len())
}

pub fn fgetxattr(file: i32, name: &CStr, value: &mut [u8]) -> Result<usize> {
    call!(__NR_fgetxattr, file, name.as_ptr(), value.as_mut_ptr(), value.len())
}

pub fn fsetxattr(file: i32, name: &CStr, value: &[u8]) -> Result<()> {
    call!(__NR_fsetxattr, file, name.as_ptr(), value.as_ptr(), value.len(), 0).map(drop)
}

pub fn faccess_execute(path: &CStr) -> Result<()> {
    const X_OK: u32 = 1;
    const AT_EACCESS: u32 = 0x200;
    call!(__NR_faccessat2, AT_FDCWD, path.as_ptr(), X_OK, AT_EACCESS).map(drop)
}

/// The same of a descriptor's file.
pub fn faccess_execute_at(fd: i32) -> Result<()> {
    const X_OK: u32 = 1;
    const AT_EACCESS: u32 = 0x200;
    call!(__NR_faccessat2, fd, c"".as_ptr(), X_OK, AT_EACCESS | AT_EMPTY_PATH).map(drop)
}

/// Of a file. `device`: major number in the upper half, minor in the lower. `times`: last access and last change, seconds and nanoseconds.
pub struct Status {
    pub mode: u32,
    pub device: u64,
    pub uid: u32,
    pub gid: u32,
    pub times: [(i64, i64); 2],
}

impl Status {
    pub fn is(&self, kind: u32) -> bool {
        self.mode & S_IFMT == kind
    }
}

pub fn statx(directory: i32, path: &CStr, flags: u32) -> Result<Status> {
    // SAFETY: all zero is a valid statx structure; the kernel fills it.
    let mut status: statx = unsafe { core::mem::zeroed() };
    call!(__NR_statx, directory, path.as_ptr(), flags | AT_EMPTY_PATH | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &raw mut status)?;
    Ok(Status {
        mode: u32::from(status.stx_mode),
        device: u64::from(status.stx_rdev_major) << 32 | u64::from(status.stx_rdev_minor),
        uid: status.stx_uid,
        gid: status.stx_gid,
        times: [status.stx_atime, status.stx_mtime].map(|time| (time.tv_sec, i64::from(time.tv_nsec))),
    })
}

pub fn file_system(fd: i32) -> Result<u32> {
    // SAFETY: all zero is a valid statfs structure; the kernel fills it.
    let mut status: statfs = unsafe { core::mem::zeroed() };
    call!(__NR_fstatfs, fd, &raw mut status)?;
    Ok(status.f_type as u32)
}

// Descriptors.

/// A copy of it at `lowest` or above, closed on exec.
pub fn duplicate_above(fd: i32, lowest: u32) -> Result<i32> {
    call!(__NR_fcntl, fd, F_DUPFD_CLOEXEC, lowest).map(|fd| fd as i32)
}

/// A copy of it as `target`, kept across exec.
pub fn duplicate_as(fd: i32, target: i32) -> Result<()> {
    call!(__NR_dup3, fd, target, 0).map(drop)
}

pub fn close_on_exec(from: u32) -> Result<()> {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    call!(__NR_close_range, from, u32::MAX, CLOSE_RANGE_CLOEXEC).map(drop)
}

/// Closes everything but these, which are in ascending order.
pub fn close_all_but(kept: &[i32]) {
    let mut from = 0;
    for fd in kept.iter().map(|fd| *fd as u32).chain([u32::MAX]) {
        if fd > from {
            // All of it is ours; a kernel that cannot close a range is older than the oldest that we run on.
            let _ = call!(__NR_close_range, from, fd - 1, 0);
        }
        from = fd.wrapping_add(1);
    }
}

// Mounts: the descriptor-based calls alone, so that no path of the container is ever a string to the kernel twice.

pub fn fsopen(kind: &CStr) -> Result<i32> {
    const FSOPEN_CLOEXEC: u32 = 1;
    call!(__NR_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC).map(|fd| fd as i32)
}

pub fn fsconfig_string(context: i32, key: &CStr, value: &CStr) -> Result<()> {
    call!(__NR_fsconfig, context, fsconfig_command::FSCONFIG_SET_STRING as u32, key.as_ptr(), value.as_ptr(), 0).map(drop)
}

pub fn fsconfig_flag(context: i32, key: &CStr) -> Result<()> {
    call!(__NR_fsconfig, context, fsconfig_command::FSCONFIG_SET_FLAG as u32, key.as_ptr(), 0, 0).map(drop)
}

pub fn fsconfig_create(context: i32) -> Result<()> {
    call!(__NR_fsconfig, context, fsconfig_command::FSCONFIG_CMD_CREATE as u32, 0, 0, 0).map(drop)
}

pub fn fsmount(context: i32, attributes: u32) -> Result<i32> {
    const FSMOUNT_CLOEXEC: u32 = 1;
    call!(__NR_fsmount, context, FSMOUNT_CLOEXEC, attributes).map(|fd| fd as i32)
}

/// A detached copy of the mount at a path, or of what a descriptor names where the path is empty.
pub fn open_tree(directory: i32, path: &CStr, recursive: bool) -> Result<i32> {
    const OPEN_TREE_CLOEXEC: u32 = O_CLOEXEC;
    let flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    call!(__NR_open_tree, directory, path.as_ptr(), flags).map(|fd| fd as i32)
}

pub fn mount_setattr(mount: i32, recursive: bool, set: u64, clear: u64, propagation: u64) -> Result<()> {
    let attributes = mount_attr { attr_set: set, attr_clr: clear, propagation, userns_fd: 0 };
    let flags = AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    call!(__NR_mount_setattr, mount, c"".as_ptr(), flags, &raw const attributes, size_of::<mount_attr>()).map(drop)
}

/// Puts a detached mount onto what `target` names.
pub fn move_mount(mount: i32, target: i32) -> Result<()> {
    const FROM_EMPTY_TO_EMPTY: u32 = 0x4 | 0x40;
    call!(__NR_move_mount, mount, c"".as_ptr(), target, c"".as_ptr(), FROM_EMPTY_TO_EMPTY).map(drop)
}

/// Changes the propagation of the whole tree at `path`.
pub fn mount_propagation(path: &CStr, flags: u64) -> Result<()> {
    call!(__NR_mount, c"".as_ptr(), path.as_ptr(), 0, flags, 0).map(drop)
}

pub fn pivot_root_here() -> Result<()> {
    call!(__NR_pivot_root, c".".as_ptr(), c".".as_ptr()).map(drop)
}

pub fn umount_detach(path: &CStr) -> Result<()> {
    call!(__NR_umount2, path.as_ptr(), MNT_DETACH).map(drop)
}

pub fn chroot(path: &CStr) -> Result<()> {
    call!(__NR_chroot, path.as_ptr()).map(drop)
}

pub fn chdir(path: &CStr) -> Result<()> {
    call!(__NR_chdir, path.as_ptr()).map(drop)
}

pub fn fchdir(fd: i32) -> Result<()> {
    call!(__NR_fchdir, fd).map(drop)
}

/// Whether the working directory can be reached from the root: the kernel marks one that cannot with "(unreachable)".
pub fn cwd_is_inside() -> Result<bool> {
    let mut path = [0u8; PATH_MAX as usize];
    call!(__NR_getcwd, path.as_mut_ptr(), path.len())?;
    Ok(path[0] == b'/')
}

// Namespaces and processes.

pub fn unshare(flags: u64) -> Result<()> {
    call!(__NR_unshare, flags).map(drop)
}

pub fn setns(fd: i32, kind: u64) -> Result<()> {
    call!(__NR_setns, fd, kind).map(drop)
}

pub fn sethostname(name: &CStr) -> Result<()> {
    call!(__NR_sethostname, name.as_ptr(), name.to_bytes().len()).map(drop)
}

pub fn setdomainname(name: &CStr) -> Result<()> {
    call!(__NR_setdomainname, name.as_ptr(), name.to_bytes().len()).map(drop)
}

/// What a clone returns in the parent: the child's PID, and its pidfd where one was asked for.
pub struct Child {
    pub pid: i32,
    pub pidfd: i32,
}

/// clone3(2) as a fork: the child has its own memory and goes on after the call (`None`).
pub fn fork(flags: u64, cgroup: Option<i32>) -> Result<Option<Child>> {
    let mut pidfd: i32 = -1;
    // SAFETY: all zero is a valid clone_args: no stack of its own, as fork has it.
    let mut arguments: clone_args = unsafe { core::mem::zeroed() };
    arguments.flags = flags | u64::from(CLONE_PIDFD);
    arguments.pidfd = &raw mut pidfd as u64;
    // With CLONE_PARENT the kernel takes the signal from the parent's own, and refuses one given here.
    arguments.exit_signal = if flags & u64::from(CLONE_PARENT) == 0 { u64::from(SIGCHLD) } else { 0 };
    if let Some(fd) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = fd as u64;
    }
    match call!(__NR_clone3, &raw mut arguments, size_of::<clone_args>())? {
        0 => Ok(None),
        pid => Ok(Some(Child { pid: pid as i32, pidfd })),
    }
}

/// A pidfd of the calling process.
pub fn own_pidfd() -> Result<i32> {
    let pid = call!(__NR_getpid)?;
    call!(__NR_pidfd_open, pid, 0).map(|fd| fd as i32)
}

/// Makes the calling process the leader of a group of its own.
pub fn process_group() -> Result<()> {
    call!(__NR_setpgid, 0, 0).map(drop)
}

pub fn setsid() -> Result<()> {
    call!(__NR_setsid).map(drop)
}

pub fn kill(pid: i32, signal: i32) -> Result<()> {
    call!(__NR_kill, pid, signal).map(drop)
}

/// Reaps one ended child if there is one: PID, wait status and largest resident set in bytes.
pub fn wait_any() -> Result<Option<(i32, u64, u64)>> {
    wait4(-1, WNOHANG)
}

/// Waits for this child: its wait status.
pub fn wait_for(pid: i32) -> Result<u64> {
    Ok(wait4(pid, 0)?.map_or(0, |(_, status, _)| status))
}

fn wait4(pid: i32, options: u32) -> Result<Option<(i32, u64, u64)>> {
    let mut status: i32 = 0;
    // SAFETY: all zero is a valid rusage structure; the kernel fills it.
    let mut usage: rusage = unsafe { core::mem::zeroed() };
    match call!(__NR_wait4, pid, &raw mut status, options | __WALL, &raw mut usage)? {
        0 => Ok(None),
        pid => Ok(Some((pid as i32, status as u32 as u64, usage.ru_maxrss as u64 * 1024))),
    }
}

/// Gives up the processor until one of the descriptors is readable, or `milliseconds` have passed (negative: for ever).
/// Says which are, bit by bit.
pub fn poll(fds: &[i32], milliseconds: i64) -> Result<u32> {
    const POLLIN: i16 = 1;
    let mut wanted = [pollfd { fd: -1, events: POLLIN, revents: 0 }; 4];
    for (slot, fd) in wanted.iter_mut().zip(fds) {
        slot.fd = *fd;
    }
    let time = __kernel_timespec { tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000 };
    let timeout = if milliseconds < 0 { core::ptr::null() } else { &raw const time };
    call!(__NR_ppoll, wanted.as_mut_ptr(), wanted.len(), timeout, 0, 0)?;
    Ok(wanted.iter().enumerate().fold(0, |ready, (index, slot)| ready | u32::from(slot.revents != 0) << index))
}

/// A descriptor from which every signal can be read, as they are all blocked.
pub fn signalfd() -> Result<i32> {
    const SFD_CLOEXEC: u32 = O_CLOEXEC;
    let every = u64::MAX;
    call!(__NR_signalfd4, -1i32, &raw const every, size_of::<u64>(), SFD_CLOEXEC).map(|fd| fd as i32)
}

/// The number of the next signal on a signalfd(2).
pub fn next_signal(fd: i32) -> Result<i32> {
    const SIGINFO_SIZE: usize = 128;
    let mut info = [0u8; SIGINFO_SIZE];
    call!(__NR_read, fd, info.as_mut_ptr(), info.len())?;
    Ok(i32::from_le_bytes([info[0], info[1], info[2], info[3]]))
}

pub fn block_signals() -> Result<()> {
    set_signal_mask(u64::MAX)
}

pub fn unblock_signals() -> Result<()> {
    set_signal_mask(0)
}

/// Every disposition default. An ignored signal would survive execve (CPython ignores SIGPIPE and SIGXFSZ); an ignored SIGCHLD, which
/// CLONE_CLEAR_SIGHAND leaves as it is, would also leave a PID 1 that stays nothing to wait for.
pub fn default_dispositions() -> Result<()> {
    // SAFETY: all zero is a valid sigaction: SIG_DFL, no flags, no mask.
    let default: kernel_sigaction = unsafe { core::mem::zeroed() };
    for signal in (1..=_NSIG).filter(|signal| *signal != SIGKILL && *signal != SIGSTOP) {
        call!(__NR_rt_sigaction, signal, &raw const default, 0, size_of::<u64>())?;
    }
    Ok(())
}

fn set_signal_mask(mask: u64) -> Result<()> {
    call!(__NR_rt_sigprocmask, SIG_SETMASK, &raw const mask, 0, size_of::<u64>()).map(drop)
}

pub fn prlimit(resource: u64, soft: u64, hard: u64) -> Result<()> {
    let limit = rlimit64 { rlim_cur: soft, rlim_max: hard };
    call!(__NR_prlimit64, 0, resource, &raw const limit, 0).map(drop)
}

pub fn ioprio_set(class: u64, level: u64) -> Result<()> {
    const IOPRIO_WHO_PROCESS: u32 = 1;
    const IOPRIO_CLASS_SHIFT: u32 = 13;
    call!(__NR_ioprio_set, IOPRIO_WHO_PROCESS, 0, class << IOPRIO_CLASS_SHIFT | level).map(drop)
}

/// `struct sched_attr` in its first form, without utilization clamps.
#[repr(C)]
#[derive(Default)]
pub struct SchedulerAttributes {
    pub size: u32,
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

pub fn sched_setattr(attributes: SchedulerAttributes) -> Result<()> {
    let sized = SchedulerAttributes { size: size_of::<SchedulerAttributes>() as u32, ..attributes };
    call!(__NR_sched_setattr, 0, &raw const sized, 0).map(drop)
}

pub fn set_mempolicy(mode: u64, nodes: &[u64]) -> Result<()> {
    // The kernel reads one bit less than it is told.
    call!(__NR_set_mempolicy, mode, nodes.as_ptr(), nodes.len() * 64 + 1).map(drop)
}

pub fn sched_setaffinity(cpus: &[u64]) -> Result<()> {
    call!(__NR_sched_setaffinity, 0, size_of_val(cpus), cpus.as_ptr()).map(drop)
}

pub fn personality(persona: u64) -> Result<()> {
    call!(__NR_personality, persona).map(drop)
}

/// A keyring of that name that can be searched, or else a new one; without a name always a new one.
pub fn join_session_keyring(name: Option<&CStr>) -> Result<i32> {
    const KEYCTL_JOIN_SESSION_KEYRING: u32 = 1;
    call!(__NR_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.map_or(core::ptr::null(), CStr::as_ptr)).map(|key| key as i32)
}

/// How long the description is, which is cut to what `into` holds.
pub fn describe_key(key: i32, into: &mut [u8]) -> Result<usize> {
    const KEYCTL_DESCRIBE: u32 = 6;
    call!(__NR_keyctl, KEYCTL_DESCRIBE, key, into.as_mut_ptr(), into.len())
}

pub fn umask(mask: u64) -> Result<()> {
    call!(__NR_umask, mask).map(drop)
}

pub fn execve(path: &CStr, arguments: &Pointers, environment: &Pointers) -> Failure {
    match call!(__NR_execve, path.as_ptr(), arguments.start, environment.start) {
        Err(failure) => failure,
        // execve does not return when it succeeds.
        Ok(_) => Failure { call: __NR_execve, errno: 0, status: 0 },
    }
}

/// execveat(2) of a descriptor.
pub fn execute_descriptor(fd: i32, arguments: &Pointers, environment: &Pointers) -> Failure {
    match call!(__NR_execveat, fd, c"".as_ptr(), arguments.start, environment.start, AT_EMPTY_PATH) {
        Err(failure) => failure,
        Ok(_) => Failure { call: __NR_execveat, errno: 0, status: 0 },
    }
}

// Identity.

pub fn prctl(option: u32, value: u64) -> Result<usize> {
    call!(__NR_prctl, option, value, 0, 0, 0)
}

pub fn not_dumpable() -> Result<()> {
    dumpable(false)
}

pub fn dumpable(allowed: bool) -> Result<()> {
    prctl(PR_SET_DUMPABLE, u64::from(allowed)).map(drop)
}

pub fn set_name(name: &CStr) -> Result<()> {
    call!(__NR_prctl, PR_SET_NAME, name.as_ptr(), 0, 0, 0).map(drop)
}

pub fn no_new_privileges() -> Result<()> {
    prctl(PR_SET_NO_NEW_PRIVS, 1).map(drop)
}

/// seccomp(2) with a program of struct sock_filter; from here on this process's calls carry the key.
pub fn load_filter(program: &[u8], flags: u64, key: u64) -> Result<Option<i32>> {
    let filter = sock_fprog { len: (program.len() / 8) as u16, filter: program.as_ptr() };
    KEY.store(key as usize, Ordering::Relaxed);
    let loaded = call!(__NR_seccomp, SECCOMP_SET_MODE_FILTER, flags, &raw const filter)?;
    Ok((flags & SECCOMP_FILTER_FLAG_NEW_LISTENER != 0).then_some(loaded as i32))
}

pub fn keep_capabilities(keep: bool) -> Result<()> {
    prctl(PR_SET_KEEPCAPS, u64::from(keep)).map(drop)
}

pub fn child_subreaper() -> Result<()> {
    prctl(PR_SET_CHILD_SUBREAPER, 1).map(drop)
}

/// Whether the bounding set has it; an error where the kernel does not know the capability.
pub fn bounding_has(capability: u64) -> Result<bool> {
    prctl(PR_CAPBSET_READ, capability).map(|answer| answer == 1)
}

pub fn bounding_drop(capability: u64) -> Result<()> {
    prctl(PR_CAPBSET_DROP, capability).map(drop)
}

pub fn ambient_clear() -> Result<()> {
    prctl(PR_CAP_AMBIENT, u64::from(PR_CAP_AMBIENT_CLEAR_ALL)).map(drop)
}

pub fn ambient_raise(capability: u64) -> Result<()> {
    call!(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0).map(drop)
}

#[derive(Clone, Copy)]
pub struct Capabilities {
    pub effective: u64,
    pub permitted: u64,
    pub inheritable: u64,
}

pub fn capget() -> Result<Capabilities> {
    let header = [_LINUX_CAPABILITY_VERSION_3, 0];
    let mut data = [0u32; 6];
    call!(__NR_capget, header.as_ptr(), data.as_mut_ptr())?;
    let set = |index: usize| u64::from(data[index]) | u64::from(data[index + 3]) << 32;
    Ok(Capabilities { effective: set(0), permitted: set(1), inheritable: set(2) })
}

pub fn capset(sets: Capabilities) -> Result<()> {
    let header = [_LINUX_CAPABILITY_VERSION_3, 0];
    let (e, p, i) = (sets.effective, sets.permitted, sets.inheritable);
    let data = [e as u32, p as u32, i as u32, (e >> 32) as u32, (p >> 32) as u32, (i >> 32) as u32];
    call!(__NR_capset, header.as_ptr(), data.as_ptr()).map(drop)
}

pub fn setgroups(groups: &[u32]) -> Result<()> {
    call!(__NR_setgroups, groups.len(), groups.as_ptr()).map(drop)
}

pub fn setresgid(gid: u64) -> Result<()> {
    call!(__NR_setresgid, gid, gid, gid).map(drop)
}

pub fn setresuid(uid: u64) -> Result<()> {
    call!(__NR_setresuid, uid, uid, uid).map(drop)
}

// Terminals and the network.

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

/// One for rtnetlink(7) in the network namespace that this process is in.
pub fn netlink_socket() -> Result<i32> {
    const AF_NETLINK: u32 = 16;
    const SOCK_RAW_CLOEXEC: u32 = 3 | O_CLOEXEC;
    const NETLINK_ROUTE: u32 = 0;
    call!(__NR_socket, AF_NETLINK, SOCK_RAW_CLOEXEC, NETLINK_ROUTE).map(|fd| fd as i32)
}

/// The flags of `lo` gain IFF_UP.
pub fn loopback_up() -> Result<()> {
    const AF_INET: u32 = 2;
    const SOCK_DGRAM_CLOEXEC: u32 = 2 | O_CLOEXEC;
    const SIOCSIFFLAGS: u32 = 0x8914;
    const IFF_UP: i16 = 1;
    let socket = call!(__NR_socket, AF_INET, SOCK_DGRAM_CLOEXEC, 0)? as i32;
    // SAFETY: all zero is a valid ifreq structure.
    let mut request: ifreq = unsafe { core::mem::zeroed() };
    request.ifr_ifrn.ifrn_name = [0; 16];
    // SAFETY: the name is the union's only member, and was just written.
    let name = unsafe { &mut request.ifr_ifrn.ifrn_name };
    name[0] = b'l' as _;
    name[1] = b'o' as _;
    request.ifr_ifru.ifru_flags = IFF_UP;
    let result = call!(__NR_ioctl, socket, SIOCSIFFLAGS, &raw mut request).map(drop);
    close(socket);
    result
}

// The socket to the caller.

/// Room for one control message with the most descriptors that the kernel passes at once.
#[repr(C, align(8))]
struct Control([u8; size_of::<cmsghdr>() + 4 * MAX_FDS + 4]);

/// The first message, with its descriptors put into `fds`. `None` when the caller is gone.
pub fn receive_hello(socket: i32, fds: &mut [i32; MAX_FDS]) -> Result<Option<Hello>> {
    const MSG_CMSG_CLOEXEC: u32 = 0x4000_0000;
    let mut bytes = [0u8; HELLO_SIZE];
    let mut control = Control([0; size_of::<Control>()]);
    let mut part = linux_raw_sys::general::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() as _ };
    // SAFETY: all zero is a valid msghdr: no name, nothing to receive into.
    let mut header: msghdr = unsafe { core::mem::zeroed() };
    header.msg_iov = (&raw mut part).cast();
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = control.0.len() as _;
    if call!(__NR_recvmsg, socket, &raw mut header, MSG_CMSG_CLOEXEC)? != HELLO_SIZE {
        return Ok(None);
    }
    let hello = Hello::from_bytes(&bytes);
    let got = (header.msg_controllen as usize).saturating_sub(size_of::<cmsghdr>()) / 4;
    if got < hello.count as usize || hello.count as usize > MAX_FDS || hello.count == 0 {
        return Ok(None);
    }
    for (index, fd) in fds.iter_mut().take(hello.count as usize).enumerate() {
        let at = size_of::<cmsghdr>() + index * 4;
        *fd = i32::from_le_bytes([control.0[at], control.0[at + 1], control.0[at + 2], control.0[at + 3]]);
    }
    Ok(Some(hello))
}

pub fn send(socket: i32, message: Message, fd: Option<i32>) -> Result<()> {
    let mut bytes = message.to_bytes();
    let mut control = Control([0; size_of::<Control>()]);
    let mut part = linux_raw_sys::general::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() as _ };
    // SAFETY: all zero is a valid msghdr.
    let mut header: msghdr = unsafe { core::mem::zeroed() };
    header.msg_iov = (&raw mut part).cast();
    header.msg_iovlen = 1;
    if let Some(fd) = fd {
        let length = size_of::<cmsghdr>() + 4;
        control.0[..8].copy_from_slice(&length.to_le_bytes());
        control.0[8..12].copy_from_slice(&(SOL_SOCKET as i32).to_le_bytes());
        control.0[12..16].copy_from_slice(&(SCM_RIGHTS as i32).to_le_bytes());
        control.0[16..20].copy_from_slice(&fd.to_le_bytes());
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = (length.next_multiple_of(8)) as _;
    }
    const MSG_NOSIGNAL: u32 = 0x4000;
    call!(__NR_sendmsg, socket, &raw const header, MSG_NOSIGNAL).map(drop)
}

/// The caller's next message; `None` when it is gone.
pub fn receive(socket: i32) -> Result<Option<Message>> {
    let mut bytes = [0u8; MESSAGE_SIZE];
    match call!(__NR_read, socket, bytes.as_mut_ptr(), bytes.len())? {
        MESSAGE_SIZE => Ok(Some(Message::from_bytes(&bytes))),
        _ => Ok(None),
    }
}

pub fn accept(listener: i32) -> Result<i32> {
    const SOCK_CLOEXEC: u32 = O_CLOEXEC;
    call!(__NR_accept4, listener, 0, 0, SOCK_CLOEXEC).map(|fd| fd as i32)
}

// Memory: the plan, and the arrays that execve wants.

/// The plan, for the rest of this process's life.
pub fn map(fd: i32, length: u64) -> Result<&'static [u8]> {
    let address = call!(__NR_mmap, 0, length, PROT_READ, MAP_PRIVATE, fd, 0)?;
    // SAFETY: the mapping is `length` bytes of a sealed memfd, so nobody can change or shorten it, and it is never unmapped.
    Ok(unsafe { core::slice::from_raw_parts(address as *const u8, length as usize) })
}

/// Room of `count` slots, of which only those that are touched take memory. For the rest of this process's life.
pub fn slots<T>(count: usize) -> Result<&'static mut [T]> {
    let size = count * size_of::<T>();
    let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    let address = call!(__NR_mmap, 0, size, PROT_READ | PROT_WRITE, flags, -1i32, 0)?;
    // SAFETY: the mapping is as large as the slice, zeroed (which every `T` here takes as a value), aligned to a page, and known to
    // nobody else.
    Ok(unsafe { core::slice::from_raw_parts_mut(address as *mut T, count) })
}

/// An array of pointers to strings with a null at its end: argv, envp.
pub struct Pointers {
    start: *const *const u8,
}

impl Pointers {
    pub fn new(strings: pyrt_init::List<'_>) -> Result<Self> {
        let count = strings.count() + 1;
        let size = count * size_of::<usize>();
        let address = call!(__NR_mmap, 0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1i32, 0)?;
        let start = address as *mut *const u8;
        for (index, string) in strings.iter().enumerate() {
            // SAFETY: the mapping has room for `count` pointers, and only this function knows it yet; the last stays null.
            unsafe { start.add(index).write(string.as_ptr().cast()) };
        }
        Ok(Pointers { start })
    }
}
