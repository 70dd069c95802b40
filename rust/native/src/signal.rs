//! Signals by name, and those that the command holds.

use pyo3::prelude::*;

use crate::errors::Raised;

#[pyfunction]
pub fn signal_number(name: &str) -> PyResult<i32> {
    Ok(pyrt_core::signal::number(name).map_err(Raised::from)?)
}

#[pyfunction]
pub fn hold_signals() -> PyResult<()> {
    Ok(pyrt_core::terminal::hold().map_err(Raised::from)?)
}
