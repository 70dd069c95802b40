//! `linux.netDevices`: which devices of the host move into the container's network namespace, and what they are called there.

use oci_spec::runtime::Spec;
use pyrt_init::Step;

use super::builder::Builder;
use super::namespaces::Namespaces;
use crate::error::{Error, Result};

/// IFNAMSIZ without its NUL.
const NAME_MAX: usize = 15;

/// A device: its name on the host, and the one inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetDevice {
    pub name: String,
    pub inside: String,
}

pub fn build(steps: &mut Builder, spec: &Spec, spaces: &Namespaces) -> Result<Vec<NetDevice>> {
    let Some(devices) = spec.linux().as_ref().and_then(|linux| linux.net_devices().as_ref()) else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for (name, device) in devices {
        let at = format!("linux.netDevices.{name}");
        let inside = device.name().as_deref().filter(|inside| !inside.is_empty()).unwrap_or(name);
        check(name, &at)?;
        check(inside, &format!("{at}.name"))?;
        all.push(NetDevice { name: name.clone(), inside: inside.to_owned() });
    }
    all.sort_by(|one, other| one.name.cmp(&other.name));
    if let Some(twice) = all.iter().enumerate().find(|(index, one)| all[..*index].iter().any(|other| other.inside == one.inside)) {
        return Err(Error::spec(format!("linux.netDevices.{}.name", twice.1.name), format!("{:?} is there twice", twice.1.inside)));
    }
    if !all.is_empty() {
        if !spaces.own_network() {
            return Err(Error::spec("linux.netDevices", "needs a network namespace in linux.namespaces to move them to"));
        }
        steps.push(Step::Network {});
    }
    Ok(all)
}

/// What the kernel takes for a name: dev_valid_name() in net/core/dev.c.
fn check(name: &str, at: &str) -> Result<()> {
    let wrong = |c: char| c == '/' || c == ':' || c == '\0' || c.is_ascii_whitespace();
    match name.is_empty() || name.len() > NAME_MAX || matches!(name, "." | "..") || name.contains(wrong) {
        true => Err(Error::spec(at, format!("{name:?} is not the name of a network device"))),
        false => Ok(()),
    }
}
