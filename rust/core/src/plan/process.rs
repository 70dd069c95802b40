//! The process half of a plan: who the program is, what it may, and its execve.

use nix::libc;
use oci_spec::runtime::{PosixRlimitType, Process, Spec};
use pyrt_init::{setgroups, Step, NO_FD};

use super::builder::{text, variables, Builder, Handed, Numbers, Strings};
use super::hooks;
use super::namespaces::Namespaces;
use super::seccomp::{self, Sets};
use super::{scheduling, Form, Options};
use crate::error::{Error, Result};
use crate::host::HostFacts;
use crate::oci::{plain_path, CapabilitySet, Config};
use crate::passwd;
use crate::seccomp::Answerer;

/// Where a name is looked for when process.env has no PATH; runc's and crun's own default.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where config.json has the groups, and why they cannot be had.
pub const GROUPS: &str = "process.user.additionalGids";
pub const SETGROUPS_DENIED: &str = "groups cannot be set: the user namespace denies setgroups(2)";

/// linux/resource.h, in the order of the spec's names.
pub fn rlimit_number(kind: PosixRlimitType) -> u64 {
    let number = match kind {
        PosixRlimitType::RlimitCpu => libc::RLIMIT_CPU,
        PosixRlimitType::RlimitFsize => libc::RLIMIT_FSIZE,
        PosixRlimitType::RlimitData => libc::RLIMIT_DATA,
        PosixRlimitType::RlimitStack => libc::RLIMIT_STACK,
        PosixRlimitType::RlimitCore => libc::RLIMIT_CORE,
        PosixRlimitType::RlimitRss => libc::RLIMIT_RSS,
        PosixRlimitType::RlimitNproc => libc::RLIMIT_NPROC,
        PosixRlimitType::RlimitNofile => libc::RLIMIT_NOFILE,
        PosixRlimitType::RlimitMemlock => libc::RLIMIT_MEMLOCK,
        PosixRlimitType::RlimitAs => libc::RLIMIT_AS,
        PosixRlimitType::RlimitLocks => libc::RLIMIT_LOCKS,
        PosixRlimitType::RlimitSigpending => libc::RLIMIT_SIGPENDING,
        PosixRlimitType::RlimitMsgqueue => libc::RLIMIT_MSGQUEUE,
        PosixRlimitType::RlimitNice => libc::RLIMIT_NICE,
        PosixRlimitType::RlimitRtprio => libc::RLIMIT_RTPRIO,
        PosixRlimitType::RlimitRttime => libc::RLIMIT_RTTIME,
    };
    u64::from(number)
}

/// A terminal of the container's own devpts instead of the caller's descriptors.
/// `console`: it is mounted on /dev/console too.
pub fn terminal(steps: &mut Builder, spec: &Spec, console: bool) -> Result<()> {
    let Some(process) = spec.process() else { return Ok(()) };
    let size = process.console_size();
    let side = |value: Option<u64>, name: &str| {
        u16::try_from(value.unwrap_or(0)).map(u64::from).map_err(|_| Error::spec(format!("process.consoleSize.{name}"), "is above 65535"))
    };
    let (columns, rows) =
        (side(size.as_ref().map(|size| size.width()), "width")?, side(size.as_ref().map(|size| size.height()), "height")?);
    let user = process.user();
    steps.push(Step::Terminal { columns, rows, uid: u64::from(user.uid()), gid: u64::from(user.gid()), console: u64::from(console) });
    Ok(())
}

/// Returns who answers what the program's seccomp filter asks.
pub fn build(steps: &mut Builder, config: &Config, options: &Options, spaces: &Namespaces, facts: &HostFacts) -> Result<Option<Answerer>> {
    let Some(process) = config.spec.process() else { return Ok(None) };
    let terminal = process.terminal().unwrap_or(false);
    // Before anything stays behind or runs inside with the caller's.
    if options.new_keyring {
        steps.push(Step::Keyring { name: &text(&format!("_ses.{}", options.id), "id")? });
    }
    if options.form == Form::Library {
        let caller = if options.end_with_caller { steps.hand(Handed::Caller) } else { NO_FD };
        steps.push(Step::Stay { caller, subreaper: u64::from(!spaces.own_pid()) });
    }
    steps.push(Step::Session { controlling_terminal: u64::from(terminal) });
    for limit in process.rlimits().iter().flatten() {
        steps.push(Step::Limit { resource: rlimit_number(limit.typ()), soft: limit.soft(), hard: limit.hard() });
    }
    scheduling::build(steps, &config.spec)?;
    // no_new_privs before the identity: it binds every execve from here on, and nothing below needs one.
    let no_new_privileges = process.no_new_privileges().unwrap_or(false);
    if no_new_privileges {
        steps.push(Step::NoNewPrivileges {});
    }
    let profile = seccomp::profile(steps, config, options)?;
    let sets = identity(steps, config, process, spaces, facts, profile.is_some() && !no_new_privileges)?;
    let umask = Step::Umask { mask: u64::from(process.user().umask().unwrap_or(0o022)) };
    if options.awaits_command {
        steps.push(umask);
        if let Some(profile) = &profile {
            seccomp::build(steps, profile, no_new_privileges, sets)?;
            // A tenth of a millisecond that a start need not wait for.
            if profile.answerer.is_none() && profile.filter.lets_wait() {
                steps.push(Step::LoadFilter {});
            }
        }
        let answerer = profile.and_then(|profile| profile.answerer);
        if matches!(answerer, Some(Answerer::Socket(_))) {
            return Err(Error::spec("linux.seccomp.listenerPath", "a container that waits for its command has none"));
        }
        let caller = steps.hand(Handed::Caller);
        steps.push(Step::AwaitPlan { caller });
        return Ok(answerer);
    }
    // As the user it will be: a directory that only he may enter is his, one that he may not is refused.
    let cwd = plain_path(process.cwd(), "process.cwd")?;
    steps.push(Step::Directory { path: &text(&cwd, "process.cwd")? });
    let environment = environment(process, options)?;
    find(steps, process)?;
    if options.waits_for_start {
        let listener = steps.hand(Handed::StartListener);
        steps.push(Step::AwaitStart { listener });
    }
    hooks::before_start(steps, &config.spec)?;
    // Last: hooks run with runc's umask, and nothing of ours makes files after this.
    steps.push(umask);
    if options.preserve_fds > 0 {
        let fds: Numbers = (0..options.preserve_fds).map(|number| steps.hand(Handed::Kept(number))).collect();
        steps.push(Step::Keep { fds: fds.words() });
    }
    if let Some(profile) = &profile {
        seccomp::build(steps, profile, no_new_privileges, sets)?;
    }
    let arguments = Strings::collect(process.args().iter().flatten(), "process.args")?;
    steps.push(Step::Execute { arguments: arguments.list(), environment: environment.list() });
    Ok(profile.and_then(|profile| profile.answerer))
}

/// `loads_filter`: with a capability that the program does not have.
fn identity(
    steps: &mut Builder,
    config: &Config,
    process: &Process,
    spaces: &Namespaces,
    facts: &HostFacts,
    loads_filter: bool,
) -> Result<Sets> {
    let user = process.user();
    if spaces.setgroups() == setgroups::DENIED && user.additional_gids().iter().flatten().any(|gid| *gid != user.gid()) {
        return Err(Error::spec(
            GROUPS,
            match spaces.new_user() {
                true => "groups cannot be set in a user namespace of the caller's own id alone: it needs ranges of /etc/subgid",
                false => SETGROUPS_DENIED,
            },
        ));
    }
    let groups: Numbers = user.additional_gids().iter().flatten().map(|gid| u64::from(*gid)).collect();
    let names = config.capabilities.unwrap_or_default();
    // In a user namespace of its own init holds everything, whatever the caller has.
    let (held, bounding) = match spaces.other_user() {
        true => (u64::MAX, u64::MAX),
        false => (facts.capabilities.0, facts.bounding.0),
    };
    let mut refused = 0;
    let mut grant = |wanted: CapabilitySet, limit: u64| {
        refused |= wanted.0 & !limit;
        wanted.0 & limit
    };
    let bounding = grant(names.bounding, bounding);
    let permitted = grant(names.permitted, held);
    let effective = grant(names.effective, held) & permitted;
    let inheritable = grant(names.inheritable, held & bounding);
    // capabilities(7): ambient needs both.
    let ambient = grant(names.ambient, held) & permitted & inheritable;
    for name in CapabilitySet(refused).names() {
        steps.warnings.push(format!("config.json: process.capabilities: {name} cannot be granted: the caller does not hold it"));
    }
    steps.push(Step::Identity {
        uid: u64::from(user.uid()),
        gid: u64::from(user.gid()),
        groups: groups.words(),
        setgroups: spaces.setgroups(),
        bounding,
        effective,
        permitted: permitted | if loads_filter { seccomp::kept_capability(held) } else { 0 },
        inheritable,
        ambient,
    });
    Ok(Sets { effective, permitted, inheritable })
}

/// process.env, and what the caller sets in the place of variables of the same name. passwd(5) is there where it is to say what HOME is.
fn environment(process: &Process, options: &Options) -> Result<Strings> {
    let home = options.passwd.as_deref().map(|passwd| format!("HOME={}", passwd::home(passwd, process.user().uid())));
    let set = || options.env.iter().chain(&home);
    let names: Vec<&str> = set().filter_map(|variable| variable.split_once('=')).map(|(name, _)| name).collect();
    let replaced = |variable: &String| variable.split_once('=').is_some_and(|(name, _)| names.contains(&name));
    variables(process.env().iter().flatten(), "process.env")?;
    variables(process.env().iter().flatten().filter(|variable| !replaced(variable)).chain(set()), "process.env")
}

/// The engine's form makes the working directory where it is missing, as runc does and engines expect; in the library's it must be there.
pub fn directory(steps: &mut Builder, spec: &Spec, options: &Options) -> Result<()> {
    const AT: &str = "process.cwd";
    match spec.process() {
        Some(process) if options.form == Form::Engine => {
            steps.push(Step::WorkingDirectory { path: &text(&plain_path(process.cwd(), AT)?, AT)? });
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Where the program may be: process.args[0] itself where it has a slash, else each directory of the container's own PATH.
fn find(steps: &mut Builder, process: &Process) -> Result<()> {
    let Some(name) = process.args().as_ref().and_then(|args| args.first()) else { return Ok(()) };
    let candidates = candidates(name, process.env().as_deref().unwrap_or_default())?;
    steps.push(Step::Find { candidates: candidates.list() });
    Ok(())
}

pub fn candidates(name: &str, environment: &[String]) -> Result<Strings> {
    let candidates: Vec<String> = if name.contains('/') {
        vec![name.to_owned()]
    } else {
        let path = environment.iter().rev().find_map(|variable| variable.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
        // An empty part is the working directory: sh(1), "PATH".
        path.split(':').map(|part| format!("{}/{name}", if part.is_empty() { "." } else { part.trim_end_matches('/') })).collect()
    };
    Strings::collect(candidates, "process.args")
}
