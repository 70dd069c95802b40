//! A failed step in words: init sends numbers, the words are the caller's own, from its copy of the plan.

use nix::errno::Errno;
use nix::libc;
use pyrt_init::behaviour::{COPY_UP, RECURSIVE};
use pyrt_init::{meet, setgroups, Message, Step, NO_FD};

use super::builder::shown;
use super::labels::KEY_LABEL;
use super::process::{rlimit_number, GROUPS, SETGROUPS_DENIED};
use super::{CommandPlan, HookStage, LaunchPlan};
use crate::error::{words, Error, Kind};
use crate::hooks;

/// The calls that make and attach a file system, as against those that fill it.
const MOUNTING: [libc::c_long; 5] =
    [libc::SYS_fsopen, libc::SYS_fsconfig, libc::SYS_fsmount, libc::SYS_mount_setattr, libc::SYS_move_mount];

impl LaunchPlan {
    /// What a FAILED message means.
    pub(crate) fn failure(&self, message: Message) -> Error {
        let errno = Errno::from_raw(message.errno);
        let Some(step) = self.steps.step(message.step) else {
            return Error::system("prepare the init", None, errno);
        };
        match step {
            Step::Find { .. } => missing_program(self.program(), errno),
            Step::Hook { .. } => self.failed_hook(message),
            Step::Limit { resource, .. } => Error::system(format!("set resource limit {}", self.limit_name(resource)), None, errno),
            // Loaded by the last step, which it precedes.
            Step::Execute { .. } if [libc::SYS_seccomp, libc::SYS_capset].contains(&(message.call as i64)) => {
                Error::system("load the seccomp filter", None, errno)
            }
            Step::Execute { .. } => refused_program(self.program(), errno),
            Step::Identity { setgroups: setgroups::UNKNOWN, .. } if errno == Errno::EPERM && message.call as i64 == libc::SYS_setgroups => {
                Error::spec(GROUPS, SETGROUPS_DENIED)
            }
            Step::Mount { .. } | Step::Bind { .. } if errno == Errno::EPERM && message.call as i64 == libc::SYS_move_mount => {
                let (operation, path) = words_of(&step);
                Error::system(operation, path, errno).with_hint("a mount below /proc could hide what must be seen there")
            }
            Step::Bind { fd: NO_FD, behaviour, .. }
                if errno == Errno::EINVAL && behaviour & RECURSIVE == 0 && message.call as i64 == libc::SYS_open_tree =>
            {
                let (operation, path) = words_of(&step);
                let hint = "what is mounted below the source cannot be left out in a user namespace: rbind takes it along";
                Error::system(operation, path, errno).with_hint(hint)
            }
            Step::Mount { target, behaviour, .. } if behaviour & COPY_UP != 0 && !MOUNTING.contains(&(message.call as i64)) => {
                Error::system("copy up into the tmpfs on", shown(target), errno)
            }
            Step::Stay { .. } | Step::Fork { .. } if errno == Errno::EAGAIN && self.pids_limit().is_some() => {
                let (operation, path) = words_of(&step);
                let hint = format!(
                    "linux.resources.pids.limit of {} is too small: init needs one, and the program",
                    self.pids_limit().unwrap_or(0)
                );
                Error::system(operation, path, errno).with_hint(hint)
            }
            step => {
                let (operation, path) = words_of(&step);
                Error::system(operation, path, errno)
            }
        }
    }

    /// createContainer hooks stand in the plan before startContainer hooks, each in its order.
    fn failed_hook(&self, message: Message) -> Error {
        let before = (0..message.step).filter(|step| matches!(self.steps.step(*step), Some(Step::Hook { .. }))).count();
        let early = HookStage::CreateContainer.of(&self.config.spec).len();
        let (stage, index) = match before.checked_sub(early) {
            None => (HookStage::CreateContainer, before),
            Some(index) => (HookStage::StartContainer, index),
        };
        hooks::failed_inside(&self.config.spec, stage, index, message)
    }

    pub(crate) fn is_hook(&self, step: u32) -> bool {
        matches!(self.steps.step(step), Some(Step::Hook { .. }))
    }

    fn pids_limit(&self) -> Option<i64> {
        Some(self.config.spec.linux().as_ref()?.resources().as_ref()?.pids().as_ref()?.limit())
    }

    /// The spec's name of a resource; every one that is set comes from there.
    fn limit_name(&self, resource: u64) -> String {
        let limits = self.config.spec.process().as_ref().and_then(|process| process.rlimits().as_deref()).unwrap_or_default();
        let limit = limits.iter().find(|limit| rlimit_number(limit.typ()) == resource);
        limit.map_or_else(|| resource.to_string(), |limit| limit.typ().to_string())
    }

    fn program(&self) -> &str {
        self.config
            .spec
            .process()
            .as_ref()
            .and_then(|process| process.args().as_ref())
            .and_then(|args| args.first())
            .map_or("", String::as_str)
    }
}

/// Engines make 126 or 127 of these very words.
fn missing_program(name: &str, errno: Errno) -> Error {
    let (operation, errno) = match errno {
        Errno::ENOENT if !name.contains('/') => (format!("exec: {name:?}: executable file not found in $PATH"), Errno::ENOENT),
        Errno::ENOENT => (format!("exec: {name:?}: {}", words(Errno::ENOENT)), Errno::ENOENT),
        // execve(2) calls it EACCES, and so do engines: podman exec gives 126 for those words alone.
        Errno::EISDIR => (format!("exec: {name:?}: {}: it is a directory", words(Errno::EACCES)), Errno::EISDIR),
        other => (format!("exec: {name:?}: {}", words(other)), other),
    };
    Error { path: Some(name.to_owned()), errno: Some(errno), ..Error::new(Kind::Executable, operation) }
}

/// It was found, and execve(2) refused it.
fn refused_program(name: &str, errno: Errno) -> Error {
    let error = Error::new(Kind::Executable, format!("exec: {name:?}: {}", words(errno)));
    let error = Error { path: Some(name.to_owned()), errno: Some(errno), ..error };
    match errno {
        Errno::ENOENT => error.with_hint("it is there, but not the interpreter that it names"),
        _ => error,
    }
}

impl CommandPlan {
    /// What a FAILED message means, after this plan was handed out.
    pub(crate) fn failure(&self, message: Message) -> Error {
        let errno = Errno::from_raw(message.errno);
        match self.steps.step(message.step) {
            Some(Step::Find { .. }) => missing_program(&self.program, errno),
            Some(Step::Execute { .. }) if [libc::SYS_seccomp, libc::SYS_capset].contains(&(message.call as i64)) => {
                Error::system("load the seccomp filter", None, errno)
            }
            Some(Step::Execute { .. }) => refused_program(&self.program, errno),
            Some(step) => {
                let (operation, path) = words_of(&step);
                Error::system(operation, path, errno)
            }
            None => Error::system("take over the command", None, errno),
        }
    }
}

fn words_of(step: &Step<'_>) -> (String, Option<String>) {
    let on = |operation: &str, path: &std::ffi::CStr| (operation.to_owned(), Some(shown(path)));
    let only = |operation: &str| (operation.to_owned(), None);
    match step {
        Step::Meet { what } => only(match *what {
            meet::MAPS => "write the id maps",
            meet::HOOKS => "run hooks",
            meet::RECORD => "record the process",
            _ => "write the time offsets",
        }),
        Step::Dumpable {} => only("let the caller write the id maps"),
        Step::BecomeMapped { .. } => only("become root of the user namespace"),
        Step::JoinTasks { .. } => only("join a cgroup of v1"),
        Step::Unshare { .. } => only("create namespaces"),
        Step::JoinNamespaces { .. } => only("join namespaces"),
        Step::Enter { .. } => only("enter the container's namespaces"),
        Step::Fork { .. } => only("create namespaces"),
        Step::Detach {} => only("detach the watcher"),
        Step::Watch { .. } => only("watch"),
        Step::Hold { .. } => only("hold namespaces"),
        Step::SendRoot {} => only("hand the overlay out"),
        Step::Propagation { .. } => ("set mount propagation".to_owned(), Some("/".to_owned())),
        Step::RootTree { .. } => only("mount the root file system"),
        Step::Scratch { .. } => only("mount tmpfs for the upper layer"),
        Step::MakeDirectory { path, .. } => on("make directory", path),
        Step::MakeSymlink { path, .. } => on("make symbolic link", path),
        Step::MakeFile { path, .. } => on("write", path),
        Step::SetAttribute { path, .. } => on("set overlay attribute", path),
        Step::RootOverlay { .. } => only("mount overlay"),
        Step::Mount { kind, target, .. } => on(&format!("mount {} on", shown(kind)), target),
        Step::Bind { source, target, .. } => on(&format!("bind mount {} on", shown(source)), target),
        Step::Attributes { path, .. } => on("set mount attributes of", path),
        Step::Device { path, .. } => on("make device", path),
        Step::Link { path, .. } => on("make symbolic link", path),
        Step::WorkingDirectory { path } => on("make working directory", path),
        Step::Mask { path } => on("mask", path),
        Step::ReadOnly { path } => on("make read-only", path),
        Step::SendLayer { .. } => only("hand the upper layer out"),
        Step::RootAttributes { .. } => ("set mount attributes of".to_owned(), Some("/".to_owned())),
        Step::Sysctl { path, .. } => ("set kernel parameter".to_owned(), Some(format!("/proc/{}", shown(path)))),
        Step::Hostname { .. } => only("set hostname"),
        Step::Domainname { .. } => only("set domainname"),
        Step::Network {} => only("open a netlink socket"),
        Step::Loopback {} => only("bring lo up"),
        Step::Hook { path, .. } => on("run hook", path),
        Step::Pivot {} => only("pivot_root"),
        Step::Chroot {} => only("chroot"),
        Step::Terminal { .. } => ("open the terminal".to_owned(), Some("/dev/pts/ptmx, /dev/console".to_owned())),
        Step::Stdio { .. } => only("set up stdio"),
        Step::Stay { .. } => only("stay as PID 1"),
        Step::Session { .. } => only("make a session"),
        Step::Limit { .. } => only("set resource limit"),
        Step::IoPriority { .. } => only("set the io priority"),
        Step::Scheduler { .. } => only("set the scheduler"),
        Step::MemoryPolicy { .. } => only("set the memory policy"),
        Step::Personality { .. } => only("set the personality"),
        Step::Affinity { .. } => only("set the CPU affinity"),
        Step::Label { attribute, value } if *attribute == c"self/attr/exec" => only(&format!("set the SELinux label {}", shown(value))),
        Step::Label { attribute, value } if *attribute == KEY_LABEL => only(&format!("set the SELinux label of keys {}", shown(value))),
        Step::Label { value, .. } => only(&format!("set the AppArmor profile {}", shown(value).trim_start_matches("exec "))),
        Step::Keyring { .. } => only("make a session keyring"),
        Step::Umask { .. } => only("set umask"),
        Step::NoNewPrivileges {} => only("set no_new_privs"),
        Step::Identity { uid, gid, .. } => only(&format!("become user {uid} group {gid}")),
        Step::Directory { path } => on("change directory to", path),
        Step::Find { .. } => only("find the program"),
        Step::AwaitStart { .. } => only("wait for start"),
        Step::AwaitPlan { .. } => only("wait for the command"),
        Step::Keep { .. } => only("keep descriptors"),
        Step::Filter { .. } => only("keep the seccomp filter"),
        Step::LoadFilter {} => only("load the seccomp filter"),
        Step::Execute { .. } => only("execute"),
    }
}
