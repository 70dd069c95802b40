//! One error for the whole core: what was tried, on which path, what the kernel said, what the user can do.
//!
//! The nearest caller knows operation and path and adds them once (`Context`); nobody above adds the same again.

use std::fmt;

use nix::errno::Errno;

pub type Result<T> = std::result::Result<T, Error>;

/// What a caller may want to do about it. Each becomes one Python exception class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A system call failed; `errno` says how.
    System,
    /// The configuration is wrong; `json_path` says where.
    Spec,
    /// This kernel, host or caller cannot do what was asked.
    Host,
    NotFound,
    AlreadyExists,
    InvalidState,
    /// The state of a container on disk is missing, truncated or not what pyrt writes.
    StateUnreadable,
    /// The program to run does not exist inside the container, or cannot be executed.
    Executable,
    /// The calling program wants a wait given up: a signal of its own came.
    Interrupted,
}

impl Kind {
    /// The name under which `pyrt.errors` knows the kind.
    pub fn name(self) -> &'static str {
        match self {
            Kind::System => "system",
            Kind::Spec => "spec",
            Kind::Host => "host",
            Kind::NotFound => "not-found",
            Kind::AlreadyExists => "already-exists",
            Kind::InvalidState => "invalid-state",
            Kind::StateUnreadable => "state-unreadable",
            Kind::Executable => "executable",
            Kind::Interrupted => "interrupted",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Error {
    pub kind: Kind,
    /// What was tried, in words: `mount proc`, `set memory limit`.
    pub operation: String,
    /// What it was tried on: a file, a directory, a mount target.
    pub path: Option<String>,
    pub errno: Option<Errno>,
    /// What the user can do about it.
    pub hint: Option<String>,
    /// Where in config.json, for `Kind::Spec`: `process.args[0]`.
    pub json_path: Option<String>,
}

impl Error {
    pub fn new(kind: Kind, operation: impl Into<String>) -> Self {
        Error { kind, operation: operation.into(), path: None, errno: None, hint: None, json_path: None }
    }

    /// A failed system call.
    pub fn system(operation: impl Into<String>, path: impl Into<Option<String>>, errno: Errno) -> Self {
        let operation = operation.into();
        let hint = hint(&operation, errno).map(str::to_owned);
        Error { kind: Kind::System, path: path.into(), errno: Some(errno), hint, json_path: None, operation }
    }

    /// A wrong value in config.json.
    pub fn spec(json_path: impl Into<String>, reason: impl Into<String>) -> Self {
        Error { json_path: Some(json_path.into()), ..Error::new(Kind::Spec, reason) }
    }

    /// Something this host cannot do.
    pub fn host(operation: impl Into<String>, hint: impl Into<String>) -> Self {
        Error { hint: Some(hint.into()), ..Error::new(Kind::Host, operation) }
    }

    pub fn with_path(mut self, path: impl Into<String>) -> Self {
        self.path = Some(path.into());
        self
    }

    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(json_path) = &self.json_path {
            write!(f, "config.json: {json_path}: ")?;
        }
        f.write_str(&self.operation)?;
        // The words about a program are whole already, as engines match them.
        if self.kind != Kind::Executable {
            if let Some(path) = &self.path {
                write!(f, " {path}")?;
            }
            if let Some(errno) = self.errno {
                write!(f, ": {} ({errno:?})", words(errno))?;
            }
        }
        if let Some(hint) = &self.hint {
            write!(f, "; {hint}")?;
        }
        Ok(())
    }
}

/// errno's own words in lower case: the C library's, which engines match; nix has others for some.
pub fn words(errno: Errno) -> String {
    let text = std::io::Error::from_raw_os_error(errno as i32).to_string();
    // std's own addition.
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// What somebody else wrote, in quotes and on one line.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.escape_debug())
}

/// What errno's own words do not say, keyed by how the operation begins.
fn hint(operation: &str, errno: Errno) -> Option<&'static str> {
    const TABLE: &[(&str, Errno, &str)] = &[
        ("mount", Errno::ENOSPC, "the limit of mounts is reached (/proc/sys/fs/mount-max), not the disk"),
        ("mount overlay", Errno::EINVAL, "overlays nest two deep at most, and upper and work must be one file system"),
        (
            "mount overlay",
            Errno::EACCES,
            "a directory above the root is closed to the users of the user namespace: open it, or use no overlay",
        ),
        (
            "set the scheduler",
            Errno::EPERM,
            "it needs CAP_SYS_NICE; real-time policies also linux.resources.cpu.realtimeRuntime where cgroup v1 shares that out",
        ),
        ("set the io priority", Errno::EPERM, "IOPRIO_CLASS_RT needs CAP_SYS_NICE or CAP_SYS_ADMIN"),
        ("set the memory policy", Errno::EINVAL, "no node of it is online and allowed by the cpuset, or the flags exclude each other"),
        (
            "make a session keyring",
            Errno::EDQUOT,
            "the user's limit of keys is reached (/proc/sys/kernel/keys/maxkeys); or use --no-new-keyring",
        ),
        ("map the ids of", Errno::EINVAL, "a file system there does not support idmapped mounts (mount_setattr(2))"),
        ("map the ids of", Errno::EPERM, "it is mapped already, or the caller lacks CAP_SYS_ADMIN over its file system"),
        ("copy up", Errno::ENOSPC, "the tmpfs is smaller than what is in the directory: see its size= and nr_inodes="),
        ("set the AppArmor profile", Errno::ENOENT, "no such profile is loaded: see apparmor_parser(8)"),
        ("set the CPU affinity", Errno::EINVAL, "no CPU of it is there and allowed by the cpuset"),
        ("load the seccomp filter", Errno::EACCES, "without process.noNewPrivileges it needs CAP_SYS_ADMIN, which the caller lacks"),
        ("load the seccomp filter", Errno::EBUSY, "a seccomp listener is set for pyrt itself already, and the kernel takes one"),
        ("load the seccomp filter", Errno::EINVAL, "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV needs Linux 5.19"),
        ("hand the seccomp listener over", Errno::ECONNREFUSED, "nobody listens at linux.seccomp.listenerPath"),
        ("hand the seccomp listener over", Errno::ENOENT, "nobody listens at linux.seccomp.listenerPath"),
        ("set resource limit", Errno::EPERM, "raising a hard limit needs CAP_SYS_RESOURCE, which the caller lacks"),
        ("create namespaces", Errno::ENOSPC, "a limit below /proc/sys/user/max_*_namespaces is reached, not the disk"),
        ("create namespaces", Errno::EPERM, "run as root, or in a user namespace of its own (`pyrt spec --rootless` asks for one)"),
        ("create namespaces", Errno::EAGAIN, "the limit of processes is reached (RLIMIT_NPROC or a pids cgroup)"),
    ];
    TABLE.iter().find(|(start, number, _)| operation.starts_with(start) && *number == errno).map(|row| row.2)
}

/// Turns a bare errno into an `Error` where the call is made.
pub trait Context<T> {
    fn op(self, operation: impl Into<String>) -> Result<T>;
    fn at(self, operation: impl Into<String>, path: impl AsRef<str>) -> Result<T>;
}

impl<T> Context<T> for std::result::Result<T, Errno> {
    fn op(self, operation: impl Into<String>) -> Result<T> {
        self.map_err(|errno| Error::system(operation, None, errno))
    }

    fn at(self, operation: impl Into<String>, path: impl AsRef<str>) -> Result<T> {
        self.map_err(|errno| Error::system(operation, path.as_ref().to_owned(), errno))
    }
}

impl<T> Context<T> for std::io::Result<T> {
    fn op(self, operation: impl Into<String>) -> Result<T> {
        self.map_err(from_io).op(operation)
    }

    fn at(self, operation: impl Into<String>, path: impl AsRef<str>) -> Result<T> {
        self.map_err(from_io).at(operation, path)
    }
}

/// std's errors always come from a call here, so errno is there; EIO stands in for the few that std makes up itself.
fn from_io(error: std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
