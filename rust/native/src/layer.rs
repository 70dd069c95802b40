//! What a container changed, and copies into its root and out.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyrt_core::layer::{CopyOptions, Layer as CoreLayer, OnProgress, Root as CoreRoot};

use crate::errors::{tell, Raised};

fn open<T>(held: &Mutex<Option<Arc<T>>>) -> PyResult<Arc<T>> {
    let held = held.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    held.clone().ok_or_else(|| PyValueError::new_err("it is closed"))
}

/// Does something that tells of its progress, for a caller who wants to know or does not.
fn told<T>(function: Option<&Py<PyAny>>, operation: impl FnOnce(Option<&OnProgress<'_>>) -> T) -> T {
    match function {
        Some(function) => operation(Some(&|entries, bytes| tell(function, entries, bytes))),
        None => operation(None),
    }
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

    #[pyo3(signature = (directory, *, on_progress = None))]
    fn commit(&self, py: Python<'_>, directory: PathBuf, on_progress: Option<Py<PyAny>>) -> PyResult<()> {
        let layer = open(&self.0)?;
        let commit = || told(on_progress.as_ref(), |on_progress| layer.commit(&directory, on_progress));
        Ok(py.detach(commit).map_err(Raised::from)?)
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
        on_progress: Option<Py<PyAny>>,
        copy: impl FnOnce(&CoreRoot, CopyOptions<'_>) -> pyrt_core::Result<pyrt_core::layer::Copied> + Send,
    ) -> PyResult<Vec<OsString>> {
        let root = open(&self.0)?;
        let copy = || told(on_progress.as_ref(), |on_progress| copy(&root, CopyOptions { max_size, on_progress }));
        let copied = py.detach(copy).map_err(Raised::from)?;
        Ok(copied.left_out.into_iter().map(PathBuf::into_os_string).collect())
    }
}

#[pymethods]
impl Root {
    #[pyo3(signature = (source, target, *, max_size = None, on_progress = None))]
    fn copy_in(
        &self,
        py: Python<'_>,
        source: PathBuf,
        target: PathBuf,
        max_size: Option<u64>,
        on_progress: Option<Py<PyAny>>,
    ) -> PyResult<Vec<OsString>> {
        self.copy(py, max_size, on_progress, |root, options| root.copy_in(&source, &target, options))
    }

    #[pyo3(signature = (source, target, *, max_size = None, on_progress = None))]
    fn copy_out(
        &self,
        py: Python<'_>,
        source: PathBuf,
        target: PathBuf,
        max_size: Option<u64>,
        on_progress: Option<Py<PyAny>>,
    ) -> PyResult<Vec<OsString>> {
        self.copy(py, max_size, on_progress, |root, options| root.copy_out(&source, &target, options))
    }

    fn close(&self) {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
    }
}
