//! cpuset: which CPUs and memory nodes. The kernel judges the numbers; the form is checked here, where the field can be named.

use oci_spec::runtime::LinuxCpu;

use super::Limits;
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
    use super::is_list;

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
