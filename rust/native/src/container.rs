//! Containers with state on disk.

use std::os::fd::RawFd;
use std::path::PathBuf;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyrt_core::container::{default_root, ids, Container as Core, Directory, ExecOptions, Status};
use pyrt_core::launch::Lent;
use pyrt_core::sys::lend;

use crate::cgroup::Cgroup;
use crate::errors::{given_up, Raised};
use crate::json::as_dict;
use crate::launch::LaunchPlan;
use crate::layer::Root;
use crate::process::Process;

#[pyclass(frozen, module = "pyrt._native")]
pub struct Container(Core);

fn status(name: &str) -> PyResult<Status> {
    Ok(match name {
        "creating" => Status::Creating,
        "created" => Status::Created,
        "running" => Status::Running,
        "paused" => Status::Paused,
        "stopped" => Status::Stopped,
        _ => return Err(PyValueError::new_err(format!("{name:?} is not a status"))),
    })
}

#[pymethods]
impl Container {
    #[new]
    fn new(root: PathBuf, id: &str) -> PyResult<Self> {
        Ok(Container(Core::new(Directory::new(&root, id).map_err(Raised::from)?)))
    }

    #[staticmethod]
    #[pyo3(signature = (root, plan, config, *, stdio, console_socket = None, pass_fds = vec![], notify_socket = None))]
    #[allow(clippy::too_many_arguments)] // Keywords in Python.
    fn create(
        py: Python<'_>,
        root: PathBuf,
        plan: &LaunchPlan,
        config: &[u8],
        stdio: [RawFd; 3],
        console_socket: Option<RawFd>,
        pass_fds: Vec<RawFd>,
        notify_socket: Option<PathBuf>,
    ) -> PyResult<Self> {
        let made = py.detach(|| {
            let lent = Lent {
                stdio: stdio.map(lend),
                start_socket: None,
                console_socket: console_socket.map(lend),
                kept: &pass_fds,
                entered: None,
            };
            let plan = plan.core();
            Core::create(Directory::new(&root, &plan.options.id)?, plan, config, &lent, notify_socket.as_deref())
        });
        Ok(Container(made.map_err(Raised::from)?))
    }

    #[staticmethod]
    #[pyo3(signature = (root, plan, config, options, *, stdio, console_socket = None))]
    fn restore(
        py: Python<'_>,
        root: PathBuf,
        plan: &LaunchPlan,
        config: &[u8],
        options: &Bound<'_, PyAny>,
        stdio: [RawFd; 3],
        console_socket: Option<RawFd>,
    ) -> PyResult<Self> {
        let options = crate::json::read_as(options)?;
        let made = py.detach(|| {
            let console_socket = console_socket.map(lend);
            let lent = Lent { stdio: stdio.map(lend), start_socket: None, console_socket, kept: &[], entered: None };
            let plan = plan.core();
            Core::restore(Directory::new(&root, &plan.options.id)?, plan, config, &lent, &options)
        });
        Ok(Container(made.map_err(Raised::from)?))
    }

    fn checkpoint(&self, py: Python<'_>, options: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
        let options = crate::json::read_as(options)?;
        let warnings = py.detach(|| self.0.checkpoint(&options)).map_err(Raised::from)?;
        given_up().map(|()| warnings)
    }

    #[getter]
    fn id(&self) -> &str {
        self.0.directory().id()
    }

    #[getter]
    fn path(&self) -> String {
        self.0.directory().path().display().to_string()
    }

    #[getter]
    fn process(&self) -> Option<Process> {
        self.0.process().map(Process::of)
    }

    #[getter]
    fn exit_status(&self) -> Option<i32> {
        self.0.directory().recorded_exit()
    }

    fn remains<'py>(&self, py: Python<'py>) -> PyResult<Option<(Bound<'py, PyDict>, Vec<u8>)>> {
        let remains = self.0.remains();
        remains.map(|remains| Ok((crate::cgroup::usage_as_dict(py, &remains.usage)?, remains.config.get().as_bytes().to_vec()))).transpose()
    }

    fn exists(&self) -> PyResult<bool> {
        Ok(self.0.directory().exists().map_err(Raised::from)?)
    }

    fn status(&self) -> PyResult<String> {
        let status = self.0.directory().read().and_then(|state| self.0.status(&state));
        Ok(status.map_err(Raised::from)?.to_string())
    }

    fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let state = self.0.directory().read().map_err(Raised::from)?;
        as_dict(py, &self.0.shown_state(&state).map_err(Raised::from)?)
    }

    fn init(&self) -> PyResult<Option<(i32, u64)>> {
        let directory = self.0.directory();
        // A container that does not exist has no init either: that is told apart here.
        directory.read().map_err(Raised::from)?;
        Ok(directory.init().map_err(Raised::from)?.map(|init| (init.pid, init.start_time)))
    }

    fn config(&self) -> PyResult<Vec<u8>> {
        let state = self.0.directory().read().map_err(Raised::from)?;
        Ok(state.config.get().as_bytes().to_vec())
    }

    #[pyo3(signature = (verb, allowed, hint = None))]
    fn require(&self, verb: &str, allowed: Vec<String>, hint: Option<&str>) -> PyResult<()> {
        let allowed = allowed.iter().map(|name| status(name)).collect::<PyResult<Vec<_>>>()?;
        let state = self.0.directory().read().map_err(Raised::from)?;
        Ok(self.0.require(&state, verb, &allowed, hint).map_err(Raised::from)?)
    }

    fn update(&self, py: Python<'_>, resources: &Bound<'_, PyAny>) -> PyResult<()> {
        let resources = crate::cgroup::resources(resources)?;
        Ok(py.detach(|| self.0.update(&resources)).map_err(Raised::from)?)
    }

    fn processes(&self) -> PyResult<Vec<i32>> {
        Ok(self.0.processes().map_err(Raised::from)?)
    }

    fn cgroup(&self) -> PyResult<Option<Cgroup>> {
        Ok(self.0.cgroup().map_err(Raised::from)?.map(Cgroup))
    }

    #[pyo3(signature = (notify_socket = None))]
    fn start(&self, py: Python<'_>, notify_socket: Option<PathBuf>) -> PyResult<()> {
        Ok(py.detach(|| self.0.start(notify_socket.as_deref())).map_err(Raised::from)?)
    }

    fn wait_ready(&self, py: Python<'_>) -> PyResult<()> {
        let Some((process, relay)) = self.0.process().and_then(|process| process.take_notify().map(|relay| (process, relay))) else {
            return Ok(());
        };
        Ok(py.detach(|| relay.run(process.pidfd(), process.pid)).map_err(Raised::from)?)
    }

    fn root(&self) -> PyResult<Root> {
        Ok(Root::of(self.0.root().map_err(Raised::from)?))
    }

    fn kill(&self, py: Python<'_>, signal: i32, all: bool) -> PyResult<()> {
        Ok(py.detach(|| self.0.kill(signal, all)).map_err(Raised::from)?)
    }

    fn pause(&self, py: Python<'_>) -> PyResult<()> {
        Ok(py.detach(|| self.0.pause()).map_err(Raised::from)?)
    }

    fn resume(&self, py: Python<'_>) -> PyResult<()> {
        Ok(py.detach(|| self.0.resume()).map_err(Raised::from)?)
    }

    fn delete(&self, py: Python<'_>, force: bool) -> PyResult<Vec<String>> {
        let warnings = py.detach(|| self.0.delete(force)).map_err(Raised::from)?;
        given_up().map(|()| warnings)
    }

    #[pyo3(signature = (config, *, ignore_paused = false, preserve_fds = 0, cgroups = vec![]))]
    fn plan_exec(&self, config: &[u8], ignore_paused: bool, preserve_fds: usize, cgroups: Vec<(String, String)>) -> PyResult<LaunchPlan> {
        let planned = self.0.plan_exec(config, ExecOptions { ignore_paused, preserve_fds, cgroups });
        let (plan, entered) = planned.map_err(Raised::from)?;
        Ok(LaunchPlan::entering(plan, entered))
    }

    fn record_exit(&self, status: i32) -> PyResult<()> {
        Ok(self.0.record_exit(status).map_err(Raised::from)?)
    }
}

#[pyfunction]
#[pyo3(signature = (rootless = None))]
pub fn state_root(rootless: Option<bool>) -> PyResult<String> {
    // A str: a path would import pathlib.
    Ok(default_root(rootless).map_err(Raised::from)?.display().to_string())
}

#[pyfunction]
pub fn container_ids(root: PathBuf) -> PyResult<Vec<String>> {
    Ok(ids(&root).map_err(Raised::from)?)
}
