//! The quick way to a new process: clone3 with CLONE_VM and CLONE_VFORK, whose child at once executes a file. No page table of the caller
//! is copied, so a large caller pays nothing; no handler, lock or thread of the caller is touched, so a threaded one is safe.

use std::arch::asm;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;

/// What the new process is.
pub struct Clone<'a> {
    /// CLONE_NEW*.
    pub namespaces: u64,
    /// A cgroup2 directory, new and empty (a process that others can see must not share our memory).
    pub cgroup: Option<BorrowedFd<'a>>,
    /// The program, and what becomes its descriptor 3.
    pub program: BorrowedFd<'a>,
    pub socket: BorrowedFd<'a>,
    /// A new user namespace: its root's capabilities must survive an exec with an unmapped uid.
    pub keeps_capabilities: bool,
}

/// What parent and child share until the exec. `errno` is NEVER_RAN until the child runs, which writes there where a call failed.
struct Shared {
    program: i32,
    socket: i32,
    keeps_capabilities: bool,
    arguments: [*const libc::c_char; 2],
    environment: [*const libc::c_char; 1],
    errno: i32,
}

// linux/sched.h; libc's own are of a type too narrow for them.
const CLONE_CLEAR_SIGHAND: u64 = 1 << 32;
const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// The child was killed before its first instruction.
pub const NEVER_RAN: Errno = Errno::ECHILD;

const NAME: &CStr = c"pyrt-init";
/// The child's own stack; it calls nothing but the kernel.
const STACK_SIZE: usize = 64 << 10;

/// Makes the process and returns when it executes the program: its PID and pidfd. Errors: the kernel's, and NEVER_RAN.
pub fn clone_and_execute(wanted: &Clone<'_>) -> Result<(i32, OwnedFd), Errno> {
    let mut shared = Shared {
        program: wanted.program.as_raw_fd(),
        socket: wanted.socket.as_raw_fd(),
        keeps_capabilities: wanted.keeps_capabilities,
        arguments: [NAME.as_ptr(), std::ptr::null()],
        environment: [std::ptr::null()],
        errno: NEVER_RAN as i32,
    };
    let mut stack = vec![0u128; STACK_SIZE / 16];
    let mut pidfd: i32 = -1;
    // SAFETY: all zero is a valid clone_args.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = (libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD) as u64 | CLONE_CLEAR_SIGHAND | wanted.namespaces;
    arguments.pidfd = &raw mut pidfd as u64;
    arguments.exit_signal = libc::SIGCHLD as u64;
    arguments.stack = stack.as_mut_ptr() as u64;
    arguments.stack_size = STACK_SIZE as u64;
    if let Some(cgroup) = wanted.cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = cgroup.as_raw_fd() as u64;
    }
    let blocked = BlockedSignals::new()?;
    // SAFETY: the child runs `child` on a stack of its own, in memory that stays until CLONE_VFORK lets us go on, and never returns.
    let result = unsafe { clone3(&raw mut arguments, size_of::<libc::clone_args>(), &raw mut shared) };
    drop(blocked);
    if result < 0 {
        return Err(Errno::from_raw(-result as i32));
    }
    // SAFETY: the kernel made this descriptor for us.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    // SAFETY: the child wrote it, if at all, before it ended, which CLONE_VFORK waited for.
    let errno = unsafe { (&raw const shared.errno).read_volatile() };
    if errno != 0 {
        // Where somebody else reaps our children, it is gone already.
        let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(result as i32), None);
        return Err(Errno::from_raw(errno));
    }
    Ok((result as i32, pidfd))
}

/// Every signal blocked in this thread, so that no handler of the caller runs in the child's half of the shared memory.
struct BlockedSignals(nix::sys::signal::SigSet);

impl BlockedSignals {
    fn new() -> Result<Self, Errno> {
        let mut before = nix::sys::signal::SigSet::empty();
        nix::sys::signal::pthread_sigmask(
            nix::sys::signal::SigmaskHow::SIG_SETMASK,
            Some(&nix::sys::signal::SigSet::all()),
            Some(&mut before),
        )?;
        Ok(BlockedSignals(before))
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        // Setting back a mask that was just read cannot fail.
        let _ = self.0.thread_set_mask();
    }
}

/// The raw call: the child leaves on its own stack into `child`, the parent goes on here.
#[cfg(target_arch = "x86_64")]
unsafe fn clone3(arguments: *mut libc::clone_args, size: usize, shared: *mut Shared) -> isize {
    let result;
    // SAFETY: in the child the stack pointer is the new stack's aligned end; `child` does not return. rcx and r11 are the kernel's, and
    // `out`, so that `shared` cannot lie in one of them.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, {shared}",
            "call {child}",
            "ud2",
            "2:",
            shared = in(reg) shared,
            child = sym child,
            inlateout("rax") libc::SYS_clone3 as isize => result,
            in("rdi") arguments,
            in("rsi") size,
            out("rcx") _,
            out("r11") _,
        )
    };
    result
}

#[cfg(target_arch = "aarch64")]
unsafe fn clone3(arguments: *mut libc::clone_args, size: usize, shared: *mut Shared) -> isize {
    let result;
    // SAFETY: in the child the stack pointer is the new stack's aligned end; `child` does not return.
    unsafe {
        asm!(
            "svc #0",
            "cbnz x0, 2f",
            "mov x29, #0",
            "mov x0, {shared}",
            "bl {child}",
            "brk #1",
            "2:",
            shared = in(reg) shared,
            child = sym child,
            in("x8") libc::SYS_clone3,
            inlateout("x0") arguments as isize => result,
            in("x1") size,
            out("x30") _,
        )
    };
    result
}

/// The child, in the caller's memory: system calls and nothing else, each of which stops the world for the calling thread.
extern "C" fn child(shared: *mut Shared) -> ! {
    // SAFETY: the parent waits in clone3 and touches nothing of it.
    let shared = unsafe { &mut *shared };
    shared.errno = 0;
    // SAFETY: descriptors and arrays of `shared`; nothing here allocates, locks or unwinds.
    unsafe {
        if let Err(errno) = prepare(shared) {
            shared.errno = errno;
        } else {
            libc::syscall(
                libc::SYS_execveat,
                shared.program,
                c"".as_ptr(),
                shared.arguments.as_ptr(),
                shared.environment.as_ptr(),
                libc::AT_EMPTY_PATH,
            );
            shared.errno = *libc::__errno_location();
        }
        loop {
            libc::syscall(libc::SYS_exit, 127);
        }
    }
}

unsafe fn prepare(shared: &mut Shared) -> Result<(), i32> {
    const SOCKET: i32 = pyrt_init::SOCKET_FD;
    // SAFETY: plain system calls on numbers and on an array of this frame.
    unsafe {
        let check = |result: libc::c_long| if result < 0 { Err(*libc::__errno_location()) } else { Ok(()) };
        if shared.keeps_capabilities {
            keep_capabilities()?;
        }
        // Everything of the caller's ends with the exec; only the socket is made to stay.
        check(libc::syscall(libc::SYS_close_range, 0, u32::MAX, libc::CLOSE_RANGE_CLOEXEC))?;
        if shared.socket == SOCKET {
            check(libc::syscall(libc::SYS_fcntl, SOCKET, libc::F_SETFD, 0))
        } else if shared.program == SOCKET {
            // The program itself lies where the socket must be: a script's descriptor would matter, a binary's does not.
            let moved = libc::syscall(libc::SYS_fcntl, shared.program, libc::F_DUPFD_CLOEXEC, SOCKET + 1);
            check(moved)?;
            shared.program = moved as i32;
            check(libc::syscall(libc::SYS_dup3, shared.socket, SOCKET, 0))
        } else {
            check(libc::syscall(libc::SYS_dup3, shared.socket, SOCKET, 0))
        }
    }
}

/// Permitted -> inheritable -> ambient: an exec with an unmapped uid drops everything else for good.
unsafe fn keep_capabilities() -> Result<(), i32> {
    const VERSION_3: u32 = 0x2008_0522;
    // SAFETY: arrays of this frame, as large as version 3 of the call wants them.
    unsafe {
        let check = |result: libc::c_long| if result < 0 { Err(*libc::__errno_location()) } else { Ok(()) };
        let header = [VERSION_3, 0];
        let mut data = [0u32; 6];
        check(libc::syscall(libc::SYS_capget, header.as_ptr(), data.as_mut_ptr()))?;
        (data[2], data[5]) = (data[1], data[4]);
        check(libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()))?;
        let permitted = u64::from(data[1]) | u64::from(data[4]) << 32;
        for capability in (0..64u64).filter(|capability| permitted & 1 << capability != 0) {
            check(libc::syscall(libc::SYS_prctl, libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, capability, 0, 0))?;
        }
    }
    Ok(())
}
