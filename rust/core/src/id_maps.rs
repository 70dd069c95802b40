//! Writes uid_map and gid_map of a new user namespace, each as its `Writer` may (user_namespaces(7)).
//!
//! The one place where pyrt starts a program of the host for itself: only newuidmap(1) and newgidmap(1), which are setuid, can give an
//! ordinary user the ranges of /etc/subuid and /etc/subgid. Neighbours: plan/namespaces.rs decides who writes; ../hooks.rs runs programs.

use std::path::PathBuf;

use oci_spec::runtime::HookBuilder;

use crate::error::{Context, Error, Kind, Result};
use crate::hooks;
use crate::plan::{IdMap, IdMaps, Writer};

/// Seconds that a helper may take: it reads two files, but a name service may be behind them.
const PATIENCE: i64 = 30;

/// `pid` is our child and not reaped, so the number is still its.
pub fn write(maps: &IdMaps, pid: i32) -> Result<()> {
    one(&maps.uids, pid, "uid_map", "newuidmap", "/etc/subuid")?;
    if maps.gids.writer == Writer::Himself {
        // Else the kernel refuses the map: whoever could drop a group could reach what is closed to that group.
        put(pid, "setgroups", "deny")?;
    }
    one(&maps.gids, pid, "gid_map", "newgidmap", "/etc/subgid")
}

fn one(map: &IdMap, pid: i32, name: &str, helper: &str, ranges: &str) -> Result<()> {
    match map.writer {
        Writer::Privileged | Writer::Himself => put(pid, name, &map.lines),
        Writer::Helper => help(map, pid, name, helper).map_err(|error| match (error.kind, error.hint.clone()) {
            (Kind::System, Some(said)) => error.with_hint(format!("{said}; {ranges} gives the ranges that may be mapped")),
            _ => error,
        }),
    }
}

fn put(pid: i32, name: &str, value: &str) -> Result<()> {
    let path = format!("/proc/{pid}/{name}");
    std::fs::write(&path, value).at(format!("write {name}"), &path)
}

fn help(map: &IdMap, pid: i32, name: &str, helper: &str) -> Result<()> {
    let operation = format!("write {name} by {helper}");
    let Some(path) = found(helper) else { return Err(missing(operation, helper)) };
    let numbers = map.lines.split_ascii_whitespace().map(str::to_owned);
    let words: Vec<String> = [helper.to_owned(), pid.to_string()].into_iter().chain(numbers).collect();
    let hook = HookBuilder::default().path(path).args(words).timeout(PATIENCE).build();
    let hook = hook.map_err(|error| Error::new(Kind::System, &operation).with_hint(error.to_string()))?;
    hooks::run(&hook, &operation, b"")
}

/// One line for `pyrt check`; whose ranges there are is `user_namespace.py`'s to read.
pub fn described() -> Result<String> {
    match ["newuidmap", "newgidmap"].iter().find(|helper| found(helper).is_none()) {
        None => Ok("can be mapped by newuidmap, as /etc/subuid and /etc/subgid say".to_owned()),
        Some(helper) => Err(missing("map more than the caller's own id", helper)),
    }
}

fn missing(operation: impl Into<String>, helper: &str) -> Error {
    Error::host(operation, format!("{helper} (Debian package uidmap) is not in $PATH; without it only the caller's own id can be mapped"))
}

fn found(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|directory| directory.join(program)).find(|path| path.is_file())
}
