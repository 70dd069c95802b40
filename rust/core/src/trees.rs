//! Detached trees that the caller makes and init mounts: copies of what the host has, with other ids where config.json says so.
//!
//! Neighbours: plan/mounts.rs decides which; `launch` hands them over; `assistant` makes the user namespaces that hold a mapping.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::libc;

use crate::assistant::{create_namespaces, WantedNamespaces};
use crate::error::{Context, Error, Kind, Result};
use crate::launch::open_namespace;
use crate::plan::{IdMapped, Mapping};
use crate::sys;

/// The trees of one launch share the user namespaces of their mappings.
#[derive(Default)]
pub struct Trees {
    namespaces: Vec<(Mapping, OwnedFd)>,
}

impl Trees {
    /// A detached copy of the mount at `path`.
    pub fn open(&mut self, path: &Path, recursive: bool, idmap: Option<&IdMapped>) -> Result<OwnedFd> {
        let shown = path.to_string_lossy();
        let tree = sys::open_tree(path, recursive).at("open mount source", &shown).map_err(|error| match error.errno {
            // What lies on no mount of ours is a detached one, such as `pyrt.Overlay`.
            Some(Errno::EINVAL) if path.starts_with("/proc") && sys::kernel_version() < (6, 15) => {
                Error { kind: Kind::Host, ..error }.with_hint("a detached mount can be copied since Linux 6.15: give its layers instead")
            }
            _ => error,
        })?;
        if let Some(idmap) = idmap {
            let namespace = self.namespace(&idmap.mapping)?;
            sys::map_ids(tree.as_fd(), idmap.recursive, namespace.as_fd()).at("map the ids of", shown)?;
        }
        Ok(tree)
    }

    fn namespace(&mut self, mapping: &Mapping) -> Result<&OwnedFd> {
        let known = self.namespaces.iter().position(|(known, _)| known == mapping);
        let place = match known {
            Some(place) => place,
            None => {
                self.namespaces.push((mapping.clone(), make(mapping)?));
                self.namespaces.len() - 1
            }
        };
        Ok(&self.namespaces[place].1)
    }
}

fn make(mapping: &Mapping) -> Result<OwnedFd> {
    match mapping {
        Mapping::Namespace { path, at } => open_namespace(path, libc::CLONE_NEWUSER as u64, at),
        Mapping::Lines { uids, gids } => {
            let made = create_namespaces(&WantedNamespaces {
                kinds: vec!["user".to_owned()],
                uid_mappings: uids.clone(),
                gid_mappings: gids.clone(),
                monotonic_offset: 0.0,
                boottime_offset: 0.0,
            })?;
            let file = made.files.into_iter().next().map(|(_, file)| file);
            file.ok_or_else(|| Error::system("make a user namespace", None, Errno::ENOENT))
        }
    }
}
