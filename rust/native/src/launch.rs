//! plan, launch, and the hooks that run outside.

use std::collections::HashMap;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyrt_core::host::HostFacts;
use pyrt_core::launch::{Entered, Lent};
use pyrt_core::oci::Config;
use pyrt_core::passwd;
use pyrt_core::plan::{Form, HookStage, Options, Overlay};
use pyrt_core::sys::lend;
use pyrt_core::systemd::Manager;
use pyrt_core::view::ViewEntries;

use crate::errors::{given_up, Raised};
use crate::process::Process;
use crate::seccomp::SeccompProfile;

/// What of the host a host view shows. Read from the host at its first use, then kept.
#[pyclass(frozen, module = "pyrt._native")]
pub struct View {
    wanted: pyrt_core::view::View,
    entries: PyOnceLock<ViewEntries>,
}

#[pymethods]
impl View {
    #[new]
    #[pyo3(signature = (*, show, read_only, copy, empty, files = HashMap::new()))]
    fn new(show: Vec<PathBuf>, read_only: Vec<PathBuf>, copy: Vec<PathBuf>, empty: Vec<PathBuf>, files: HashMap<PathBuf, Vec<u8>>) -> Self {
        View {
            wanted: pyrt_core::view::View { show, read_only, copy, files: files.into_iter().collect(), empty },
            entries: PyOnceLock::new(),
        }
    }
}

impl View {
    fn entries(&self, py: Python<'_>) -> PyResult<ViewEntries> {
        let entries = self.entries.get_or_try_init(py, || py.detach(|| ViewEntries::read(&self.wanted)).map_err(Raised::from))?;
        Ok(entries.clone())
    }
}

#[pyclass(frozen, module = "pyrt._native")]
pub struct LaunchPlan(pyrt_core::plan::LaunchPlan, Option<Entered>);

impl LaunchPlan {
    /// Of a process in a container that exists.
    pub fn entering(plan: pyrt_core::plan::LaunchPlan, entered: Entered) -> Self {
        LaunchPlan(plan, Some(entered))
    }

    pub fn core(&self) -> &pyrt_core::plan::LaunchPlan {
        &self.0
    }
}

#[pyfunction]
#[pyo3(signature = (config, *, bundle, id, form, overlay = "off", overlay_dir = None, overlay_size = None, view = None, seccomp = None,
    cgroups = true, cgroup_manager = "cgroupfs", pivot = true, new_keyring = true, preserve_fds = 0, env = vec![],
    waits_for_start = false, end_with_caller = false, keep_changes = false, awaits_command = false))]
#[allow(clippy::too_many_arguments)] // Keywords in Python; one struct in the core.
pub fn plan(
    py: Python<'_>,
    config: &[u8],
    bundle: PathBuf,
    id: String,
    form: &str,
    overlay: &str,
    overlay_dir: Option<PathBuf>,
    overlay_size: Option<u64>,
    view: Option<Bound<'_, View>>,
    seccomp: Option<Bound<'_, SeccompProfile>>,
    cgroups: bool,
    cgroup_manager: &str,
    pivot: bool,
    new_keyring: bool,
    preserve_fds: usize,
    env: Vec<String>,
    waits_for_start: bool,
    end_with_caller: bool,
    keep_changes: bool,
    awaits_command: bool,
) -> PyResult<LaunchPlan> {
    let overlay = match (overlay, overlay_dir) {
        ("off", _) => Overlay::Off,
        ("discard", _) => Overlay::Discard { size: overlay_size },
        ("keep", Some(directory)) => Overlay::Keep { directory },
        _ => return Err(PyValueError::new_err("overlay must be \"off\", \"discard\", or \"keep\" with overlay_dir")),
    };
    let form = match form {
        "engine" => Form::Engine,
        "library" => Form::Library,
        _ => return Err(PyValueError::new_err("form must be \"engine\" or \"library\"")),
    };
    let view = view.map(|view| view.get().entries(py)).transpose()?;
    let seccomp = seccomp.map(|profile| profile.get().core().clone());
    let systemd = match cgroup_manager {
        "systemd" if cgroups => Some(py.detach(Manager::ask).map_err(Raised::from)?),
        "cgroupfs" | "systemd" => None,
        _ => return Err(PyValueError::new_err("cgroup_manager must be \"cgroupfs\" or \"systemd\"")),
    };
    let default = if systemd.is_some() { pyrt_core::cgroup::default_scope(&id) } else { pyrt_core::cgroup::default_path(&id) };
    let cgroup = cgroups.then_some(default);
    let config = Config::of(config).map_err(Raised::from)?;
    let mut options = Options {
        bundle,
        id,
        form,
        overlay,
        view,
        seccomp,
        cgroup,
        systemd,
        pivot,
        new_keyring,
        preserve_fds,
        env,
        passwd: None,
        waits_for_start,
        end_with_caller,
        keep_changes,
        awaits_command,
    };
    let facts = HostFacts::get().map_err(Raised::from)?;
    options.passwd = passwd::of_root(&config, &options);
    let plan = pyrt_core::plan::LaunchPlan::decide(config, options, facts).map_err(Raised::from)?;
    Ok(LaunchPlan(plan, None))
}

#[pymethods]
impl LaunchPlan {
    #[getter]
    fn warnings(&self) -> Vec<String> {
        self.0.warnings().to_vec()
    }

    #[getter]
    fn oci_version(&self) -> &str {
        self.0.config.spec.version()
    }

    #[getter]
    fn rootfs(&self) -> String {
        self.0.rootfs.display().to_string()
    }

    #[getter]
    fn terminal(&self) -> bool {
        self.0.terminal
    }

    #[getter]
    fn annotations(&self) -> HashMap<String, String> {
        self.0.annotations()
    }

    #[getter]
    fn filtered(&self) -> bool {
        self.0.is_filtered()
    }

    #[getter]
    fn root_owner(&self) -> (u32, u32) {
        self.0.root_owner()
    }

    #[getter]
    fn own_pid_namespace(&self) -> bool {
        self.0.own_pid_namespace
    }

    #[pyo3(signature = (*, stdio, console_socket = None, pass_fds = vec![]))]
    fn launch(&self, py: Python<'_>, stdio: [RawFd; 3], console_socket: Option<RawFd>, pass_fds: Vec<RawFd>) -> PyResult<Process> {
        let process = py.detach(|| {
            let lent = Lent {
                stdio: stdio.map(lend),
                start_socket: None,
                console_socket: console_socket.map(lend),
                kept: &pass_fds,
                entered: self.1.as_ref(),
            };
            pyrt_core::launch::launch(&self.0, &lent)
        });
        Ok(Process::of(Arc::new(process.map_err(Raised::from)?)))
    }
}

#[pyfunction]
pub fn run_hooks(py: Python<'_>, config: &[u8], stage: &str, state: &[u8]) -> PyResult<Vec<String>> {
    let config = Config::of(config).map_err(Raised::from)?;
    py.detach(|| match stage {
        "poststart" => pyrt_core::hooks::run_stage(&config.spec, HookStage::Poststart, state)
            .map(|()| Vec::new())
            .map_err(|error| Raised::from(error).into()),
        "poststop" => {
            let failures = pyrt_core::hooks::run_all(&config.spec, HookStage::Poststop, state);
            given_up().map(|()| failures)
        }
        _ => Err(PyValueError::new_err("stage must be \"poststart\" or \"poststop\"")),
    })
}
