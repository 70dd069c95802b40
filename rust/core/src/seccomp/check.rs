//! What a profile may not say, by JSON path: the MUSTs of config-linux.md, "Seccomp", and what the kernel would refuse.

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction, LinuxSeccompFilterFlag};

use super::architecture::is_known;
use crate::error::{Error, Result};

/// MAX_ERRNO of linux/err.h: the kernel would make any larger one of it.
const LARGEST_ERRNO: u32 = 4095;
/// SECCOMP_RET_DATA.
const LARGEST_DATA: u32 = 0xffff;
/// A call has six arguments.
const LAST_ARGUMENT: usize = 5;
/// Far above what any profile has: a hostile one must not make us work without end.
const NAMES_LIMIT: usize = 65_536;

pub fn check(profile: &LinuxSeccomp, warnings: &mut Vec<String>) -> Result<()> {
    errno(profile.default_action(), profile.default_errno_ret(), || "linux.seccomp.defaultErrnoRet".to_owned())?;
    if profile.listener_metadata().is_some() && profile.listener_path().is_none() {
        return Err(Error::spec("linux.seccomp.listenerMetadata", "is for whoever listens at listenerPath, which is not set"));
    }
    let waits = profile.flags().iter().flatten().position(|flag| *flag == LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv);
    if let (Some(index), false) = (waits, notifies(profile)) {
        let at = format!("linux.seccomp.flags[{index}]");
        return Err(Error::spec(at, "is about notifications, and no action is SCMP_ACT_NOTIFY"));
    }
    let mut names = 0;
    let mut unknown: Vec<&str> = Vec::new();
    for (index, rule) in profile.syscalls().iter().flatten().enumerate() {
        let at = |field: &str| format!("linux.seccomp.syscalls[{index}].{field}");
        errno(rule.action(), rule.errno_ret(), || at("errnoRet"))?;
        if rule.names().is_empty() {
            return Err(Error::spec(at("names"), "must name at least one system call"));
        }
        names += rule.names().len();
        if names > NAMES_LIMIT {
            return Err(Error::spec(at("names"), format!("more than {NAMES_LIMIT} names")));
        }
        for (position, name) in rule.names().iter().enumerate() {
            if name.is_empty() {
                return Err(Error::spec(at(&format!("names[{position}]")), "is empty"));
            }
            if !is_known(name) && !unknown.contains(&name.as_str()) {
                unknown.push(name);
            }
        }
        for (position, arg) in rule.args().iter().flatten().enumerate() {
            if arg.index() > LAST_ARGUMENT {
                let at = at(&format!("args[{position}].index"));
                return Err(Error::spec(at, format!("{} is above {LAST_ARGUMENT}: a system call has six arguments", arg.index())));
            }
        }
    }
    // As runc and crun do: a profile may be written for a newer kernel.
    if !unknown.is_empty() {
        unknown.truncate(SHOWN_NAMES);
        warnings.push(format!("config.json: linux.seccomp.syscalls: no system call is known as {}: ignored", unknown.join(", ")));
    }
    Ok(())
}

/// As many unknown names as a warning shows.
const SHOWN_NAMES: usize = 8;

/// Whether some call has to be answered by a listener.
pub fn notifies(profile: &LinuxSeccomp) -> bool {
    let notify = LinuxSeccompAction::ScmpActNotify;
    profile.default_action() == notify || profile.syscalls().iter().flatten().any(|rule| rule.action() == notify)
}

fn errno(action: LinuxSeccompAction, value: Option<u32>, at: impl FnOnce() -> String) -> Result<()> {
    let Some(value) = value else { return Ok(()) };
    let largest = match action {
        LinuxSeccompAction::ScmpActErrno => LARGEST_ERRNO,
        LinuxSeccompAction::ScmpActTrace => LARGEST_DATA,
        other => return Err(Error::spec(at(), format!("{other} takes no errno: only SCMP_ACT_ERRNO and SCMP_ACT_TRACE do"))),
    };
    match value > largest {
        true => Err(Error::spec(at(), format!("{value} is above {largest}, the largest that {action} takes"))),
        false => Ok(()),
    }
}
