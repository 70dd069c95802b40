//! One container, from the clone to the removal of its cgroup: what `launch` and `limits` time.

use std::fs::File;
use std::os::fd::AsFd;

use pyrt_core::launch::{launch, Lent};
use pyrt_core::plan::LaunchPlan;
use pyrt_core::Result;

/// `null`: /dev/null, open for reading and writing, as its stdio.
pub fn once(plan: &LaunchPlan, null: &File) -> Result<()> {
    let stdio = [null.as_fd(); 3];
    let process = launch(plan, &Lent { stdio, start_socket: None, console_socket: None, kept: &[], entered: None })?;
    while !matches!(process.wait_readable(None), Ok(true)) {}
    let ended = process.finish()?;
    if let Some(cgroup) = &process.cgroup {
        cgroup.remove()?;
    }
    assert_eq!(ended.code, Some(0));
    Ok(())
}
