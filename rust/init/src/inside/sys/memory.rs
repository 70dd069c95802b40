//! Memory for the rest of this process's life: the plan, and room for tables.

use linux_raw_sys::general::*;

use super::Result;

/// The plan.
pub fn map(fd: i32, length: u64) -> Result<&'static [u8]> {
    let address = call!(__NR_mmap, 0, length, PROT_READ, MAP_PRIVATE, fd, 0)?;
    // SAFETY: the mapping is `length` bytes of a sealed memfd, so nobody can change or shorten it, and it is never unmapped.
    Ok(unsafe { core::slice::from_raw_parts(address as *const u8, length as usize) })
}

/// Room of `count` slots, of which only those that are touched take memory.
pub fn slots<T>(count: usize) -> Result<&'static mut [T]> {
    let size = count * size_of::<T>();
    let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    let address = call!(__NR_mmap, 0, size, PROT_READ | PROT_WRITE, flags, -1i32, 0)?;
    // SAFETY: the mapping is as large as the slice, zeroed (which every `T` here takes as a value), aligned to a page, and known to
    // nobody else.
    Ok(unsafe { core::slice::from_raw_parts_mut(address as *mut T, count) })
}
