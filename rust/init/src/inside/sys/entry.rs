//! Where the kernel enters, where a panic ends, and what the compiler calls for copies and comparisons: there is no libc here.

use core::arch::{asm, global_asm};

use super::exit;

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

// Written so that the compiler cannot turn them into calls of themselves.
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
