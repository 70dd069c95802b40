//! pyrt._native: convert, detach from the interpreter, map the error. Nothing is decided here; `_native.pyi` is the contract.

mod cgroup;
mod components;
mod container;
mod errors;
mod json;
mod launch;
mod layer;
mod process;
mod seccomp;
mod signal;

use std::sync::OnceLock;

use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;

/// `gil_used = false`: no state of ours depends on the GIL, so free-threaded interpreters keep it off.
#[pymodule(gil_used = false)]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    refuse_subinterpreters(module.py())?;
    pyrt_core::interruption::ask_by(errors::give_up);
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("COMMIT", components::COMMIT)?;
    module.add("OCI_VERSION", pyrt_core::oci::VERSION)?;
    module.add_class::<launch::View>()?;
    module.add_class::<launch::LaunchPlan>()?;
    module.add_class::<seccomp::SeccompProfile>()?;
    module.add_class::<seccomp::SeccompListener>()?;
    module.add_class::<seccomp::SeccompNotification>()?;
    module.add_class::<process::Process>()?;
    module.add_class::<layer::Layer>()?;
    module.add_class::<layer::Root>()?;
    module.add_class::<cgroup::Cgroup>()?;
    module.add_class::<container::Container>()?;
    module.add_function(wrap_pyfunction!(json::json_loads, module)?)?;
    module.add_function(wrap_pyfunction!(json::json_dumps, module)?)?;
    module.add_function(wrap_pyfunction!(launch::plan, module)?)?;
    module.add_function(wrap_pyfunction!(launch::run_hooks, module)?)?;
    module.add_function(wrap_pyfunction!(container::state_root, module)?)?;
    module.add_function(wrap_pyfunction!(container::container_ids, module)?)?;
    module.add_function(wrap_pyfunction!(signal::hold_signals, module)?)?;
    module.add_function(wrap_pyfunction!(signal::signal_number, module)?)?;
    module.add_function(wrap_pyfunction!(process::wait_process, module)?)?;
    module.add_function(wrap_pyfunction!(components::namespaces_create, module)?)?;
    module.add_function(wrap_pyfunction!(components::overlay_mount, module)?)?;
    module.add_function(wrap_pyfunction!(components::features, module)?)?;
    module.add_function(wrap_pyfunction!(components::host_facts, module)?)?;
    module.add_function(wrap_pyfunction!(components::host_cgroups, module)?)?;
    module.add_function(wrap_pyfunction!(components::can_mount, module)?)?;
    module.add_function(wrap_pyfunction!(seccomp::seccomp_compile, module)?)?;
    module.add_function(wrap_pyfunction!(seccomp::seccomp_number, module)?)?;
    Ok(())
}

/// The classes below are one for the process, and would be shared by interpreters that must not share objects (PyO3 issue 576). Each interpreter
/// has a `builtins` of its own, and keeps it for its life.
fn refuse_subinterpreters(py: Python<'_>) -> PyResult<()> {
    static BUILTINS: OnceLock<usize> = OnceLock::new();
    let mine = py.import("builtins")?.as_ptr() as usize;
    match *BUILTINS.get_or_init(|| mine) == mine {
        true => Ok(()),
        false => Err(PyImportError::new_err("pyrt cannot be used in a subinterpreter: use it in the main one, or in another process")),
    }
}
