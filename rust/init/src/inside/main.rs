//! pyrt-init: carries a launch plan out inside the new namespaces, and becomes the user's program or stays above it as PID 1.
//!
//! `main` is the one loop · `sys` the system calls · `namespaces` · `root` (what becomes /) · `mounts` (what is mounted in it) · `directory` (entries, copies) · `resolve` (paths
//! in it) · `terminal` · `identity` · `keyring` · `scheduling` · `hook` · `program` (find, wait for start, execute) · `seccomp` · `supervise` (PID 1 that stays) · `watch`
//! (the process that ends what must not outlive the caller).
#![no_std]
#![no_main]
#![deny(unsafe_code)]

mod directory;
mod hook;
mod identity;
mod keyring;
mod mounts;
mod namespaces;
mod program;
mod resolve;
mod root;
mod scheduling;
mod seccomp;
mod supervise;
#[allow(unsafe_code)]
mod sys;
mod terminal;
mod watch;

use core::ffi::CStr;

use linux_raw_sys::errno::EBADMSG;
use linux_raw_sys::general::{__NR_read, __NR_recvmsg};
use pyrt_init::{kind, Decoder, Message, Step, MAX_FDS, SOCKET_FD};
use sys::{refused, Failure, Result};

/// Exit status after a failure that the caller was told, or cannot be told any more.
const FAILED_STATUS: i32 = 113;

/// What the steps share.
pub struct Init {
    /// To the caller; after `AwaitStart` to whoever called start.
    socket: i32,
    /// The descriptors that came with the plan, by the index that steps use.
    fds: [i32; MAX_FDS],
    /// The root mount, once there is one.
    root: i32,
    /// Mounts stacked on the old root by us, which go when it goes.
    stacked: u32,
    /// The caller's /proc, verified to be procfs; opened before the pivot.
    proc: i32,
    /// The mounts on /proc and /sys, while they are procfs and sysfs.
    kernel: [Option<i32>; 2],
    /// What `resolve` opened last for a name to be made in.
    parent: Option<resolve::Parent>,
    /// The host's /dev/null, verified, and an empty read-only directory, for masks.
    null: Option<i32>,
    empty: Option<i32>,
    program: Option<&'static CStr>,
    /// Loaded right before the program is executed.
    filter: Option<seccomp::Filter>,
    /// How many descriptors after stdio the program keeps.
    kept: u32,
}

impl Init {
    fn fd(&self, index: u64) -> i32 {
        usize::try_from(index).ok().and_then(|index| self.fds.get(index)).copied().unwrap_or(-1)
    }

    fn send(&self, message: Message) -> Result<()> {
        sys::send(self.socket, message, None)
    }

    /// Tells the caller something and waits until it says go. Ends with the caller.
    fn meet(&self, step: u32, what: u64) -> Result<()> {
        self.send(Message { kind: kind::MEET, step, value: what, ..Message::default() })?;
        self.await_go()
    }

    fn await_go(&self) -> Result<()> {
        match sys::receive(self.socket)? {
            Some(message) if message.kind == kind::GO => Ok(()),
            _ => sys::exit(FAILED_STATUS),
        }
    }

    fn apply(&mut self, index: u32, step: Step<'static>) -> Result<()> {
        match step {
            Step::Meet { what } => self.meet(index, what),
            Step::Dumpable {} => sys::dumpable(true),
            Step::BecomeMapped { uid, gid } => identity::become_mapped(uid, gid),
            Step::JoinTasks { fd } => sys::write(self.fd(fd), b"0").map(drop),
            Step::Unshare { flags } => sys::unshare(flags),
            Step::JoinNamespaces { pairs } => namespaces::join(self, pairs),
            Step::Enter { target, flags } => namespaces::enter(self.fd(target), flags),
            Step::Fork { flags, cgroup } => namespaces::fork(self, flags, cgroup),
            Step::Hold { caller } => supervise::hold(self, self.fd(caller)),
            Step::Detach {} => namespaces::detach(),
            Step::Watch { caller } => watch::watch(self, self.fd(caller)),
            Step::Propagation { flags } => sys::mount_propagation(c"/", flags),
            Step::RootTree { source, fd, attributes } => root::tree(self, source, self.given(fd), attributes),
            Step::Scratch { options } => root::scratch(self, options),
            Step::MakeDirectory { path, mode } => root::make_directory(path, mode as u32),
            Step::MakeSymlink { path, target } => sys::symlinkat(target, sys::CWD, path),
            Step::MakeFile { path, mode, content } => root::make_file(path, mode as u32, content),
            Step::SetAttribute { path, name, value } => sys::lsetxattr(path, name, value),
            Step::RootOverlay { options, inside, attributes } => root::overlay(self, options, inside, attributes),
            Step::SendLayer { upper } => root::send_layer(self, upper),
            Step::RootAttributes { attributes, propagation } => root::attributes(attributes, propagation),
            Step::Mount { kind, source, target, options, attributes, propagation, behaviour } => {
                mounts::mount(self, mounts::FileSystem { kind, source, options, attributes }, target, propagation, behaviour)
            }
            Step::Bind { source, fd, target, set, clear, set_all, clear_all, propagation, behaviour, device } => {
                let tree = mounts::Tree { source, fd: self.given(fd), behaviour, device };
                mounts::bind(self, tree, target, mounts::Changes { set, clear, set_all, clear_all, propagation })
            }
            Step::Device { path, mode, device, uid, gid } => mounts::device(self, path, mode as u32, device, uid as u32, gid as u32),
            Step::Link { path, target } => mounts::link(self, path, target),
            Step::WorkingDirectory { path } => mounts::working_directory(self, path),
            Step::Mask { path } => mounts::mask(self, path),
            Step::ReadOnly { path } => mounts::read_only(self, path),
            Step::Attributes { path, set } => mounts::attributes(self, path, set),
            Step::SendRoot {} => root::send(self),
            Step::Sysctl { path, value } => namespaces::sysctl(self, path, value),
            Step::Hostname { name } => sys::sethostname(name),
            Step::Domainname { name } => sys::setdomainname(name),
            Step::Network {} => namespaces::network(self),
            Step::Loopback {} => sys::loopback_up(),
            Step::Hook { path, program, by_path, arguments, environment, state, output, timeout } => hook::run(hook::Hook {
                path,
                program: self.given(program),
                by_path: by_path != 0,
                arguments,
                environment,
                state: self.fd(state),
                output: self.given(output),
                timeout,
            }),
            Step::Pivot {} => root::pivot(self),
            Step::Chroot {} => root::change(self),
            Step::Terminal { columns, rows, uid, gid, console } => {
                terminal::open(self, index, columns as u16, rows as u16, (uid as u32, gid as u32), console != 0)
            }
            Step::Stdio { input, output, error } => terminal::inherit([self.fd(input), self.fd(output), self.fd(error)]),
            Step::Stay { caller, subreaper } => supervise::stay(self, self.given(caller), subreaper != 0),
            Step::Session { controlling_terminal } => terminal::session(controlling_terminal != 0),
            Step::Limit { resource, soft, hard } => sys::prlimit(resource, soft, hard),
            Step::IoPriority { class, level } => sys::ioprio_set(class, level),
            Step::Scheduler { policy, flags, nice, priority, runtime, deadline, period } => sys::sched_setattr(sys::SchedulerAttributes {
                policy: policy as u32,
                flags,
                nice: nice as i32,
                priority: priority as u32,
                runtime,
                deadline,
                period,
                ..sys::SchedulerAttributes::default()
            }),
            Step::MemoryPolicy { mode, nodes } => scheduling::memory_policy(mode, nodes),
            Step::Personality { persona } => sys::personality(persona),
            Step::Affinity { cpus } => scheduling::affinity(cpus),
            Step::Label { attribute, value } => identity::label(self, attribute, value),
            Step::Keyring { name } => keyring::join(name),
            Step::Umask { mask } => sys::umask(mask),
            Step::NoNewPrivileges {} => sys::no_new_privileges(),
            Step::Identity { uid, gid, groups, setgroups, bounding, effective, permitted, inheritable, ambient } => {
                let thread = sys::Capabilities { effective, permitted, inheritable };
                let user = identity::User { uid, gid, groups, setgroups };
                identity::become_user(user, identity::Sets { bounding, thread, ambient })
            }
            Step::Directory { path } => program::directory(path),
            Step::Find { candidates } => program::find(self, candidates),
            Step::AwaitStart { listener } => program::await_start(self, index, self.fd(listener)),
            Step::AwaitPlan { caller } => program::await_plan(self, self.given(caller)),
            Step::Keep { fds } => program::keep(self, fds),
            Step::Filter { program, flags, key, privileged, effective, permitted, inheritable } => {
                let sets = sys::Capabilities { effective, permitted, inheritable };
                self.filter = Some(seccomp::Filter { program, flags, key, sets: (privileged != 0).then_some(sets) });
                Ok(())
            }
            Step::LoadFilter {} => self.filter.take().map_or(Ok(()), |filter| seccomp::load(&filter).map(drop)),
            Step::Execute { arguments, environment } => program::execute(self, index, arguments, environment),
        }
    }

    fn given(&self, index: u64) -> Option<i32> {
        (index != pyrt_init::NO_FD).then(|| self.fd(index))
    }
}

/// What `_start` calls. Everything after the hello is the plan's.
extern "C" fn main() -> ! {
    match prepare() {
        Ok(Some((mut init, plan))) => run(&mut init, plan),
        // Without a hello there is nobody to tell.
        Ok(None) => sys::exit(FAILED_STATUS),
        Err(failure) => fail(SOCKET_FD, u32::MAX, failure),
    }
}

fn prepare() -> Result<Option<(Init, &'static [u8])>> {
    // Nobody with fewer privileges may look into this process: it still holds the caller's descriptors (CVE-2016-9962).
    sys::not_dumpable()?;
    sys::block_signals()?;
    sys::default_dispositions()?;
    sys::umask(0)?;
    sys::set_name(c"pyrt-init")?;
    let mut init = Init {
        socket: SOCKET_FD,
        fds: [-1; MAX_FDS],
        root: -1,
        stacked: 0,
        proc: resolve::host_proc().unwrap_or(-1),
        kernel: [None; 2],
        parent: None,
        null: None,
        empty: None,
        program: None,
        filter: None,
        kept: 0,
    };
    Ok(init.receive_plan()?.map(|plan| (init, plan)))
}

impl Init {
    /// The next plan, with its descriptors; `None` where the caller is gone.
    fn receive_plan(&mut self) -> Result<Option<&'static [u8]>> {
        let Some(hello) = sys::receive_hello(self.socket, &mut self.fds)? else { return Ok(None) };
        // All of ours above those numbers that the program's own descriptors will take.
        for fd in [&mut self.socket, &mut self.proc].into_iter().chain(&mut self.fds[..hello.count as usize]) {
            if (0..hello.floor as i32).contains(fd) {
                let low = *fd;
                *fd = sys::duplicate_above(low, hello.floor)?;
                sys::close(low);
            }
        }
        sys::map(self.fds[0], hello.length).map(Some)
    }
}

fn run(init: &mut Init, plan: &'static [u8]) -> ! {
    let mut steps = Decoder::new(plan);
    let mut index = 0;
    while !steps.is_empty() {
        let applied = match Step::decode(&mut steps) {
            Ok(step) => init.apply(index, step),
            Err(_) => refused(__NR_recvmsg, EBADMSG),
        };
        if let Err(failure) = applied {
            fail(init.socket, index, failure);
        }
        index += 1;
    }
    // A plan ends with `Execute`, which does not return.
    fail(init.socket, index, Failure { call: __NR_read, errno: EBADMSG as i32, status: 0 })
}

/// Tells the caller which step failed, and ends.
fn fail(socket: i32, step: u32, failure: Failure) -> ! {
    let message =
        Message { kind: kind::FAILED, step, call: failure.call, errno: failure.errno, value: failure.status, ..Message::default() };
    // Where the caller is gone too, there is nobody left to tell.
    let _ = sys::send(socket, message, None);
    sys::exit(FAILED_STATUS)
}
