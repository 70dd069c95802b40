//! The core's error -> a Python exception of `pyrt.errors`, in one place.

use pyo3::exceptions::PyProcessLookupError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// An error on its way to Python; `?` makes it.
pub enum Raised {
    Core(pyrt_core::Error),
    /// What Python raised while the core waited: KeyboardInterrupt, above all.
    Python(PyErr),
}

impl From<pyrt_core::Error> for Raised {
    fn from(error: pyrt_core::Error) -> Self {
        Raised::Core(error)
    }
}

impl From<PyErr> for Raised {
    fn from(error: PyErr) -> Self {
        Raised::Python(error)
    }
}

impl From<Raised> for PyErr {
    fn from(raised: Raised) -> PyErr {
        match raised {
            Raised::Core(error) => Python::attach(|py| exception(py, &error).unwrap_or_else(|failed| failed)),
            Raised::Python(error) => error,
        }
    }
}

fn exception(py: Python<'_>, error: &pyrt_core::Error) -> PyResult<PyErr> {
    static FACTORY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let factory = FACTORY.get_or_try_init(py, || py.import("pyrt.errors")?.getattr("from_native").map(Bound::unbind))?;
    let arguments = (
        error.kind.name(),
        &error.operation,
        &error.path,
        error.errno.map(|errno| errno as i32),
        &error.hint,
        &error.json_path,
        error.to_string(),
    );
    Ok(PyErr::from_value(factory.bind(py).call1(arguments)?))
}

/// For processes that are gone, Python has a word of its own.
pub fn no_process(what: &str) -> PyErr {
    PyProcessLookupError::new_err((3, format!("{what}: no such process")))
}
