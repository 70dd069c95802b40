//! Names the commit that is built, where this is a checkout: `pyrt --version` and `pyrt features` say it.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|log| Path::new(log).exists()) {
        // It grows with every commit.
        println!("cargo::rerun-if-changed={log}");
    }
    // A file of somebody else's repository, such as an unpacked sdist in one, is not tracked.
    let Some(_) = git(&["ls-files", "--error-unmatch", "build.rs"]) else { return };
    let Some(commit) = git(&["rev-parse", "HEAD"]) else { return };
    println!("cargo::rustc-env=PYRT_COMMIT={commit}");
}

/// What git says, in this crate's directory; `None` where there is no git, or it knows nothing.
fn git(arguments: &[&str]) -> Option<String> {
    let said = Command::new("git").args(arguments).output().ok().filter(|said| said.status.success())?;
    String::from_utf8(said.stdout).ok().map(|said| said.trim().to_owned())
}
