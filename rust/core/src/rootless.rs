//! What stands in the way of an ordinary user: the switches by which a host forbids him user namespaces.
//!
//! Neighbours: `launch` asks when something was refused, `host` for `pyrt check`; `id_maps` is how he maps ids.

use nix::errno::Errno;
use nix::libc;

use crate::error::{Error, Kind};
use crate::host::HostFacts;
use crate::plan::LaunchPlan;

/// File, what it says where it forbids, and the line for people.
const SWITCHES: [(&str, &str, &str); 3] = [
    (
        "/proc/sys/kernel/unprivileged_userns_clone",
        "0",
        "this host lets only root make user namespaces: sysctl kernel.unprivileged_userns_clone=1 allows them",
    ),
    (
        "/proc/sys/user/max_user_namespaces",
        "0",
        "this host forbids user namespaces: sysctl user.max_user_namespaces is 0, and a number above allows them",
    ),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "AppArmor takes all rights in user namespaces from ordinary users: sysctl kernel.apparmor_restrict_unprivileged_userns=0 \
         gives them back, or a profile that grants userns to this Python",
    ),
];

/// The first switch that forbids an ordinary user his user namespaces.
pub fn forbidden() -> Option<&'static str> {
    forbidden_by(|file| std::fs::read_to_string(file).ok())
}

fn forbidden_by(read: impl Fn(&str) -> Option<String>) -> Option<&'static str> {
    let says = |file: &str, value: &str| read(file).is_some_and(|said| said.trim() == value);
    SWITCHES.iter().find(|(file, value, _)| says(file, value)).map(|(.., line)| *line)
}

/// A failed launch, with the switch that explains it: the kernel itself says only EPERM, EACCES or ENOSPC.
pub fn explained(error: Error, plan: &LaunchPlan) -> Error {
    let refused = matches!(error.errno, Some(Errno::EPERM | Errno::EACCES | Errno::ENOSPC));
    let restricted = plan.maps.as_ref().is_some_and(|maps| maps.closed);
    let unmade = error.operation == "create namespaces" && plan.clone_flags & libc::CLONE_NEWUSER as u64 != 0;
    if !refused || !(restricted || unmade) || error.kind != Kind::System {
        return error;
    }
    match forbidden() {
        Some(line) => Error { kind: Kind::Host, ..error }.with_hint(line),
        None => error,
    }
}

/// One line for `pyrt check`.
pub fn described(facts: &HostFacts) -> crate::error::Result<String> {
    if facts.can_map_any_id() {
        return Ok("is root here: every id can be mapped".to_owned());
    }
    match forbidden() {
        Some(line) => Err(Error::host("make a user namespace", line)),
        None => Ok(format!("may make user namespaces, as user {}", facts.uid)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn where_it_says(name: &'static str, value: &'static str) -> Option<&'static str> {
        forbidden_by(|file| file.ends_with(name).then(|| format!("{value}\n")))
    }

    #[test]
    fn a_switch_that_forbids_is_named_and_one_that_allows_or_is_missing_is_not() {
        let names = ["unprivileged_userns_clone", "max_user_namespaces", "apparmor_restrict_unprivileged_userns"];
        for (name, value) in names.into_iter().zip(["0", "0", "1"]) {
            assert!(where_it_says(name, value).is_some_and(|line| line.contains(name)));
        }
        for (name, value) in names.into_iter().zip(["1", "96365", "0"]) {
            assert_eq!(where_it_says(name, value), None);
        }
        assert_eq!(forbidden_by(|_| None), None);
    }
}
