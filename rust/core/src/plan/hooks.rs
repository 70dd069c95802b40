//! POSIX-platform hooks (config.md): which run where. Those of the runtime namespace are run by the caller, the others by init.

use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};

use oci_spec::runtime::{Hook, Spec};
use pyrt_init::{meet, Step};

use super::builder::{text, Builder, Handed, StatusFile, Strings};
use crate::error::{Context, Error, Kind, Result};
use crate::oci::plain_path;

/// The six, by the caller's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookStage {
    Prestart,
    CreateRuntime,
    CreateContainer,
    StartContainer,
    Poststart,
    Poststop,
}

impl HookStage {
    pub fn name(self) -> &'static str {
        match self {
            HookStage::Prestart => "prestart",
            HookStage::CreateRuntime => "createRuntime",
            HookStage::CreateContainer => "createContainer",
            HookStage::StartContainer => "startContainer",
            HookStage::Poststart => "poststart",
            HookStage::Poststop => "poststop",
        }
    }

    pub fn of(self, spec: &Spec) -> &[Hook] {
        let Some(hooks) = spec.hooks() else { return &[] };
        #[allow(deprecated)]
        let hooks = match self {
            HookStage::Prestart => hooks.prestart(),
            HookStage::CreateRuntime => hooks.create_runtime(),
            HookStage::CreateContainer => hooks.create_container(),
            HookStage::StartContainer => hooks.start_container(),
            HookStage::Poststart => hooks.poststart(),
            HookStage::Poststop => hooks.poststop(),
        };
        hooks.as_deref().unwrap_or_default()
    }
}

/// prestart and createRuntime (by the caller, while init waits), then createContainer: all before the pivot, so that paths are the host's.
pub fn before_pivot(steps: &mut Builder, spec: &Spec) -> Result<()> {
    let outside = [HookStage::Prestart, HookStage::CreateRuntime];
    for stage in [
        HookStage::Prestart,
        HookStage::CreateRuntime,
        HookStage::CreateContainer,
        HookStage::StartContainer,
        HookStage::Poststart,
        HookStage::Poststop,
    ] {
        for (index, hook) in stage.of(spec).iter().enumerate() {
            plain_path(hook.path(), &format!("hooks.{}[{index}].path", stage.name()))?;
            if hook.timeout().is_some_and(|timeout| timeout <= 0) {
                return Err(Error::spec(format!("hooks.{}[{index}].timeout", stage.name()), "must be above 0"));
            }
        }
    }
    if outside.iter().any(|stage| !stage.of(spec).is_empty()) {
        steps.push(Step::Meet { what: meet::HOOKS });
    }
    inside(steps, spec, HookStage::CreateContainer, StatusFile::Creating)
}

/// startContainer: after `start`, in the container's own root.
pub fn before_start(steps: &mut Builder, spec: &Spec) -> Result<()> {
    inside(steps, spec, HookStage::StartContainer, StatusFile::Created)
}

fn inside(steps: &mut Builder, spec: &Spec, stage: HookStage, status: StatusFile) -> Result<()> {
    for (index, hook) in stage.of(spec).iter().enumerate() {
        let at = format!("hooks.{}[{index}]", stage.name());
        let path = hook.path().to_str().ok_or_else(|| Error::spec(format!("{at}.path"), "is not UTF-8"))?;
        let state = steps.hand(Handed::State(status));
        let arguments = match hook.args() {
            Some(args) if !args.is_empty() => Strings::collect(args, &format!("{at}.args"))?,
            _ => Strings::collect([path], &format!("{at}.args"))?,
        };
        let environment = Strings::collect(hook.env().iter().flatten(), &format!("{at}.env"))?;
        let timeout = hook.timeout().map_or(0, i64::unsigned_abs);
        steps.push(Step::Hook { path: &text(path, &at)?, arguments: arguments.list(), environment: environment.list(), state, timeout });
    }
    Ok(())
}

/// Runs a stage of the runtime namespace, one hook after the other, with `state` on stdin; the first failure ends it.
pub fn run_stage(spec: &Spec, stage: HookStage, state: &[u8]) -> Result<()> {
    stage.of(spec).iter().enumerate().try_for_each(|(index, hook)| run(hook, &format!("run {} hook {index}", stage.name()), state))
}

/// As `run_stage`, but every hook runs, and failures come back as words: runtime.md's rule for poststop.
pub fn run_all(spec: &Spec, stage: HookStage, state: &[u8]) -> Vec<String> {
    let failure = |(index, hook)| run(hook, &format!("run {} hook {index}", stage.name()), state).err();
    stage.of(spec).iter().enumerate().filter_map(failure).map(|error| error.to_string()).collect()
}

fn run(hook: &Hook, operation: &str, state: &[u8]) -> Result<()> {
    let path = hook.path().display().to_string();
    let mut command = Command::new(hook.path());
    if let Some([name, args @ ..]) = hook.args().as_deref() {
        command.arg0(name).args(args);
    }
    command.env_clear().stdin(Stdio::piped());
    for variable in hook.env().iter().flatten() {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        command.env(name, value);
    }
    crate::sys::start_clean(&mut command);
    let mut child = command.spawn().at(operation, &path)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A hook need not read its state: one that closes stdin early is fine.
        let _ = stdin.write_all(state);
    }
    let status = match hook.timeout() {
        None => child.wait().at(operation, &path)?,
        Some(seconds) => match crate::process::wait_child(child.id() as i32, seconds as f64).at(operation, &path)? {
            Some(()) => child.wait().at(operation, &path)?,
            None => {
                child.kill().at(operation, &path)?;
                child.wait().at(operation, &path)?;
                return Err(Error {
                    hint: Some(format!("it did not end within {seconds} s")),
                    ..Error::system(operation, path, nix::errno::Errno::ETIMEDOUT)
                });
            }
        },
    };
    if status.success() {
        return Ok(());
    }
    Err(failed(operation, status.into_raw()).with_path(path))
}

/// A hook that ended badly, by its wait status.
pub(crate) fn failed(operation: &str, status: i32) -> Error {
    let status = std::process::ExitStatus::from_raw(status);
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("it ended with status {code}"),
        (None, signal) => format!("signal {} ended it", signal.unwrap_or(0)),
    };
    Error::new(Kind::System, operation).with_hint(how)
}
