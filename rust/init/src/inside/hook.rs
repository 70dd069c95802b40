//! Hooks that run inside: createContainer before the pivot, so that its path is the host's; startContainer after it.

use core::ffi::CStr;

use linux_raw_sys::errno::ETIMEDOUT;
use linux_raw_sys::general::{__NR_execve, __NR_ppoll, SIGKILL};
use pyrt_init::List;

use crate::sys::{self, refused, Failure, Pointers, Result};

/// What a shell says when it cannot execute; the caller's words name the hook.
const NOT_EXECUTED: i32 = 127;

/// Runs it with `state` on stdin and waits; a timeout of 0 seconds is none.
pub fn run(state: i32, path: &CStr, arguments: List<'_>, environment: List<'_>, timeout: u64) -> Result<()> {
    // Its child can only say that it failed, not how: what can be seen beforehand is told with its errno.
    sys::faccess_execute(path)?;
    sys::rewind(state)?;
    let Some(child) = sys::fork(0, None)? else { execute(state, path, arguments, environment) };
    if timeout != 0 && sys::poll(&[child.pidfd], (timeout * 1000) as i64)? == 0 {
        sys::kill(child.pid, SIGKILL as i32)?;
        sys::wait_for(child.pid)?;
        return refused(__NR_ppoll, ETIMEDOUT);
    }
    sys::close(child.pidfd);
    match sys::wait_for(child.pid)? {
        0 => Ok(()),
        status => Err(Failure { call: __NR_execve, errno: 0, status }),
    }
}

fn execute(state: i32, path: &CStr, arguments: List<'_>, environment: List<'_>) -> ! {
    let attempt = || -> Result<Failure> {
        let (arguments, environment) = (Pointers::new(arguments)?, Pointers::new(environment)?);
        sys::duplicate_as(state, 0)?;
        sys::close_on_exec(3)?;
        // As a shell's: init's own is 0, for modes that are exactly the config's.
        sys::umask(0o022)?;
        sys::unblock_signals()?;
        Ok(sys::execve(path, &arguments, &environment))
    };
    // The exit status is all that the parent learns, by design: no text of a hook becomes text of ours.
    let _ = attempt();
    sys::exit(NOT_EXECUTED)
}
