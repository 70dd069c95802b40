//! `idmap`, `ridmap`, `uidMappings` and `gidMappings` of a mount: which ids of the source are which on the host (mount_setattr(2)).
//!
//! Neighbours: `mounts` asks for it; ../trees.rs makes the mapped tree, outside.

use std::path::PathBuf;

use oci_spec::runtime::{LinuxIdMapping, Mount, Spec};

use super::namespaces::{map_lines, Namespaces};
use crate::error::{Error, Result};

/// Id in the source, id on the host, how many.
pub type Lines = Vec<(u32, u32, u32)>;

/// The user namespace whose mapping a mount gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mapping {
    /// One that is made for it.
    Lines { uids: Lines, gids: Lines },
    /// The one that the container joins, where config.json names it.
    Namespace { path: PathBuf, at: String },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMapped {
    pub mapping: Mapping,
    /// The mounts below the source too.
    pub recursive: bool,
}

/// What the mount asks for. `word`: its option `idmap` (false) or `ridmap` (true).
pub fn of(mount: &Mount, word: Option<bool>, bind: bool, spec: &Spec, spaces: &Namespaces, at: &str) -> Result<Option<IdMapped>> {
    let (uids, gids) = (mount.uid_mappings().as_deref().unwrap_or_default(), mount.gid_mappings().as_deref().unwrap_or_default());
    let mapping = match (uids, gids) {
        ([], []) if word.is_none() => return Ok(None),
        ([], []) => of_container(spec, spaces, at)?,
        ([], _) => return Err(Error::spec(format!("{at}.uidMappings"), "is missing; gidMappings alone map nothing")),
        (_, []) => return Err(Error::spec(format!("{at}.gidMappings"), "is missing; uidMappings alone map nothing")),
        _ => {
            // Their text is written when the namespace is made; here only what is wrong with it counts.
            map_lines(uids, &format!("{at}.uidMappings"))?;
            map_lines(gids, &format!("{at}.gidMappings"))?;
            Mapping::Lines { uids: lines(uids), gids: lines(gids) }
        }
    };
    if !bind {
        return Err(Error::spec(at, "only a bind mount can have its ids mapped"));
    }
    Ok(Some(IdMapped { mapping, recursive: word.unwrap_or(false) }))
}

fn of_container(spec: &Spec, spaces: &Namespaces, at: &str) -> Result<Mapping> {
    if let Some((path, at)) = spaces.given_user() {
        return Ok(Mapping::Namespace { path: path.to_owned(), at: at.to_owned() });
    }
    match spec.linux() {
        Some(linux) if spaces.new_user() => Ok(Mapping::Lines {
            uids: lines(linux.uid_mappings().as_deref().unwrap_or_default()),
            gids: lines(linux.gid_mappings().as_deref().unwrap_or_default()),
        }),
        _ => Err(Error::spec(
            format!("{at}.options"),
            "idmap and ridmap need uidMappings and gidMappings beside them, or a user namespace of the container whose mappings they take",
        )),
    }
}

fn lines(maps: &[LinuxIdMapping]) -> Lines {
    maps.iter().map(|map| (map.container_id(), map.host_id(), map.size())).collect()
}
