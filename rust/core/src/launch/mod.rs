//! LaunchPlan -> a process: the cgroup, one clone, the handshake with init, and on failure everything undone.
//!
//! `parcel` is what init gets first, `conversation` what it says then and is answered.

mod conversation;
mod parcel;

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{sendmsg, setsockopt, socketpair, sockopt, AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr};
use serde_json::json;

use crate::cgroup::Cgroup;
use crate::ending::{self, await_end};
use crate::error::{Context, Error, Kind, Result};
use crate::hooks;
use crate::layer::{Layer, Root};
use crate::netlink::Moved;
use crate::plan::{HookStage, LaunchPlan, Overlay, StatusFile};
use crate::process::{self, Child, Given, Lifetime, Process};
use crate::rootless;
use crate::seccomp::Answerer;
use crate::sys::{self, Clone};
use crate::watcher::{self, Watched, Watcher};
pub(crate) use parcel::open_namespace;

static INIT: &[u8] = include_bytes!(env!("PYRT_INIT"));

/// What the caller lends for a launch.
pub struct Lent<'a> {
    pub stdio: [BorrowedFd<'a>; 3],
    /// Where init waits for `start`: the path of a socket to make.
    pub start_socket: Option<&'a Path>,
    /// Gets the pty's master.
    pub console_socket: Option<BorrowedFd<'a>>,
    /// What the program keeps, from descriptor 3 on.
    pub kept: &'a [RawFd],
    /// The container that the process joins, where it is not a new one.
    pub entered: Option<&'a Entered>,
}

/// A container that exists already: what a launch into it needs beside the plan. Nothing of it is ended when the launch fails.
#[derive(Debug)]
pub struct Entered {
    /// The pidfd of its init.
    pub process: OwnedFd,
    pub cgroup: Option<Arc<Cgroup>>,
}

impl Entered {
    pub(crate) fn unified(&self) -> Option<BorrowedFd<'_>> {
        self.cgroup.as_ref().and_then(|group| group.unified())
    }
}

/// Notes which process it is.
type Record<'a> = dyn Fn(&Child) -> Result<()> + 'a;

/// Makes the container: returns when the program runs, or waits for `start`.
pub fn launch(plan: &LaunchPlan, lent: &Lent<'_>) -> Result<Process> {
    launch_recorded(plan, lent, &|_| Ok(()))
}

/// The same, with a record of the process for whoever has to end it when the caller is gone: made before it does anything, where no cgroup
/// leads to it.
pub(crate) fn launch_recorded(plan: &LaunchPlan, lent: &Lent<'_>, record: &Record<'_>) -> Result<Process> {
    if lent.kept.len() != plan.options.preserve_fds {
        return Err(Error::system("keep descriptors", None, Errno::EINVAL));
    }
    if let Overlay::Keep { directory } = &plan.options.overlay {
        make_layers(directory, &plan.rootfs)?;
    }
    // Before the cgroup is there: whenever the caller is killed from now on, somebody knows what to remove.
    let watched = match &plan.cgroup {
        Some(group) if plan.options.end_with_caller => Some(watcher::watch(&group.paths())?),
        _ => None,
    };
    let cgroup = plan.cgroup.as_ref().filter(|group| group.scope().is_none()).map(|group| group.create_for_launch()).transpose()?;
    let mut launch = Launch::new(plan, lent, cgroup);
    launch.watched = watched;
    launch.record = (plan.cgroup.is_none() && !plan.options.end_with_caller).then_some(record);
    launch.run()
}

/// upper/ and work/ below a directory, where they are missing. The merged root has the upper one's mode: it is made the lower one's, which
/// the caller's umask would change.
pub(crate) fn make_layers(directory: &Path, lower: &Path) -> Result<()> {
    let (upper, work) = (directory.join("upper"), directory.join("work"));
    std::fs::create_dir_all(&work).at("make directory", work.to_string_lossy())?;
    match std::fs::create_dir(&upper) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
        made => made.at("make directory", upper.to_string_lossy())?,
    }
    let mode = std::fs::metadata(lower).at("look at", lower.to_string_lossy())?.permissions();
    std::fs::set_permissions(&upper, mode).at("set the mode of", upper.to_string_lossy())
}

/// Starts the watcher.
pub(crate) fn make_watcher(plan: &LaunchPlan) -> Result<Watcher> {
    let lent = Lent { stdio: [0, 1, 2].map(sys::lend), start_socket: None, console_socket: None, kept: &[], entered: None };
    let mut launch = Launch::new(plan, &lent, None);
    match launch.attempt() {
        // The process that we made ended when it had detached the watcher, which took its place.
        Ok(_) => match (launch.socket.take(), launch.child.take()) {
            (Some(socket), Some(Child { pidfd, .. })) if launch.replaced => Ok(Watcher { socket, pidfd }),
            _ => Err(Error::system("start the watcher", None, Errno::EPROTO)),
        },
        Err(error) => Err(launch.undo(error)),
    }
}

/// Carries out a plan that ends by handing out an overlay: the mount, and its upper layer.
pub(crate) fn make_mount(plan: &LaunchPlan) -> Result<(OwnedFd, OwnedFd)> {
    let lent = Lent { stdio: [0, 1, 2].map(sys::lend), start_socket: None, console_socket: None, kept: &[], entered: None };
    let mut launch = Launch::new(plan, &lent, None);
    let mount = launch.attempt().and_then(|_| {
        let both = launch.mount.take().zip(launch.upper.take());
        both.ok_or_else(|| Error::system("take over the mount", None, Errno::EPROTO))
    });
    match mount {
        Ok(mount) => {
            launch.reap_child()?;
            Ok(mount)
        }
        Err(error) => Err(launch.undo(error)),
    }
}

/// The program of the init, made once a process: nobody can change it, and no path leads to it (CVE-2019-5736).
fn init_program() -> Result<BorrowedFd<'static>> {
    static PROGRAM: OnceLock<std::result::Result<OwnedFd, Errno>> = OnceLock::new();
    // Made outside the lock: a child that is forked meanwhile would wait for it for ever.
    let made = PROGRAM.get().map_or_else(|| Err(sys::sealed_file(c"pyrt-init", INIT, true)), Ok);
    match made.unwrap_or_else(|made| PROGRAM.get_or_init(|| made)) {
        Ok(fd) => Ok(fd.as_fd()),
        Err(errno) => Err(Error::system("make the init's memfd", None, *errno).with_hint("vm.memfd_noexec=2 forbids it")),
    }
}

struct Launch<'a> {
    plan: &'a LaunchPlan,
    lent: &'a Lent<'a>,
    cgroup: Option<Cgroup>,
    socket: Option<OwnedFd>,
    child: Option<Child>,
    /// The child is the one that path B is for.
    replaced: bool,
    terminal: Option<OwnedFd>,
    /// A mount that was asked for without a container.
    mount: Option<OwnedFd>,
    watched: Option<Watched>,
    /// Network devices that are inside.
    moved: Option<Moved>,
    /// What hooks read that init runs, not yet written.
    states: Vec<(StatusFile, OwnedFd)>,
    /// What they wrote.
    hook_output: Option<hooks::Output>,
    /// Where no cgroup leads to the process.
    record: Option<&'a Record<'a>>,
    /// Hooks may have run: whatever fails from here on, poststop hooks undo what they did (runtime.md, "Lifecycle").
    hooked: bool,
    /// Of a filter whose questions the caller answers itself.
    listener: Option<OwnedFd>,
    /// The upper layer and the root, where they are kept.
    upper: Option<OwnedFd>,
    root: Option<OwnedFd>,
    /// timens_offsets, where it can be opened only before it can be written.
    offsets: Option<std::fs::File>,
}

/// What init said last.
enum Reached {
    Ready,
    Executed,
    Started,
}

impl<'a> Launch<'a> {
    fn new(plan: &'a LaunchPlan, lent: &'a Lent<'a>, cgroup: Option<Cgroup>) -> Self {
        Launch {
            plan,
            lent,
            cgroup,
            socket: None,
            child: None,
            replaced: false,
            terminal: None,
            mount: None,
            moved: None,
            watched: None,
            listener: None,
            offsets: None,
            states: Vec::new(),
            hook_output: None,
            hooked: false,
            record: None,
            upper: None,
            root: None,
        }
    }

    fn run(mut self) -> Result<Process> {
        match self.attempt() {
            Ok(reached) => Ok(self.into_process(reached)),
            Err(error) => {
                let error = rootless::explained(error, self.plan);
                Err(self.undo(error))
            }
        }
    }

    fn attempt(&mut self) -> Result<Reached> {
        // The child is in our memory until it executes init, and this thread stands still as long as it does.
        self.require_thawed()?;
        // Before the clone, so that init finds all of it when it is there; but what systemd makes around init can be bound only then.
        let around_init = self.plan.cgroup.as_ref().is_some_and(|group| group.scope().is_some());
        let packed = (!around_init).then(|| self.pack()).transpose()?;
        let flags = SockFlag::SOCK_CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).op("make a socket pair")?;
        if let Some(Answerer::Socket(_)) = self.plan.answerer {
            // Whoever answers is told which process asks: below a PID 1 that stays it is another than ours.
            setsockopt(&ours, sockopt::PassCred, &true).op("make a socket pair")?;
        }
        self.socket = Some(ours);
        let mut wanted = Clone {
            namespaces: self.plan.clone_flags,
            cgroup: self.cgroup.as_ref().and_then(Cgroup::clone_target),
            program: init_program()?,
            socket: theirs.as_fd(),
            keeps_capabilities: self.plan.maps.is_some() && !self.plan.forks,
        };
        let made = match sys::clone_and_execute(&wanted) {
            // `cgroup.kill` was written to the cgroup that we are in ourselves: `clone_target`.
            Err(sys::NEVER_RAN) if wanted.cgroup.take().is_some() => sys::clone_and_execute(&wanted),
            made => made,
        };
        let by_number = wanted.cgroup.is_none();
        let (pid, pidfd) = made.op("create namespaces")?;
        self.child = Some(Child { pid, pidfd, start_time: 0 });
        drop(theirs);
        if let (true, Some(cgroup)) = (by_number, &self.cgroup) {
            cgroup.join_by_number(self.pid())?;
        }
        match (&self.plan.cgroup, &self.cgroup) {
            (Some(group), Some(cgroup)) => group.limit_memory(cgroup)?,
            (Some(group), None) => {
                let made = group.create_around(self.pid())?;
                group.limit(self.cgroup.insert(made))?;
                self.require_thawed()?;
            }
            (None, _) => {}
        }
        if !self.plan.maps.as_ref().is_some_and(|maps| maps.closed) {
            self.set_oom_score_adj()?;
        }
        if !self.plan.forks {
            self.record()?;
        }
        let parcel = packed.map_or_else(|| self.pack(), Ok)?;
        self.hello(&parcel)?;
        drop(parcel);
        // While init is at work; where it makes another process, that comes later.
        self.find_start_time();
        self.converse()
    }

    /// Before init gets its plan; on path B the real process waits for it.
    fn record(&mut self) -> Result<()> {
        let Some(record) = self.record else { return Ok(()) };
        self.find_start_time();
        self.child.as_ref().map_or(Ok(()), record)
    }

    fn find_start_time(&mut self) {
        if let Some(child) = &mut self.child {
            child.start_time = crate::process::start_time(child.pid).unwrap_or(0);
        }
    }

    fn require_thawed(&self) -> Result<()> {
        if self.cgroup.as_ref().map_or(Ok(false), Cgroup::frozen)? {
            let error = Error::new(Kind::InvalidState, "launch the container: a cgroup above its own is frozen");
            return Err(error.with_hint("thaw it first"));
        }
        Ok(())
    }

    /// Waits for a child that ends by itself.
    fn reap_child(&self) -> Result<()> {
        if let Some(Child { pidfd, .. }) = &self.child {
            await_end(pidfd.as_fd())?;
            // Where somebody else reaps our children, it is gone already.
            let _ = sys::reap(pidfd.as_fd());
        }
        Ok(())
    }

    fn socket(&self) -> BorrowedFd<'_> {
        // Set by `attempt` before anything here runs.
        self.socket.as_ref().map(AsFd::as_fd).unwrap_or_else(|| self.lent.stdio[0])
    }

    fn pid(&self) -> i32 {
        self.child.as_ref().map_or(0, |child| child.pid)
    }

    /// What a hook reads: runtime.md, "State".
    fn state(&self, status: &str) -> Vec<u8> {
        let options = &self.plan.options;
        let version = self.plan.config.spec.version();
        let mut state = json!({"ociVersion": version, "id": options.id, "status": status, "pid": self.pid(), "bundle": options.bundle});
        let annotations = self.plan.annotations();
        if !annotations.is_empty() {
            state["annotations"] = json!(annotations);
        }
        state.to_string().into_bytes()
    }

    /// Init is gone without a word: something else ended it.
    fn died(&self) -> Error {
        self.lost().unwrap_or_else(|| Error::system("launch the container", None, Errno::EPIPE))
    }

    fn lost(&self) -> Option<Error> {
        let Child { pidfd, .. } = self.child.as_ref()?;
        if let Err(error) = await_end(pidfd.as_fd()) {
            return Some(error);
        }
        let ending = sys::reap(pidfd.as_fd()).ok().flatten().map(|(ending, _)| ending);
        let limited = self
            .plan
            .config
            .spec
            .linux()
            .as_ref()
            .and_then(|linux| linux.resources().as_ref())
            .and_then(|resources| resources.memory().as_ref())
            .and_then(|memory| memory.limit());
        let error = Error::system("launch the container", None, Errno::ECHILD);
        Some(match (ending, limited) {
            (Some(sys::Ending::Signalled(libc::SIGKILL)), Some(limit)) => error.with_hint(format!(
                "init was killed before the program ran: linux.resources.memory.limit of {limit} bytes is too small for it"
            )),
            (Some(sys::Ending::Signalled(signal)), _) => error.with_hint(format!("signal {signal} ended init before the program ran")),
            (Some(sys::Ending::Exited(status)), _) => error.with_hint(format!("init ended with status {status} before the program ran")),
            (None, _) => error.with_hint("init ended before the program ran"),
        })
    }

    fn into_process(self, reached: Reached) -> Process {
        let plan = self.plan;
        let Launch { cgroup, socket, child, terminal, watched, listener, upper, root, .. } = self;
        let layer = upper.map(|upper| Layer::of(plan, upper)).zip(root.map(|root| Root::new(root, plan.root_owner())));
        let child = child.unwrap_or_else(|| unreachable!("a launch that reached a state has a child"));
        // Only a PID 1 that stays has more to say, and only one that waits for its command has more to hear.
        let socket = socket.filter(|_| matches!(reached, Reached::Started) || plan.options.awaits_command);
        let owner = plan.options.end_with_caller.then(std::process::id);
        let given = Given { terminal, listener, notify: None, layer };
        let process = Process::new(child, socket, cgroup.map(Arc::new), given, Lifetime { owner, _watched: watched });
        if plan.forks {
            ending::remember(process.waited());
        }
        process
    }

    /// Nothing stays: the first error is the one that counts.
    fn undo(mut self, error: Error) -> Error {
        // While init keeps their namespace: the kernel would end those that are not hardware together with it.
        if let Some(moved) = self.moved.take() {
            moved.back();
        }
        let mut failures: Vec<Error> = Vec::new();
        if let Some(Child { pidfd, .. }) = self.child.take() {
            failures.extend(process::end(pidfd.as_fd()).err());
        }
        if let Some(pidfd) = self.unheard() {
            failures.extend(process::end(pidfd.as_fd()).err());
        }
        if let Some(cgroup) = &self.cgroup {
            failures.extend(cgroup.kill().and_then(|()| cgroup.remove()).err());
        }
        if let Some(path) = self.lent.start_socket {
            let _ = std::fs::remove_file(path);
        }
        let mut failures: Vec<String> = failures.iter().map(Error::to_string).collect();
        if self.hooked {
            failures.extend(hooks::run_all(&self.plan.config.spec, HookStage::Poststop, &self.state("stopped")));
        }
        failures.into_iter().fold(error, |error, failure| {
            let hint = error.hint.as_ref().map_or(failure.clone(), |hint| format!("{hint}; {failure}"));
            error.with_hint(hint)
        })
    }
}

/// The pty's master, to whoever listens at the console socket: one message, whose data is the pty's name.
pub(crate) fn send_terminal(socket: BorrowedFd<'_>, name: &str, master: BorrowedFd<'_>) -> Result<()> {
    let fds = [master.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&fds)];
    sendmsg::<UnixAddr>(socket.as_raw_fd(), &[IoSlice::new(name.as_bytes())], &rights, MsgFlags::MSG_NOSIGNAL, None)
        .map(drop)
        .op("send the terminal over the console socket")
}
