//! Signals by name.

use pyo3::prelude::*;

use crate::errors::Raised;

#[pyfunction]
pub fn signal_number(name: &str) -> PyResult<i32> {
    Ok(pyrt_core::signal::number(name).map_err(Raised::from)?)
}
