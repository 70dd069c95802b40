//! What a container changed, and copies into its root and out.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyrt_core::layer::{CopyOptions, Layer as CoreLayer, Root as CoreRoot};

use crate::errors::Raised;

fn open<T>(held: &Mutex<Option<Arc<T>>>) -> PyResult<Arc<T>> {
    let held = held.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    held.clone().ok_or_else(|| PyValueError::new_err("it is closed"))
}

#[pyclass(frozen, module = "pyrt._native")]
pub struct Layer(Mutex<Option<Arc<CoreLayer>>>);

impl Layer {
    pub fn of(layer: CoreLayer) -> Self {
        Layer(Mutex::new(Some(Arc::new(layer))))
    }
}

#[pymethods]
impl Layer {
    fn changes(&self, py: Python<'_>) -> PyResult<Vec<(&'static str, OsString)>> {
        let layer = open(&self.0)?;
        let changes = py.detach(|| layer.changes()).map_err(Raised::from)?;
        Ok(changes.into_iter().map(|changed| (changed.change.name(), changed.path.into_os_string())).collect())
    }

    fn commit(&self, py: Python<'_>, directory: PathBuf) -> PyResult<()> {
        let layer = open(&self.0)?;
        Ok(py.detach(|| layer.commit(&directory)).map_err(Raised::from)?)
    }

    fn close(&self) {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
    }
}

#[pyclass(frozen, module = "pyrt._native")]
pub struct Root(Mutex<Option<Arc<CoreRoot>>>);

impl Root {
    pub fn of(root: CoreRoot) -> Self {
        Root(Mutex::new(Some(Arc::new(root))))
    }

    fn copy(
        &self,
        py: Python<'_>,
        max_size: Option<u64>,
        copy: impl FnOnce(&CoreRoot, CopyOptions) -> pyrt_core::Result<pyrt_core::layer::Copied> + Send,
    ) -> PyResult<Vec<OsString>> {
        let root = open(&self.0)?;
        let copied = py.detach(|| copy(&root, CopyOptions { max_size })).map_err(Raised::from)?;
        Ok(copied.left_out.into_iter().map(PathBuf::into_os_string).collect())
    }
}

#[pymethods]
impl Root {
    #[pyo3(signature = (source, target, *, max_size = None))]
    fn copy_in(&self, py: Python<'_>, source: PathBuf, target: PathBuf, max_size: Option<u64>) -> PyResult<Vec<OsString>> {
        self.copy(py, max_size, |root, options| root.copy_in(&source, &target, options))
    }

    #[pyo3(signature = (source, target, *, max_size = None))]
    fn copy_out(&self, py: Python<'_>, source: PathBuf, target: PathBuf, max_size: Option<u64>) -> PyResult<Vec<OsString>> {
        self.copy(py, max_size, |root, options| root.copy_out(&source, &target, options))
    }

    fn close(&self) {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
    }
}
