//! Hooks that run inside: createContainer before the pivot, its program as the caller opened it; startContainer after it.

use core::ffi::CStr;

use linux_raw_sys::errno::{EACCES, ETIMEDOUT};
use linux_raw_sys::general::{__NR_execve, __NR_ppoll, SIGKILL};
use pyrt_init::List;

use crate::sys::{self, refused, Failure, Pointers, Result};

/// What a shell says when it cannot execute; the caller's words name the hook.
const NOT_EXECUTED: i32 = 127;
/// Where the program itself lies for its interpreter, after stdio.
const PROGRAM_FD: i32 = 3;

pub struct Hook<'a> {
    pub path: &'a CStr,
    /// The program as the caller opened it.
    pub program: Option<i32>,
    /// Whether the path leads to the same one.
    pub by_path: bool,
    pub arguments: List<'a>,
    pub environment: List<'a>,
    /// Its stdin.
    pub state: i32,
    /// Its stdout and stderr, else they are the container's.
    pub output: Option<i32>,
    /// Seconds; 0 is none.
    pub timeout: u64,
}

/// Runs it and waits.
pub fn run(hook: Hook<'_>) -> Result<()> {
    // Its child can only say that it failed, not how: what can be seen beforehand is told with its errno.
    let descriptor = match (hook.program, hook.by_path) {
        (Some(program), false) => Some(program),
        (program, _) => match (sys::faccess_execute(hook.path), program) {
            (Ok(()), _) => None,
            // Of the host's root, which we are not: the caller's descriptor leads there nevertheless.
            (Err(failure), Some(program)) if failure.errno == EACCES as i32 => Some(program),
            (Err(failure), _) => return Err(failure),
        },
    };
    if let Some(program) = descriptor {
        sys::faccess_execute_at(program)?;
    }
    sys::rewind(hook.state)?;
    let Some(child) = sys::fork(0, None)? else { execute(&hook, descriptor) };
    if hook.timeout != 0 && sys::poll(&[child.pidfd], (hook.timeout * 1000) as i64)? == 0 {
        // Its group, which is its children too.
        sys::kill(-child.pid, SIGKILL as i32)?;
        sys::wait_for(child.pid)?;
        return refused(__NR_ppoll, ETIMEDOUT);
    }
    sys::close(child.pidfd);
    match sys::wait_for(child.pid)? {
        0 => Ok(()),
        status => Err(Failure { call: __NR_execve, errno: 0, status }),
    }
}

fn execute(hook: &Hook<'_>, program: Option<i32>) -> ! {
    let attempt = || -> Result<Failure> {
        let (arguments, environment) = (Pointers::new(hook.arguments)?, Pointers::new(hook.environment)?);
        sys::process_group()?;
        sys::duplicate_as(hook.state, 0)?;
        if let Some(output) = hook.output {
            sys::duplicate_as(output, 1)?;
            sys::duplicate_as(output, 2)?;
        }
        sys::close_on_exec(PROGRAM_FD as u32)?;
        // As a shell's: init's own is 0, for modes that are exactly the config's.
        sys::umask(0o022)?;
        sys::unblock_signals()?;
        match program {
            None => Ok(sys::execve(hook.path, &arguments, &environment)),
            Some(program) => {
                // An interpreter is told to read /dev/fd/N: it has to outlive the execve.
                let program = if program == PROGRAM_FD { sys::duplicate_above(program, PROGRAM_FD as u32 + 1)? } else { program };
                sys::duplicate_as(program, PROGRAM_FD)?;
                Ok(sys::execute_descriptor(PROGRAM_FD, &arguments, &environment))
            }
        }
    };
    // The exit status is all that the parent learns, by design: no text of a hook becomes text of ours.
    let _ = attempt();
    sys::exit(NOT_EXECUTED)
}
