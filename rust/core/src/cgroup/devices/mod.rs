//! Which device files a container may make, read and write: `linux.resources.devices`.
//!
//! `rules` reads the list and knows what every container needs. On cgroup2 `program` makes one eBPF program of it, pure, and `attach`
//! puts that on the container's cgroup, where it holds for all cgroups below and for whatever enters later. Where the v1 controller is
//! mounted, `limits/devices.rs` writes the same rules into its files instead.

mod attach;
mod program;
mod rules;

pub(super) use attach::install;
pub(super) use program::Program;
pub(super) use rules::{read, Kind, Rule, IMPLICIT, LIST};

#[cfg(test)]
mod tests;
