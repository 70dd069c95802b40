//! The bundle of the benches: Debian's busybox and config.json beside this directory, which is `pyrt spec`'s with `true` and no terminal
//! (tests/unit/test_benches.py compares the two).

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::{fs, io, process};

pub const CONFIG: &[u8] = include_bytes!("../config.json");
const BUSYBOX: &str = "/bin/busybox";

/// A bundle in a temporary directory, removed when dropped.
pub struct Bundle {
    pub path: PathBuf,
}

impl Bundle {
    pub fn create(name: &str) -> io::Result<Self> {
        let bundle = Bundle { path: std::env::temp_dir().join(format!("pyrt-bench-{name}-{}", process::id())) };
        let rootfs = bundle.path.join("rootfs");
        for directory in ["bin", "dev", "etc", "proc", "sys", "tmp"] {
            fs::create_dir_all(rootfs.join(directory))?;
        }
        fs::copy(BUSYBOX, rootfs.join("bin/busybox"))?;
        symlink("busybox", rootfs.join("bin/true"))?;
        fs::write(bundle.path.join("config.json"), CONFIG)?;
        Ok(bundle)
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("remove {}: {error}", self.path.display());
        }
    }
}
