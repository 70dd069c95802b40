//! The mechanism of pyrt.
//!
//! `oci` reads and checks config.json · `host` what this machine can do · `features` what this build can · `view` what of it a container without an image sees · `plan`
//! decides · `launch` makes the process · `trees` are what it mounts, `netlink` moves network devices into it · `start` lets it go on · `command` gives one that waits its program · `hooks` runs those of the runtime namespace · `notify` passes READY=1 on · `passwd` says where its user is at home · `layer` is what it changed, and the way into its root and out · `process` names it · `signal` knows signals by name · `assistant` makes namespaces and overlays without a container · `terminal`
//! is the foreground · `container` keeps state and moves a container from one to the next · `ending` waits for it · `interruption` asks whether a wait is to be given up · `watcher` ends what must not outlive the caller · `conversation` hears init · `seccomp` compiles profiles · `cgroup` limits and counts · `checkpoint` speaks to CRIU · `systemd` has it made by systemd · `sys` speaks kernel.

pub mod assistant;
pub mod cgroup;
pub mod checkpoint;
pub mod command;
pub mod container;
mod conversation;
pub mod ending;
pub mod error;
pub mod features;
pub mod hooks;
pub mod host;
mod id_maps;
pub mod interruption;
mod kept;
pub mod launch;
pub mod layer;
mod mountinfo;
mod netlink;
pub mod notify;
pub mod oci;
pub mod passwd;
mod pid_namespace;
pub mod plan;
pub mod process;
pub mod rootless;
pub mod seccomp;
pub mod signal;
pub mod start;
pub mod sys;
pub mod systemd;
pub mod terminal;
mod trees;
pub mod view;
pub mod watcher;

pub use error::{Error, Kind, Result};
