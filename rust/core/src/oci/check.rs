//! What the values of config.json mean: refused here by JSON path, before anything exists.

use std::path::Path;

use oci_spec::runtime::{LinuxNamespaceType, Spec};

use super::Config;
use crate::error::{Error, Kind, Result};

/// Bounds for what a config may hold; far above what engines write.
const COUNT_LIMIT: usize = 65_536;

pub fn check(config: &mut Config) -> Result<()> {
    version(&config.spec, &mut config.warnings)?;
    platform(&config.spec)?;
    not_yet(&config.spec)?;
    namespaces(&config.spec)?;
    mounts(config)?;
    process(&config.spec)
}

/// An absolute path without NUL, its `.` and `..` and doubled slashes resolved as text: what a mount target or a working directory is.
pub fn plain_path(path: &Path, at: &str) -> Result<String> {
    let text = path.to_str().ok_or_else(|| Error::spec(at, "not UTF-8"))?;
    if text.contains('\0') {
        return Err(Error::spec(at, "contains a NUL byte"));
    }
    if !text.starts_with('/') {
        return Err(Error::spec(at, format!("{text:?} is not an absolute path")));
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    Ok(format!("/{}", parts.join("/")))
}

/// Any 1.x: a newer minor may hold keys that we do not know, which are warnings anyway.
fn version(spec: &Spec, warnings: &mut Vec<String>) -> Result<()> {
    let version = spec.version();
    let mut parts = version.split(['.', '-', '+']);
    let numbers = (parts.next().map(str::parse::<u32>), parts.next().map(str::parse::<u32>), parts.next().map(str::parse::<u32>));
    let (Some(Ok(major)), Some(Ok(minor)), Some(Ok(_))) = numbers else {
        return Err(Error::spec("ociVersion", format!("{version:?} is not a version such as {}", super::VERSION)));
    };
    if major != 1 {
        return Err(Error::spec("ociVersion", format!("{version} is not supported, 1.x is")));
    }
    if minor > 3 {
        warnings.push(format!("config.json: ociVersion: {version} is newer than {}", super::VERSION));
    }
    Ok(())
}

fn platform(spec: &Spec) -> Result<()> {
    let others = [
        ("solaris", spec.solaris().is_some()),
        ("windows", spec.windows().is_some()),
        ("vm", spec.vm().is_some()),
        ("zos", spec.zos().is_some()),
    ];
    match others.iter().find(|(_, there)| *there) {
        Some((name, _)) => Err(Error::spec(*name, "is for another platform than Linux")),
        None => Ok(()),
    }
}

/// Known fields that this version cannot honour: refused by name, never ignored.
fn not_yet(spec: &Spec) -> Result<()> {
    let linux = spec.linux().as_ref();
    let fields = [("linux.intelRdt", linux.is_some_and(|linux| linux.intel_rdt().is_some()))];
    match fields.iter().find(|(_, there)| *there) {
        Some((name, _)) => Err(Error {
            json_path: Some((*name).to_owned()),
            ..Error::new(Kind::Host, "this version of pyrt cannot honour it").with_hint("remove the field, or use a runtime that has it")
        }),
        None => Ok(()),
    }
}

fn namespaces(spec: &Spec) -> Result<()> {
    let Some(linux) = spec.linux() else { return Ok(()) };
    let mut seen: Vec<LinuxNamespaceType> = Vec::new();
    for (index, namespace) in linux.namespaces().iter().flatten().enumerate() {
        if seen.contains(&namespace.typ()) {
            return Err(Error::spec(format!("linux.namespaces[{index}]"), format!("{} is there twice", namespace.typ())));
        }
        if let Some(path) = namespace.path() {
            plain_path(path, &format!("linux.namespaces[{index}].path"))?;
        }
        seen.push(namespace.typ());
    }
    let has = |kind| seen.contains(&kind);
    let needs = |at: &str, there: bool, kind: LinuxNamespaceType| match there && !has(kind) {
        true => Err(Error::spec(at, format!("needs a {kind} namespace in linux.namespaces; without one the host's would change"))),
        false => Ok(()),
    };
    let filled = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    needs("hostname", filled(spec.hostname()), LinuxNamespaceType::Uts)?;
    needs("domainname", filled(spec.domainname()), LinuxNamespaceType::Uts)?;
    needs("linux.maskedPaths", linux.masked_paths().as_ref().is_some_and(|paths| !paths.is_empty()), LinuxNamespaceType::Mount)?;
    needs("linux.readonlyPaths", linux.readonly_paths().as_ref().is_some_and(|paths| !paths.is_empty()), LinuxNamespaceType::Mount)?;
    needs("linux.timeOffsets", linux.time_offsets().as_ref().is_some_and(|map| !map.is_empty()), LinuxNamespaceType::Time)?;
    let mapped = |maps: &Option<Vec<_>>| maps.as_ref().is_some_and(|maps| !maps.is_empty());
    needs("linux.uidMappings", mapped(linux.uid_mappings()), LinuxNamespaceType::User)?;
    needs("linux.gidMappings", mapped(linux.gid_mappings()), LinuxNamespaceType::User)?;
    let new_user = linux.namespaces().iter().flatten().any(|one| one.typ() == LinuxNamespaceType::User && one.path().is_none());
    if new_user && !(mapped(linux.uid_mappings()) && mapped(linux.gid_mappings())) {
        return Err(Error::spec("linux.uidMappings", "a new user namespace needs uidMappings and gidMappings"));
    }
    Ok(())
}

fn mounts(config: &mut Config) -> Result<()> {
    let mounts = config.spec.mounts_mut().as_deref_mut().unwrap_or_default();
    if mounts.len() > COUNT_LIMIT {
        return Err(Error::spec("mounts", format!("more than {COUNT_LIMIT}")));
    }
    for (index, mount) in mounts.iter_mut().enumerate() {
        let at = format!("mounts[{index}].destination");
        if mount.destination().is_relative() && !mount.destination().as_os_str().is_empty() {
            // config.md, "Mounts": deprecated, and to be read so.
            config.warnings.push(format!("config.json: {at}: {:?} is not absolute: taken from the root", mount.destination()));
            mount.set_destination(Path::new("/").join(mount.destination()));
        }
        plain_path(mount.destination(), &at)?;
    }
    Ok(())
}

fn process(spec: &Spec) -> Result<()> {
    let Some(process) = spec.process() else { return Err(Error::spec("process", "is missing; create and run need it")) };
    match process.args().as_deref() {
        None | Some([]) => return Err(Error::spec("process.args", "must name at least the program")),
        Some([program, ..]) if program.is_empty() => return Err(Error::spec("process.args[0]", "is empty")),
        Some(args) if args.len() > COUNT_LIMIT => return Err(Error::spec("process.args", format!("more than {COUNT_LIMIT}"))),
        Some(_) => {}
    }
    plain_path(process.cwd(), "process.cwd")?;
    let rlimits = process.rlimits().as_deref().unwrap_or_default();
    for (index, limit) in rlimits.iter().enumerate() {
        if limit.soft() > limit.hard() {
            return Err(Error::spec(format!("process.rlimits[{index}].soft"), "is above hard"));
        }
        if rlimits[..index].iter().any(|other| other.typ() == limit.typ()) {
            return Err(Error::spec(format!("process.rlimits[{index}]"), format!("{} is there twice", limit.typ())));
        }
    }
    Ok(())
}
