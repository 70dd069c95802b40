//! One cgroup directory, held open: its files read and written, its descendants walked, with errors that name file and value.
//!
//! Everything goes through the descriptor (`openat`), so a directory that is replaced under our feet is never mistaken for ours.
//! Neighbours: `v1`, `v2` (what the files mean), `plan` (makes directories), `group` (owns them).

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;

use nix::errno::Errno;
use nix::fcntl::{openat, AtFlags, OFlag, AT_FDCWD};
use nix::sys::stat::{fstat, fstatat, mkdirat, Mode};
use nix::sys::statfs::{fstatfs, CGROUP2_SUPER_MAGIC, CGROUP_SUPER_MAGIC};
use nix::sys::uio::pread;
use nix::unistd::{unlinkat, UnlinkatFlags};

use crate::error::{Context, Error, Result};

const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// A page: most files have less.
const READ_SIZE: usize = 4096;

/// How often a walk starts again because somebody removes cgroups in the very tree that it walks.
const WALK_ATTEMPTS: usize = 16;

/// A directory's `st_nlink` without directories in it: its own `.` and its name in the parent (kernfs counts them so).
const LINKS_OF_A_LEAF: u64 = 2;

/// cgroup v1 or cgroup v2, as the file system says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    V1,
    V2,
}

#[derive(Debug)]
pub(super) struct Directory {
    fd: OwnedFd,
    path: String,
    /// Files that were read stay open here, for who reads them again and again.
    open_files: Option<Mutex<HashMap<String, OwnedFd>>>,
}

impl Directory {
    fn new(fd: OwnedFd, path: String) -> Directory {
        Directory { fd, path, open_files: None }
    }

    /// The same directory, whose files stay open once they were read.
    pub fn keeping_files_open(&self) -> Result<Directory> {
        let fd = self.fd.try_clone().at("open cgroup", &self.path)?;
        Ok(Directory { open_files: Some(Mutex::default()), ..Directory::new(fd, self.path.clone()) })
    }

    /// Open the absolute `path`. Errors: what openat(2) says.
    pub fn open(path: &str) -> Result<Directory> {
        let fd = openat(AT_FDCWD, path, DIRECTORY, Mode::empty()).at("open cgroup", path)?;
        Ok(Directory::new(fd, path.to_owned()))
    }

    /// Open the directory `relative` below this one; the caller has refused `..` in it.
    pub fn open_below(&self, relative: &str) -> nix::Result<Directory> {
        let fd = openat(&self.fd, relative, DIRECTORY, Mode::empty())?;
        Ok(Directory::new(fd, self.path_of(relative)))
    }

    pub fn make(&self, relative: &str) -> nix::Result<()> {
        mkdirat(&self.fd, relative, Mode::from_bits_truncate(0o755))
    }

    pub fn rmdir_below(&self, relative: &str) -> nix::Result<()> {
        unlinkat(&self.fd, relative, UnlinkatFlags::RemoveDir)
    }

    /// Remove this directory by its path, if the path still leads here.
    pub fn rmdir(&self) -> nix::Result<()> {
        let (ours, named) = (fstat(&self.fd)?, fstatat(AT_FDCWD, self.path.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW)?);
        if (ours.st_dev, ours.st_ino) != (named.st_dev, named.st_ino) {
            return Err(Errno::ENOENT);
        }
        unlinkat(AT_FDCWD, self.path.as_str(), UnlinkatFlags::RemoveDir)
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn path_of(&self, file: &str) -> String {
        format!("{}/{file}", self.path)
    }

    /// Which cgroup file system this lies in; None where it is none (statfs(2)).
    pub fn version(&self) -> Result<Option<Version>> {
        let kind = fstatfs(&self.fd).at("statfs", &self.path)?.filesystem_type();
        Ok(match kind {
            CGROUP2_SUPER_MAGIC => Some(Version::V2),
            CGROUP_SUPER_MAGIC => Some(Version::V1),
            _ => None,
        })
    }

    /// The device number of the file system: one for each hierarchy.
    pub fn device(&self) -> Result<u64> {
        Ok(fstat(&self.fd).at("stat cgroup", &self.path)?.st_dev)
    }

    /// Whether this is the root of its mount: above it lies another file system.
    pub fn is_mount_root(&self) -> Result<bool> {
        let above = fstatat(&self.fd, "..", AtFlags::AT_SYMLINK_NOFOLLOW).at("stat", self.path_of(".."))?;
        Ok(above.st_dev != self.device()?)
    }

    pub fn has(&self, file: &str) -> bool {
        fstatat(&self.fd, file, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok()
    }

    /// The whole file, or None where it does not exist (a controller or kernel without it, or a cgroup that is gone).
    pub fn read_if_there(&self, file: &str) -> Result<Option<String>> {
        match self.try_read(file) {
            Ok(text) => Ok(Some(text)),
            Err(Errno::ENOENT | Errno::ENODEV) => Ok(None),
            Err(errno) => Err(Error::system("read", self.path_of(file), errno)),
        }
    }

    pub fn read(&self, file: &str) -> Result<String> {
        self.try_read(file).at("read", self.path_of(file))
    }

    pub fn try_read(&self, file: &str) -> nix::Result<String> {
        // Never waited for: its holder may be a thread that a forked child does not have.
        let Some(mut open_files) = self.open_files.as_ref().and_then(|open_files| open_files.try_lock().ok()) else {
            return read_whole(self.open_file(file, OFlag::O_RDONLY)?.as_fd());
        };
        if let Some(fd) = open_files.get(file) {
            return read_whole(fd.as_fd());
        }
        // One that is not there is looked for again: a controller may come.
        let fd = self.open_file(file, OFlag::O_RDONLY)?;
        read_whole(open_files.entry(file.to_owned()).or_insert(fd).as_fd())
    }

    pub fn open_file(&self, file: &str, flags: OFlag) -> nix::Result<OwnedFd> {
        openat(&self.fd, file, flags | OFlag::O_CLOEXEC, Mode::empty())
    }

    /// Write `value` by one write(2), as cgroup files want it. The error names the file, the value and what the refusal means.
    pub fn write(&self, file: &str, value: &str) -> Result<()> {
        self.try_write(file, value).map_err(|errno| self.refused(file, value, errno))
    }

    pub fn try_write(&self, file: &str, value: &str) -> nix::Result<()> {
        let fd = self.open_file(file, OFlag::O_WRONLY)?;
        nix::unistd::write(&fd, value.as_bytes()).map(drop)
    }

    /// The error for a value that the kernel did not take.
    pub fn refused(&self, file: &str, value: &str, errno: Errno) -> Error {
        let error = Error::system(format!("write {value:?} to"), self.path_of(file), errno);
        match refusal(file, errno) {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }

    pub fn has_children(&self) -> nix::Result<bool> {
        Ok(fstat(&self.fd)?.st_nlink > LINKS_OF_A_LEAF)
    }

    fn children(&self) -> nix::Result<Vec<OsString>> {
        if !self.has_children()? {
            return Ok(Vec::new());
        }
        // nix's own directory stream is another feature of the crate; /proc is needed to find cgroups anyway.
        let error = |e: std::io::Error| e.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(format!("/proc/self/fd/{}", self.fd.as_raw_fd())).map_err(error)? {
            let entry = entry.map_err(error)?;
            if entry.file_type().map_err(error)?.is_dir() {
                names.push(entry.file_name());
            }
        }
        Ok(names)
    }

    /// Visit this cgroup and all below it, each before its children.
    pub fn walk(&self, mut enter: impl FnMut(&Directory) -> nix::Result<()>) -> Result<()> {
        self.retried("walk cgroups", |top| top.traverse(&mut enter, &mut |_, _| Ok(())))
    }

    /// Remove all cgroups below this one, children first. Missing ones are fine.
    pub fn remove_children(&self) -> Result<()> {
        self.retried("remove cgroups", |top| {
            top.traverse(&mut |_| Ok(()), &mut |parent, name| match unlinkat(parent, name.as_os_str(), UnlinkatFlags::RemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => Ok(()),
                Err(errno) => Err(errno),
            })
        })
    }

    fn retried(&self, operation: &str, mut step: impl FnMut(&Directory) -> nix::Result<()>) -> Result<()> {
        let mut outcome = Ok(());
        for _ in 0..WALK_ATTEMPTS {
            outcome = step(self);
            match outcome {
                // This cgroup itself was removed: then there is nothing in it.
                Err(Errno::ENOENT | Errno::ENODEV) if !self.has("cgroup.procs") => return Ok(()),
                Err(Errno::ENOENT | Errno::ENODEV) => continue,
                _ => break,
            }
        }
        outcome.at(operation, format!("below {}", self.path))
    }

    /// Depth first with two descriptors, however deep a hostile container nests; `..` stays inside since cgroups are never moved
    /// to another parent.
    fn traverse(
        &self,
        enter: &mut dyn FnMut(&Directory) -> nix::Result<()>,
        leave: &mut dyn FnMut(BorrowedFd<'_>, &OsString) -> nix::Result<()>,
    ) -> nix::Result<()> {
        enter(self)?;
        let mut pending = vec![self.children()?];
        let mut trail: Vec<OsString> = Vec::new();
        let mut current = Directory::new(openat(&self.fd, ".", DIRECTORY, Mode::empty())?, self.path.clone());
        while let Some(siblings) = pending.last_mut() {
            if let Some(name) = siblings.pop() {
                let fd = match openat(&current.fd, name.as_os_str(), DIRECTORY, Mode::empty()) {
                    Err(Errno::ENOENT) => continue,
                    opened => opened?,
                };
                current = Directory::new(fd, current.path_of(&name.to_string_lossy()));
                enter(&current)?;
                pending.push(current.children()?);
                trail.push(name);
            } else {
                pending.pop();
                let Some(name) = trail.pop() else { break };
                let fd = openat(&current.fd, "..", DIRECTORY, Mode::empty())?;
                leave(fd.as_fd(), &name)?;
                let path = current.path.rsplit_once('/').map_or_else(String::new, |(parent, _)| parent.to_owned());
                current = Directory::new(fd, path);
            }
        }
        Ok(())
    }
}

/// From the start, wherever an earlier read ended: the kernel makes the text anew.
///
/// A read of less than half a page was the last: seq_file(9) fills a page with as many lines as have room in it, and none is that long.
fn read_whole(file: BorrowedFd<'_>) -> nix::Result<String> {
    let mut bytes = vec![0; READ_SIZE];
    let mut length = 0;
    // Not by std, which asks for the size first: the kernel does not know it before it makes the text.
    loop {
        let count = pread(file, &mut bytes[length..], length as i64)?;
        length += count;
        if count == 0 || length < READ_SIZE / 2 {
            bytes.truncate(length);
            return String::from_utf8(bytes).map_err(|_| Errno::EILSEQ);
        }
        if length == bytes.len() {
            bytes.resize(length * 2, 0);
        }
    }
}

/// What a refusal of a cgroup file means, where errno's own words mislead.
fn refusal(file: &str, errno: Errno) -> Option<&'static str> {
    const TABLE: &[(&str, Errno, &str)] = &[
        ("memory.limit_in_bytes", Errno::EBUSY, "more than that is in use and cannot be reclaimed"),
        ("memory.memsw.limit_in_bytes", Errno::EBUSY, "more than that is in use and cannot be reclaimed"),
        ("memory.memsw.limit_in_bytes", Errno::EINVAL, "memory plus swap cannot be below the memory limit"),
        ("memory.limit_in_bytes", Errno::EINVAL, "the memory limit cannot be above memory plus swap"),
        ("cpu.cfs_quota_us", Errno::EINVAL, "more than the parent cgroup has, below 1000, or below the burst"),
        ("cpu.cfs_period_us", Errno::EINVAL, "outside 1000 to 1000000, or the quota would be more than the parent cgroup's"),
        ("cpu.rt_runtime_us", Errno::EINVAL, "the parent cgroup has no realtime budget to give; write its cpu.rt_runtime_us first"),
        ("cpu.cfs_burst_us", Errno::EINVAL, "the burst needs a quota and cannot be above it"),
        ("cpu.max.burst", Errno::EINVAL, "the burst needs a quota and cannot be above it"),
        ("cpuset.cpus", Errno::EINVAL, "not a list of CPUs that this machine has"),
        ("cpuset.cpus", Errno::EACCES, "outside the parent cgroup's CPUs"),
        ("cpuset.mems", Errno::EINVAL, "not a list of memory nodes that this machine has"),
        ("cpuset.mems", Errno::EACCES, "outside the parent cgroup's memory nodes"),
        ("cpuset.cpus", Errno::ENOSPC, "a cpuset with processes cannot be empty"),
        ("devices.allow", Errno::EPERM, "the parent cgroup does not allow that device"),
        ("cgroup.subtree_control", Errno::EBUSY, "a cgroup that has processes itself cannot give controllers to those below it"),
        ("cgroup.subtree_control", Errno::ENOENT, "the parent cgroup does not have that controller"),
    ];
    let specific = TABLE.iter().find(|(name, number, _)| *name == file && *number == errno).map(|row| row.2);
    specific.or(match errno {
        // A cgroup that was removed answers the same, hence the look at the file.
        Errno::ENODEV if file.starts_with("io.") || file.starts_with("blkio.") => Some("no such block device (major:minor)"),
        Errno::EROFS => Some("the cgroup file system is mounted read-only"),
        Errno::EACCES | Errno::EPERM => Some("this cgroup is not delegated to this user"),
        _ => None,
    })
}
