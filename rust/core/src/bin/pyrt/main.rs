//! The file that a shell or an engine executes as `pyrt`.
//!
//! Four verbs are called so often, and do so little, that starting Python would be most of their cost: state, start, kill, delete. They are
//! answered here, from the same core and the same state. Everything else, and every line that is not plain, goes on to Python (`python`).
//!
//! `line` reads a command line by `table`, which is made from python/pyrt/cli/table.py; `messages` prints as python/pyrt/cli/messages.py does.

mod line;
mod messages;
mod python;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use pyrt_core::container::{default_root, Container, Directory};
use pyrt_core::{signal, Result};

use line::Line;
use messages::Messages;

const FAILED: u8 = 1;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let Some(line) = line::read(&arguments) else { return python::command(&arguments) };
    let mut messages = Messages::new();
    match act(&line, &mut messages) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            messages.error(&error.to_string());
            ExitCode::from(FAILED)
        }
    }
}

/// Where a service manager wants to hear that its service is ready: sd_notify(3).
fn notify_socket() -> Option<PathBuf> {
    std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()).map(PathBuf::from)
}

fn act(line: &Line<'_>, messages: &mut Messages) -> Result<()> {
    let json = line.global("--log-format") == Some("json");
    messages.configure(line.global("--log").filter(|path| !path.is_empty()), json)?;
    let rootless = match line.global("--rootless") {
        Some("true") => Some(true),
        Some("false") => Some(false),
        _ => None,
    };
    let root = match line.global("--root") {
        Some(root) if !root.is_empty() => PathBuf::from(root),
        _ => default_root(rootless)?,
    };
    let container = Container::new(Directory::new(&root, line.arguments[0])?);
    match line.verb {
        "state" => {
            let state = container.directory().read()?;
            let text = serde_json::to_string_pretty(&container.shown_state(&state)?);
            messages.output(&text.unwrap_or_else(|_| unreachable!("strings and numbers are always JSON")))
        }
        "start" => container.start(notify_socket().as_deref()),
        "kill" => {
            let number = signal::number(line.arguments.get(1).copied().unwrap_or("TERM"))?;
            container.kill(number, line.is_set("--all"))
        }
        "delete" => {
            let warnings = container.delete(line.is_set("--force"))?;
            warnings.iter().for_each(|warning| messages.warning(warning));
            Ok(())
        }
        other => unreachable!("`table` has no verb {other} without a function here: a test says so"),
    }
}
