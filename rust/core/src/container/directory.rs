//! `Directory`: what is on disk of one container; atomic, read as hostile input, written under its `lock`.
//!
//! ```text
//! ROOT/ID/                0700; its existence reserves the id, flock(2) on it is the container's lock
//!     cgroup              which cgroup directories are ours, by hierarchy; written before anything is made
//!     state.json          `State`; written then too, and never again
//!     start.sock          where init waits for `start`; gone once it was started
//!     made                without a cgroup: its process, before that does anything, for `delete --force` if its creator is killed
//!     init                its process, once it is made
//!     exit                its exit status, where whoever waited recorded it
//! ```
//!
//! The last three are symbolic links to what they say: made by one call, whole or not at all. Nothing is synced: a power cut ends the
//! containers too, and the boot id tells. Readers take no lock, so that `state` answers while a hook runs.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::fstat;
use nix::unistd::symlinkat;

use super::state::{Init, State};
use super::Lock;
use crate::error::{quoted, Context, Error, Kind, Result};
use crate::host::in_initial_user_namespace;
use crate::oci::SIZE_LIMIT;
use crate::systemd::Scope;

/// Bytes in an id: it becomes a file name and part of a systemd unit's name, which may have 255.
const ID_LIMIT: usize = 200;
/// Bytes in state.json, which carries config.json, its annotations once more, and little else.
const STATE_SIZE_LIMIT: u64 = 2 * SIZE_LIMIT as u64;
const DAMAGED: &str = "delete --force removes it";
const BY_HAND: &str = "kill what is left in its cgroups, then remove them and this directory by hand";
const INIT: &str = "init";
const EXIT: &str = "exit";
const MADE: &str = "made";

/// Where containers are kept if nobody says otherwise: /run/pyrt, or without root $XDG_RUNTIME_DIR/pyrt.
///
/// `rootless` overrules what is found. Errors: `Spec` where XDG_RUNTIME_DIR is needed and not set.
pub fn default_root(rootless: Option<bool>) -> Result<PathBuf> {
    if !rootless.unwrap_or_else(|| !nix::unistd::geteuid().is_root() || is_user_in_namespace_of_his_own()) {
        return Ok(PathBuf::from("/run/pyrt"));
    }
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(directory) if !directory.is_empty() => Ok(Path::new(&directory).join("pyrt")),
        _ => Err(Error::new(Kind::Spec, "no directory for the state of containers").with_hint("set XDG_RUNTIME_DIR, or give --root")),
    }
}

/// Whether a root is an ordinary user in a user namespace, as podman without root starts its runtime: /run is not his. Told as runc tells
/// it: $XDG_RUNTIME_DIR is set and $USER is not root. A root of a container whose root has a user namespace has no $XDG_RUNTIME_DIR.
fn is_user_in_namespace_of_his_own() -> bool {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    !in_initial_user_namespace() && set("XDG_RUNTIME_DIR").is_some() && set("USER").is_none_or(|user| user != "root")
}

/// Ids of all containers below `root`, sorted; none where it does not exist.
pub fn ids(root: &Path) -> Result<Vec<String>> {
    let operation = "list containers in";
    let entries = match fs::read_dir(root) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.at(operation, root.to_string_lossy())?,
    };
    let mut ids = Vec::new();
    for entry in entries {
        let name = entry.at(operation, root.to_string_lossy())?.file_name();
        ids.extend(name.to_str().filter(|name| is_id(name)).map(str::to_owned));
    }
    ids.sort();
    Ok(ids)
}

fn is_id(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_+.-".contains(&byte);
    !name.is_empty() && name.len() <= ID_LIMIT && !matches!(name, "." | "..") && name.bytes().all(plain)
}

/// What a container's file of cgroups says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Cgroups {
    /// Directory by hierarchy.
    pub paths: Vec<(String, String)>,
    /// What systemd calls them, where it made them.
    pub scope: Option<Scope>,
}

#[derive(Debug, Clone)]
pub struct Directory {
    path: PathBuf,
    id: String,
}

impl Directory {
    /// Errors: `Spec` unless `id` is 1 to 200 of `[A-Za-z0-9_+.-]`, and neither "." nor "..".
    pub fn new(root: &Path, id: &str) -> Result<Self> {
        if !is_id(id) {
            let error = Error::new(Kind::Spec, format!("invalid container id {}", quoted(id)));
            return Err(error.with_hint(format!("an id is 1 to {ID_LIMIT} letters, digits and _ + . -, but not . or ..")));
        }
        Ok(Directory { path: root.join(id), id: id.to_owned() })
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn start_socket(&self) -> PathBuf {
        self.path.join("start.sock")
    }

    /// What the container sees as /run/notify, where it was created for a service manager.
    pub fn notify(&self) -> PathBuf {
        self.path.join(NOTIFY)
    }

    /// Reserve the id, and take its lock. Errors: `AlreadyExists`, and `NotFound` where it was deleted in the same moment.
    pub fn create(&self) -> Result<Lock> {
        let operation = "create state directory";
        let make = || DirBuilder::new().mode(0o700).create(&self.path);
        let made = match make() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let root = self.path.parent().unwrap_or(Path::new("/"));
                DirBuilder::new().mode(0o700).recursive(true).create(root).at(operation, root.to_string_lossy())?;
                make()
            }
            made => made,
        };
        match made {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(self.in_use()),
            made => made.at(operation, self.path.to_string_lossy())?,
        }
        // Not interrupted: the empty directory would stay.
        let lock = self.lock_asking(|| Ok(()))?;
        // Between the two calls `delete --force` and another `create` may have come: whoever locks the empty directory owns it.
        match fs::read_dir(&self.path).at(operation, self.path.to_string_lossy())?.next() {
            Some(_) => Err(self.in_use()),
            None => Ok(lock),
        }
    }

    pub fn exists(&self) -> Result<bool> {
        match fs::metadata(&self.path) {
            Err(error) if is_missing(&error) => Ok(false),
            found => found.at("open state of container", self.path.to_string_lossy()).map(|_| true),
        }
    }

    /// Device and inode of the directory: a container of the same id that is created later has another.
    pub fn identity(&self) -> Result<(u64, u64)> {
        self.metadata().map(|found| (found.dev(), found.ino()))
    }

    /// User id of whoever created the container.
    pub fn owner(&self) -> Result<u32> {
        self.metadata().map(|found| found.uid())
    }

    /// Errors: `NotFound` without the container, `StateUnreadable` where state.json is not what pyrt wrote.
    pub fn read(&self) -> Result<State> {
        let path = self.path.join(STATE);
        let bytes = match read_file(&path, STATE_SIZE_LIMIT) {
            Err(ReadError::System(Errno::ENOENT)) if self.exists()? => {
                let reason = "nothing was written yet: it is being created, or its creator was killed";
                return Err(self.unreadable(&path, reason, DAMAGED));
            }
            Err(ReadError::System(Errno::ENOENT | Errno::ENOTDIR)) => return Err(self.missing()),
            read => read.map_err(|error| self.cannot_read(&path, error, DAMAGED))?,
        };
        State::from_json(&bytes, &self.id).map_err(|reason| self.unreadable(&path, &reason, DAMAGED))
    }

    /// Its process, alive or not; `None` while it is not made.
    pub fn init(&self) -> Result<Option<Init>> {
        match self.mark(INIT) {
            None => Ok(None),
            Some(text) => Init::parse(&text)
                .map(Some)
                .ok_or_else(|| self.unreadable(&self.path.join(INIT), "it is none of a container's processes", DAMAGED)),
        }
    }

    /// The process that is, or was, being made: what `delete --force` ends where `init` does not say.
    pub fn made(&self) -> Option<Init> {
        Init::parse(&self.mark(MADE)?)
    }

    /// Under the lock, once, before the process does anything.
    pub fn set_made(&self, held: BorrowedFd<'_>, init: Init) -> Result<()> {
        symlinkat(init.to_string().as_str(), held, MADE).at("write", self.path.join(MADE).to_string_lossy())
    }

    /// When a mark was made, by the clock of the day; of a process that is named in it, for a container whose state cannot be read.
    pub fn marked_since(&self, time: SystemTime) -> bool {
        let changed = |name: &str| {
            let found = fs::symlink_metadata(self.path.join(name)).ok()?;
            SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(found.ctime().unsigned_abs()))
        };
        [INIT, MADE].iter().filter_map(|name| changed(name)).any(|at| at >= time)
    }

    /// Under the lock, once: from now on the container is made.
    pub fn set_init(&self, held: BorrowedFd<'_>, init: Init) -> Result<()> {
        symlinkat(init.to_string().as_str(), held, INIT).at("write", self.path.join(INIT).to_string_lossy())
    }

    /// The first content of a new directory, the names of the cgroups first. Nothing exists yet, so a part says as much as nothing.
    pub fn begin(&self, cgroup_paths: &[(String, String)], scope: Option<&Scope>, state: &State) -> Result<()> {
        let mut cgroups: BTreeMap<_, _> = cgroup_paths.iter().map(|(key, path)| (key.as_str(), path.clone())).collect();
        cgroups.extend(scope.map(|scope| (SYSTEMD, scope.to_string())));
        let cgroups = serde_json::to_vec(&cgroups).unwrap_or_else(|_| unreachable!("strings are always JSON"));
        for (name, content) in [("cgroup", cgroups), (STATE, state.to_json())] {
            let path = self.path.join(name);
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
            file.and_then(|mut file| file.write_all(&content)).at("write", path.to_string_lossy())?;
        }
        Ok(())
    }

    /// Which cgroups are the container's; empty where it has none, or none yet.
    pub fn read_cgroups(&self) -> Result<Cgroups> {
        let path = self.path.join("cgroup");
        let bytes = match read_file(&path, SIZE_LIMIT as u64) {
            Err(ReadError::System(Errno::ENOENT)) => return Ok(Default::default()),
            read => read.map_err(|error| self.cannot_read(&path, error, BY_HAND))?,
        };
        let mut paths: BTreeMap<String, String> = match serde_json::from_slice(&bytes) {
            // Its creator was killed before it had written the whole, and so before it had made anything: state.json comes next.
            Err(error) if error.is_eof() && !self.path.join(STATE).exists() => return Ok(Cgroups::default()),
            read => read.map_err(|error| self.unreadable(&path, &format!("it does not name cgroup directories: {error}"), BY_HAND))?,
        };
        let scope = match paths.remove(SYSTEMD) {
            None => None,
            Some(text) => Some(Scope::parse(&text).ok_or_else(|| self.unreadable(&path, "it does not name a scope of systemd", BY_HAND))?),
        };
        // That they lie in a cgroup hierarchy is checked when they are opened.
        let plain = |path: &String| path.starts_with('/') && !path.contains('\0') && path.split('/').all(|component| component != "..");
        if !paths.values().all(plain) {
            return Err(self.unreadable(&path, "it does not name cgroup directories", BY_HAND));
        }
        Ok(Cgroups { paths: paths.into_iter().collect(), scope })
    }

    /// For `wait` in other processes. `held`: the directory's descriptor, since the id may be another container's by now.
    pub fn record_exit(&self, held: BorrowedFd<'_>, status: i32) -> Result<()> {
        // A symbolic link is made whole or not at all, by one call.
        match symlinkat(status.to_string().as_str(), held, EXIT) {
            // Deleted meanwhile; or somebody was quicker, and knew the same.
            Ok(()) | Err(Errno::ENOENT | Errno::EEXIST) => Ok(()),
            Err(errno) => Err(errno).at("record the exit status in", self.path.to_string_lossy()),
        }
    }

    /// What `record_exit` recorded.
    pub fn recorded_exit(&self) -> Option<i32> {
        self.mark(EXIT)?.parse().ok()
    }

    fn mark(&self, name: &str) -> Option<String> {
        fs::read_link(self.path.join(name)).ok()?.into_os_string().into_string().ok()
    }

    /// Remove all of it, the names of the cgroups last: whoever is killed here can be followed by another `delete`.
    pub fn remove(&self) -> Result<()> {
        let operation = "remove state of container";
        let entries = match fs::read_dir(&self.path) {
            Err(error) if is_missing(&error) => return Ok(()),
            entries => entries.at(operation, self.path.to_string_lossy())?,
        };
        let mut last = Vec::new();
        for entry in entries {
            let name = entry.at(operation, self.path.to_string_lossy())?.file_name();
            match LAST.iter().position(|kept| name == *kept) {
                Some(position) => last.push(position),
                None => self.unlink(&name)?,
            }
        }
        last.sort_unstable();
        for position in last {
            self.unlink(OsStr::new(LAST[position]))?;
        }
        match fs::remove_dir(&self.path) {
            Err(error) if is_missing(&error) => Ok(()),
            removed => removed.at(operation, self.path.to_string_lossy()),
        }
    }

    /// Remove the start socket: init waits no longer.
    pub fn started(&self) -> Result<()> {
        self.unlink(OsStr::new("start.sock"))
    }

    fn unlink(&self, name: &OsStr) -> Result<()> {
        match fs::remove_file(self.path.join(name)) {
            Err(error) if is_missing(&error) => Ok(()),
            Err(error) if error.kind() == ErrorKind::IsADirectory && name == NOTIFY => {
                fs::remove_dir_all(self.path.join(name)).at("remove state of container", self.path.join(name).to_string_lossy())
            }
            removed => removed.at("remove state of container", self.path.join(name).to_string_lossy()),
        }
    }

    pub(super) fn open(&self) -> Result<OwnedFd> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match nix::fcntl::open(&self.path, flags, nix::sys::stat::Mode::empty()) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => Err(self.missing()),
            opened => opened.at("read state of container", self.path.to_string_lossy()),
        }
    }

    pub(super) fn metadata(&self) -> Result<fs::Metadata> {
        match fs::metadata(&self.path) {
            Err(error) if is_missing(&error) => Err(self.missing()),
            found => found.at("read state of container", self.path.to_string_lossy()),
        }
    }

    /// Whether the descriptor still is the directory at this path.
    pub(super) fn is(&self, descriptor: BorrowedFd<'_>) -> Result<bool> {
        let held = fstat(descriptor).at("look at", self.path.to_string_lossy())?;
        match fs::metadata(&self.path) {
            Err(error) if is_missing(&error) => Ok(false),
            found => found.at("look at", self.path.to_string_lossy()).map(|found| (found.dev(), found.ino()) == (held.st_dev, held.st_ino)),
        }
    }

    fn in_use(&self) -> Error {
        Error::new(Kind::AlreadyExists, format!("container with given ID already exists: {}", self.id))
    }

    pub(super) fn missing(&self) -> Error {
        // runc's words, which engines look for.
        Error::new(Kind::NotFound, format!("container does not exist: {}", self.id))
    }

    fn cannot_read(&self, path: &Path, error: ReadError, hint: &str) -> Error {
        match error {
            ReadError::System(errno) => Error::system("read", path.to_string_lossy().into_owned(), errno),
            ReadError::Refused(reason) => self.unreadable(path, reason, hint),
        }
    }

    fn unreadable(&self, path: &Path, reason: &str, hint: &str) -> Error {
        let text = format!("state of container {} is unreadable: {}: {reason}", self.id, path.display());
        Error::new(Kind::StateUnreadable, text).with_hint(hint)
    }
}

const NOTIFY: &str = "notify";
const STATE: &str = "state.json";
/// In the file of cgroups, beside the hierarchies, the unit that systemd made.
const SYSTEMD: &str = "systemd";
/// What a removal leaves for the end.
const LAST: [&str; 4] = [MADE, INIT, STATE, "cgroup"];

fn is_missing(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

enum ReadError {
    System(Errno),
    Refused(&'static str),
}

impl From<std::io::Error> for ReadError {
    fn from(error: std::io::Error) -> Self {
        ReadError::System(error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
    }
}

/// A regular file, whole: a FIFO would wait for ever.
fn read_file(path: &Path, limit: u64) -> std::result::Result<Vec<u8>, ReadError> {
    let file = OpenOptions::new().read(true).custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW).bits()).open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(ReadError::System(Errno::EISDIR));
    }
    if !metadata.is_file() {
        return Err(ReadError::Refused("it is no regular file"));
    }
    let mut content = Vec::with_capacity(metadata.len().min(limit) as usize);
    file.take(limit + 1).read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        return Err(ReadError::Refused("it is too large"));
    }
    Ok(content)
}
