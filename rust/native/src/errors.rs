//! The core's error -> a Python exception of `pyrt.errors`, in one place.

use std::cell::Cell;
use std::ops::ControlFlow;

use pyo3::exceptions::{PyProcessLookupError, PySystemExit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// An error of the core on its way to Python; `?` makes the exception.
pub struct Raised(pyrt_core::Error);

impl From<pyrt_core::Error> for Raised {
    fn from(error: pyrt_core::Error) -> Self {
        Raised(error)
    }
}

impl From<Raised> for PyErr {
    fn from(Raised(error): Raised) -> PyErr {
        // What Python raised while the core waited counts more than what was cleaned up because of it.
        INTERRUPTION.take().unwrap_or_else(|| Python::attach(|py| exception(py, &error).unwrap_or_else(|failed| failed)))
    }
}

/// The exit status of a command that a signal ended is this and the signal's number.
const SIGNALLED: i32 = 128;

thread_local! {
    /// What ended a wait or a copy of this thread, until it is raised.
    static INTERRUPTION: Cell<Option<PyErr>> = const { Cell::new(None) };
}

/// For `pyrt_core::interruption`: whether a handler of Python's raised something, KeyboardInterrupt above all, or a signal that the command
/// holds asks it to end.
pub fn give_up() -> bool {
    let raised = match Python::attach(|py| py.check_signals()) {
        Ok(()) => pyrt_core::terminal::asked_to_end().map(|signal| PySystemExit::new_err(SIGNALLED + signal)),
        Err(raised) => Some(raised),
    };
    let given_up = raised.is_some();
    if given_up {
        INTERRUPTION.set(raised);
    }
    given_up
}

/// For `pyrt_core::layer::OnProgress`, in a thread that is detached: calls a function of the caller's, and keeps what it raises.
pub fn tell(function: &Py<PyAny>, entries: u64, bytes: u64) -> ControlFlow<()> {
    match Python::attach(|py| function.call1(py, (entries, bytes)).map(drop)) {
        Ok(()) => ControlFlow::Continue(()),
        Err(raised) => {
            INTERRUPTION.set(Some(raised));
            ControlFlow::Break(())
        }
    }
}

/// After a call that goes on where a wait in it was given up (a hook that was ended): what is to be raised for that.
pub fn given_up() -> PyResult<()> {
    INTERRUPTION.take().map_or(Ok(()), Err)
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
