//! seccomp profiles: compiled once for any number of launches, and as byte code, for whoever wants to look at it.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use pyrt_core::oci::parse_part;
use pyrt_core::seccomp::{check, is_known, Answer, Architecture, Asked, Filter, Listener, Profile};

use pyrt_core::sys::lend;

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

/// The listener of a filter whose calls the caller answers.
#[pyclass(frozen, module = "pyrt._native")]
pub struct SeccompListener(Mutex<Option<Arc<Listener>>>);

impl SeccompListener {
    pub fn new(fd: OwnedFd) -> Self {
        SeccompListener(Mutex::new(Some(Arc::new(Listener::new(fd)))))
    }

    fn open(&self) -> PyResult<Arc<Listener>> {
        let listener = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
        listener.ok_or_else(|| PyValueError::new_err("the listener is closed"))
    }
}

#[pymethods]
impl SeccompListener {
    fn fileno(&self) -> PyResult<i32> {
        Ok(self.open()?.fd().as_raw_fd())
    }

    fn receive(&self, py: Python<'_>) -> PyResult<Option<SeccompNotification>> {
        let listener = self.open()?;
        let asked = py.detach(|| listener.receive()).map_err(Raised::from)?;
        Ok(asked.map(|asked| SeccompNotification { listener, asked }))
    }

    fn close(&self) {
        drop(self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take());
    }
}

/// A call that waits for its answer.
#[pyclass(frozen, module = "pyrt._native")]
pub struct SeccompNotification {
    listener: Arc<Listener>,
    asked: Asked,
}

impl SeccompNotification {
    fn answer(&self, answer: Answer<'_>) -> PyResult<()> {
        Ok(self.listener.answer(self.asked.id, answer).map_err(Raised::from)?)
    }
}

#[pymethods]
impl SeccompNotification {
    #[getter]
    fn pid(&self) -> u32 {
        self.asked.pid
    }

    #[getter]
    fn name(&self) -> Option<&'static str> {
        self.asked.name
    }

    #[getter]
    fn architecture(&self) -> Option<&'static str> {
        self.asked.architecture
    }

    #[getter]
    fn number(&self) -> u32 {
        self.asked.number
    }

    #[getter]
    fn args(&self) -> (u64, u64, u64, u64, u64, u64) {
        self.asked.arguments.into()
    }

    fn waits(&self) -> PyResult<bool> {
        Ok(self.listener.still_waits(self.asked.id).map_err(Raised::from)?)
    }

    fn read<'py>(&self, py: Python<'py>, address: u64, length: usize) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let read = py.detach(|| self.listener.read(&self.asked, address, length)).map_err(Raised::from)?;
        Ok(read.map(|bytes| PyBytes::new(py, &bytes)))
    }

    fn error(&self, errno: i32) -> PyResult<()> {
        self.answer(Answer::Error(errno))
    }

    fn value(&self, value: i64) -> PyResult<()> {
        self.answer(Answer::Value(value))
    }

    fn proceed(&self) -> PyResult<()> {
        self.answer(Answer::Proceed)
    }

    #[pyo3(signature = (fd, *, close_on_exec))]
    fn descriptor(&self, fd: RawFd, close_on_exec: bool) -> PyResult<()> {
        self.answer(Answer::Descriptor { fd: lend(fd), close_on_exec })
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
