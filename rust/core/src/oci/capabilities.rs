//! Capabilities by name, as capabilities(7) has them.

use serde_json::Value;

use crate::error::{Error, Result};

/// In the kernel's order: the position is the number.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// A set of capabilities, bit N for capability N.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CapabilitySet(pub u64);

impl CapabilitySet {
    /// Every one that has a name.
    pub const KNOWN: CapabilitySet = CapabilitySet((1 << NAMES.len()) - 1);

    pub fn has(self, number: u32) -> bool {
        self.0 & 1 << number != 0
    }

    /// With the CAP_ prefix, in the kernel's order.
    pub fn names(self) -> Vec<String> {
        (0..64).filter(|number| self.has(*number)).map(name).collect()
    }
}

fn name(number: u32) -> String {
    NAMES.get(number as usize).map_or_else(|| format!("capability {number}"), |name| format!("CAP_{name}"))
}

/// The number of a name with its CAP_ prefix.
pub fn number(name: &str) -> Option<u32> {
    let bare = name.strip_prefix("CAP_")?;
    NAMES.iter().position(|known| *known == bare).map(|index| index as u32)
}

/// process.capabilities: the five sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CapabilityNames {
    pub bounding: CapabilitySet,
    pub effective: CapabilitySet,
    pub permitted: CapabilitySet,
    pub inheritable: CapabilitySet,
    pub ambient: CapabilitySet,
}

impl CapabilityNames {
    pub fn parse(value: &Value, warnings: &mut Vec<String>) -> Result<Self> {
        const AT: &str = "process.capabilities";
        let Value::Object(sets) = value else { return Err(Error::spec(AT, "must be an object")) };
        let mut all = CapabilityNames::default();
        for (key, names) in sets {
            let set = match key.as_str() {
                "bounding" => &mut all.bounding,
                "effective" => &mut all.effective,
                "permitted" => &mut all.permitted,
                "inheritable" => &mut all.inheritable,
                "ambient" => &mut all.ambient,
                _ => {
                    warnings.push(format!("config.json: {AT}.{key}: unknown key, ignored"));
                    continue;
                }
            };
            *set = parse_set(names, &format!("{AT}.{key}"), warnings)?;
        }
        Ok(all)
    }
}

fn parse_set(names: &Value, at: &str, warnings: &mut Vec<String>) -> Result<CapabilitySet> {
    let names = match names {
        Value::Null => return Ok(CapabilitySet::default()),
        Value::Array(names) => names,
        _ => return Err(Error::spec(at, "must be an array of strings")),
    };
    let mut set = CapabilitySet::default();
    for (index, name) in names.iter().enumerate() {
        let Value::String(name) = name else { return Err(Error::spec(format!("{at}[{index}]"), "must be a string")) };
        match number(name) {
            Some(number) => set.0 |= 1 << number,
            None => warnings.push(format!("config.json: {at}[{index}]: unknown capability {name:?}, ignored")),
        }
    }
    Ok(set)
}
