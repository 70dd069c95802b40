//! The only `unsafe` of the init: system calls by number. One function a call, the kernel's name, a file a subject. A failure carries the
//! number of the call, so that the caller can say in words what failed.
//!
//! Here: the call itself · `entry` (of the program, and what stands in for libc) · `file` · `mount` · `process` · `execute` · `wait` ·
//! `credentials` · `terminal` · `socket` · `memory`.

use core::arch::asm;
use core::sync::atomic::{AtomicUsize, Ordering};

use linux_raw_sys::general::__NR_exit_group;

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
        let mut all = [0, 0, 0, 0, 0, $crate::sys::KEY.load(core::sync::atomic::Ordering::Relaxed)];
        all[..arguments.len()].copy_from_slice(&arguments);
        loop {
            // SAFETY: every pointer among the arguments comes from a reference that lives past the call, with its length beside it
            // where the kernel wants one; no call here keeps a pointer.
            let result = unsafe { $crate::sys::raw($number, all) };
            if result >= 0 {
                break Ok(result as usize);
            }
            if result != -(linux_raw_sys::errno::EINTR as isize) {
                break Err($crate::sys::Failure { call: $number, errno: -result as i32, status: 0 });
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

// Below the macro, which is seen by what follows it.
mod credentials;
mod entry;
mod execute;
mod file;
mod memory;
mod mount;
mod process;
mod socket;
mod terminal;
mod wait;

pub use credentials::*;
pub use execute::*;
pub use file::*;
pub use memory::*;
pub use mount::*;
pub use process::*;
pub use socket::*;
pub use terminal::*;
pub use wait::*;
