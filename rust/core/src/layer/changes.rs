//! The upper layer against what lies below it: overlayfs (kernel documentation), "whiteouts and opaque directories".
//!
//! Directories are opened by their paths below the upper layer, one at a time: however deep a container nests them, this takes no more
//! descriptors. What cannot be named by a path of PATH_MAX bytes is not looked into.

use std::collections::BTreeSet;
use std::ffi::{CStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::{FileStat, SFlag};

use super::entry::{kind, Entry};
use super::{Below, Layer};
use crate::error::{Context, Result};
use crate::sys::xattr;
use crate::view::{ViewEntries, ViewEntry};

const REDIRECT: &CStr = c"trusted.overlay.redirect";
const READ: &str = "read the upper layer at";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// No layer below has it.
    Added,
    /// One has it too: with another content, mode or owner, or as another kind of file.
    Changed,
    /// One has it, and it is gone.
    Deleted,
}

impl Change {
    pub fn name(self) -> &'static str {
        match self {
            Change::Added => "added",
            Change::Changed => "changed",
            Change::Deleted => "deleted",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    pub path: PathBuf,
    pub change: Change,
}

/// What `Layer::visit` tells.
pub(super) struct Found<'a> {
    /// Below the root.
    pub path: &'a Path,
    /// `None` for what is only there because it was prepared, or for what lies in it.
    pub change: Option<Change>,
    /// In the upper layer; `None` where it was deleted.
    pub entry: Option<&'a Entry>,
    /// A directory that hides all that the layers below have in it; of what was deleted: it is in such a one.
    pub opaque: bool,
}

/// What lies below a directory of the upper layer.
enum Before {
    Nothing,
    /// It is one of the view's own, which stand in the upper layer.
    View,
    /// The directories that it is laid over, each by its layer's place and the path in that.
    Layers(Vec<(usize, PathBuf)>),
}

struct Visit<'a> {
    layer: &'a Layer,
    lower: Vec<OwnedFd>,
}

/// What a name was before.
enum Was {
    Nothing,
    /// Unchanged where the judgement says so; a directory's own content is still to be compared.
    Same(Before),
    Other(Before),
    /// Something is mounted over it: what lies in it cannot have changed.
    Covered,
}

impl Layer {
    /// Calls with all that is in the upper layer, and with what it took away, parents first.
    pub(super) fn visit(&self, mut each: impl FnMut(Found<'_>) -> Result<()>) -> Result<()> {
        let visit = Visit { layer: self, lower: self.lower()? };
        let first = match &self.below {
            Below::View(_) => Before::View,
            Below::Directories(all) => Before::Layers((0..all.len()).map(|place| (place, PathBuf::new())).collect()),
        };
        let mut waiting = vec![(PathBuf::new(), first, false)];
        while let Some((path, before, opaque)) = waiting.pop() {
            let next = visit.directory(&path, &before, opaque, &mut each)?;
            // The last is looked at first.
            waiting.extend(next.into_iter().rev());
        }
        Ok(())
    }
}

impl Visit<'_> {
    /// One directory; returns those in it.
    fn directory(
        &self,
        path: &Path,
        before: &Before,
        opaque: bool,
        each: &mut impl FnMut(Found<'_>) -> Result<()>,
    ) -> Result<Vec<(PathBuf, Before, bool)>> {
        let shown = || path.display().to_string();
        let names = match Entry::below(self.layer.upper.as_fd(), path).and_then(|entry| entry.names()) {
            // Gone meanwhile, or no directory any more; or too long a path.
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EINVAL | Errno::ELOOP | Errno::ENAMETOOLONG) => return Ok(Vec::new()),
            names => names.at(READ, shown())?,
        };
        let mut all: BTreeSet<OsString> = names.into_iter().collect();
        if opaque || matches!(before, Before::View) {
            all.extend(self.names_before(path, before)?);
        }
        let mut next = Vec::new();
        for name in all {
            let path = path.join(&name);
            let found = match Entry::found(self.layer.upper.as_fd(), &path) {
                Err(Errno::ENAMETOOLONG) => continue,
                found => found.at(READ, path.display().to_string())?,
            };
            let present = found.as_ref().filter(|entry| !entry.is_whiteout());
            let was = self.was(&path, &name, before, present)?;
            let Some(entry) = present else {
                if !matches!(was, Was::Nothing) {
                    each(Found { path: &path, change: Some(Change::Deleted), entry: None, opaque })?;
                }
                continue;
            };
            // What is in an opaque directory is laid over nothing either.
            let opaque = entry.is_directory() && (opaque || self.is_opaque(&path, entry, before)?);
            let (change, below) = match was {
                Was::Covered => continue,
                Was::Nothing if self.is_prepared(&path, entry) => (None, Before::Nothing),
                Was::Nothing => (Some(Change::Added), Before::Nothing),
                Was::Same(below) => (None, below),
                Was::Other(below) => (Some(Change::Changed), below),
            };
            each(Found { path: &path, change, entry: Some(entry), opaque })?;
            if entry.is_directory() {
                next.push((path, below, opaque));
            }
        }
        Ok(next)
    }

    fn view(&self) -> Option<&ViewEntries> {
        match &self.layer.below {
            Below::View(entries) => Some(entries),
            Below::Directories(_) => None,
        }
    }

    fn names_before(&self, path: &Path, before: &Before) -> Result<BTreeSet<OsString>> {
        let mut names = BTreeSet::new();
        match before {
            Before::Nothing => {}
            Before::View => {
                let parent = Path::new("/").join(path);
                let own = self.view().into_iter().flat_map(ViewEntries::iter).map(|(path, _)| Path::new(path));
                names.extend(own.filter(|own| own.parent() == Some(&parent)).filter_map(|own| own.file_name()).map(OsString::from));
            }
            Before::Layers(layers) => {
                for (place, path) in layers {
                    let directory = Entry::below(self.lower[*place].as_fd(), path).and_then(|entry| entry.names());
                    names.extend(directory.at("list", path.display().to_string())?);
                }
            }
        }
        Ok(names)
    }

    fn was(&self, path: &Path, name: &OsString, before: &Before, now: Option<&Entry>) -> Result<Was> {
        match before {
            Before::Nothing => Ok(Was::Nothing),
            Before::View => self.was_in_view(path, now),
            Before::Layers(layers) => self.was_in_layers(name, layers, now),
        }
    }

    fn was_in_layers(&self, name: &OsString, layers: &[(usize, PathBuf)], now: Option<&Entry>) -> Result<Was> {
        let mut first: Option<FileStat> = None;
        let mut directories = Vec::new();
        for (place, parent) in layers {
            let path = parent.join(name);
            let Some(entry) = Entry::found(self.lower[*place].as_fd(), &path).at("look at", path.display().to_string())? else { continue };
            if entry.is_whiteout() || (first.is_some() && !entry.is_directory()) {
                break;
            }
            first.get_or_insert(entry.status);
            if !entry.is_directory() {
                break;
            }
            directories.push((*place, path));
            if has(&entry, self.layer.opaque)? {
                break;
            }
        }
        let Some(status) = first else { return Ok(Was::Nothing) };
        Ok(match now {
            // A directory is copied up for what lies in it.
            Some(entry) if entry.is_directory() && kind(&status) == SFlag::S_IFDIR && same_owner_and_mode(entry, &status) => {
                Was::Same(Before::Layers(directories))
            }
            Some(entry) if entry.is_directory() => Was::Other(Before::Layers(directories)),
            _ => Was::Other(Before::Nothing),
        })
    }

    fn was_in_view(&self, path: &Path, now: Option<&Entry>) -> Result<Was> {
        let own = Path::new("/").join(path);
        let Some(entry) = self.view().and_then(|view| view.get(&own)) else { return Ok(Was::Nothing) };
        // What is not one of the view's own any more is looked into where it is a directory.
        let other = |below| Ok(Was::Other(below));
        let Some(now) = now else { return other(Before::Nothing) };
        let unchanged = |mode: u32| now.mode() == mode && (now.status.st_uid, now.status.st_gid) == (0, 0);
        match entry {
            ViewEntry::ReadOnlyMount { .. } => Ok(Was::Covered),
            ViewEntry::Directory { mode } if now.is_directory() && unchanged(*mode) => Ok(Was::Same(Before::View)),
            ViewEntry::Directory { .. } if now.is_directory() => other(Before::View),
            ViewEntry::Tree { mode, .. } if now.is_directory() => {
                let below = Before::Layers(vec![(0, path.to_owned())]);
                if unchanged(*mode) && has(now, REDIRECT)? {
                    Ok(Was::Same(below))
                } else {
                    other(below)
                }
            }
            ViewEntry::Symlink { target } if now.kind() == SFlag::S_IFLNK => {
                match now.link_target().at(READ, path.display().to_string())? {
                    same if same.as_os_str() == target.as_str() => Ok(Was::Same(Before::Nothing)),
                    _ => other(Before::Nothing),
                }
            }
            ViewEntry::File { mode, content } if now.kind() == SFlag::S_IFREG && unchanged(*mode) => {
                if now.status.st_size == content.len() as i64 && holds(now, content).at(READ, path.display().to_string())? {
                    Ok(Was::Same(Before::Nothing))
                } else {
                    other(Before::Nothing)
                }
            }
            _ => other(Before::Nothing),
        }
    }

    /// Whether it hides all that layers below have. One of the view's trees that was made anew says so by what it lacks.
    fn is_opaque(&self, path: &Path, entry: &Entry, before: &Before) -> Result<bool> {
        if matches!(before, Before::View) {
            let own = Path::new("/").join(path);
            return match self.view().and_then(|view| view.get(&own)) {
                Some(ViewEntry::Tree { .. }) => has(entry, REDIRECT).map(|redirected| !redirected),
                _ => Ok(false),
            };
        }
        has(entry, self.layer.opaque)
    }

    /// Whether init made it, for what was to be mounted there or below.
    fn is_prepared(&self, path: &Path, entry: &Entry) -> bool {
        let targets = &self.layer.targets;
        if entry.is_directory() {
            return targets.range(path.to_owned()..).next().is_some_and(|target| target.starts_with(path));
        }
        targets.contains(path) && (entry.kind() != SFlag::S_IFREG || entry.status.st_size == 0)
    }
}

fn same_owner_and_mode(entry: &Entry, before: &FileStat) -> bool {
    let status = &entry.status;
    (status.st_mode, status.st_uid, status.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
}

fn has(directory: &Entry, name: &CStr) -> Result<bool> {
    let value = directory.open().and_then(|directory| xattr::get(directory.as_fd(), name));
    match value {
        // Gone meanwhile.
        Err(Errno::ENOENT | Errno::EINVAL) => Ok(false),
        value => Ok(value.op("read an overlay's attribute")?.is_some()),
    }
}

fn holds(entry: &Entry, content: &[u8]) -> std::result::Result<bool, Errno> {
    let file = entry.open()?;
    let mut buffer = [0; 1 << 14];
    let mut rest = content;
    loop {
        let read = nix::unistd::read(&file, &mut buffer)?;
        match rest.strip_prefix(&buffer[..read]) {
            Some(after) if read > 0 => rest = after,
            Some(after) => return Ok(after.is_empty()),
            None => return Ok(false),
        }
    }
}
