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
    pub fn target(&self, path: &CStr, directory: bool, more: u32) -> Result<i32> {
        if let Some(fd) = if_there(self.resolve(path, 0, more))? {
            return Ok(fd);
        }
        let (parent, name) = self.parent(path, more)?;
        if directory {
            accept_existing(sys::mkdirat(parent.fd, name.get(), 0o755))?;
        } else {
            accept_existing(sys::create(parent.fd, name.get(), 0o644).map(sys::close))?;
        }
        sys::close(parent.fd);
        self.resolve(path, 0, more)
    }

    /// The directory that holds `path`, made with its parents where missing, and the last name in it.
    pub fn parent(&self, path: &CStr, more: u32) -> Result<(Parent, Name)> {
        let bytes = path.to_bytes();
        let split = bytes.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
        let name = Name::new(&bytes[split..])?;
        if split > 1 {
            if let Some(fd) = if_there(self.resolve(Name::new(&bytes[..split])?.get(), O_DIRECTORY, more))? {
                return Ok((Parent { fd }, name));
            }
        }
        let mut directory = self.resolve(c"/", O_DIRECTORY, more)?;
        let mut end = 0;
        for part in bytes[..split].split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
            end += bytes[end..].iter().take_while(|byte| **byte == b'/').count() + part.len();
            let prefix = Name::new(&bytes[..end])?;
            let next = match if_there(self.resolve(prefix.get(), O_DIRECTORY, more))? {
                Some(fd) => fd,
                None => {
                    let own = Name::new(part)?;
                    accept_existing(sys::mkdirat(directory, own.get(), 0o755))?;
                    self.resolve(prefix.get(), O_DIRECTORY, more)?
                }
            };
            sys::close(directory);
            directory = next;
        }
        Ok((Parent { fd: directory }, name))
    }
}

pub struct Parent {
    pub fd: i32,
}

/// A piece of a path with a NUL of its own.
pub struct Name([u8; PATH_MAX as usize]);

impl Name {
    fn new(bytes: &[u8]) -> Result<Self> {
        let mut name = Name([0; PATH_MAX as usize]);
        match name.0.get_mut(..bytes.len()) {
            Some(room) if bytes.len() < PATH_MAX as usize => room.copy_from_slice(bytes),
            _ => return refused(__NR_openat2, ENAMETOOLONG),
        }
        Ok(name)
    }

    pub fn get(&self) -> &CStr {
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
