//! /dev: the default devices and links, and `linux.devices`.

use nix::libc;
use oci_spec::runtime::{LinuxDevice, LinuxDeviceType, Spec};
use pyrt_init::{behaviour, Step};

use super::builder::{text, Builder};
use super::namespaces::Namespaces;
use crate::error::{Error, Result};
use crate::host::HostFacts;
use crate::oci::plain_path;

/// config-linux.md, "Default Devices": path, major, minor.
const DEFAULTS: [(&str, u64, u64); 6] =
    [("/dev/null", 1, 3), ("/dev/zero", 1, 5), ("/dev/full", 1, 7), ("/dev/random", 1, 8), ("/dev/urandom", 1, 9), ("/dev/tty", 5, 0)];

/// runtime-linux.md, "Dev symbolic links", and ptmx of the container's own devpts.
const LINKS: [(&std::ffi::CStr, &std::ffi::CStr); 5] = [
    (c"/dev/fd", c"/proc/self/fd"),
    (c"/dev/stdin", c"/proc/self/fd/0"),
    (c"/dev/stdout", c"/proc/self/fd/1"),
    (c"/dev/stderr", c"/proc/self/fd/2"),
    (c"/dev/ptmx", c"pts/ptmx"),
];

const EVERYBODY: u64 = 0o666;

pub fn build(steps: &mut Builder, spec: &Spec, spaces: &Namespaces, facts: &HostFacts) -> Result<()> {
    // A /dev that is the host's has all of it, and nothing of ours may be made there.
    if spec.mounts().iter().flatten().any(|mount| mount.destination().to_str() == Some("/dev") && is_bind(mount)) {
        return Ok(());
    }
    let bound = spaces.other_user() || !facts.can_make_devices();
    let custom = spec.linux().as_ref().and_then(|linux| linux.devices().as_deref()).unwrap_or_default();
    for (path, major, minor) in DEFAULTS {
        // One that config.json describes itself is made as it says.
        if custom.iter().any(|device| device.path().to_str() == Some(path)) {
            continue;
        }
        let node = Node { path, kind: libc::S_IFCHR, number: major << 32 | minor, mode: EVERYBODY, owner: (0, 0) };
        node.make(steps, bound, "default devices")?;
    }
    for (index, device) in custom.iter().enumerate() {
        one(steps, device, bound, &format!("linux.devices[{index}]"))?;
    }
    for (path, target) in LINKS {
        steps.push(Step::Link { path, target });
    }
    Ok(())
}

fn is_bind(mount: &oci_spec::runtime::Mount) -> bool {
    mount.typ().as_deref() == Some("bind") || mount.options().iter().flatten().any(|option| option == "bind" || option == "rbind")
}

struct Node<'a> {
    path: &'a str,
    kind: libc::mode_t,
    number: u64,
    mode: u64,
    owner: (u32, u32),
}

impl Node<'_> {
    /// Made, or where mknod(2) is not allowed bound from the host, and checked to be that device.
    fn make(&self, steps: &mut Builder, bound: bool, at: &str) -> Result<()> {
        let path = text(self.path, at)?;
        if bound && self.kind != libc::S_IFIFO {
            let fd = steps.tree(self.path.into(), false, None, None)?;
            steps.push(Step::Bind {
                source: &path,
                fd,
                target: &path,
                set: 0,
                clear: 0,
                set_all: 0,
                clear_all: 0,
                propagation: 0,
                behaviour: behaviour::DEVICE,
                device: self.number,
            });
        } else {
            let (uid, gid) = (u64::from(self.owner.0), u64::from(self.owner.1));
            steps.push(Step::Device { path: &path, mode: u64::from(self.kind) | self.mode, device: self.number, uid, gid });
        }
        Ok(())
    }
}

fn one(steps: &mut Builder, device: &LinuxDevice, bound: bool, at: &str) -> Result<()> {
    let path = plain_path(device.path(), &format!("{at}.path"))?;
    let kind = match device.typ() {
        LinuxDeviceType::C | LinuxDeviceType::U => libc::S_IFCHR,
        LinuxDeviceType::B => libc::S_IFBLK,
        LinuxDeviceType::P => libc::S_IFIFO,
        LinuxDeviceType::A => return Err(Error::spec(format!("{at}.type"), "a is for cgroup rules, not for a device")),
    };
    let number = |value: i64, name: &str| u32::try_from(value).map_err(|_| Error::spec(format!("{at}.{name}"), "is no device number"));
    let number = if kind == libc::S_IFIFO {
        0
    } else {
        u64::from(number(device.major(), "major")?) << 32 | u64::from(number(device.minor(), "minor")?)
    };
    let mode = u64::from(device.file_mode().unwrap_or(EVERYBODY as u32) & 0o7777);
    let owner = (device.uid().unwrap_or(0), device.gid().unwrap_or(0));
    Node { path: &path, kind, number, mode, owner }.make(steps, bound, at)
}
