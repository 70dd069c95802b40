//! Cgroups, by what they are called in each hierarchy.

use std::collections::HashMap;
use std::os::fd::IntoRawFd;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyrt_core::cgroup::{Cgroup as Core, CgroupPlan, Form, OomNotifier, Usage};
use pyrt_core::host::HostFacts;
use pyrt_core::oci::parse_part;
use serde_json::Value;

use crate::errors::Raised;
use crate::json::{as_dict, from_python};

#[pyclass(frozen, module = "pyrt._native")]
pub struct Cgroup(pub Arc<Core>);

impl Cgroup {
    fn with<T: Send>(&self, py: Python<'_>, act: impl FnOnce(&Core) -> pyrt_core::Result<T> + Send) -> PyResult<T> {
        py.detach(|| act(&self.0)).map_err(|error| Raised::from(error).into())
    }
}

pub fn resources(value: &Bound<'_, PyAny>) -> PyResult<pyrt_core::oci::LinuxResources> {
    let value: Value = from_python(value)?;
    Ok(parse_part(&value, "linux.resources", &mut Vec::new()).map_err(Raised::from)?)
}

pub fn usage_as_dict<'py>(py: Python<'py>, usage: &Usage) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, value) in usage.fields() {
        dict.set_item(name, value)?;
    }
    Ok(dict)
}

#[pymethods]
impl Cgroup {
    #[staticmethod]
    #[pyo3(signature = (path, resources, *, controllers = vec![]))]
    fn create(py: Python<'_>, path: String, resources: &Bound<'_, PyAny>, controllers: Vec<String>) -> PyResult<Self> {
        let resources = self::resources(resources)?;
        let made = py.detach(|| {
            let facts = HostFacts::get()?;
            CgroupPlan::new(&facts.hierarchies, &path, Some(&resources), Form::Library, &controllers)?.exclusive().create()
        });
        Ok(Cgroup(Arc::new(made.map_err(Raised::from)?)))
    }

    #[staticmethod]
    fn open(paths: HashMap<String, String>) -> PyResult<Self> {
        let paths: Vec<_> = paths.into_iter().collect();
        Ok(Cgroup(Arc::new(Core::open(&paths).map_err(Raised::from)?)))
    }

    fn keeping_files_open(&self, py: Python<'_>) -> PyResult<Self> {
        Ok(Cgroup(Arc::new(self.with(py, Core::keeping_files_open)?)))
    }

    #[getter]
    fn paths(&self, py: Python<'_>) -> PyResult<HashMap<String, String>> {
        self.with(py, |core| Ok(core.paths().into_iter().collect()))
    }

    fn add(&self, py: Python<'_>, pid: i32) -> PyResult<()> {
        self.with(py, |core| core.add(pid))
    }

    fn update(&self, py: Python<'_>, resources: &Bound<'_, PyAny>) -> PyResult<()> {
        let resources = self::resources(resources)?;
        self.with(py, |core| core.update(&HostFacts::get()?.hierarchies, &resources))
    }

    fn processes(&self, py: Python<'_>) -> PyResult<Vec<i32>> {
        self.with(py, Core::processes)
    }

    fn signal(&self, py: Python<'_>, signal: i32) -> PyResult<()> {
        self.with(py, |core| core.signal(signal))
    }

    fn freeze(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, Core::freeze)
    }

    fn thaw(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, Core::thaw)
    }

    fn frozen(&self, py: Python<'_>) -> PyResult<bool> {
        self.with(py, Core::frozen)
    }

    fn kill(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, Core::kill)
    }

    fn usage<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        usage_as_dict(py, &self.with(py, Core::usage)?)
    }

    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        as_dict(py, &self.with(py, Core::statistics)?)
    }

    fn oom_notifier(&self, py: Python<'_>) -> PyResult<Option<(&'static str, i32)>> {
        Ok(self.with(py, Core::oom_notifier)?.map(|notifier| match notifier {
            OomNotifier::Counters(counters) => ("counters", counters.into_raw_fd()),
            OomNotifier::Eventfd(eventfd) => ("eventfd", eventfd.into_raw_fd()),
        }))
    }

    fn remove(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, Core::remove)
    }
}
