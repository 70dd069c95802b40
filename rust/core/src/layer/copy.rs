//! Files and directories copied into a container's root, and out of it, while whoever is inside may do the worst.
//!
//! The container's side is one descriptor, below which openat2(2) resolves everything with that as the root. Out come regular files,
//! directories, and links that stay within what is copied; in go the same. Devices, sockets and FIFOs are left out, and told.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::renameat;
use nix::libc;
use nix::sys::stat::{fchmod, futimens, mkdirat, Mode, SFlag};
use nix::sys::statfs::{fstatfs, PROC_SUPER_MAGIC, SYSFS_MAGIC};
use nix::sys::time::TimeSpec;
use nix::unistd::{fchown, fchownat, symlinkat, Gid, Uid};

use super::entry::{self, Entry};
use super::progress::{OnProgress, Progress};
use crate::error::{Context, Error, Kind, Result};
use crate::sys;

/// Directories in directories: more is an attack, or a mistake.
const DEEPEST: usize = 256;
const OUT: &str = "copy out of the container";
const IN: &str = "copy into the container";

/// A container's root, by a descriptor of it.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    /// What the container's user 0 and group 0 are outside.
    owner: (u32, u32),
}

#[derive(Clone, Copy, Default)]
pub struct CopyOptions<'a> {
    /// The most bytes of content.
    pub max_size: Option<u64>,
    pub on_progress: Option<&'a OnProgress<'a>>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// What was left out, by its path below what was copied.
    pub left_out: Vec<PathBuf>,
}

/// Whose files the copies are.
enum Side {
    /// The container's: of its root user, with the mode that the source has.
    Container((u32, u32)),
    /// The caller's own, with what its umask leaves of the mode.
    Caller,
}

struct Copy<'a> {
    operation: &'static str,
    side: Side,
    max_size: Option<u64>,
    progress: Progress<'a>,
    copied: Copied,
    source: &'a Path,
}

impl Root {
    pub fn new(fd: OwnedFd, owner: (u32, u32)) -> Self {
        Root { fd, owner }
    }

    /// `source`, as the container has it, to `target`, which is made: a file may be there already, and is replaced; a directory may not.
    pub fn copy_out(&self, source: &Path, target: &Path, options: CopyOptions<'_>) -> Result<Copied> {
        let from = Entry::inside(self.fd.as_fd(), source).at(OUT, source.to_string_lossy())?;
        refuse_pseudo(&from, source)?;
        let mut copy = Copy::new(OUT, Side::Caller, options, source);
        if from.is_directory() && std::fs::symlink_metadata(target).is_ok() {
            return Err(Error {
                errno: Some(Errno::EEXIST),
                ..Error::new(Kind::AlreadyExists, "copy a directory to").with_path(target.to_string_lossy())
            });
        }
        entry::whole(target, OUT, |parent, name| copy.top(&from, parent, name))?;
        Ok(copy.copied)
    }

    /// `source` of the caller's to `target`, as the container has it. Directories above it are made; a directory that is there is merged.
    pub fn copy_in(&self, source: &Path, target: &Path, options: CopyOptions<'_>) -> Result<Copied> {
        let from = Entry::named(source).at(IN, source.to_string_lossy())?;
        let mut copy = Copy::new(IN, Side::Container(self.owner), options, source);
        let Some(name) = target.file_name() else { return Err(Errno::EINVAL).at(IN, target.to_string_lossy()) };
        let parent = self.parent(target, &copy)?;
        copy.top(&from, parent.as_fd(), name)?;
        Ok(copy.copied)
    }

    /// The directory that the target lies in, made where it is missing.
    fn parent(&self, target: &Path, copy: &Copy<'_>) -> Result<OwnedFd> {
        let parent = target.parent().unwrap_or(Path::new("/"));
        let shown = || parent.to_string_lossy();
        let mut at = Entry::inside(self.fd.as_fd(), Path::new("/")).at(IN, shown())?;
        let mut path = PathBuf::from("/");
        for part in parent.components().filter(|part| !matches!(part, Component::RootDir | Component::CurDir)) {
            path.push(part);
            at = match Entry::inside(self.fd.as_fd(), &path) {
                Err(Errno::ENOENT) => {
                    copy.make_directory(at.as_fd(), part.as_os_str(), 0o755).at(IN, shown())?;
                    Entry::inside(self.fd.as_fd(), &path).at(IN, shown())?
                }
                found => found.at(IN, shown())?,
            };
        }
        entry::directory(at.as_fd(), Path::new("")).at(IN, shown())
    }
}

impl<'a> Copy<'a> {
    fn new(operation: &'static str, side: Side, options: CopyOptions<'a>, source: &'a Path) -> Self {
        let progress = Progress::new(options.on_progress);
        Copy { operation, side, max_size: options.max_size, progress, copied: Copied::default(), source }
    }

    /// One file, or a directory with all in it. What is below it is opened by its path from here.
    fn top(&mut self, from: &Entry, parent: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
        if !from.is_directory() {
            if from.kind() != SFlag::S_IFREG {
                let hint = "only regular files, directories and what is in them are copied";
                return Err(Error::system(self.operation, self.source.display().to_string(), Errno::EINVAL).with_hint(hint));
            }
            // The end is told before the file gets its name: whoever objects finds nothing.
            let whole = |copy: &mut Self, own: &OsStr| copy.new_file(from, parent, own).and_then(|()| copy.progress.finish());
            return self.replace(parent, name, whole).at(self.operation, self.source.to_string_lossy());
        }
        let made = self.make_directory(parent, name, from.mode()).and_then(|()| self.progress.entry());
        made.at(self.operation, self.source.to_string_lossy())?;
        let to = entry::directory(parent, Path::new(name)).at(self.operation, self.source.to_string_lossy())?;
        let mut waiting = vec![PathBuf::new()];
        while let Some(path) = waiting.pop() {
            self.directory(from, to.as_fd(), &path, &mut waiting).at(self.operation, self.source.join(&path).to_string_lossy())?;
        }
        self.progress.finish().at(self.operation, self.source.to_string_lossy())
    }

    fn directory(&mut self, from: &Entry, to: BorrowedFd<'_>, path: &Path, waiting: &mut Vec<PathBuf>) -> std::result::Result<(), Errno> {
        if path.components().count() >= DEEPEST {
            return Err(Errno::ELOOP);
        }
        let source = Entry::below(from.as_fd(), path)?;
        let target = entry::directory(to, path)?;
        for name in source.names()? {
            let below = path.join(&name);
            // Gone meanwhile.
            let Some(found) = Entry::found(source.as_fd(), Path::new(&name))? else { continue };
            match found.kind() {
                SFlag::S_IFDIR => {
                    self.make_directory(target.as_fd(), &name, found.mode())?;
                    self.progress.entry()?;
                    waiting.push(below);
                }
                SFlag::S_IFREG => self.replace(target.as_fd(), &name, |copy, own| copy.new_file(&found, target.as_fd(), own))?,
                SFlag::S_IFLNK => {
                    let link = found.link_target()?;
                    if matches!(self.side, Side::Caller) && !stays_within(Path::new(&link), path) {
                        self.copied.left_out.push(below);
                    } else {
                        self.replace(target.as_fd(), &name, |copy, own| copy.new_link(&link, target.as_fd(), own))?;
                    }
                }
                _ => self.copied.left_out.push(below),
            }
        }
        Ok(())
    }

    /// Makes something as whom it will belong to.
    fn own<T>(&self, make: impl FnOnce() -> T) -> T {
        match self.side {
            Side::Container(owner) if owner != (0, 0) => sys::as_file_user(owner, make),
            _ => make(),
        }
    }

    /// One that is there already is taken as it is, but for a link: that is no directory.
    fn make_directory(&self, parent: BorrowedFd<'_>, name: &OsStr, mode: u32) -> std::result::Result<(), Errno> {
        // Whoever copies must be able to write in it, whatever the source's mode is.
        match self.own(|| mkdirat(parent, name, Mode::from_bits_truncate((mode & 0o777) | 0o700))) {
            Err(Errno::EEXIST) => return entry::directory(parent, Path::new(name)).map(drop),
            made => made?,
        }
        match self.side {
            Side::Caller => Ok(()),
            Side::Container(owner) => {
                let directory = Entry::below(parent, Path::new(name))?.open()?;
                give(directory.as_fd(), owner, (mode & 0o777) | 0o700)
            }
        }
    }

    /// Whole under another name first: whoever reads inside sees the old content or the new.
    fn replace(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        make: impl FnOnce(&mut Self, &OsStr) -> std::result::Result<(), Errno>,
    ) -> std::result::Result<(), Errno> {
        let own = entry::temporary(name)?;
        let result = make(self, &own).and_then(|()| self.own(|| renameat(parent, own.as_os_str(), parent, name)));
        if result.is_err() {
            entry::remove(parent, &own);
        }
        result
    }

    /// Never with a set-user-ID bit.
    fn new_file(&mut self, from: &Entry, parent: BorrowedFd<'_>, name: &OsStr) -> std::result::Result<(), Errno> {
        let mode = from.mode() & 0o777;
        let source = from.open()?;
        let first = if matches!(self.side, Side::Caller) { mode } else { 0o600 };
        let target = self.own(|| entry::create(parent, name, first))?;
        let (limit, progress) = (self.max_size, &mut self.progress);
        entry::copy_content(source.as_fd(), target.as_fd(), from.status.st_size, |count| {
            progress.content(count)?;
            if limit.is_some_and(|limit| progress.bytes() > limit) {
                Err(Errno::EFBIG)
            } else {
                Ok(())
            }
        })?;
        if let Side::Container(owner) = self.side {
            give(target.as_fd(), owner, mode)?;
        }
        let modified = TimeSpec::new(from.status.st_mtime, from.status.st_mtime_nsec);
        futimens(&target, &modified, &modified)?;
        self.progress.entry()
    }

    fn new_link(&mut self, link: &OsStr, parent: BorrowedFd<'_>, name: &OsStr) -> std::result::Result<(), Errno> {
        self.own(|| symlinkat(link, parent, name))?;
        if let Side::Container((uid, gid)) = self.side {
            let flags = nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW;
            fchownat(parent, name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), flags)?;
        }
        self.progress.entry()
    }
}

fn give(file: BorrowedFd<'_>, owner: (u32, u32), mode: u32) -> std::result::Result<(), Errno> {
    fchown(file, Some(Uid::from_raw(owner.0)), Some(Gid::from_raw(owner.1)))?;
    fchmod(file, Mode::from_bits_truncate(mode))
}

/// Whether a link in `directory`, a path below the top of what is copied, leads nowhere else. `..` only at its start, where it leaves real
/// directories: after a name it would leave whatever that name links to.
fn stays_within(link: &Path, directory: &Path) -> bool {
    let mut depth = directory.components().count();
    let mut descending = false;
    for part in link.components() {
        match part {
            Component::Normal(_) => descending = true,
            Component::CurDir => {}
            Component::ParentDir if descending || depth == 0 => return false,
            Component::ParentDir => depth -= 1,
            Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    true
}

/// Files of the kernel's have no size before they are read, and reading some waits, or does something.
fn refuse_pseudo(entry: &Entry, path: &Path) -> Result<()> {
    let file_system = fstatfs(entry.as_fd()).at(OUT, path.to_string_lossy())?.filesystem_type();
    if file_system == PROC_SUPER_MAGIC || file_system == SYSFS_MAGIC {
        let hint = "it is the kernel's: read it with a command in the container";
        return Err(Error::system(OUT, path.display().to_string(), Errno::from_raw(libc::EINVAL)).with_hint(hint));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_stays_within_what_is_copied_only_without_a_way_out() {
        let within = |link: &str, directory: &str| stays_within(Path::new(link), Path::new(directory));
        assert!(within("name", ""));
        assert!(within("../name", "one"));
        assert!(within("./sub/name", "one"));
        assert!(!within("../name", ""));
        assert!(!within("/etc/shadow", "one"));
        assert!(!within("../../name", "one"));
        // "link" may be one to a directory elsewhere within.
        assert!(!within("link/../name", "one"));
    }
}
