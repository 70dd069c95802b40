//! The host view as a root: one overlay of the host's `/`, or where none can be had a tmpfs with an overlay for each part.
//!
//! Neighbours: ../view.rs reads what the host has of it; `root` has the layers.

use std::ffi::CStr;
use std::path::Path;

use pyrt_init::{behaviour, Step, NO_FD};

use super::builder::{text, Builder};
use super::mount_options::{MOUNT_ATTR_NODEV, MOUNT_ATTR_RDONLY};
use super::root::{escaped, layer_options, mount_layers, scratch, send_layer, USER_ATTRIBUTES};
use super::Overlay;
use crate::error::{Error, Result};
use crate::view::{ViewEntries, ViewEntry};

/// Where the view is put together: inside its overlay a directory that the host's `/` below it does not have, so that nothing of the host
/// is in it but what the view redirects there.
const DIRECTORY: &str = "view";

pub fn whole(steps: &mut Builder, view: &ViewEntries, overlay: &Overlay, attributes: u64, keep_changes: bool) -> Result<()> {
    let (upper, work) = scratch(steps, overlay)?;
    // The overlay takes the directory's content from this place of its lower layer, the host's `/`.
    fill(steps, view, &format!("{upper}/{DIRECTORY}"), |steps, path, at| {
        steps.push(Step::SetAttribute { path: at, name: c"trusted.overlay.redirect", value: path.as_bytes() });
    })?;
    let more: &[&str] = if keep_changes { &["redirect_dir=follow", "metacopy=off"] } else { &["redirect_dir=follow"] };
    mount_layers(steps, "/", (&upper, &work), DIRECTORY, attributes, more)?;
    if keep_changes {
        send_layer(steps, overlay, DIRECTORY)?;
    }
    let bound = view.iter().filter(|(_, entry)| matches!(entry, ViewEntry::ReadOnlyMount { .. }));
    bound.map(|(path, _)| path).try_for_each(|path| read_only(steps, path, false))
}

/// In another user namespace the kernel refuses an overlay of `/`, whose mounts are locked there ("failed to clone lowerpath"), and follows no
/// redirects. So the root is a directory of the tmpfs, and each of the host's directories an overlay of its own on it, with its upper layer
/// in the same tmpfs; one with mounts below it is for the same reason bound, read-only.
pub fn of_parts(steps: &mut Builder, view: &ViewEntries, overlay: &Overlay, attributes: u64, keep_changes: bool) -> Result<()> {
    if keep_changes {
        return Err(Error::host(
            "keep the changes of the host view in another user namespace",
            "there each of its directories has an upper layer of its own: give a rootfs",
        ));
    }
    let (upper, work) = scratch(steps, overlay)?;
    fill(steps, view, DIRECTORY, |_, _, _| {})?;
    steps.push(Step::RootTree { source: &text(DIRECTORY, "view")?, fd: NO_FD, attributes });
    for (index, (path, entry)) in view.iter().enumerate() {
        match entry {
            ViewEntry::Tree { mode, mounts_below: false } | ViewEntry::ReadOnlyMount { overlay: Some(mode) } => {
                let (upper, work) = (format!("{upper}/{index}"), format!("{work}/{index}"));
                // The merged directory has the upper one's mode.
                steps.push(Step::MakeDirectory { path: &text(&upper, "view")?, mode: u64::from(*mode) });
                steps.push(Step::MakeDirectory { path: &text(&work, "view")?, mode: 0o755 });
                let options = layer_options(&escaped(Path::new(path), "view")?, (&upper, &work), &[USER_ATTRIBUTES])?;
                steps.push(Step::Mount {
                    kind: c"overlay",
                    source: c"overlay",
                    target: &text(path, "view")?,
                    options: options.list(),
                    attributes,
                    propagation: 0,
                    behaviour: 0,
                });
            }
            ViewEntry::Tree { mounts_below: true, .. } | ViewEntry::ReadOnlyMount { overlay: None } => read_only(steps, path, true)?,
            ViewEntry::Directory { .. } | ViewEntry::Symlink { .. } | ViewEntry::File { .. } => {}
        }
    }
    Ok(())
}

/// Everything of the view that is no mount, below `place`; `tree` adds to a directory what shows the host's.
fn fill(steps: &mut Builder, view: &ViewEntries, place: &str, tree: impl Fn(&mut Builder, &str, &CStr)) -> Result<()> {
    steps.push(Step::MakeDirectory { path: &text(place, "view")?, mode: 0o755 });
    for (path, entry) in view.iter() {
        let at = text(&format!("{place}{path}"), "view")?;
        match entry {
            ViewEntry::Directory { mode } => steps.push(Step::MakeDirectory { path: &at, mode: u64::from(*mode) }),
            ViewEntry::Symlink { target } => steps.push(Step::MakeSymlink { path: &at, target: &text(target, "view")? }),
            ViewEntry::File { mode, content } => steps.push(Step::MakeFile { path: &at, mode: u64::from(*mode), content }),
            ViewEntry::Tree { mode, .. } => {
                steps.push(Step::MakeDirectory { path: &at, mode: u64::from(*mode) });
                tree(steps, path, &at);
            }
            ViewEntry::ReadOnlyMount { .. } => steps.push(Step::MakeDirectory { path: &at, mode: 0o755 }),
        }
    }
    Ok(())
}

/// `recursive`: with the mounts below it, without which the kernel gives nothing out where they are locked.
fn read_only(steps: &mut Builder, path: &str, recursive: bool) -> Result<()> {
    let at = text(path, "view")?;
    let all = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV;
    let (set, set_all) = if recursive { (0, all) } else { (all, 0) };
    steps.push(Step::Bind {
        source: &at,
        fd: NO_FD,
        target: &at,
        set,
        clear: 0,
        set_all,
        clear_all: 0,
        propagation: 0,
        behaviour: if recursive { behaviour::RECURSIVE } else { 0 },
        device: 0,
    });
    Ok(())
}
