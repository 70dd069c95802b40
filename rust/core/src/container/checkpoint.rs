//! `Container::checkpoint`: a running container as files (criu.org, "Checkpoint/Restore").

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::{Container, State, Status};
use crate::cgroup::{Cgroup, UNIFIED};
use crate::checkpoint::criu::{self, Criu, Notified};
use crate::checkpoint::protocol::{kind, option, Message};
use crate::checkpoint::{external, not_possible, Directories, Options};
use crate::error::{Context, Error, Kind, Result};
use crate::oci::Config;
use crate::sys;

/// What 0, 1, 2 of init are, beside CRIU's images: runc's name, and its content.
pub(super) const DESCRIPTORS: &str = "descriptors.json";

impl Container {
    /// Write images of it. Unless it is left running, or this is a pre-dump, it is deleted then; returns which poststop hooks failed.
    ///
    /// Errors: `InvalidState` unless it is running or paused, `Host` where criu is missing or cannot work here, `System` with criu's words.
    /// On failure the container goes on as it was.
    pub fn checkpoint(&self, options: &Options) -> Result<Vec<String>> {
        let lock = self.directory.lock()?;
        let state = self.directory.read()?;
        self.require(&state, "checkpoint", &[Status::Running, Status::Paused], None)?;
        let id = self.directory.id();
        criu::check(&format!("checkpoint container {id}"))?;
        let was = self.status(&state)?;
        let group = self.cgroup()?;
        let dumped = self.dump(options, &state, group.as_deref());
        if let (Err(_), Status::Running, Some(group)) = (&dumped, was, &group) {
            // Where criu was ended itself, it could not thaw what it froze.
            if self.status(&state)? == Status::Paused {
                group.thaw()?;
            }
        }
        dumped?;
        if options.leave_running || options.pre_dump {
            return Ok(Vec::new());
        }
        self.delete_locked(&lock, true)
    }

    fn dump(&self, options: &Options, state: &State, group: Option<&Cgroup>) -> Result<()> {
        let config = Config::of(state.config.get().as_bytes())?;
        let id = self.directory.id();
        let Some(init) = self.directory.init()? else { return Err(self.not_running(Status::Stopped)) };
        if !external::root_is(Path::new(&state.rootfs), init.pid)? {
            let why = "its root is copy-on-write, in layers that end with it";
            return Err(not_possible(id, "checkpoint", why, "give it a directory of its own as root (overlay=False)"));
        }
        if options.pre_dump || options.lazy_pages {
            let has = Criu::features()?;
            for (wanted, has, what) in
                [(options.pre_dump, has.mem_track, "memory tracking"), (options.lazy_pages, has.lazy_pages, "lazy pages")]
            {
                if wanted && !has {
                    let hint = "see `criu check --feature mem_dirty_track` and `criu check --feature uffd-noncoop`";
                    return Err(not_possible(id, "checkpoint", &format!("criu has no {what} on this kernel"), hint));
                }
            }
        }
        let directories = Directories::to_write(options)?;
        let mut message = directories.request(options, &config.spec);
        message.number(option::PID, init.pid);
        message.text(option::ROOT, &state.rootfs);
        message.flag(option::LEAVE_RUNNING, options.leave_running);
        message.flag(option::TCP_SKIP_IN_FLIGHT, options.tcp_skip_in_flight);
        message.flag(option::LINK_REMAP, options.link_remap);
        if let Some(parent) = &options.parent_path {
            message.text(option::PARENT_IMG, &parent.to_string_lossy());
        }
        message.flag(option::TRACK_MEM, options.pre_dump || options.parent_path.is_some());
        if let Some((address, port)) = &options.page_server {
            let mut server = Message::default();
            server.text(1, address);
            server.number(2, i32::from(*port));
            message.message(option::PAGE_SERVER, &server);
        }
        if let Some(freezer) = group.and_then(freezer) {
            message.text(option::FREEZE_CGROUP, &freezer);
        }
        for name in external::namespaces(&config.spec)? {
            message.text(option::EXTERNAL, &name);
        }
        let stdio = external::stdio(init.pid)?;
        for file in stdio.iter().filter_map(|stream| external::file_key(stream)) {
            message.text(option::EXTERNAL, file);
        }
        if !options.pre_dump {
            for (point, key) in external::mounts(&config.spec, init.pid)? {
                message.pair(option::EXT_MNT, &point, &key);
            }
            write_descriptors(&options.image_path.join(DESCRIPTORS), &stdio)?;
        }
        let kind = if options.pre_dump { kind::PRE_DUMP } else { kind::DUMP };
        let mut criu = Criu::start(None, &directories.descriptors())?;
        criu.ask(kind, &message, &directories.log, |notified| tell_ready(options, &notified))?;
        criu.finish();
        Ok(())
    }
}

/// Lazy pages can be fetched: whoever waits for that is told by a NUL byte.
fn tell_ready(options: &Options, notified: &Notified) -> Result<()> {
    match options.status_fd {
        Some(number) if notified.script == "status-ready" => {
            nix::unistd::write(sys::lend(number), b"\0").map(drop).op("write to the status descriptor")
        }
        _ => Ok(()),
    }
}

/// The directory by which everything can be stopped at once; without one CRIU stops each process by itself.
fn freezer(group: &Cgroup) -> Option<String> {
    let paths = group.paths();
    let v1 = paths.iter().find(|(key, _)| key.split(',').any(|name| name == "freezer"));
    // A hybrid host's cgroup2 is not where CRIU looks for the processes.
    let v2 = paths.iter().find(|(key, _)| key == UNIFIED).filter(|_| paths.len() == 1);
    v1.or(v2).map(|(_, path)| path.clone())
}

fn write_descriptors(path: &Path, stdio: &[String]) -> Result<()> {
    let shown = path.to_string_lossy();
    let json = serde_json::to_vec(stdio).map_err(|error| Error::new(Kind::System, format!("write {shown}: {error}")))?;
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(&json)).at("write", &shown)
}
