//! From the spec's `linux.resources` to files and values of this host's hierarchies: pure, one file a controller.
//!
//! `config-linux.md`, "Control groups", says what each field means. 0 stands for "not set" wherever the spec's numbers allow no
//! sensible zero, as in runc: engines written in Go send it for a field that nobody gave. -1 is "no limit".
//! Neighbours: `discovery` (where a controller is), `plan` and `group` (carry the settings out).

mod cpu;
pub(super) mod cpuset;
mod devices;
mod hugetlb;
mod io;
mod memory;
mod network;
mod pids;
mod rdma;
mod unified;

use oci_spec::runtime::LinuxResources;

use super::devices::Program;
use super::directory::Version;
use super::discovery::Hierarchies;
use crate::error::{Error, Result};

/// "No limit" as the spec has it.
const UNLIMITED: i64 = -1;

/// One value for one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    pub version: Version,
    /// As it is called in that hierarchy: "blkio" on v1, "io" on v2.
    pub controller: String,
    /// (file, value): the first whose file exists is written. More than one where kernels name the file differently.
    pub files: Vec<(String, String)>,
    /// A missing file is fine: the value asks for no more than a kernel without the file does anyway.
    pub optional: bool,
    /// Which field of config.json asks.
    pub json_path: String,
}

/// All that `resources` ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// In the order to be written.
    pub files: Vec<Setting>,
    /// What the cgroup2 directory gets for a list of devices where no v1 controller takes the list.
    pub(super) devices: Option<Program>,
    /// What is not enforced and not an error.
    pub warnings: Vec<String>,
}

/// Errors: `Kind::Spec` for a value out of range, `Kind::Host` for a limit that no controller of these hierarchies can enforce.
pub fn settings(hierarchies: &Hierarchies, resources: &LinuxResources) -> Result<Settings> {
    let mut limits = Limits { hierarchies, settings: Vec::new(), devices: None, warnings: Vec::new() };
    if let Some(memory) = resources.memory() {
        memory::memory(&mut limits, memory)?;
    }
    if let Some(cpu) = resources.cpu() {
        cpu::cpu(&mut limits, cpu)?;
        cpuset::cpuset(&mut limits, cpu)?;
    }
    if let Some(pids) = resources.pids() {
        pids::pids(&mut limits, pids)?;
    }
    if let Some(block_io) = resources.block_io() {
        io::block_io(&mut limits, block_io)?;
    }
    hugetlb::hugetlb(&mut limits, resources.hugepage_limits().as_deref().unwrap_or_default())?;
    if let Some(network) = resources.network() {
        network::network(&mut limits, network)?;
    }
    if let Some(rdma) = resources.rdma() {
        rdma::rdma(&mut limits, rdma)?;
    }
    devices::devices(&mut limits, resources.devices().as_deref().unwrap_or_default())?;
    // Last, so that it has the last word where it names the same file as a field above.
    if let Some(unified) = resources.unified() {
        unified::unified(&mut limits, unified)?;
    }
    Ok(Settings { files: limits.settings, devices: limits.devices, warnings: limits.warnings })
}

/// What is gathered while the controllers are gone through.
struct Limits<'a> {
    hierarchies: &'a Hierarchies,
    settings: Vec<Setting>,
    devices: Option<Program>,
    warnings: Vec<String>,
}

impl Limits<'_> {
    /// Where the controller that a limit needs is; an error where this host has none.
    fn require(&self, controller: &str, json_path: &str) -> Result<(Version, String)> {
        self.hierarchies.locate(controller).ok_or_else(|| {
            let mode = match self.hierarchies.controllers().join(" ") {
                names if names.is_empty() => "no controllers".to_owned(),
                names => names,
            };
            match self.hierarchies.limited() {
                Some(hint) => Error::host(format!("limit {json_path}: no {controller} cgroup controller for this user"), hint),
                None => Error::host(
                    format!("limit {json_path}: no {controller} cgroup controller on this host"),
                    format!("leave the limit out, or delegate the controller; available here: {mode}"),
                ),
            }
        })
    }

    /// As `require`, for what only v1 has.
    fn require_v1(&self, controller: &str, json_path: &str) -> Result<String> {
        match self.require(controller, json_path)? {
            (Version::V1, name) => Ok(name),
            (Version::V2, _) => Err(not_on_v2(json_path)),
        }
    }

    fn set(&mut self, (version, controller): (Version, String), json_path: &str, file: &str, value: impl ToString) {
        self.set_first(version, controller, json_path, vec![(file.to_owned(), value.to_string())]);
    }

    fn set_first(&mut self, version: Version, controller: String, json_path: &str, files: Vec<(String, String)>) {
        self.settings.push(Setting { version, controller, files, optional: false, json_path: json_path.to_owned() });
    }
}

fn not_on_v2(json_path: &str) -> Error {
    Error::host(format!("limit {json_path}: cgroup v2 has no such limit"), "leave it out; only cgroup v1 has it")
}

/// A spec error unless `value` lies in `range`.
fn in_range<T: PartialOrd + std::fmt::Display>(value: T, range: std::ops::RangeInclusive<T>, json_path: &str) -> Result<T> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(Error::spec(json_path, format!("{value} is not between {} and {}", range.start(), range.end())))
}

/// A limit in bytes: None where not set (0), -1 for none, else positive.
fn bytes(value: Option<i64>, json_path: &str) -> Result<Option<i64>> {
    match value {
        None | Some(0) => Ok(None),
        Some(number) if number >= UNLIMITED => Ok(Some(number)),
        Some(number) => Err(Error::spec(json_path, format!("{number} is no number of bytes, nor -1 for no limit"))),
    }
}

/// A number as cgroup2 files have it.
fn or_max(value: i64) -> String {
    if value == UNLIMITED {
        "max".to_owned()
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests;
