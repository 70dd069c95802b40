//! POSIX-platform hooks (config.md): which run where. Those of the runtime namespace are run by the caller (`crate::hooks`), the others by
//! init: createContainer's programs are opened by the caller and run in the container's namespaces, startContainer's are the container's.

use oci_spec::runtime::{Hook, Spec};
use pyrt_init::{meet, Step, NO_FD};

use super::builder::{text, variables, Builder, Handed, StatusFile, Strings};
use crate::error::{Error, Result};
use crate::oci::plain_path;

/// Seconds that init can count; longer ones are longer than any machine runs.
const TIMEOUT_LIMIT: u64 = u32::MAX as u64;

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
    /// In the order in which they run.
    pub const ALL: [HookStage; 6] = [
        HookStage::Prestart,
        HookStage::CreateRuntime,
        HookStage::CreateContainer,
        HookStage::StartContainer,
        HookStage::Poststart,
        HookStage::Poststop,
    ];

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

    /// What an error says was tried.
    pub fn operation(self, index: usize) -> String {
        format!("run {} hook {index}", self.name())
    }

    /// Where config.json has a hook of it.
    fn place(self, index: usize) -> String {
        format!("hooks.{}[{index}]", self.name())
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

/// What init runs before the pivot: the caller's prestart and createRuntime hooks, while it waits, then createContainer.
///
/// `host_paths`: whether init sees the caller's mounts, so that a path leads it where it leads the caller.
pub fn before_pivot(steps: &mut Builder, spec: &Spec, host_paths: bool) -> Result<()> {
    HookStage::ALL.iter().try_for_each(|stage| check(spec, *stage))?;
    let early = [HookStage::Prestart, HookStage::CreateRuntime, HookStage::CreateContainer, HookStage::StartContainer];
    // For the last two too: what they read names the process that only now is known (a second clone with given namespaces).
    if early.iter().any(|stage| !stage.of(spec).is_empty()) {
        steps.push(Step::Meet { what: meet::HOOKS });
    }
    inside(steps, spec, HookStage::CreateContainer, StatusFile::Creating, |steps, path, operation| {
        let program = steps.hand(Handed::Program { path: path.into(), operation });
        let output = steps.hand(Handed::HookOutput);
        Program { program, by_path: host_paths, output }
    })
}

/// startContainer: after `start`, in the container's own root, to the container's own stdout and stderr.
pub fn before_start(steps: &mut Builder, spec: &Spec) -> Result<()> {
    inside(steps, spec, HookStage::StartContainer, StatusFile::Created, |_, _, _| Program { program: NO_FD, by_path: true, output: NO_FD })
}

/// How init finds a hook's program, and where that writes to.
struct Program {
    program: u64,
    by_path: bool,
    output: u64,
}

fn inside(
    steps: &mut Builder,
    spec: &Spec,
    stage: HookStage,
    status: StatusFile,
    mut program: impl FnMut(&mut Builder, &str, String) -> Program,
) -> Result<()> {
    for (index, hook) in stage.of(spec).iter().enumerate() {
        let at = stage.place(index);
        let path = hook.path().to_str().ok_or_else(|| Error::spec(format!("{at}.path"), "is not UTF-8"))?;
        let state = steps.hand(Handed::State(status));
        let Program { program, by_path, output } = program(steps, path, stage.operation(index));
        let arguments = match hook.args() {
            Some(args) if !args.is_empty() => Strings::collect(args, &format!("{at}.args"))?,
            _ => Strings::collect([path], &format!("{at}.args"))?,
        };
        let environment = Strings::collect(hook.env().iter().flatten(), &format!("{at}.env"))?;
        steps.push(Step::Hook {
            path: &text(path, &at)?,
            program,
            by_path: u64::from(by_path),
            arguments: arguments.list(),
            environment: environment.list(),
            state,
            output,
            timeout: hook.timeout().map_or(0, |seconds| seconds.unsigned_abs().min(TIMEOUT_LIMIT)),
        });
    }
    Ok(())
}

/// What a hook says is wrong before anything is made, whoever runs it.
fn check(spec: &Spec, stage: HookStage) -> Result<()> {
    for (index, hook) in stage.of(spec).iter().enumerate() {
        let at = stage.place(index);
        plain_path(hook.path(), &format!("{at}.path"))?;
        Strings::collect(hook.args().iter().flatten(), &format!("{at}.args"))?;
        variables(hook.env().iter().flatten(), &format!("{at}.env"))?;
        if hook.timeout().is_some_and(|timeout| timeout <= 0) {
            return Err(Error::spec(format!("{at}.timeout"), "must be above 0"));
        }
    }
    Ok(())
}
