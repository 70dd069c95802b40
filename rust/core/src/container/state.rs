//! `State`: what state.json says of one container, and the words for what it is found to be.
//!
//! It is written once, before anything is made; what happens after that is told by marks beside it (`directory`). It is read as hostile
//! input: a value that pyrt never writes is refused.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::boot_id;
use crate::error::{Error, Kind, Result};
use crate::plan::LaunchPlan;

const FORMAT_VERSION: u32 = 1;
/// The kernel's PID_MAX_LIMIT.
const PID_LIMIT: i32 = 4 * 1024 * 1024;

/// The statuses of the runtime-spec ("State"), and runc's paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Creating,
    Created,
    Running,
    Paused,
    Stopped,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        })
    }
}

/// A process, by what tells a reused number apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Init {
    pub pid: i32,
    /// Clock ticks since boot: /proc/PID/stat, field 22.
    pub start_time: u64,
}

impl fmt::Display for Init {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pid, self.start_time)
    }
}

impl Init {
    /// `None` for what is not written as above, or can be no container's process: 1 is the host's init, and 0 and below mean whole groups
    /// of processes to kill(2).
    pub fn parse(text: &str) -> Option<Self> {
        let (pid, start_time) = text.split_once(' ')?;
        let init = Init { pid: pid.parse().ok()?, start_time: start_time.parse().ok()? };
        ((2..=PID_LIMIT).contains(&init.pid) && init.to_string() == text).then_some(init)
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    version: u32,
    pub id: String,
    /// The boot in which its process means something (random(4)).
    pub boot_id: String,
    pub oci_version: String,
    /// Absolute, as is `rootfs`.
    pub bundle: String,
    pub rootfs: String,
    /// RFC 3339, UTC.
    pub created: String,
    pub annotations: BTreeMap<String, String>,
    /// False where only the cgroup can end all that is inside.
    pub own_pid_namespace: bool,
    pub has_poststart: bool,
    pub has_poststop: bool,
    /// Its processes have a session keyring of their own, not that of whoever starts them.
    pub new_keyring: bool,
    /// config.json as it was given, for hooks and later processes.
    pub config: Box<RawValue>,
}

impl State {
    /// What is known before the launch: what the plan says, with the bytes of its config.json.
    pub fn of(plan: &LaunchPlan, id: &str, config: &[u8]) -> Result<Self> {
        let config = std::str::from_utf8(config).ok().and_then(|text| RawValue::from_string(text.to_owned()).ok());
        Ok(State {
            version: FORMAT_VERSION,
            id: id.to_owned(),
            boot_id: boot_id()?.to_owned(),
            oci_version: plan.config.spec.version().to_owned(),
            bundle: text(&plan.options.bundle, "bundle")?,
            rootfs: text(&plan.rootfs, "rootfs")?,
            created: humantime::format_rfc3339_nanos(std::time::SystemTime::now()).to_string(),
            annotations: plan.annotations().into_iter().collect(),
            own_pid_namespace: plan.own_pid_namespace,
            has_poststart: plan.has_poststart(),
            has_poststop: plan.has_poststop(),
            new_keyring: plan.options.new_keyring,
            config: config.ok_or_else(|| Error::spec("(file)", "not JSON"))?,
        })
    }

    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_else(|_| unreachable!("strings and numbers are always JSON"))
    }

    /// Of the container `id`, or why the bytes are not what `to_json` writes for it.
    pub fn from_json(bytes: &[u8], id: &str) -> std::result::Result<Self, String> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let other_version = || format!("it is not state of version {FORMAT_VERSION}");
        match serde_json::from_slice::<Version>(bytes) {
            Ok(Version { version: FORMAT_VERSION }) => {}
            Err(error) if !error.is_data() => return Err(format!("not JSON: {error}")),
            _ => return Err(other_version()),
        }
        let state: State = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if state.id != id {
            return Err("it belongs to another id".to_owned());
        }
        Ok(state)
    }
}

fn text(path: &Path, what: &str) -> Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| Error::new(Kind::Spec, format!("{what} {} is not UTF-8", path.display())))
}

/// The runtime-spec's state, as hooks get it on stdin.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OciState<'a> {
    pub oci_version: &'a str,
    pub id: &'a str,
    pub status: Status,
    /// As the caller sees it; 0 when stopped.
    pub pid: i32,
    pub bundle: &'a str,
    pub annotations: &'a BTreeMap<String, String>,
}

/// What `pyrt state` prints: the runtime-spec's state, and runc's additions.
#[derive(Debug, Serialize)]
pub struct ShownState<'a> {
    #[serde(flatten)]
    pub oci: OciState<'a>,
    pub rootfs: &'a str,
    pub created: &'a str,
    /// Name of the user who created it, or the number where it has no name.
    pub owner: String,
}
