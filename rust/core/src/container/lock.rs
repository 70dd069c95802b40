//! The lock of a container: flock(2) on its state directory.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::stat::fstat;

use super::Directory;
use crate::error::{Context, Error, Result};
use crate::interruption;

/// Pauses between two looks at a lock grow from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LAST_PAUSE: Duration = Duration::from_millis(20);
/// What an error about the lock says.
const LOCK: &str = "lock";

/// A container's lock, until it is dropped or its holder ends.
#[derive(Debug)]
pub struct Lock(Flock<OwnedFd>);

impl Lock {
    /// Gives up the lock and keeps the directory's descriptor.
    pub fn into_descriptor(self, directory: &Directory) -> Result<OwnedFd> {
        self.0.unlock().map_err(|(_, errno)| errno).at("unlock", directory.path().to_string_lossy())
    }

    /// Whether it is on the directory of that descriptor.
    pub fn is_on(&self, directory: BorrowedFd<'_>) -> Result<bool> {
        let (ours, other) = (fstat(self.as_fd()).op("look at a container's lock")?, fstat(directory).op("look at a container's lock")?);
        Ok((ours.st_dev, ours.st_ino) == (other.st_dev, other.st_ino))
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Directory {
    /// Wait for the lock. Errors: `NotFound`, `Interrupted`.
    pub fn lock(&self) -> Result<Lock> {
        self.lock_asking(|| interruption::check(LOCK))
    }

    pub(super) fn lock_asking(&self, interrupted: impl Fn() -> Result<()>) -> Result<Lock> {
        loop {
            let mut descriptor = self.open()?;
            let lock = loop {
                match Flock::lock(descriptor, FlockArg::LockExclusive) {
                    Ok(lock) => break lock,
                    Err((returned, Errno::EINTR)) => {
                        interrupted()?;
                        descriptor = returned;
                    }
                    Err((_, errno)) => return Err(errno).at(LOCK, self.path().to_string_lossy()),
                }
            };
            // While this one waited, the container may have been deleted, and perhaps created anew.
            if self.is(lock.as_fd())? {
                return Ok(Lock(lock));
            }
        }
    }

    /// Wait for the lock, but not longer than `patience`. Errors: `NotFound`, ETIMEDOUT with the process that holds it, `Interrupted`.
    pub fn lock_within(&self, patience: Duration) -> Result<Lock> {
        let (deadline, mut pause) = (Instant::now() + patience, FIRST_PAUSE);
        loop {
            if let Some(lock) = self.try_lock()? {
                return Ok(lock);
            }
            if Instant::now() >= deadline {
                let error = Error::system(LOCK, self.path().to_string_lossy().into_owned(), Errno::ETIMEDOUT);
                return Err(error.with_hint(format!("{} holds it: end that first", self.holder())));
            }
            // flock(2) knows no time, and nothing tells of its end.
            std::thread::sleep(pause);
            pause = (pause * 2).min(LAST_PAUSE);
            interruption::check(LOCK)?;
        }
    }

    /// Who has the lock: /proc/locks names the process that took it, by the directory's inode.
    fn holder(&self) -> String {
        let inode = self.metadata().map(|found| format!(":{}", found.ino())).unwrap_or_default();
        let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
        let holds = |line: &str| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [_, "FLOCK", _, _, pid, file, ..] = fields[..] else { return None };
            file.ends_with(&inode).then(|| format!("process {pid}"))
        };
        locks.lines().find_map(holds).unwrap_or_else(|| "another process".to_owned())
    }

    /// Take the lock; `None` where another holds it. Errors: `NotFound`.
    pub fn try_lock(&self) -> Result<Option<Lock>> {
        match Flock::lock(self.open()?, FlockArg::LockExclusiveNonblock) {
            Ok(lock) if self.is(lock.as_fd())? => Ok(Some(Lock(lock))),
            Ok(_) => Err(self.missing()),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(errno).at(LOCK, self.path().to_string_lossy()),
        }
    }
}
