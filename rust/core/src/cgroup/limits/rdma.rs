//! rdma: handles and objects of an RDMA device. The file is the same on v1 and v2.

use std::collections::HashMap;

use oci_spec::runtime::LinuxRdma;

use super::Limits;
use crate::error::{Error, Result};

pub(super) fn rdma(limits: &mut Limits<'_>, devices: &HashMap<String, LinuxRdma>) -> Result<()> {
    let mut devices: Vec<_> = devices.iter().collect();
    devices.sort_by_key(|(name, _)| *name);
    for (name, device) in devices {
        let path = format!("linux.resources.rdma.{name}");
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(Error::spec("linux.resources.rdma", format!("{name:?} is no device name")));
        }
        let words: Vec<String> = [("hca_handle", device.hca_handles()), ("hca_object", device.hca_objects())]
            .into_iter()
            .filter_map(|(word, value)| value.map(|value| format!("{word}={value}")))
            .collect();
        if words.is_empty() {
            return Err(Error::spec(path, "needs hcaHandles, hcaObjects or both"));
        }
        let at = limits.require("rdma", &path)?;
        limits.set(at, &path, "rdma.max", format!("{name} {}", words.join(" ")));
    }
    Ok(())
}
