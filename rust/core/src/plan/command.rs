//! The command of a container that stands already and waits for one: the second half of a launch, by itself.
//!
//! Neighbours: `process` plans the same as a part of a whole launch, and ends it with `AwaitPlan` where this is to follow.

use std::path::Path;

use pyrt_init::Step;

use super::builder::{text, variables, Builder, Handed, Numbers, Strings};
use super::process::candidates;
use crate::error::Result;
use crate::oci::plain_path;

/// What is handed out to a container that waits.
#[derive(Debug)]
pub struct CommandPlan {
    pub(crate) steps: Builder,
    /// args[0].
    pub(crate) program: String,
    pub(crate) kept: usize,
}

impl CommandPlan {
    /// environment: NAME=value. kept: how many descriptors after stdio the program keeps.
    pub fn new(arguments: &[String], environment: &[String], directory: &str, kept: usize) -> Result<Self> {
        let mut steps = Builder::default();
        steps.stdio();
        let directory = plain_path(Path::new(directory), "process.cwd")?;
        steps.push(Step::Directory { path: &text(&directory, "process.cwd")? });
        let program = arguments.first().cloned().unwrap_or_default();
        steps.push(Step::Find { candidates: candidates(&program, environment)?.list() });
        if kept > 0 {
            let fds: Numbers = (0..kept).map(|number| steps.hand(Handed::Kept(number))).collect();
            steps.push(Step::Keep { fds: fds.words() });
        }
        let environment = variables(environment, "process.env")?;
        let arguments = Strings::collect(arguments, "process.args")?;
        steps.push(Step::Execute { arguments: arguments.list(), environment: environment.list() });
        Ok(CommandPlan { steps, program, kept })
    }
}
