//! The changes written down as a directory that can lie below another container's root: files, whiteouts and opaque directories, as
//! overlayfs has them (kernel documentation), with owners, modes, times and attributes.

use std::collections::HashMap;
use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{openat, OFlag};
use nix::sys::stat::{fchmod, futimens, mkdirat, mknodat, utimensat, Mode, SFlag, UtimensatFlags};
use nix::sys::time::TimeSpec;
use nix::unistd::{fchown, fchownat, linkat, Gid, Uid};

use super::changes::Found;
use super::entry::{self, Entry};
use super::progress::{OnProgress, Progress};
use super::Layer;
use crate::error::{Context, Result};
use crate::sys::xattr;

const WRITE: &str = "write the layer at";
/// What overlayfs keeps for itself: file handles and numbers that mean something in one overlay only.
const OVERLAY_PREFIXES: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];

struct Writer<'a> {
    upper: BorrowedFd<'a>,
    opaque: &'static CStr,
    to: OwnedFd,
    /// Directories that are there, with the times that they get when all is in them.
    made: HashMap<PathBuf, [TimeSpec; 2]>,
    /// By device and inode: files of several names stay one file.
    files: HashMap<(u64, u64), PathBuf>,
    progress: Progress<'a>,
}

impl Layer {
    /// Writes all changes to a new directory, or an empty one. Either all is there afterwards, or nothing.
    pub fn commit(&self, directory: &Path, on_progress: Option<&OnProgress<'_>>) -> Result<()> {
        entry::whole(directory, WRITE, |parent, name| {
            mkdirat(parent, name, Mode::from_bits_truncate(0o755)).at(WRITE, directory.to_string_lossy())?;
            let to = entry::directory(parent, Path::new(name)).at(WRITE, directory.to_string_lossy())?;
            let progress = Progress::new(on_progress);
            let mut writer = Writer { upper: self.as_fd(), opaque: self.opaque, to, made: HashMap::new(), files: HashMap::new(), progress };
            // The layer's own directory is the root's, by which the merged one goes.
            let root = Entry::below(self.as_fd(), Path::new("")).op("look at the upper layer")?;
            let top = openat(&writer.to, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
            let given = top.and_then(|top| give(top.as_fd(), &root));
            given.and_then(|()| writer.progress.entry()).at(WRITE, directory.to_string_lossy())?;
            self.visit(|found| writer.write(&found).at(WRITE, directory.join(found.path).to_string_lossy()))?;
            writer.finish().at(WRITE, directory.to_string_lossy())
        })
    }
}

impl Writer<'_> {
    fn write(&mut self, found: &Found<'_>) -> std::result::Result<(), Errno> {
        if found.change.is_none() && !found.opaque {
            return Ok(());
        }
        let Some((parent, name)) = found.path.parent().zip(found.path.file_name()) else { return Err(Errno::EINVAL) };
        self.make_directories(parent)?;
        let directory = entry::directory(self.to.as_fd(), parent)?;
        match found.entry {
            // There a whiteout would be a file like any other.
            None if found.opaque => Ok(()),
            None => mknodat(&directory, name, SFlag::S_IFCHR, Mode::empty(), 0).and_then(|()| self.progress.entry()),
            Some(entry) if entry.is_directory() => {
                self.make_directory(found.path, entry)?;
                match found.opaque {
                    true => xattr::set(self.open(found.path)?.as_fd(), self.opaque, b"y"),
                    false => Ok(()),
                }
            }
            Some(entry) => self.write_file(directory.as_fd(), name, found.path, entry).and_then(|()| self.progress.entry()),
        }
    }

    /// Those above, where nothing has changed but what lies in them.
    fn make_directories(&mut self, path: &Path) -> std::result::Result<(), Errno> {
        let missing: Vec<&Path> =
            path.ancestors().take_while(|path| !path.as_os_str().is_empty() && !self.made.contains_key(*path)).collect();
        for path in missing.into_iter().rev() {
            let entry = Entry::below(self.upper, path)?;
            self.make_directory(path, &entry)?;
        }
        Ok(())
    }

    fn make_directory(&mut self, path: &Path, entry: &Entry) -> std::result::Result<(), Errno> {
        let Some((parent, name)) = path.parent().zip(path.file_name()) else { return Err(Errno::EINVAL) };
        mkdirat(entry::directory(self.to.as_fd(), parent)?, name, Mode::S_IRWXU)?;
        self.made.insert(path.to_owned(), times(entry));
        give(self.open(path)?.as_fd(), entry)?;
        self.progress.entry()
    }

    fn open(&self, path: &Path) -> std::result::Result<OwnedFd, Errno> {
        let directory = entry::directory(self.to.as_fd(), path)?;
        openat(&directory, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
    }

    fn write_file(&mut self, directory: BorrowedFd<'_>, name: &OsStr, path: &Path, entry: &Entry) -> std::result::Result<(), Errno> {
        let status = &entry.status;
        if status.st_nlink > 1 {
            if let Some(first) = self.files.get(&(status.st_dev, status.st_ino)) {
                let (parent, own) = first.parent().zip(first.file_name()).ok_or(Errno::EINVAL)?;
                let parent = entry::directory(self.to.as_fd(), parent)?;
                return linkat(&parent, own, directory, name, nix::fcntl::AtFlags::empty());
            }
            self.files.insert((status.st_dev, status.st_ino), path.to_owned());
        }
        match entry.kind() {
            SFlag::S_IFREG => {
                let (from, to) = (entry.open()?, entry::create(directory, name, 0o600)?);
                entry::copy_content(from.as_fd(), to.as_fd(), status.st_size, |count| self.progress.content(count))?;
                copy_attributes(from.as_fd(), to.as_fd())?;
                give(to.as_fd(), entry)?;
                futimens(&to, &times(entry)[0], &times(entry)[1])
            }
            kind => {
                match kind {
                    SFlag::S_IFLNK => nix::unistd::symlinkat(entry.link_target()?.as_os_str(), directory, name)?,
                    // FIFOs, sockets and devices as they are: a container's root is mounted without devices.
                    _ => mknodat(directory, name, kind, Mode::from_bits_truncate(entry.mode()), status.st_rdev)?,
                }
                fchownat(directory, name, uid(entry), gid(entry), nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW)?;
                utimensat(directory, name, &times(entry)[0], &times(entry)[1], UtimensatFlags::NoFollowSymlink)
            }
        }
    }

    fn finish(&self) -> std::result::Result<(), Errno> {
        for (path, times) in &self.made {
            futimens(self.open(path)?, &times[0], &times[1])?;
        }
        self.progress.finish()
    }
}

fn uid(entry: &Entry) -> Option<Uid> {
    Some(Uid::from_raw(entry.status.st_uid))
}

fn gid(entry: &Entry) -> Option<Gid> {
    Some(Gid::from_raw(entry.status.st_gid))
}

fn times(entry: &Entry) -> [TimeSpec; 2] {
    let status = &entry.status;
    [TimeSpec::new(status.st_atime, status.st_atime_nsec), TimeSpec::new(status.st_mtime, status.st_mtime_nsec)]
}

/// Owner first: changing it takes set-user-ID away.
fn give(file: BorrowedFd<'_>, entry: &Entry) -> std::result::Result<(), Errno> {
    fchown(file, uid(entry), gid(entry))?;
    fchmod(file, Mode::from_bits_truncate(entry.mode()))
}

fn copy_attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> std::result::Result<(), Errno> {
    for name in xattr::names(from)?.iter().filter(|name| !OVERLAY_PREFIXES.iter().any(|prefix| name.as_bytes().starts_with(prefix))) {
        if let Some(value) = xattr::get(from, name)? {
            xattr::set(to, name, &value)?;
        }
    }
    Ok(())
}
