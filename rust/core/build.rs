//! Builds the static init with the same toolchain and names it to `launch`, which embeds it.
//!
//! Its target directory lies under OUT_DIR: one shared with the outer cargo would wait for the outer cargo's lock for ever.

use std::env;
use std::path::PathBuf;
use std::process::Command;

/// A static program without libc: its own entry, nothing to relocate, no interpreter.
const FLAGS: [&str; 6] = [
    "-Crelocation-model=static",
    "-Clink-arg=-nostartfiles",
    "-Clink-arg=-nostdlib",
    "-Clink-arg=-static",
    "-Clink-arg=-Wl,--build-id=none",
    "-Clink-arg=-Wl,-z,noexecstack",
];

fn main() {
    let crate_directory = PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("../init");
    let target = variable("TARGET");
    let directory = PathBuf::from(variable("OUT_DIR")).join("init");
    let manifest = crate_directory.join("Cargo.toml");
    println!("cargo::rerun-if-changed={}", crate_directory.join("src").display());
    println!("cargo::rerun-if-changed={}", manifest.display());

    let mut build = Command::new(variable("CARGO"));
    build
        .args(["build", "--quiet", "--locked", "--profile", "init", "--bin", "pyrt-init", "--target", &target, "--manifest-path"])
        .arg(&manifest);
    build.arg("--target-dir").arg(&directory);
    // What the outer build says of itself is not for this one.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("CARGO_")
            && name != "CARGO_HOME"
            && !name.starts_with("CARGO_REGISTR")
            && !name.starts_with("CARGO_NET")
            && !name.starts_with("CARGO_HTTP")
            && !name.starts_with("CARGO_SOURCE")
        {
            build.env_remove(name);
        }
    }
    for name in ["RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS", "RUSTDOCFLAGS"] {
        build.env_remove(name);
    }
    build.env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"));
    let status = build.status().unwrap_or_else(|error| panic!("cargo does not run: {error}"));
    assert!(status.success(), "building the init failed: {status}");
    println!("cargo::rustc-env=PYRT_INIT={}", directory.join(&target).join("init/pyrt-init").display());
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}
