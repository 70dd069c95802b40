//! The plan of one more process in a container that exists: the process half of a launch, behind steps that join (docs/architecture.md, "Two paths").
//!
//! Neighbours: `process` is the same half that a new container has; ../container/exec.rs finds out what there is to join.

use std::sync::Arc;

use nix::libc;
use pyrt_init::{Step, NO_FD};

use super::builder::{Builder, Handed};
use super::namespaces::Namespaces;
use super::{labels, process, scheduling, LaunchPlan, Options};
use crate::error::{Error, Result};
use crate::host::HostFacts;
use crate::oci::Config;

const CAP_SYS_ADMIN: u32 = 21;
const CGROUP: u64 = libc::CLONE_NEWCGROUP as u64;
const USER: u64 = libc::CLONE_NEWUSER as u64;

/// What a process of the container has that the caller has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Joined {
    /// CLONE_NEW* of the namespaces that differ from the caller's.
    pub namespaces: u64,
    /// How many v1 hierarchies its cgroup is in.
    pub tasks: usize,
    /// It has a cgroup2 directory.
    pub unified: bool,
    /// Its user namespace forbids setgroups(2).
    pub setgroups_denied: bool,
}

impl LaunchPlan {
    /// A plan for `process` of `config`, which is otherwise the container's own.
    pub(crate) fn entering(mut config: Arc<Config>, options: Options, joined: Joined, facts: &HostFacts) -> Result<Self> {
        if config.spec.process().is_none() {
            return Err(Error::spec("process", "is missing"));
        }
        // Hooks belong to the container's life, not to a process in it.
        if config.spec.hooks().is_some() {
            Arc::make_mut(&mut config).spec.set_hooks(None);
        }
        let mut steps = Builder::new(config.warnings.clone(), facts);
        let spaces = Namespaces::entered(joined.namespaces, joined.setgroups_denied);
        let terminal = config.spec.process().as_ref().and_then(|process| process.terminal()).unwrap_or(false);
        steps.stdio();
        let affinity = config.spec.process().as_ref().and_then(|process| process.exec_cpu_affinity().clone()).unwrap_or_default();
        scheduling::affinity(&mut steps, affinity.initial().as_deref(), "process.execCPUAffinity.initial")?;
        for number in 0..joined.tasks {
            let fd = steps.hand(Handed::Tasks(number));
            steps.push(Step::JoinTasks { fd });
        }
        // CLONE_INTO_CGROUP asks who may write to the cgroup: the caller as who he is outside, where he has that right, and so before the
        // user namespace; one without rights outside has them only in it.
        let late = match facts.capabilities.has(CAP_SYS_ADMIN) {
            true => CGROUP | USER,
            false => CGROUP,
        };
        let enter = |steps: &mut Builder, flags: u64| {
            if flags != 0 {
                let target = steps.hand(Handed::Entered);
                steps.push(Step::Enter { target, flags });
            }
        };
        enter(&mut steps, joined.namespaces & !late);
        let cgroup = if joined.unified { steps.hand(Handed::Unified) } else { NO_FD };
        steps.push(Step::Fork { flags: 0, cgroup });
        // Before the process is in the cgroup, cgroup2 with nsdelegate refuses its namespace's member (ENOENT).
        enter(&mut steps, joined.namespaces & late);
        scheduling::affinity(&mut steps, affinity.cpu_affinity_final().as_deref(), "process.execCPUAffinity.final")?;
        labels::process(&mut steps, &config.spec, &options, facts)?;
        if terminal {
            process::terminal(&mut steps, &config.spec, false)?;
        }
        let answerer = process::build(&mut steps, &config, &options, &spaces, facts)?;
        Ok(LaunchPlan {
            clone_flags: 0,
            forks: true,
            own_pid_namespace: spaces.own_pid(),
            user_attributes: false,
            maps: None,
            offsets: None,
            net_devices: Vec::new(),
            steps,
            rootfs: options.bundle.clone(),
            options,
            config,
            cgroup: None,
            terminal,
            answerer,
        })
    }
}
