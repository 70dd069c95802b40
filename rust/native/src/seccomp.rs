//! seccomp profiles: compiled once for any number of launches, and as byte code, for whoever wants to look at it.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use pyrt_core::oci::parse_part;
use pyrt_core::seccomp::{check, is_known, Architecture, Filter, Profile};

use crate::errors::Raised;
use crate::json::from_python;

/// A compiled linux.seccomp.
#[pyclass(frozen, module = "pyrt._native")]
pub struct SeccompProfile(Profile);

#[pymethods]
impl SeccompProfile {
    #[new]
    #[pyo3(signature = (profile, *, answers = false))]
    fn new(profile: &Bound<'_, PyAny>, answers: bool) -> PyResult<Self> {
        Ok(SeccompProfile(Profile::parse(&from_python(profile)?, answers).map_err(Raised::from)?))
    }
}

impl SeccompProfile {
    pub fn core(&self) -> &Profile {
        &self.0
    }
}

#[pyfunction]
#[pyo3(signature = (profile, *, architecture = None, key = 0))]
pub fn seccomp_compile<'py>(
    py: Python<'py>,
    profile: &Bound<'py, PyAny>,
    architecture: Option<&str>,
    key: u64,
) -> PyResult<Bound<'py, PyBytes>> {
    let native = match architecture {
        None => Architecture::NATIVE,
        Some(name) => {
            Architecture::from_name(name).ok_or_else(|| PyValueError::new_err(format!("{name:?} is no architecture that pyrt runs on")))?
        }
    };
    let value = from_python(profile)?;
    let profile = parse_part(&value, "linux.seccomp", &mut Vec::new()).map_err(Raised::from)?;
    check(&profile, &mut Vec::new()).map_err(Raised::from)?;
    let filter = Filter::compile(&profile, native).map_err(Raised::from)?;
    Ok(PyBytes::new(py, &filter.program(key)))
}

#[pyfunction]
#[pyo3(signature = (name, *, architecture = None))]
pub fn seccomp_number(name: &str, architecture: Option<&str>) -> PyResult<Option<u32>> {
    let architecture = architecture.map_or(Some(Architecture::NATIVE), Architecture::from_name);
    match architecture {
        Some(architecture) if is_known(name) => Ok(architecture.number(name)),
        Some(_) => Err(PyValueError::new_err(format!("{name:?} is no system call"))),
        None => Err(PyValueError::new_err("no architecture that pyrt runs on")),
    }
}
