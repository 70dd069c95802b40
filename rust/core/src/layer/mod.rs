//! The upper layer of a container's root: what it changed, copies into its root and out of it, and the changes as a layer of their own.
//!
//! All that is read here was written by what ran inside, and may be written further meanwhile: every name is opened relative to a descriptor,
//! one that the caller holds, and no symbolic link leads out of that. `entry` opens and copies one name · `changes` compares the upper layer
//! with what lies below · `commit` writes it down as a layer · `copy` goes in and out · both tell by `progress`.

mod changes;
mod commit;
mod copy;
mod entry;
mod progress;

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

pub use changes::{Change, Changed};
pub use copy::{Copied, CopyOptions, Root};
pub use progress::OnProgress;

use crate::error::{Context, Result};
use crate::plan::LaunchPlan;
use crate::sys;
use crate::view::ViewEntries;

/// What lies below the upper layer.
#[derive(Debug)]
pub(crate) enum Below {
    /// Directories, the topmost first.
    Directories(Vec<PathBuf>),
    /// The host view, which stands in the upper layer itself, with trees of the host.
    View(ViewEntries),
}

const TRUSTED: &CStr = c"trusted.overlay.opaque";

#[derive(Debug)]
pub struct Layer {
    upper: OwnedFd,
    below: Below,
    /// Paths at which init made what something is mounted on.
    targets: BTreeSet<PathBuf>,
    /// The attribute by which the overlay marks a directory that hides all below it.
    opaque: &'static CStr,
}

impl Layer {
    /// Of a launch: what init handed out.
    pub(crate) fn of(plan: &LaunchPlan, upper: OwnedFd) -> Self {
        let below = match &plan.options.view {
            Some(view) => Below::View(view.clone()),
            None => Below::Directories(vec![plan.rootfs.clone()]),
        };
        let opaque = if plan.user_attributes { c"user.overlay.opaque" } else { TRUSTED };
        Layer { upper, below, targets: plan.steps.targets(), opaque }
    }

    /// Of an overlay without a container.
    pub fn over(lower: &[PathBuf], upper: OwnedFd) -> Self {
        Layer { upper, below: Below::Directories(lower.to_vec()), targets: BTreeSet::new(), opaque: TRUSTED }
    }

    /// What is in the upper layer and not in those below, in the order of the paths; each is absolute, as the container has it.
    pub fn changes(&self) -> Result<Vec<Changed>> {
        let mut all = Vec::new();
        self.visit(|found| {
            all.extend(found.change.map(|change| Changed { path: Path::new("/").join(found.path), change }));
            Ok(())
        })?;
        all.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(all)
    }

    fn lower(&self) -> Result<Vec<OwnedFd>> {
        let directories = match &self.below {
            Below::Directories(directories) => directories.as_slice(),
            Below::View(_) => &[PathBuf::from("/")],
        };
        directories.iter().map(|path| sys::open_path(path).at("open the layer", path.to_string_lossy())).collect()
    }
}

impl AsFd for Layer {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.upper.as_fd()
    }
}
