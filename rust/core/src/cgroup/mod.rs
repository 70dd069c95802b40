//! Cgroups: limits, tracking, ending and usage, on cgroup v2, v1, and both at once (hybrid).
//!
//! `discovery` finds the hierarchies (`allowed`: those of an ordinary user) → `limits` turns the spec's resources into files and values → `plan` decides and makes → `group`
//! is what exists, and what is done with it; `scope` has systemd make it. `v1` and `v2` answer the same questions for one directory, `usage` and
//! `statistics` read counters, `oom` notifies, `processes` lists and signals, `devices` is the eBPF program of cgroup2, `delegation` is about who may
//! do what in it, `above` about cgroups that were made on the way, `directory` is the only one that touches files.
//!
//! On a hybrid host limits go through v1, while the cgroup2 mount, controllers or not, tracks, freezes and kills. A launch never
//! writes `cgroup.procs` (5 to 15 ms on v1): `CLONE_INTO_CGROUP` with `Cgroup::unified`, `0` into each of `Cgroup::tasks`.

mod above;
mod allowed;
mod delegation;
mod devices;
mod directory;
mod discovery;
mod group;
mod limits;
mod oom;
mod plan;
mod processes;
mod restore;
mod scope;
mod statistics;
mod update;
mod usage;
mod v1;
mod v2;

pub use directory::Version;
pub use discovery::{Hierarchies, Hierarchy, Mode};
pub use group::Cgroup;
pub use limits::{settings, Setting, Settings};
pub use oom::OomNotifier;
pub use plan::{default_path, default_scope, CgroupPlan, Form};
pub(crate) use processes::signal_listed;
pub use statistics::Statistics;
pub use usage::Usage;

/// The key of the cgroup2 hierarchy in `paths`; v1 hierarchies are named by their controllers.
pub const UNIFIED: &str = "unified";
