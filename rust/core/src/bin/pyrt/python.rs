//! All other lines: the interpreter and the package that belong to this file, started the quick way.
//!
//! pip's own wrapper, or a start with site.py, costs an engine more than most verbs do. So the interpreter gets -I (isolated from the
//! caller's directory and environment), -S (no site.py) with the one path that pyrt needs, and -X utf8 (no set-up of a locale, which would
//! also leave an LC_CTYPE to hooks). Where the package is not found beside this file, site.py finds it: slower, but the same.
//!
//! It is the same in a virtual environment, a user's or the system's Python, and an editable install.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const START: &str = include_str!("start.py");
const NOT_FOUND: u8 = 127;

/// Becomes Python; returns where that fails.
pub fn command(arguments: &[OsString]) -> ExitCode {
    let file = std::env::current_exe().unwrap_or_default();
    let bin = file.parent().unwrap_or(Path::new("/"));
    let prefix = bin.parent().unwrap_or(Path::new("/"));
    let (interpreter, mut python) = match packages(prefix) {
        Some(found) => {
            let interpreter = interpreter(bin, &found.version);
            let mut python = Command::new(&interpreter);
            // -S also leaves sys.prefix at the interpreter's own installation, and the host view shows sys.prefix.
            let own_prefix = if prefix.join("pyvenv.cfg").is_file() { prefix.as_os_str() } else { "".as_ref() };
            python.args(["-I", "-S", "-X", "utf8", "-c", START]).arg(&found.source).arg(&found.packages).arg(own_prefix);
            (interpreter, python)
        }
        None => {
            let interpreter = interpreter(bin, "python3");
            let mut python = Command::new(&interpreter);
            python.args(["-I", "-X", "utf8", "-m", "pyrt"]);
            (interpreter, python)
        }
    };
    // CPython decides what it does with SIGPIPE; it is not to find it ignored because std ignores it.
    pyrt_core::sys::default_sigpipe();
    let error = python.args(arguments).exec();
    eprintln!("pyrt: cannot start {}: {error}; reinstall pyrt-oci with the Python that is to run it", interpreter.display());
    ExitCode::from(NOT_FOUND)
}

struct Found {
    /// Where pip installed to.
    packages: PathBuf,
    /// Where pyrt lies: an editable install names it in a .pth file.
    source: PathBuf,
    /// "python3.11": the directory's name, and the interpreter's.
    version: String,
}

fn packages(prefix: &Path) -> Option<Found> {
    for (lib, site) in [("lib", "site-packages"), ("lib64", "site-packages"), ("lib", "dist-packages")] {
        let entries = fs::read_dir(prefix.join(lib)).into_iter().flatten().flatten();
        let mut versions: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        versions.retain(|name| name.starts_with("python3"));
        versions.sort();
        for version in versions {
            let packages = prefix.join(lib).join(&version).join(site);
            let named = fs::read_to_string(packages.join("pyrt_oci.pth")).ok().map(|line| PathBuf::from(line.trim_end()));
            let source = [Some(packages.clone()), named].into_iter().flatten().find(|source| source.join("pyrt/__init__.py").is_file());
            if let Some(source) = source {
                return Some(Found { packages, source, version });
            }
        }
    }
    None
}

/// The interpreter of that name beside this file, else Debian's (whose pip installs below /usr/local), else PATH's.
fn interpreter(bin: &Path, name: &str) -> PathBuf {
    let beside = [bin.join(name), Path::new("/usr/bin").join(name)];
    beside.into_iter().find(|path| path.exists()).unwrap_or_else(|| PathBuf::from(name))
}
