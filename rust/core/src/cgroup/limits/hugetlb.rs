//! hugetlb: bytes of huge pages, used and reserved.

use oci_spec::runtime::LinuxHugepageLimit;

use super::{Limits, Setting};
use crate::cgroup::directory::Version;
use crate::error::{Error, Result};

pub(super) fn hugetlb(limits: &mut Limits<'_>, pages: &[LinuxHugepageLimit]) -> Result<()> {
    for (index, page) in pages.iter().enumerate() {
        let path = format!("linux.resources.hugepageLimits[{index}]");
        let size = page.page_size();
        if !is_page_size(size) {
            return Err(Error::spec(format!("{path}.pageSize"), format!("{size:?} is not a size like 2MB, 64KB or 1GB")));
        }
        if page.limit() < 0 {
            return Err(Error::spec(format!("{path}.limit"), format!("{} is no number of bytes", page.limit())));
        }
        let (version, controller) = limits.require("hugetlb", &path)?;
        let suffix = if version == Version::V1 { "limit_in_bytes" } else { "max" };
        limits.set((version, controller.clone()), &path, &format!("hugetlb.{size}.{suffix}"), page.limit());
        // Reservations fail at mmap(2), where plain use ends in SIGBUS; the spec asks for both where the kernel has them (5.7).
        let files = vec![(format!("hugetlb.{size}.rsvd.{suffix}"), page.limit().to_string())];
        limits.settings.push(Setting { version, controller, files, optional: true, json_path: path });
    }
    Ok(())
}

/// The spec: `<size><unit-prefix>B`, a whole number with K, M or G.
fn is_page_size(size: &str) -> bool {
    let number = size.strip_suffix(['B']).and_then(|rest| rest.strip_suffix(['K', 'M', 'G']));
    number.is_some_and(|number| !number.is_empty() && !number.starts_with('0') && number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn page_sizes_cannot_name_other_files() {
        assert!(["2MB", "64KB", "1GB"].into_iter().all(super::is_page_size));
        assert!(!["", "MB", "2", "2mb", "02MB", "../2MB", "2TB"].into_iter().any(super::is_page_size));
    }
}
