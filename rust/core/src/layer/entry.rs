//! One name below a directory that is held: looked at, opened and copied without following a symbolic link.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{open, openat2, OFlag, OpenHow, ResolveFlag};
use nix::libc;
use nix::sys::stat::{fstat, FileStat, Mode, SFlag};
use nix::unistd::{ftruncate, lseek, Whence};

type Result<T> = std::result::Result<T, Errno>;

/// A path below the directory, of which no part is a symbolic link.
const BELOW: ResolveFlag = ResolveFlag::RESOLVE_BENEATH.union(ResolveFlag::RESOLVE_NO_SYMLINKS);

const BUFFER: usize = 1 << 16;

/// A file of any kind, by a descriptor that only names it (O_PATH).
#[derive(Debug)]
pub struct Entry {
    fd: OwnedFd,
    pub status: FileStat,
}

impl Entry {
    /// What a path below `directory` names, itself: the last part may be a symbolic link.
    pub fn below(directory: BorrowedFd<'_>, path: &Path) -> Result<Self> {
        Self::resolved(directory, path, OFlag::O_NOFOLLOW, BELOW)
    }

    /// What a path names for whoever has `root` as its root: links are followed, and none leads out.
    pub fn inside(root: BorrowedFd<'_>, path: &Path) -> Result<Self> {
        Self::resolved(root, path, OFlag::empty(), ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS)
    }

    /// What a path of the caller's names, by its own rules.
    pub fn named(path: &Path) -> Result<Self> {
        let fd = crate::sys::open_path(path)?;
        let status = fstat(&fd)?;
        Ok(Entry { fd, status })
    }

    fn resolved(directory: BorrowedFd<'_>, path: &Path, flags: OFlag, resolve: ResolveFlag) -> Result<Self> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC | flags).resolve(resolve);
        let fd = again(|| openat2(directory, path, how))?;
        let status = fstat(&fd)?;
        Ok(Entry { fd, status })
    }

    /// As `below`; `None` where there is nothing.
    pub fn found(directory: BorrowedFd<'_>, path: &Path) -> Result<Option<Self>> {
        match Self::below(directory, path) {
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(None),
            found => found.map(Some),
        }
    }

    pub fn kind(&self) -> SFlag {
        kind(&self.status)
    }

    pub fn is_directory(&self) -> bool {
        self.kind() == SFlag::S_IFDIR
    }

    /// overlayfs, "whiteouts and opaque directories": a name that is not there, though a layer below has it.
    pub fn is_whiteout(&self) -> bool {
        self.kind() == SFlag::S_IFCHR && self.status.st_rdev == 0
    }

    pub fn mode(&self) -> u32 {
        self.status.st_mode & 0o7777
    }

    /// To read it: only ever a regular file or a directory, since to open a device or a FIFO is to do something with it.
    pub fn open(&self) -> Result<OwnedFd> {
        let directory = match self.kind() {
            SFlag::S_IFREG => OFlag::empty(),
            SFlag::S_IFDIR => OFlag::O_DIRECTORY,
            _ => return Err(Errno::EINVAL),
        };
        let own = format!("/proc/self/fd/{}", self.fd.as_raw_fd());
        open(own.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | directory, Mode::empty())
    }

    pub fn link_target(&self) -> Result<OsString> {
        nix::fcntl::readlinkat(&self.fd, "")
    }

    /// The names in a directory, sorted.
    pub fn names(&self) -> Result<Vec<OsString>> {
        if !self.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        let mut names = Vec::new();
        for entry in Dir::from_fd(self.open()?)?.iter() {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name));
            }
        }
        names.sort();
        Ok(names)
    }
}

impl AsFd for Entry {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

pub fn kind(status: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(status.st_mode & libc::S_IFMT)
}

/// The kernel answers EAGAIN where a rename elsewhere may have disturbed it: openat2(2).
fn again<T>(mut call: impl FnMut() -> Result<T>) -> Result<T> {
    const TRIES: usize = 64;
    for _ in 0..TRIES {
        match call() {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            other => return other,
        }
    }
    call()
}

/// A directory below another, to work in.
pub fn directory(above: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC).resolve(BELOW);
    again(|| openat2(above, path, how))
}

/// A new file in a directory, which nobody has had open.
pub fn create(directory: BorrowedFd<'_>, name: &OsStr, mode: u32) -> Result<OwnedFd> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    nix::fcntl::openat(directory, name, flags, Mode::from_bits_truncate(mode))
}

/// What was in the file when it was opened, holes as holes: so much as its size says, though it grows meanwhile. `allow` is asked before
/// each part is written.
pub fn copy_content(from: BorrowedFd<'_>, to: BorrowedFd<'_>, size: i64, mut allow: impl FnMut(u64) -> Result<()>) -> Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut at = 0;
    while at < size {
        let data = match lseek(from, at, Whence::SeekData) {
            Ok(data) => data,
            // A hole to the end.
            Err(Errno::ENXIO) => break,
            // A file system that knows of no holes.
            Err(Errno::EINVAL) => at,
            Err(errno) => return Err(errno),
        };
        let end = lseek(from, data, Whence::SeekHole).unwrap_or(size).min(size);
        at = data;
        while at < end {
            let wanted = BUFFER.min((end - at) as usize);
            let read = nix::sys::uio::pread(from, &mut buffer[..wanted], at)?;
            if read == 0 {
                // It became shorter.
                return ftruncate(to, at);
            }
            allow(read as u64)?;
            let mut rest = &buffer[..read];
            while !rest.is_empty() {
                let written = nix::sys::uio::pwrite(to, rest, at)?;
                rest = &rest[written..];
                at += written as i64;
            }
        }
    }
    ftruncate(to, size)
}

/// A name that nobody else has.
pub fn temporary(name: &OsStr) -> Result<OsString> {
    let mut random = [0; 8];
    crate::sys::random(&mut random)?;
    let mut unique = OsString::from(format!(".pyrt-{:016x}-", u64::from_ne_bytes(random)));
    // With the random part a name may not become longer than any name is.
    unique.push(OsStr::from_bytes(&name.as_bytes()[..name.len().min(200)]));
    Ok(unique)
}

/// Removes what is at a name, whatever it is, with all below it. What fails is left: there is somebody else's error to tell.
pub fn remove(directory: BorrowedFd<'_>, name: &OsStr) {
    use nix::unistd::{unlinkat, UnlinkatFlags};
    if unlinkat(directory, name, UnlinkatFlags::NoRemoveDir).is_ok() {
        return;
    }
    if let Ok(entry) = Entry::below(directory, Path::new(name)) {
        for child in entry.names().unwrap_or_default() {
            remove(entry.as_fd(), &child);
        }
        let _ = unlinkat(directory, name, UnlinkatFlags::RemoveDir);
    }
}

/// Makes something of the caller's own at `path` whole or not at all: `make` does it under another name beside it, which then becomes the
/// name. What is there already is replaced where rename(2) allows it: a file by a file, an empty directory by a directory.
pub fn whole(path: &Path, operation: &str, make: impl FnOnce(BorrowedFd<'_>, &OsStr) -> crate::Result<()>) -> crate::Result<()> {
    use crate::error::Context;
    let shown = path.to_string_lossy();
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(Errno::EINVAL).at(operation, shown) };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let parent =
        open(parent, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).at(operation, parent.to_string_lossy())?;
    let own = temporary(name).at(operation, &shown)?;
    let made = make(parent.as_fd(), &own)
        .and_then(|()| nix::fcntl::renameat(parent.as_fd(), own.as_os_str(), parent.as_fd(), name).at(operation, &shown));
    if made.is_err() {
        remove(parent.as_fd(), &own);
    }
    made
}
