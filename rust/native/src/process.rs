//! Processes by pidfd: waiting releases the GIL and lets Python handle its signals.

use std::os::fd::{AsFd, AsRawFd, IntoRawFd, RawFd};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use pyo3::exceptions::{PyOSError, PyProcessLookupError, PyValueError};
use pyo3::prelude::*;
use pyrt_core::error::Context;
use pyrt_core::plan::CommandPlan;
use pyrt_core::process::{Ended, Process as Core};
use pyrt_core::sys::lend;

use crate::cgroup::Cgroup;
use crate::errors::{no_process, Raised};
use crate::layer::{Layer, Root};
use crate::seccomp::SeccompListener;

#[pyclass(frozen, module = "pyrt._native")]
pub struct Process {
    core: Mutex<Option<Arc<Core>>>,
    pid: i32,
}

impl Process {
    pub fn of(process: Arc<Core>) -> Self {
        let pid = process.pid;
        Process { core: Mutex::new(Some(process)), pid }
    }

    fn open(&self) -> PyResult<Arc<Core>> {
        let core = self.core.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        core.clone().ok_or_else(|| PyValueError::new_err("the process handle is closed"))
    }
}

fn deadline(timeout: Option<f64>) -> PyResult<Option<Instant>> {
    let Some(seconds) = timeout else { return Ok(None) };
    let time =
        Duration::try_from_secs_f64(seconds.max(0.0)).map_err(|_| PyValueError::new_err(format!("timeout {seconds} is out of range")))?;
    Ok(Instant::now().checked_add(time))
}

/// Waits without the GIL; `false` when the time has passed. A signal interrupts it, so that Ctrl-C raises.
fn wait_ended(py: Python<'_>, timeout: Option<f64>, wait: impl Fn(Option<Duration>) -> Result<bool, Errno> + Sync) -> PyResult<bool> {
    let deadline = deadline(timeout)?;
    loop {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        match py.detach(|| wait(left)) {
            Ok(ended) => return Ok(ended),
            Err(Errno::EINTR) => py.check_signals()?,
            Err(errno) => return Err(Raised::from(pyrt_core::Error::system("wait for the container", None, errno)).into()),
        }
    }
}

fn code(ended: Ended, pid: i32) -> PyResult<i32> {
    ended.code.ok_or_else(|| {
        PyProcessLookupError::new_err((
            Errno::ECHILD as i32,
            format!("wait for process {pid}: its exit status was taken by somebody else (SIGCHLD ignored, or a reaper)"),
        ))
    })
}

#[pymethods]
impl Process {
    #[getter]
    fn pid(&self) -> i32 {
        self.pid
    }

    #[getter]
    fn pidfd(&self) -> PyResult<i32> {
        Ok(self.open()?.pidfd().as_raw_fd())
    }

    fn fileno(&self) -> PyResult<i32> {
        self.pidfd()
    }

    #[getter]
    fn cgroup(&self) -> PyResult<Option<Cgroup>> {
        let core = self.open()?;
        Ok(core.cgroup.clone().map(Cgroup))
    }

    #[getter]
    fn max_rss_bytes(&self) -> PyResult<Option<u64>> {
        Ok(self.open()?.ended().and_then(|ended| ended.max_rss_bytes))
    }

    fn terminal(&self) -> PyResult<Option<i32>> {
        Ok(self.open()?.take_terminal().map(IntoRawFd::into_raw_fd))
    }

    fn listener(&self) -> PyResult<Option<SeccompListener>> {
        Ok(self.open()?.take_listener().map(SeccompListener::new))
    }

    #[pyo3(signature = (arguments, environment, directory, *, stdio, pass_fds = vec![]))]
    fn hand_out(
        &self,
        py: Python<'_>,
        arguments: Vec<String>,
        environment: Vec<String>,
        directory: &str,
        stdio: [RawFd; 3],
        pass_fds: Vec<RawFd>,
    ) -> PyResult<bool> {
        let core = self.open()?;
        let plan = CommandPlan::new(&arguments, &environment, directory, pass_fds.len()).map_err(Raised::from)?;
        let handed = py.detach(|| pyrt_core::command::hand_out(&core, &plan, stdio.map(lend), &pass_fds));
        Ok(handed.map_err(Raised::from)?)
    }

    fn layer(&self) -> PyResult<Option<(Layer, Root)>> {
        Ok(self.open()?.take_layer().map(|(layer, root)| (Layer::of(layer), Root::of(root))))
    }

    fn root(&self, owner: (u32, u32)) -> PyResult<Root> {
        Ok(Root::of(self.open()?.root(owner).map_err(Raised::from)?))
    }

    #[pyo3(signature = (timeout = None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Option<i32>> {
        let core = self.open()?;
        if core.ended().is_none() && !wait_ended(py, timeout, |left| core.wait_readable(left))? {
            return Ok(None);
        }
        code(core.finish().map_err(Raised::from)?, self.pid).map(Some)
    }

    #[pyo3(signature = (*, terminal, timeout = None))]
    fn foreground(&self, py: Python<'_>, terminal: bool, timeout: Option<f64>) -> PyResult<Option<i32>> {
        let core = self.open()?;
        let deadline = deadline(timeout)?;
        let ended = py.detach(|| pyrt_core::terminal::foreground(&core, terminal, deadline)).map_err(Raised::from)?;
        if !ended {
            return Ok(None);
        }
        code(core.finish().map_err(Raised::from)?, self.pid).map(Some)
    }

    fn send_signal(&self, signal: i32) -> PyResult<()> {
        signalled(self.open()?.send_signal(signal), self.pid, signal)
    }

    fn kill(&self, py: Python<'_>) -> PyResult<()> {
        let core = self.open()?;
        py.detach(|| core.kill()).map_err(|error| Raised::from(error).into())
    }

    fn close(&self) {
        self.core.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
    }
}

fn signalled(result: Result<(), Errno>, pid: i32, signal: i32) -> PyResult<()> {
    match result {
        Ok(()) => Ok(()),
        Err(Errno::ESRCH) => Err(no_process(&format!("send signal {signal} to process {pid}"))),
        Err(Errno::EINVAL) => Err(PyValueError::new_err(format!("{signal} is not a signal"))),
        Err(errno) => {
            Err(Raised::from(pyrt_core::Error::system(format!("send signal {signal} to"), format!("process {pid}"), errno)).into())
        }
    }
}

#[pyfunction]
#[pyo3(signature = (pid, start_time, timeout = None))]
pub fn wait_process(py: Python<'_>, pid: i32, start_time: u64, timeout: Option<f64>) -> PyResult<(bool, Option<i32>)> {
    let pidfd = match pyrt_core::process::open(pid, start_time) {
        Ok(pidfd) => pidfd,
        // Gone for good, and what it said with it.
        Err(Errno::ESRCH) => return Ok((true, None)),
        Err(errno) => return Err(PyOSError::new_err((errno as i32, format!("open process {pid}: {}", errno.desc())))),
    };
    if !wait_ended(py, timeout, |left| pyrt_core::process::wait_readable(pidfd.as_fd(), left))? {
        return Ok((false, None));
    }
    let ended = pyrt_core::process::status_of(pidfd.as_fd()).op("read the exit status").map_err(Raised::from)?;
    Ok((true, ended))
}
