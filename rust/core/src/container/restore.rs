//! `Container::restore`: a container from the images of a checkpoint. CRIU makes the processes, pyrt all that it makes for a launch too:
//! state, cgroup and limits, mount points, hooks, the console.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use nix::errno::Errno;
use nix::libc::O_NONBLOCK;
use nix::mount::{mount, MsFlags};
use nix::sched::{unshare, CloneFlags};

use super::checkpoint::DESCRIPTORS;
use super::{Container, Directory, Init, Launched, Lock, OciState, State, Status};
use crate::cgroup::Cgroup;
use crate::checkpoint::criu::{self, Criu, Notified};
use crate::checkpoint::protocol::{kind, option};
use crate::checkpoint::{external, not_possible, CgroupsMode, Directories, Options, OUTSIDE_NAMESPACES};
use crate::error::{Context, Error, Kind, Result};
use crate::hooks::{run_all, run_stage};
use crate::launch::{send_terminal, Lent};
use crate::plan::{HookStage, LaunchPlan, Overlay};
use crate::process::{self, Child, Given, Lifetime, Process};
use crate::sys;

const NO_MOUNT: Option<&str> = None;
/// Three paths and more, in bytes.
const DESCRIPTORS_LONGEST: u64 = 64 << 10;

impl Container {
    /// The container of `plan`, from images. It runs when this returns, and its poststart hooks have run.
    ///
    /// Errors: as `create`; `Host` where criu is missing or cannot work here, `System` with criu's words. Nothing is left then.
    pub fn restore(directory: Directory, plan: &LaunchPlan, config: &[u8], lent: &Lent<'_>, options: &Options) -> Result<Self> {
        let id = directory.id().to_owned();
        if plan.options.overlay != Overlay::Off || plan.options.view.is_some() {
            let hint = "give it a directory of its own as root (overlay=False)";
            return Err(not_possible(&id, "restore", "its root would be copy-on-write, which no image has", hint));
        }
        criu::check(&format!("restore container {id}"))?;
        let state = Arc::new(State::of(plan, &id, config)?);
        let lock = directory.create()?;
        let mut restoring =
            Restoring { directory: &directory, plan, lent, state: &state, cgroup: None, init: None, hooked: false, terminal: None };
        let process = restoring.run(&lock, options).inspect_err(|_| restoring.undo())?;
        let held = lock.into_descriptor(&directory)?;
        let launched = Launched { process: Arc::new(process), directory: Arc::new(held), state: Arc::clone(&state) };
        let container = Container { directory, launched: Mutex::new(Some(launched)), remains: OnceLock::new() };
        container.run_poststart(&state)?;
        Ok(container)
    }
}

struct Restoring<'a> {
    directory: &'a Directory,
    plan: &'a LaunchPlan,
    lent: &'a Lent<'a>,
    state: &'a State,
    cgroup: Option<Arc<Cgroup>>,
    /// The process that CRIU makes, as soon as it tells.
    init: Option<OwnedFd>,
    /// Hooks may have run: poststop hooks undo what they did.
    hooked: bool,
    terminal: Option<OwnedFd>,
}

impl Restoring<'_> {
    fn run(&mut self, lock: &Lock, options: &Options) -> Result<Process> {
        let plan = self.plan;
        let streams = read_descriptors(&options.image_path.join(DESCRIPTORS))?;
        self.directory.begin(&plan.cgroup.as_ref().map(|group| group.paths()).unwrap_or_default(), None, self.state)?;
        self.cgroup = plan.cgroup.as_ref().map(|group| group.create()).transpose()?.map(Arc::new);
        let root = File::open(plan.rootfs.join("")).at("open the root file system", plan.rootfs.to_string_lossy())?;
        for (point, is_directory) in external::mount_points(&plan.config.spec, &plan.options.bundle) {
            external::make_mount_point(root.as_fd(), &point, is_directory)?;
        }
        let place = self.directory.path().join("root");
        let namespaces = self.namespaces()?;
        let null = OpenOptions::new().read(true).write(true).open("/dev/null").at("open", "/dev/null")?;
        let kept: Vec<_> = namespaces.iter().map(|(_, file)| file).chain([&null]).map(AsRawFd::as_raw_fd).collect();
        let (mut criu, directories) = start_with_mounts(&plan.rootfs, self.directory.path(), self.lent, options, &kept)?;
        let mut message = directories.request(options, &plan.config.spec);
        message.text(option::ROOT, &place.to_string_lossy());
        // Init becomes a child of the caller, as after a launch: it takes the exit status.
        message.flag(option::RST_SIBLING, true);
        message.flag(option::EVASIVE_DEVICES, true);
        message.flag(option::TCP_CLOSE, options.tcp_close);
        if let Some(profile) = &options.lsm_profile {
            message.text(option::LSM_PROFILE, profile);
        }
        if let Some(context) = &options.lsm_mount_context {
            message.text(option::LSM_MOUNT_CONTEXT, context);
        }
        for (key, source) in external::sources(&plan.config.spec, &plan.options.bundle)? {
            message.pair(option::EXT_MNT, &key, &source);
        }
        let mut inherited = BTreeSet::new();
        for (number, stream) in streams.iter().enumerate().take(3) {
            match external::inherited(stream) {
                // Once each: CRIU takes a descriptor away from where it was.
                Some((key, is_null)) if inherited.insert(key) => {
                    message.inherit(key, if is_null { null.as_raw_fd() } else { number as i32 });
                }
                _ => {}
            }
        }
        for (key, file) in &namespaces {
            message.inherit(key, file.as_raw_fd());
        }
        for (name, path) in external::joined(&plan.config.spec) {
            message.pair(option::JOIN_NS, name, &path.to_string_lossy());
        }
        if let Some(cgroup) = &self.cgroup {
            cgroup.add(criu.pid())?;
            if options.manage_cgroups_mode != CgroupsMode::Ignore {
                for (controllers, path) in cgroups_of(criu.pid())? {
                    message.pair(option::CG_ROOT, &controllers, &path);
                }
            }
        }
        let answer = criu.ask(kind::RESTORE, &message, &directories.log, |notified| self.notified(notified))?;
        criu.finish();
        let pid = answer.pid.ok_or_else(|| Error::system("hear of the restored process", None, Errno::EPROTO))?;
        let pidfd = sys::pidfd_open(pid).op("open the restored process")?;
        let given = Given { terminal: self.terminal.take(), ..Given::default() };
        let child = Child { pid, pidfd, start_time: process::start_time(pid).unwrap_or(0) };
        let process = Process::new(child, None, self.cgroup.clone(), given, Lifetime::default());
        if let Err(error) = self.directory.set_init(lock.as_fd(), Init { pid, start_time: process.start_time }) {
            let _ = process.kill();
            return Err(error);
        }
        Ok(process)
    }

    /// The given namespaces that stayed outside the images, open, with their keys.
    fn namespaces(&self) -> Result<Vec<(&'static str, File)>> {
        let spec = &self.plan.config.spec;
        if external::joined(spec).iter().any(|(name, _)| *name == "cgroup") {
            let hint = "give the container a new cgroup namespace, or none";
            return Err(not_possible(self.directory.id(), "restore", "criu cannot join a given cgroup namespace", hint));
        }
        let given = OUTSIDE_NAMESPACES.iter().filter_map(|(name, key)| Some((*key, external::namespace_path(spec, name)?)));
        given.map(|(key, path)| Ok((key, File::open(path).at("open namespace", path.to_string_lossy())?))).collect()
    }

    /// What CRIU tells on the way (criu.org/Action_scripts).
    fn notified(&mut self, notified: Notified) -> Result<()> {
        match notified.script.as_str() {
            // The namespaces are there and nothing runs in them yet: the moment of these hooks at a create.
            "setup-namespaces" => {
                self.hooked = true;
                // Our child, and not reaped: the number is still its.
                self.init = notified.pid.and_then(|pid| sys::pidfd_open(pid).ok());
                let state = self.hook_state(Status::Creating, notified.pid.unwrap_or(0));
                let stages = [HookStage::Prestart, HookStage::CreateRuntime];
                stages.iter().try_for_each(|stage| run_stage(&self.plan.config.spec, *stage, &state))
            }
            "orphan-pts-master" => {
                let master = notified.descriptor.ok_or_else(|| Error::system("take over the terminal", None, Errno::EPROTO))?;
                match self.lent.console_socket {
                    Some(socket) => send_terminal(socket, "/dev/console", master.as_fd()),
                    None => {
                        sys::copy_terminal_size(self.lent.stdio[0], master.as_fd());
                        self.terminal = Some(master);
                        Ok(())
                    }
                }
            }
            _ => Ok(()),
        }
    }

    fn hook_state(&self, status: Status, pid: i32) -> Vec<u8> {
        let State { oci_version, id, bundle, annotations, .. } = self.state;
        let state = OciState { oci_version, id, status, pid, bundle, annotations };
        serde_json::to_vec(&state).unwrap_or_else(|_| unreachable!("strings and numbers are always JSON"))
    }

    /// Nothing stays; the first error is the one that counts.
    fn undo(&self) {
        if let Some(init) = &self.init {
            let _ = process::end(init.as_fd());
        }
        if let Some(cgroup) = &self.cgroup {
            let _ = cgroup.kill().and_then(|()| cgroup.remove());
        }
        if self.hooked {
            run_all(&self.plan.config.spec, HookStage::Poststop, &self.hook_state(Status::Stopped, 0));
        }
        let _ = self.directory.remove();
    }
}

/// CRIU wants the root to be a mount of its own. It has one, at DIRECTORY/root, in a mount namespace that only it and a thread of ours are in:
/// the host sees nothing of it, and nothing is left when both have ended. The directories are opened there too: CRIU mounts below them.
fn start_with_mounts(rootfs: &Path, directory: &Path, lent: &Lent<'_>, options: &Options, kept: &[i32]) -> Result<(Criu, Directories)> {
    let start = || {
        let (root, none) = (directory.join("root"), MsFlags::empty());
        unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).op("make a mount namespace for criu")?;
        // Slave: what the host mounts later may come in, nothing goes out.
        mount(NO_MOUNT, "/", NO_MOUNT, MsFlags::MS_REC | MsFlags::MS_SLAVE, NO_MOUNT).op("make the mounts for criu its own")?;
        mount(Some("tmpfs"), directory, Some("tmpfs"), none, Some("mode=700"))
            .at("mount tmpfs for criu on", directory.to_string_lossy())?;
        std::fs::create_dir(&root).at("make directory", root.to_string_lossy())?;
        mount(Some(rootfs), &root, NO_MOUNT, MsFlags::MS_BIND | MsFlags::MS_REC, NO_MOUNT)
            .at("mount the root for criu", rootfs.to_string_lossy())?;
        let directories = Directories::to_read(options)?;
        let kept: Vec<_> = directories.descriptors().iter().chain(kept).copied().collect();
        Ok((Criu::start(Some(lent.stdio), &kept)?, directories))
    };
    let failed = || Error::system("run criu", None, Errno::EAGAIN);
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("pyrt-restore".to_owned()).spawn_scoped(scope, start);
        thread.map_err(|_| failed())?.join().map_err(|_| failed())?
    })
}

/// The cgroups of a process: controllers and path, as /proc/PID/cgroup has them (cgroups(7)).
fn cgroups_of(pid: i32) -> Result<Vec<(String, String)>> {
    let path = format!("/proc/{pid}/cgroup");
    let text = std::fs::read_to_string(&path).at("read", &path)?;
    let mut found = Vec::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        if let (Some(controllers), Some(path)) = (fields.next(), fields.next()) {
            found.push((controllers.to_owned(), path.to_owned()));
        }
    }
    Ok(found)
}

fn read_descriptors(path: &Path) -> Result<Vec<String>> {
    let shown = path.to_string_lossy();
    // Whoever made the directory decides what it is: it is not waited for, and not read without end.
    let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path).at("read", &shown)?;
    let mut bytes = Vec::new();
    file.take(DESCRIPTORS_LONGEST).read_to_end(&mut bytes).at("read", &shown)?;
    serde_json::from_slice(&bytes).map_err(|error| {
        Error::new(Kind::System, format!("read {shown}: not what a checkpoint writes: {error}")).with_hint("give --image-path")
    })
}
