//! Paths inside the root: resolved by the kernel with the root as a cage, and used through descriptors only.

use core::ffi::CStr;

use linux_raw_sys::errno::{ENAMETOOLONG, ENOENT, EXDEV};
use linux_raw_sys::general::*;

use crate::sys::{self, refused, Failure, Result};
use crate::Init;

/// A path as the container would see it: `..` and symbolic links stay inside, magic links are refused.
const CAGE: u32 = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;

/// The kernel's own file systems that config.json hides parts of: where they are mounted, and what they are.
const KERNEL: [(&[u8], u32); 2] = [(b"/proc", PROC_SUPER_MAGIC), (b"/sys", SYSFS_MAGIC)];

/// The caller's /proc, where it really is one.
pub fn host_proc() -> Result<i32> {
    let proc = sys::openat2(sys::CWD, c"/proc", O_PATH | O_DIRECTORY, RESOLVE_NO_SYMLINKS)?;
    match sys::file_system(proc)? {
        PROC_SUPER_MAGIC => Ok(proc),
        _ => refused(__NR_fstatfs, EXDEV),
    }
}

impl Init {
    pub fn resolve(&self, path: &CStr, flags: u32, more: u32) -> Result<i32> {
        sys::openat2(self.root, path, O_PATH | flags, CAGE | more)
    }

    /// Puts a detached mount on what `target` is.
    pub fn attach(&mut self, mount: i32, target: i32) -> Result<()> {
        // It may be covered now, whatever path led there.
        self.forget_parent();
        sys::move_mount(mount, target)
    }

    /// Takes over a mount that has been attached at `path`.
    pub fn mounted(&mut self, path: &CStr, mount: i32) -> Result<()> {
        for ((_, magic), kept) in KERNEL.iter().zip(&mut self.kernel).filter(|((at, _), _)| *at == path.to_bytes()) {
            // What was there before is covered.
            kept.take().into_iter().for_each(sys::close);
            if sys::file_system(mount)? == *magic {
                *kept = Some(mount);
                return Ok(());
            }
        }
        sys::close(mount);
        Ok(())
    }

    /// What is to be hidden; `None` where it is missing. Below the kernel's file systems through the mount itself: somebody who shares the
    /// root could put another directory in its place just now, and what is missing there would stay open here (CVE-2023-27561).
    pub fn resolve_if_there(&self, path: &CStr) -> Result<Option<i32>> {
        for ((at, _), kept) in KERNEL.iter().zip(self.kernel) {
            let below = path.to_bytes_with_nul().strip_prefix(*at).and_then(|rest| rest.strip_prefix(b"/"));
            if let (Some(mount), Some(Ok(below))) = (kept, below.map(CStr::from_bytes_with_nul)) {
                return if_there(sys::openat2(mount, below, O_PATH, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS));
            }
        }
        if_there(self.resolve(path, 0, 0))
    }

    /// The mount target `path`, made with its parents where it is missing: a directory, or an empty file.
    pub fn target(&mut self, path: &'static CStr, directory: bool, more: u32) -> Result<i32> {
        if let Some(fd) = if_there(self.resolve(path, 0, more))? {
            return Ok(fd);
        }
        let (parent, name) = self.parent(path, more)?;
        if directory {
            accept_existing(sys::mkdirat(parent, name, 0o755))?;
        } else {
            accept_existing(sys::create(parent, name, 0o644).map(sys::close))?;
        }
        self.resolve(path, 0, more)
    }

    /// The directory that holds `path`, made with its parents where missing, and the last name in it. It stays open for the next path in it,
    /// until something is mounted.
    pub fn parent(&mut self, path: &'static CStr, more: u32) -> Result<(i32, &'static CStr)> {
        let bytes = path.to_bytes_with_nul();
        let (directory, name) = bytes.split_at(bytes.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1));
        // The rest of a C string is one.
        let name = CStr::from_bytes_with_nul(name).unwrap_or(c"");
        if let Some(parent) = self.parent.as_ref().filter(|parent| (parent.path, parent.how) == (directory, more)) {
            return Ok((parent.fd, name));
        }
        self.forget_parent();
        let fd = self.made_directory(directory, more)?;
        self.parent = Some(Parent { path: directory, how: more, fd });
        Ok((fd, name))
    }

    /// Nothing is made in it any more.
    pub fn forget_parent(&mut self) {
        self.parent.take().into_iter().for_each(|parent| sys::close(parent.fd));
    }

    fn made_directory(&self, path: &[u8], more: u32) -> Result<i32> {
        if path.len() > 1 {
            if let Some(fd) = if_there(self.resolve(Piece::new(path)?.get(), O_DIRECTORY, more))? {
                return Ok(fd);
            }
        }
        let mut directory = self.resolve(c"/", O_DIRECTORY, more)?;
        let mut end = 0;
        for part in path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
            end += path[end..].iter().take_while(|byte| **byte == b'/').count() + part.len();
            let prefix = Piece::new(&path[..end])?;
            let next = match if_there(self.resolve(prefix.get(), O_DIRECTORY, more))? {
                Some(fd) => fd,
                None => {
                    let own = Piece::new(part)?;
                    accept_existing(sys::mkdirat(directory, own.get(), 0o755))?;
                    self.resolve(prefix.get(), O_DIRECTORY, more)?
                }
            };
            sys::close(directory);
            directory = next;
        }
        Ok(directory)
    }
}

/// A directory inside the root that was opened last, and by which path and flags.
pub struct Parent {
    path: &'static [u8],
    how: u32,
    fd: i32,
}

/// A piece of a path with a NUL of its own.
struct Piece([u8; PATH_MAX as usize]);

impl Piece {
    fn new(bytes: &[u8]) -> Result<Self> {
        let mut piece = Piece([0; PATH_MAX as usize]);
        match piece.0.get_mut(..bytes.len()) {
            Some(room) if bytes.len() < PATH_MAX as usize => room.copy_from_slice(bytes),
            _ => return refused(__NR_openat2, ENAMETOOLONG),
        }
        Ok(piece)
    }

    fn get(&self) -> &CStr {
        // There is always a NUL: `new` leaves the last byte 0.
        CStr::from_bytes_until_nul(&self.0).unwrap_or(c"")
    }
}

fn if_there(result: Result<i32>) -> Result<Option<i32>> {
    match result {
        Ok(fd) => Ok(Some(fd)),
        Err(Failure { errno, .. }) if errno == ENOENT as i32 => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// EEXIST is what was wanted; what stands there is looked at through the cage afterwards.
pub fn accept_existing(result: Result<()>) -> Result<()> {
    match result {
        Err(Failure { errno, .. }) if errno == linux_raw_sys::errno::EEXIST as i32 => Ok(()),
        other => other,
    }
}
