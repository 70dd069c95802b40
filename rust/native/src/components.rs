//! Namespaces and overlays without a container, and what this host can do.

use std::collections::HashMap;
use std::os::fd::IntoRawFd;
use std::path::PathBuf;

use pyo3::prelude::*;
use pyrt_core::assistant;
use pyrt_core::host::HostFacts;

use crate::errors::Raised;
use crate::json::to_python;
use crate::layer::Layer;

type Made = (HashMap<&'static str, i32>, Option<i32>, Option<i32>);

#[pyfunction]
#[pyo3(signature = (kinds, *, uid_mappings = vec![], gid_mappings = vec![], monotonic_offset = 0.0, boottime_offset = 0.0))]
pub fn namespaces_create(
    py: Python<'_>,
    kinds: Vec<String>,
    uid_mappings: Vec<(u32, u32, u32)>,
    gid_mappings: Vec<(u32, u32, u32)>,
    monotonic_offset: f64,
    boottime_offset: f64,
) -> PyResult<Made> {
    let wanted = assistant::WantedNamespaces { kinds, uid_mappings, gid_mappings, monotonic_offset, boottime_offset };
    let made = py.detach(|| assistant::create_namespaces(&wanted)).map_err(Raised::from)?;
    let files = made.files.into_iter().map(|(kind, fd)| (kind, fd.into_raw_fd())).collect();
    let (pid, pidfd) = made.keeper.map(|(pid, pidfd)| (pid, pidfd.into_raw_fd())).unzip();
    Ok((files, pid, pidfd))
}

#[pyfunction]
#[pyo3(signature = (lower, *, upper_dir, size))]
pub fn overlay_mount(py: Python<'_>, lower: Vec<PathBuf>, upper_dir: Option<PathBuf>, size: Option<u64>) -> PyResult<(i32, Layer)> {
    let (mount, layer) = py.detach(|| assistant::mount_overlay(&lower, upper_dir.as_deref(), size)).map_err(Raised::from)?;
    Ok((mount.into_raw_fd(), Layer::of(layer)))
}

/// Of which this was built; `None` outside a checkout.
pub const COMMIT: Option<&str> = option_env!("PYRT_COMMIT");

#[pyfunction]
pub fn features(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    to_python(py, &pyrt_core::features::document(pyrt_core::sys::kernel_version(), COMMIT))
}

#[pyfunction]
pub fn host_facts(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let facts = py.detach(pyrt_core::host::describe).map_err(Raised::from)?;
    to_python(py, &facts)
}

#[pyfunction]
pub fn host_cgroups(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    to_python(py, &pyrt_core::host::cgroups().map_err(Raised::from)?)
}

#[pyfunction]
pub fn can_mount() -> PyResult<bool> {
    Ok(HostFacts::get().map_err(Raised::from)?.can_mount())
}
