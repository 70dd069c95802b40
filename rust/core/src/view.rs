//! The host view: what of this host a container without an image sees. Read here, once; planned in `plan::root`.
//!
//! A list of what is shown, never of what is hidden: a name that is not asked for is not there.

use std::collections::BTreeMap;
use std::fs::{self, Metadata, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc;

use crate::error::{Context, Error, Result};
use crate::mountinfo;
use crate::sys;

/// Larger files of /etc are left out: a copy costs every launch.
const COPY_LIMIT: u64 = 4 << 20;
const READ_BY_OTHERS: u32 = 0o004;
const ENTERED_BY_OTHERS: u32 = 0o001;

/// What is asked for: absolute paths.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Copy-on-write, as they are on the host.
    pub show: Vec<PathBuf>,
    /// Bound read-only.
    pub read_only: Vec<PathBuf>,
    /// Copied, as far as an ordinary user of the host may read them.
    pub copy: Vec<PathBuf>,
    /// Files with content of the caller's own.
    pub files: Vec<(PathBuf, Vec<u8>)>,
    /// Empty directories.
    pub empty: Vec<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ViewEntry {
    Directory {
        mode: u32,
    },
    Symlink {
        target: String,
    },
    File {
        mode: u32,
        content: Vec<u8>,
    },
    /// The host's directory, copy-on-write.
    Tree {
        mode: u32,
        /// Something is mounted below it.
        mounts_below: bool,
    },
    /// The host's directory, which lies on another mount or may not be written.
    ReadOnlyMount {
        /// Its mode, where it is to be copy-on-write and nothing is mounted below it: an overlay of its own, unlike one of `/`, can do that.
        overlay: Option<u32>,
    },
}

/// What was found, parents before children.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ViewEntries(BTreeMap<String, ViewEntry>);

impl ViewEntries {
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ViewEntry)> {
        self.0.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    pub fn get(&self, path: &Path) -> Option<&ViewEntry> {
        self.0.get(path.to_str()?)
    }

    /// What is missing on the host is left out.
    pub fn read(view: &View) -> Result<Self> {
        let mut entries = ViewEntries::default();
        let root = sys::mount_id(Path::new("/")).at("look at", "/")?;
        let points = mountinfo::points()?;
        for path in &view.empty {
            // As the host has it: /tmp is everybody's.
            let mode = found(path)?.filter(Metadata::is_dir).map_or(0o755, |status| status.permissions().mode() & 0o1777);
            entries.add(path, ViewEntry::Directory { mode })?;
        }
        for path in &view.show {
            let Some(status) = found(path)? else { continue };
            let entry = if status.is_symlink() {
                link(path)?
            } else if !status.is_dir() {
                return Err(Error::host(format!("show {}", path.display()), "only directories are shown copy-on-write"));
            } else {
                let mode = status.permissions().mode() & 0o7777;
                let mounts_below = points.iter().any(|point| point != path && point.starts_with(path));
                match sys::mount_id(path).at("look at", path.to_string_lossy())? == root {
                    true => ViewEntry::Tree { mode, mounts_below },
                    false => ViewEntry::ReadOnlyMount { overlay: (!mounts_below).then_some(mode) },
                }
            };
            entries.add(path, entry)?;
        }
        for path in &view.read_only {
            if found(path)?.is_some_and(|status| status.is_dir()) && !entries.shows(path) {
                entries.add(path, ViewEntry::ReadOnlyMount { overlay: None })?;
            }
        }
        for path in &view.copy {
            let parents = path.ancestors().skip(1);
            if parents
                .into_iter()
                .all(|parent| found(parent).is_ok_and(|status| status.is_some_and(|status| allows(&status, ENTERED_BY_OTHERS))))
            {
                entries.copy(path)?;
            }
        }
        for (path, content) in &view.files {
            entries.add(path, ViewEntry::File { mode: 0o644, content: content.clone() })?;
        }
        Ok(entries)
    }

    /// Whether it lies in something that is shown whole.
    fn shows(&self, path: &Path) -> bool {
        path.ancestors()
            .filter_map(Path::to_str)
            .any(|parent| matches!(self.0.get(parent), Some(ViewEntry::Tree { .. } | ViewEntry::ReadOnlyMount { .. })))
    }

    fn add(&mut self, path: &Path, entry: ViewEntry) -> Result<()> {
        let text = path
            .to_str()
            .filter(|text| text.starts_with('/') && !text.contains('\0') && crate::oci::plain_path(path, "").as_deref() == Ok(*text));
        let text = text.ok_or_else(|| Error::host(format!("show {}", path.display()), "give an absolute path without . and .."))?;
        if text == "/" {
            return Err(Error::host("show /", "name what of it is shown"));
        }
        for parent in path.ancestors().skip(1).filter_map(Path::to_str).filter(|parent| *parent != "/") {
            match self.0.entry(parent.to_owned()).or_insert(ViewEntry::Directory { mode: 0o755 }) {
                // Whoever sees what lies below must be able to get there.
                ViewEntry::Directory { mode } => *mode |= 0o755,
                _ => return Ok(()),
            }
        }
        let below = format!("{text}/");
        if matches!(entry, ViewEntry::Tree { .. } | ViewEntry::ReadOnlyMount { .. }) {
            self.0.retain(|known, _| !known.starts_with(&below));
        }
        self.0.insert(text.to_owned(), entry);
        Ok(())
    }

    fn copy(&mut self, path: &Path) -> Result<()> {
        let Some(status) = found(path)? else { return Ok(()) };
        if status.is_symlink() {
            return self.add(path, link(path)?);
        }
        if status.is_dir() && allows(&status, READ_BY_OTHERS | ENTERED_BY_OTHERS) {
            self.add(path, ViewEntry::Directory { mode: status.permissions().mode() & 0o7777 })?;
            let mut names: Vec<PathBuf> = Vec::new();
            for entry in fs::read_dir(path).at("list", path.to_string_lossy())? {
                names.push(entry.at("list", path.to_string_lossy())?.path());
            }
            names.sort();
            return names.iter().try_for_each(|name| self.copy(name));
        }
        if status.is_file() && allows(&status, READ_BY_OTHERS) && status.size() <= COPY_LIMIT {
            if let Some(content) = content(path)? {
                self.add(path, ViewEntry::File { mode: status.permissions().mode() & 0o777, content })?;
            }
        }
        Ok(())
    }
}

fn allows(status: &Metadata, bits: u32) -> bool {
    status.permissions().mode() & bits == bits
}

fn found(path: &Path) -> Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Err(error) if matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::ENOENT | Errno::ENOTDIR)) => Ok(None),
        other => other.map(Some).at("look at", path.to_string_lossy()),
    }
}

fn link(path: &Path) -> Result<ViewEntry> {
    let target = fs::read_link(path).at("read link", path.to_string_lossy())?;
    let target =
        target.into_os_string().into_string().map_err(|_| Error::host(format!("show {}", path.display()), "its target is not UTF-8"))?;
    Ok(ViewEntry::Symlink { target })
}

/// Looked at again by descriptor: what was judged is what is read.
fn content(path: &Path) -> Result<Option<Vec<u8>>> {
    let file =
        OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path).at("open", path.to_string_lossy())?;
    let status = file.metadata().at("look at", path.to_string_lossy())?;
    if !status.is_file() || !allows(&status, READ_BY_OTHERS) {
        return Ok(None);
    }
    let mut content = Vec::new();
    file.take(COPY_LIMIT).read_to_end(&mut content).at("read", path.to_string_lossy())?;
    Ok(Some(content))
}
