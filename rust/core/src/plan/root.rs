//! What becomes `/`: the bundle's root file system, an overlay over it, or the host view (`view`).

use std::path::{Path, PathBuf};

use nix::libc;
use oci_spec::runtime::Spec;
use pyrt_init::Step;

use super::builder::{text, Builder, Strings};
use super::mount_options::{MOUNT_ATTR_NODEV, MOUNT_ATTR_RDONLY};
use super::namespaces::Namespaces;
use super::{view, Form, Options, Overlay};
use crate::error::{Error, Result};
use crate::host::HostFacts;

const MS_REC: u64 = libc::MS_REC;

/// An upper layer without a size of its own: an unsized tmpfs may take half the machine.
pub const SCRATCH_SIZE: u64 = 1 << 30;

/// Overlay's own marks (opaque directories and the like) as user.* attributes: trusted.* belong to the machine's root.
pub(super) const USER_ATTRIBUTES: &str = "userxattr";

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

pub fn build(steps: &mut Builder, spec: &Spec, options: &Options, rootfs: &Path, spaces: &Namespaces, facts: &HostFacts) -> Result<()> {
    // Slave: what the host mounts later may come in, nothing goes out.
    steps.push(Step::Propagation { flags: MS_REC | inherited(propagation(spec)?) });
    // A library container holds no device but those that pyrt puts into its /dev, even where an image brings one.
    let attributes = if options.form == Form::Library { MOUNT_ATTR_NODEV } else { 0 };
    match (&options.view, &options.overlay) {
        (Some(_), Overlay::Keep { .. }) => {
            Err(Error::host("keep the host view's upper layer", "only a rootfs has an upper layer that is kept"))
        }
        (Some(entries), overlay) if is_foreign(spaces, facts) => view::of_parts(steps, entries, overlay, attributes, options.keep_changes),
        (Some(entries), overlay) => view::whole(steps, entries, overlay, attributes, options.keep_changes),
        (None, Overlay::Off) if options.keep_changes => {
            Err(Error::host("keep what a container changes", "without an overlay its changes are in the root itself"))
        }
        (None, Overlay::Off) => {
            // With a slash at the end: what is no directory is refused where its path is known.
            let source = rootfs.join("");
            let fd = steps.tree(source.clone(), true, None, None)?;
            // Its encoding was checked with its path.
            steps.push(Step::RootTree { source: &text(&source.to_string_lossy(), "root.path")?, fd, attributes });
            Ok(())
        }
        (None, overlay) => {
            let lower = escaped(rootfs, "root.path")?;
            layers(steps, &lower, overlay, attributes, &overlay_options(is_foreign(spaces, facts), options.keep_changes))?;
            if options.keep_changes {
                send_layer(steps, overlay, "")?;
            }
            Ok(())
        }
    }
}

/// An upper layer that can be read by itself: no directory elsewhere in the lower one is meant by it, and no file has its content there. The values that a
/// user namespace may ask for too.
const WHOLE_ENTRIES: &[&str] = &["redirect_dir=nofollow", "metacopy=off"];

/// Mounts are made in another user namespace than the machine's first: an overlay then has no trusted.* attributes, and no lower layer with
/// mounts below it, which it would uncover.
pub fn is_foreign(spaces: &Namespaces, facts: &HostFacts) -> bool {
    spaces.other_user() || !facts.initial_user_namespace
}

fn overlay_options(foreign: bool, keep_changes: bool) -> Vec<&'static str> {
    let kept = if keep_changes { WHOLE_ENTRIES } else { &[] };
    let foreign: &[&str] = if foreign { &[USER_ATTRIBUTES] } else { &[] };
    [foreign, kept].concat()
}

/// While the working directory is still that of `scratch`.
pub(super) fn send_layer(steps: &mut Builder, overlay: &Overlay, inside: &str) -> Result<()> {
    let upper = match overlay {
        Overlay::Keep { directory } => format!("{}/upper", directory.display()),
        Overlay::Off | Overlay::Discard { .. } => format!("upper/{inside}"),
    };
    steps.push(Step::SendLayer { upper: &text(&upper, "overlay directory")? });
    Ok(())
}

/// upper and work as overlay wants them, with whatever `Make*` steps come between: those work in the upper layer's file system.
pub(super) fn scratch(steps: &mut Builder, overlay: &Overlay) -> Result<(String, String)> {
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

fn layers(steps: &mut Builder, lower: &str, overlay: &Overlay, attributes: u64, more: &[&str]) -> Result<()> {
    let (upper, work) = scratch(steps, overlay)?;
    mount_layers(steps, lower, (&upper, &work), "", attributes, more)
}

/// An overlay becomes the root, or the directory `inside` of it.
pub(super) fn mount_layers(
    steps: &mut Builder,
    lower: &str,
    upper: (&str, &str),
    inside: &str,
    attributes: u64,
    more: &[&str],
) -> Result<()> {
    let options = layer_options(lower, upper, more)?;
    steps.push(Step::RootOverlay { options: options.list(), inside: &text(inside, "root.path")?, attributes });
    Ok(())
}

/// `upper`: the upper and the work directory.
pub(super) fn layer_options(lower: &str, upper: (&str, &str), more: &[&str]) -> Result<Strings> {
    let mut options = Strings::default();
    for option in [format!("lowerdir={lower}"), format!("upperdir={}", upper.0), format!("workdir={}", upper.1)] {
        options.push_option(&option, "root.path")?;
    }
    more.iter().try_for_each(|option| options.push_option(option, "root.path"))?;
    Ok(options)
}

/// An overlay without a container: `lower`'s first is the topmost.
pub fn overlay_only(
    steps: &mut Builder,
    spec: &Spec,
    lower: &[PathBuf],
    overlay: &Overlay,
    spaces: &Namespaces,
    facts: &HostFacts,
) -> Result<()> {
    steps.push(Step::Propagation { flags: MS_REC | inherited(propagation(spec)?) });
    let lower = lower.iter().map(|path| escaped(path, "lower")).collect::<Result<Vec<_>>>()?.join(":");
    layers(steps, &lower, overlay, 0, &overlay_options(is_foreign(spaces, facts), true))?;
    send_layer(steps, overlay, "")
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
