//! What becomes `/`: the bundle's root file system, an overlay over it, or the host view.

use std::path::{Path, PathBuf};

use nix::libc;
use oci_spec::runtime::Spec;
use pyrt_init::Step;

use super::builder::{text, Builder, Handed, Strings};
use super::mount_options::MOUNT_ATTR_NODEV;
use super::namespaces::Namespaces;
use super::{Form, Options, Overlay};
use crate::error::{Error, Result};
use crate::view::{ViewEntries, ViewEntry};

const MOUNT_ATTR_RDONLY: u64 = 1;
const MS_REC: u64 = libc::MS_REC;

/// An upper layer without a size of its own: an unsized tmpfs may take half the machine.
pub const SCRATCH_SIZE: u64 = 1 << 30;

/// Where the view is put together inside its overlay: a directory that the host's `/` below it does not have, so that nothing of the
/// host is in it but what the view redirects there.
const VIEW_DIRECTORY: &str = "view";

/// The root file system's directory on the host.
pub fn path(spec: &Spec, options: &Options) -> Result<PathBuf> {
    if options.view.is_some() {
        return Ok(PathBuf::from("/"));
    }
    let root = spec.root().as_ref().ok_or_else(|| Error::spec("root", "is missing"))?;
    let path = root.path();
    if path.as_os_str().is_empty() {
        return Err(Error::spec("root.path", "is empty"));
    }
    if path.to_str().is_none_or(|path| path.contains('\0')) {
        return Err(Error::spec("root.path", "is not UTF-8 without NUL"));
    }
    Ok(options.bundle.join(path))
}

pub fn build(steps: &mut Builder, spec: &Spec, options: &Options, rootfs: &Path, spaces: &Namespaces) -> Result<()> {
    // Slave: what the host mounts later may come in, nothing goes out.
    steps.push(Step::Propagation { flags: MS_REC | inherited(propagation(spec)?) });
    // A library container holds no device but those that pyrt puts into its /dev, even where an image brings one.
    let attributes = if options.form == Form::Library { MOUNT_ATTR_NODEV } else { 0 };
    match (&options.view, &options.overlay) {
        (Some(view), overlay) => host_view(steps, view, overlay, attributes, spaces, options.keep_changes),
        (None, Overlay::Off) if options.keep_changes => {
            Err(Error::host("keep what a container changes", "without an overlay its changes are in the root itself"))
        }
        (None, Overlay::Off) => {
            // With a slash at the end: what is no directory is refused where its path is known.
            let fd = steps.hand(Handed::Tree { path: rootfs.join(""), recursive: true, hint: None, idmap: None });
            steps.push(Step::RootTree { fd, attributes });
            Ok(())
        }
        (None, overlay) => {
            let lower = escaped(rootfs, "root.path")?;
            if !options.keep_changes {
                return layers(steps, &lower, overlay, "", attributes, &[]);
            }
            layers(steps, &lower, overlay, "", attributes, WHOLE_ENTRIES)?;
            send_layer(steps, overlay, "")
        }
    }
}

/// An upper layer that can be read by itself: no directory elsewhere in the lower one is meant by it, and no file has its content there. The values that a
/// user namespace may ask for too.
const WHOLE_ENTRIES: &[&str] = &["redirect_dir=nofollow", "metacopy=off"];

/// While the working directory is still that of `scratch`.
fn send_layer(steps: &mut Builder, overlay: &Overlay, inside: &str) -> Result<()> {
    let upper = match overlay {
        Overlay::Keep { directory } => format!("{}/upper", directory.display()),
        Overlay::Off | Overlay::Discard { .. } => format!("upper/{inside}"),
    };
    steps.push(Step::SendLayer { upper: &text(&upper, "overlay directory")? });
    Ok(())
}

/// upper and work as overlay wants them, with whatever `Make*` steps come between: those work in the upper layer's file system.
fn scratch(steps: &mut Builder, overlay: &Overlay) -> Result<(String, String)> {
    match overlay {
        Overlay::Keep { directory } => {
            let directory = escaped(directory, "overlay directory")?;
            Ok((format!("{directory}/upper"), format!("{directory}/work")))
        }
        Overlay::Off | Overlay::Discard { .. } => {
            let size = match overlay {
                Overlay::Discard { size: Some(size) } => *size,
                _ => SCRATCH_SIZE,
            };
            let options = Strings::collect(["=size", &size.to_string(), "=mode", "755"], "overlay size")?;
            steps.push(Step::Scratch { options: options.list() });
            for directory in [c"upper", c"work"] {
                steps.push(Step::MakeDirectory { path: directory, mode: 0o755 });
            }
            Ok(("upper".to_owned(), "work".to_owned()))
        }
    }
}

fn layers(steps: &mut Builder, lower: &str, overlay: &Overlay, inside: &str, attributes: u64, more: &[&str]) -> Result<()> {
    let (upper, work) = scratch(steps, overlay)?;
    mount_layers(steps, lower, (&upper, &work), inside, attributes, more)
}

fn mount_layers(steps: &mut Builder, lower: &str, upper: (&str, &str), inside: &str, attributes: u64, more: &[&str]) -> Result<()> {
    let mut options = Strings::default();
    for option in [format!("lowerdir={lower}"), format!("upperdir={}", upper.0), format!("workdir={}", upper.1)] {
        options.push_option(&option, "root.path")?;
    }
    more.iter().try_for_each(|option| options.push_option(option, "root.path"))?;
    steps.push(Step::RootOverlay { options: options.list(), inside: &text(inside, "root.path")?, attributes });
    Ok(())
}

/// An overlay without a container: `lower`'s first is the topmost.
pub fn overlay_only(steps: &mut Builder, spec: &Spec, lower: &[PathBuf], overlay: &Overlay) -> Result<()> {
    steps.push(Step::Propagation { flags: MS_REC | inherited(propagation(spec)?) });
    let lower = lower.iter().map(|path| escaped(path, "lower")).collect::<Result<Vec<_>>>()?.join(":");
    layers(steps, &lower, overlay, "", 0, WHOLE_ENTRIES)?;
    send_layer(steps, overlay, "")
}

fn host_view(
    steps: &mut Builder,
    view: &ViewEntries,
    overlay: &Overlay,
    attributes: u64,
    spaces: &Namespaces,
    keep_changes: bool,
) -> Result<()> {
    if spaces.other_user() {
        return Err(Error::host(
            "show the host view in another user namespace",
            "an overlay there follows no redirects: give a rootfs, or no user namespace",
        ));
    }
    if matches!(overlay, Overlay::Keep { .. }) {
        return Err(Error::host("keep the host view's upper layer", "only a rootfs has an upper layer that is kept"));
    }
    let (upper, work) = scratch(steps, overlay)?;
    let place = format!("{upper}/{VIEW_DIRECTORY}");
    steps.push(Step::MakeDirectory { path: &text(&place, "view")?, mode: 0o755 });
    for (path, entry) in view.iter() {
        let at = text(&format!("{place}{path}"), "view")?;
        match entry {
            ViewEntry::Directory { mode } => steps.push(Step::MakeDirectory { path: &at, mode: u64::from(*mode) }),
            ViewEntry::Symlink { target } => steps.push(Step::MakeSymlink { path: &at, target: &text(target, "view")? }),
            ViewEntry::File { mode, content } => steps.push(Step::MakeFile { path: &at, mode: u64::from(*mode), content }),
            // The overlay takes the directory's content from this place of its lower layer, the host's `/`.
            ViewEntry::Tree { mode } => {
                steps.push(Step::MakeDirectory { path: &at, mode: u64::from(*mode) });
                steps.push(Step::SetAttribute { path: &at, name: c"trusted.overlay.redirect", value: path.as_bytes() });
            }
            ViewEntry::ReadOnlyMount => steps.push(Step::MakeDirectory { path: &at, mode: 0o755 }),
        }
    }
    let more: &[&str] = if keep_changes { &["redirect_dir=follow", "metacopy=off"] } else { &["redirect_dir=follow"] };
    mount_layers(steps, "/", (&upper, &work), VIEW_DIRECTORY, attributes, more)?;
    if keep_changes {
        send_layer(steps, overlay, VIEW_DIRECTORY)?;
    }
    for (path, _) in view.iter().filter(|(_, entry)| matches!(entry, ViewEntry::ReadOnlyMount)) {
        let at = text(path, "view")?;
        let set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV;
        steps.push(Step::Bind {
            source: &at,
            fd: pyrt_init::NO_FD,
            target: &at,
            set,
            clear: 0,
            set_all: 0,
            clear_all: 0,
            propagation: 0,
            behaviour: 0,
            device: 0,
        });
    }
    Ok(())
}

/// What becomes of the mounts that the new namespace begins with, until the pivot leaves them behind: unbindable ones could not be the
/// source of a bind mount, and shared ones would tell the host.
fn inherited(root: Option<u64>) -> u64 {
    match root {
        Some(flags) if flags == libc::MS_PRIVATE || flags == libc::MS_UNBINDABLE => libc::MS_PRIVATE,
        _ => libc::MS_SLAVE,
    }
}

/// The pivot, and then the root mount's last attributes: pivot_root(2) refuses a shared root.
pub fn enter(steps: &mut Builder, spec: &Spec, options: &Options) -> Result<()> {
    let read_only = spec.root().as_ref().and_then(|root| root.readonly()).unwrap_or(false);
    let attributes = if read_only { MOUNT_ATTR_RDONLY } else { 0 };
    let propagation = propagation(spec)?.unwrap_or(0);
    steps.push(if options.pivot { Step::Pivot {} } else { Step::Chroot {} });
    if attributes != 0 || propagation != 0 {
        steps.push(Step::RootAttributes { attributes, propagation });
    }
    Ok(())
}

fn propagation(spec: &Spec) -> Result<Option<u64>> {
    let Some(name) = spec.linux().as_ref().and_then(|linux| linux.rootfs_propagation().as_deref()) else { return Ok(None) };
    match name {
        "" => Ok(None),
        "private" | "rprivate" => Ok(Some(libc::MS_PRIVATE)),
        "slave" | "rslave" => Ok(Some(libc::MS_SLAVE)),
        "shared" | "rshared" => Ok(Some(libc::MS_SHARED)),
        "unbindable" | "runbindable" => Ok(Some(libc::MS_UNBINDABLE)),
        other => Err(Error::spec("linux.rootfsPropagation", format!("{other:?} is none of private, slave, shared, unbindable"))),
    }
}

/// A path in overlay's own syntax, where `:` parts layers.
pub fn escaped(path: &Path, at: &str) -> Result<String> {
    let path = path.to_str().ok_or_else(|| Error::spec(at, "is not UTF-8"))?;
    Ok(path.replace('\\', "\\\\").replace(':', "\\:"))
}
