//! cpuset: which CPUs and memory nodes. The kernel judges the numbers; the form is checked here, where the field can be named.

use std::collections::BTreeSet;

use oci_spec::runtime::LinuxCpu;

use super::{Limits, Setting};
use crate::cgroup::directory::Directory;
use crate::error::{Error, Result};

const CPUS: &str = "linux.resources.cpu.cpus";
const MEMS: &str = "linux.resources.cpu.mems";

pub(super) fn cpuset(limits: &mut Limits<'_>, cpu: &LinuxCpu) -> Result<()> {
    for (list, json_path, file) in [(cpu.cpus(), CPUS, "cpuset.cpus"), (cpu.mems(), MEMS, "cpuset.mems")] {
        let Some(list) = list.as_deref().filter(|list| !list.is_empty()) else { continue };
        if !is_list(list) {
            return Err(Error::spec(json_path, format!("{list:?} is not a list like 0-3,7")));
        }
        let at = limits.require("cpuset", json_path)?;
        limits.set(at, json_path, file, list);
    }
    Ok(())
}

/// On cgroup2, when written: the kernel takes CPUs and memory nodes that the parent does not have, and uses the parent's instead. v1 refuses them.
pub(in crate::cgroup) fn require_effect(directory: &Directory, settings: &[&Setting]) -> Result<()> {
    for setting in settings {
        let [(file, value)] = setting.files.as_slice() else { continue };
        if !matches!(file.as_str(), "cpuset.cpus" | "cpuset.mems") {
            continue;
        }
        let effective = directory.read(&format!("{file}.effective"))?;
        if !members(effective.trim()).is_subset(&members(value)) {
            let operation = format!("limit {}: write {value:?} to", setting.json_path);
            let hint = format!("outside the parent cgroup's; it would be {} instead", effective.trim());
            return Err(Error::host(operation, hint).with_path(directory.path_of(file)));
        }
    }
    Ok(())
}

/// The numbers of a list that the kernel took.
fn members(list: &str) -> BTreeSet<u32> {
    let mut all = BTreeSet::new();
    for part in list.split(',') {
        let (range, pattern) = part.split_once(':').unwrap_or((part, "1/1"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (used, of) = pattern.split_once('/').unwrap_or(("1", "1"));
        if let (Ok(first), Ok(last), Ok(used), Ok(of)) = (first.parse::<u32>(), last.parse::<u32>(), used.parse::<u32>(), of.parse::<u32>())
        {
            all.extend((first..=last).filter(|number| of == 0 || (number - first) % of < used));
        }
    }
    all
}

/// cpuset(7), "List format": numbers and ranges, comma between, a range possibly followed by `:used/of`.
fn is_list(list: &str) -> bool {
    let number = |text: &str| text.parse::<u32>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    list.split(',').all(|part| {
        let (range, pattern) = part.split_once(':').map_or((part, None), |(range, pattern)| (range, Some(pattern)));
        let range_fits = match range.split_once('-') {
            Some((first, last)) => number(first).zip(number(last)).is_some_and(|(first, last)| first <= last),
            None => pattern.is_none() && number(range).is_some(),
        };
        let pattern_fits = pattern.is_none_or(|pattern| {
            pattern.split_once('/').and_then(|(used, of)| number(used).zip(number(of))).is_some_and(|(used, of)| used <= of && of > 0)
        });
        range_fits && pattern_fits
    })
}

#[cfg(test)]
mod tests {
    use super::{is_list, members};

    #[test]
    fn a_list_is_its_numbers() {
        assert_eq!(members("0-2,7").into_iter().collect::<Vec<_>>(), [0, 1, 2, 7]);
        assert_eq!(members("0-9:2/5").into_iter().collect::<Vec<_>>(), [0, 1, 5, 6]);
        assert!(members("").is_empty());
    }

    #[test]
    fn lists_are_told_from_other_text() {
        for good in ["0", "0-3", "0-3,7", "0-1023:2/256"] {
            assert!(is_list(good), "{good}");
        }
        for bad in ["", "a", "3-1", "0,", "-1", "0\n1", "0:1/2", "0-3:5/2", "+1"] {
            assert!(!is_list(bad), "{bad}");
        }
    }
}
