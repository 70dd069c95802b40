//! /proc/self/mountinfo: the mounts that this process sees (proc_pid_mountinfo(5)).
//!
//! Neighbours: cgroup/discovery.rs looks for hierarchies in it; `view` for what lies below a directory.

use std::path::PathBuf;

use crate::error::{Context, Result};

const PATH: &str = "/proc/self/mountinfo";

pub fn read() -> Result<String> {
    std::fs::read_to_string(PATH).at("read", PATH)
}

/// Where something is mounted.
pub fn points() -> Result<Vec<PathBuf>> {
    Ok(read()?.lines().filter_map(|line| line.split(' ').nth(4)).map(|point| unescape(point).into()).collect())
}

/// Undo the kernel's escapes for space, tab, newline and backslash: a backslash and three octal digits.
pub fn unescape(field: &str) -> String {
    let mut parts = field.split('\\');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                text.push(char::from(byte));
                text.push_str(&part[3..]);
            }
            None => {
                text.push('\\');
                text.push_str(part);
            }
        }
    }
    text
}
