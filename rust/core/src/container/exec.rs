//! One more process in a container that runs: what there is to join, and who may not.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use nix::errno::Errno;

use super::{Container, Status};
use crate::assistant::KINDS;
use crate::cgroup::{Cgroup, UNIFIED};
use crate::error::{Context, Error, Kind, Result};
use crate::host::{setgroups_denied, HostFacts};
use crate::launch::Entered;
use crate::oci::Config;
use crate::passwd;
use crate::plan::{Joined, LaunchPlan, Options};
use crate::process;

/// What the caller decides beside the process itself.
#[derive(Debug, Default)]
pub struct ExecOptions {
    /// Also into a paused container: the process stands still until it is resumed.
    pub ignore_paused: bool,
    pub preserve_fds: usize,
    /// Cgroups below the container's own: (v1 controller, path), or ("", path) for every hierarchy.
    pub cgroups: Vec<(String, String)>,
}

impl Container {
    /// Plan `process` of `config`, bytes of a config.json, as one more process of this container. Launch it with what comes along.
    ///
    /// Errors: `InvalidState` unless it is created or running (or paused, with `ignore_paused`), `NotFound` for a missing cgroup.
    pub fn plan_exec(&self, config: &[u8], wanted: ExecOptions) -> Result<(LaunchPlan, Entered)> {
        let state = self.directory.read()?;
        let (status, init) = self.found(&state)?;
        let id = self.directory.id();
        match status {
            Status::Paused if !wanted.ignore_paused => {
                let error = Error::new(Kind::InvalidState, format!("cannot exec in container {id}: it is paused, not created or running"));
                return Err(error.with_hint("resume it first, or use --ignore-paused"));
            }
            Status::Creating => {
                return Err(Error::new(
                    Kind::InvalidState,
                    format!("cannot exec in container {id}: it is creating, not created or running"),
                ))
            }
            _ => {}
        }
        let alive = init.filter(|_| status != Status::Stopped);
        let opened = alive.ok_or(Errno::ESRCH).and_then(|init| Ok((init.pid, process::open(init.pid, init.start_time)?)));
        let (pid, pidfd) = match opened {
            // runc's words, which engines look for.
            Err(Errno::ESRCH) => {
                let text = format!("cannot exec in container {id}: container not running: no such process");
                return Err(Error { errno: Some(Errno::ESRCH), ..Error::new(Kind::InvalidState, text) });
            }
            opened => opened.op("open the init's pidfd")?,
        };
        let cgroup = match self.cgroup()? {
            Some(group) if !wanted.cgroups.is_empty() => Some(Arc::new(below(&group, &wanted.cgroups)?)),
            Some(group) => match with_processes_below(&group, pid)? {
                Some(below) => Some(Arc::new(below)),
                None => Some(group),
            },
            None => None,
        };
        let joined = Joined {
            namespaces: differing(pid)?,
            tasks: cgroup.as_ref().map_or(0, |group| group.paths().iter().filter(|(key, _)| key != UNIFIED).count()),
            unified: cgroup.as_ref().is_some_and(|group| group.unified().is_some()),
            setgroups_denied: setgroups_denied(&pid.to_string())?,
        };
        let config = Config::of(config)?;
        let mut options = Options {
            bundle: PathBuf::from(&state.bundle),
            id: id.to_owned(),
            new_keyring: state.new_keyring,
            preserve_fds: wanted.preserve_fds,
            ..Options::default()
        };
        options.passwd = passwd::of_process(&config, &options, pid);
        let plan = LaunchPlan::entering(config, options, joined, HostFacts::get()?)?;
        Ok((plan, Entered { process: pidfd, cgroup }))
    }
}

/// CLONE_NEW* of the namespaces of a process that are not the caller's: the user namespace one is in already answers EINVAL.
fn differing(pid: i32) -> Result<u64> {
    let mut flags = 0;
    for (_, name, flag) in KINDS {
        let (own, other) = (format!("/proc/self/ns/{name}"), format!("/proc/{pid}/ns/{name}"));
        let own = match std::fs::metadata(&own) {
            // A kernel without this kind.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            found => found.at("look at namespace", &own)?,
        };
        let other = std::fs::metadata(&other).at("look at namespace", &other)?;
        if (own.dev(), own.ino()) != (other.dev(), other.ino()) {
            flags |= flag;
        }
    }
    Ok(flags)
}

/// A cgroup of cgroup2 that gives controllers to others below it may hold no process (cgroups(7), "no internal processes"): the container
/// has moved its own below, as systemd and docker in a container do. Then init's own is joined, as in runc. None: the container's own.
///
/// What init says of itself is believed no further than that it lies below the container's own.
fn with_processes_below(group: &Cgroup, pid: i32) -> Result<Option<Cgroup>> {
    let mut paths = group.paths();
    let Some((_, own)) = paths.iter_mut().find(|(key, _)| key == UNIFIED) else { return Ok(None) };
    let control = format!("{own}/cgroup.subtree_control");
    if std::fs::read_to_string(&control).at("read", &control)?.trim().is_empty() {
        return Ok(None);
    }
    let path = format!("/proc/{pid}/cgroup");
    let lines = std::fs::read_to_string(&path).at("read", &path)?;
    let hierarchies = crate::cgroup::Hierarchies::discover()?;
    let (Some(hierarchy), Some(shown)) = (hierarchies.unified(), lines.lines().find_map(|line| line.strip_prefix("0::"))) else {
        return Ok(None);
    };
    let inits = format!("{}{shown}", hierarchy.mount_point);
    if !inits.starts_with(&format!("{own}/")) {
        return Ok(None);
    }
    *own = inits;
    // `..` in it, or a directory that has gone, is the end of it here.
    Cgroup::open(&paths).map(Some)
}

/// The container's cgroups, with those that are asked for below them in their places.
fn below(group: &Cgroup, wanted: &[(String, String)]) -> Result<Cgroup> {
    let mut paths = group.paths();
    for (controller, path) in wanted {
        let mut found = false;
        for (key, directory) in &mut paths {
            if controller.is_empty() || key.split(',').any(|name| name == controller) {
                found = true;
                *directory = format!("{directory}/{}", path.trim_matches('/'));
                if path.split('/').any(|part| part == "..") {
                    return Err(Error::spec("--cgroup", format!("{path:?} leaves the container's cgroup")));
                }
                if !std::path::Path::new(directory.as_str()).is_dir() {
                    let error = Error { errno: Some(Errno::ENOENT), ..Error::new(Kind::NotFound, "join cgroup") };
                    return Err(error.with_path(directory.clone()).with_hint("make it below the container's own first"));
                }
            }
        }
        if !found {
            return Err(Error::spec("--cgroup", format!("the container is in no hierarchy of {controller}")));
        }
    }
    Cgroup::open(&paths)
}
