//! execve(2), and the arrays that it wants.

use core::ffi::CStr;

use linux_raw_sys::general::*;

use super::{slots, Failure, Result};

/// An array of pointers to strings with a null at its end: argv, envp.
pub struct Pointers(&'static [*const u8]);

impl Pointers {
    pub fn new(strings: pyrt_init::List<'_>) -> Result<Self> {
        let pointers = slots(strings.count() + 1)?;
        for (pointer, string) in pointers.iter_mut().zip(strings.iter()) {
            *pointer = string.as_ptr().cast();
        }
        Ok(Pointers(pointers))
    }
}

pub fn execve(path: &CStr, arguments: &Pointers, environment: &Pointers) -> Failure {
    match call!(__NR_execve, path.as_ptr(), arguments.0.as_ptr(), environment.0.as_ptr()) {
        Err(failure) => failure,
        // execve does not return when it succeeds.
        Ok(_) => Failure { call: __NR_execve, errno: 0, status: 0 },
    }
}

/// execveat(2) of a descriptor.
pub fn execute_descriptor(fd: i32, arguments: &Pointers, environment: &Pointers) -> Failure {
    match call!(__NR_execveat, fd, c"".as_ptr(), arguments.0.as_ptr(), environment.0.as_ptr(), AT_EMPTY_PATH) {
        Err(failure) => failure,
        Ok(_) => Failure { call: __NR_execveat, errno: 0, status: 0 },
    }
}
