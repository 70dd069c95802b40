//! Cgroups that systemd makes: a transient scope for each container, asked for over D-Bus.
//!
//! `name` says what linux.cgroupsPath means to systemd · `properties` turns cgroup2 files and values into what systemd calls them · `value`
//! is what travels on D-Bus, `text` how annotations write it (all four are pure) · `bus` sends and waits · here is what is asked for.
//!
//! Every limit is written into its file by `cgroup`, as without systemd: the kernel's answer counts. systemd is told the same values, so
//! that it never writes others over them. Sources: org.freedesktop.systemd1(5), systemd.resource-control(5), systemd.scope(5).

mod bus;
mod name;
mod properties;
#[cfg(test)]
mod tests;
mod text;
mod value;

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use crate::cgroup::{Hierarchies, Setting};
use crate::error::{Error, Kind, Result};
use bus::{Bus, Failure};
pub(crate) use name::Name;
pub(crate) use value::Value;

/// systemd answers in milliseconds; more than this is a hung or overloaded one.
const PATIENCE: Duration = Duration::from_secs(30);

const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";
const UNIT_EXISTS: &str = "org.freedesktop.systemd1.UnitExists";

/// Whose systemd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    System,
    /// The calling user's own, `systemd --user`.
    User,
}

impl Owner {
    /// The user's for everybody but root, and for the root of a user's own user namespace (podman without root).
    fn of_caller() -> Self {
        let own_namespace = || {
            let maps = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
            let all = ["0", "0", "4294967295"];
            maps.split_whitespace().ne(all) && std::env::var_os("XDG_RUNTIME_DIR").is_some_and(|directory| !directory.is_empty())
        };
        match nix::unistd::geteuid().is_root() && !own_namespace() {
            true => Owner::System,
            false => Owner::User,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Owner::System => "system",
            Owner::User => "user",
        }
    }
}

/// What a plan has to know of a systemd that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manager {
    pub owner: Owner,
    /// Its own cgroup below the mount's root, empty for the root itself: where its slices are.
    pub control_group: String,
    pub version: u32,
    /// What it makes cgroups in.
    pub hierarchies: Hierarchies,
}

impl Manager {
    /// Asks the one that is the caller's. Errors: `Host` where none runs, or none answers.
    pub fn ask() -> Result<Self> {
        let owner = Owner::of_caller();
        let mut bus = Bus::connect(owner, PATIENCE)?;
        let version = version(&mut bus)?;
        let control_group = property(&mut bus, "ControlGroup")?;
        let control_group = control_group.trim_end_matches('/').to_owned();
        let hierarchies = Hierarchies::of_systemd((owner == Owner::User).then_some(&control_group))?;
        Ok(Manager { owner, control_group, version, hierarchies })
    }
}

fn property(bus: &mut Bus, name: &str) -> Result<String> {
    let arguments = [Value::string(MANAGER), Value::string(name)];
    let answer = bus.call("org.freedesktop.DBus.Properties", "Get", &arguments).map_err(|failure| failure.doing("ask systemd", name))?;
    match answer.into_iter().next() {
        Some(Value::Variant(value)) => value.into_text().ok_or_else(|| bus::odd("ask systemd", name)),
        _ => Err(bus::odd("ask systemd", name)),
    }
}

/// "252.38-1~deb12u1": 252.
fn version(bus: &mut Bus) -> Result<u32> {
    let text = property(bus, "Version")?;
    let number = text.trim_start_matches(|c: char| !c.is_ascii_digit()).split(|c: char| !c.is_ascii_digit()).next();
    number.and_then(|number| number.parse().ok()).ok_or_else(|| bus::odd("ask systemd", "Version"))
}

/// A scope that is a container's, by what finds it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    owner: Owner,
    unit: String,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.owner.word(), self.unit)
    }
}

impl Scope {
    /// As it is displayed. `None` for what is no scope: nothing else is ever stopped.
    pub fn parse(text: &str) -> Option<Self> {
        let (owner, unit) = text.split_once(' ')?;
        let owner = [Owner::System, Owner::User].into_iter().find(|known| known.word() == owner)?;
        name::is_scope(unit).then(|| Scope { owner, unit: unit.to_owned() })
    }

    pub fn unit(&self) -> &str {
        &self.unit
    }

    /// Have systemd give the limits that were written into the cgroup's files the same values.
    pub(crate) fn set(&self, settings: &[Setting]) -> Result<()> {
        let doing = |failure: Failure| failure.doing("set properties of", &self.unit);
        let mut bus = Bus::connect(self.owner, PATIENCE)?;
        let properties = properties::of(settings, version(&mut bus)?);
        if properties.is_empty() {
            return Ok(());
        }
        let arguments = [Value::string(&self.unit), Value::Bool(true), properties::array(properties)];
        bus.call(MANAGER, "SetUnitProperties", &arguments).map(drop).map_err(doing)
    }

    /// Have systemd forget it; its processes have ended. One that is gone is fine, and so is a systemd that is gone or not to be reached:
    /// it forgets an empty scope by itself.
    pub(crate) fn stop(&self) -> Result<()> {
        match Bus::connect(self.owner, PATIENCE) {
            Err(error) if error.kind == Kind::Interrupted => Err(error),
            Err(_) => Ok(()),
            Ok(mut bus) => self.stop_over(&mut bus),
        }
    }

    fn stop_over(&self, bus: &mut Bus) -> Result<()> {
        let doing = |failure: Failure| failure.doing("stop", &self.unit);
        let arguments = [Value::string(&self.unit), Value::string("replace")];
        match bus.job("StopUnit", &arguments) {
            Err(Failure::Said { name, .. }) if name == NO_SUCH_UNIT => return Ok(()),
            stopped => stopped.map(drop).map_err(doing)?,
        }
        self.reset(bus).map_err(doing)
    }

    /// A failed unit (a lack of memory, say) stays until somebody says so.
    fn reset(&self, bus: &mut Bus) -> std::result::Result<(), Failure> {
        match bus.call(MANAGER, "ResetFailedUnit", &[Value::string(&self.unit)]) {
            Err(Failure::Said { name, .. }) if name == NO_SUCH_UNIT => Ok(()),
            reset => reset.map(drop),
        }
    }
}

/// A scope that will be made.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ScopePlan {
    pub scope: Scope,
    /// All that StartTransientUnit gets but the processes.
    properties: Vec<(String, Value)>,
}

/// Annotations of config.json with this before a property's name set that property (runc's docs/systemd-properties.md).
const ANNOTATION: &str = "org.systemd.property.";

impl ScopePlan {
    /// `settings`: the limits. Errors: `Spec` for an annotation that is no property.
    pub fn new(
        manager: &Manager,
        name: &Name,
        id: &str,
        settings: &[Setting],
        annotations: Option<&HashMap<String, String>>,
    ) -> Result<Self> {
        let mut all = vec![
            ("Description".to_owned(), Value::string(format!("pyrt container {id}"))),
            ("Slice".to_owned(), Value::string(&name.slice)),
            // The cgroups below it are the container's, and every controller is given down to it.
            ("Delegate".to_owned(), Value::Bool(true)),
            // At shutdown the engine ends its containers, in its order.
            ("DefaultDependencies".to_owned(), Value::Bool(false)),
            // Forgotten when it has ended, also after a failure that nobody resets.
            ("CollectMode".to_owned(), Value::string("inactive-or-failed")),
        ];
        all.extend(["CPU", "Memory", "IO", "Tasks"].map(|what| (format!("{what}Accounting"), Value::Bool(true))));
        all.extend(properties::of(settings, manager.version));
        let mut annotations: Vec<_> = annotations.iter().flat_map(|all| all.iter()).collect();
        annotations.sort();
        for (key, text) in annotations {
            let Some(name) = key.strip_prefix(ANNOTATION) else { continue };
            // The last word: systemd takes a property that comes twice as it was said last.
            all.push(text::property(name, text).map_err(|reason| Error::spec(format!("annotations[{key:?}]"), reason))?);
        }
        Ok(ScopePlan { scope: Scope { owner: manager.owner, unit: name.unit.clone() }, properties: all })
    }

    /// Have systemd make it, with this process in it. Nothing of it stays where that fails, but the process does.
    ///
    /// Errors: `AlreadyExists`, and `Host` with systemd's own words.
    pub fn start(&self, pid: i32) -> Result<()> {
        let unit = &self.scope.unit;
        let mut bus = Bus::connect(self.scope.owner, PATIENCE)?;
        bus.require_same_pids()?;
        let mut properties = self.properties.clone();
        properties.push(("PIDs".to_owned(), Value::Array("u".to_owned(), vec![Value::U32(pid.unsigned_abs())])));
        let arguments = [
            Value::string(unit),
            Value::string("fail"),
            properties::array(properties),
            // No other units come along.
            Value::Array("(sa(sv))".to_owned(), Vec::new()),
        ];
        let mut made = bus.job("StartTransientUnit", &arguments);
        if matches!(&made, Err(Failure::Said { name, .. }) if name == UNIT_EXISTS) {
            // A failed one of before, whose processes are gone, is no reason to fail.
            self.scope.reset(&mut bus).map_err(|failure| failure.doing("reset", unit))?;
            made = bus.job("StartTransientUnit", &arguments);
        }
        match made {
            Ok(result) if result == "done" => Ok(()),
            Ok(result) => {
                self.scope.undo();
                Err(Error::host(format!("start {unit}: its job ended as {result:?}"), format!("see journalctl -u {unit}")))
            }
            Err(Failure::Said { name, text }) if name == UNIT_EXISTS => {
                let error = Error::new(Kind::AlreadyExists, format!("start {unit}: {text}"));
                Err(error.with_hint("choose another linux.cgroupsPath, or delete the container that has it"))
            }
            // It was refused: there is nothing.
            Err(failure @ Failure::Said { .. }) => Err(failure.doing("start", unit)),
            Err(failure) => {
                self.scope.undo();
                Err(failure.doing("start", unit))
            }
        }
    }
}

impl Scope {
    /// After a start of which the end is unknown: whatever is in it is ours.
    pub(crate) fn undo(&self) {
        const SIGKILL: i32 = nix::libc::SIGKILL;
        let Ok(mut bus) = Bus::connect(self.owner, PATIENCE) else { return };
        // The failure of the start is the one that counts.
        let _ = bus.call(MANAGER, "KillUnit", &[Value::string(&self.unit), Value::string("all"), Value::I32(SIGKILL)]);
        let _ = self.stop_over(&mut bus);
    }
}
