//! What the benches have in common of how a container is made; each changes what it measures.

use std::path::PathBuf;

use pyrt_core::plan::{Form, Options, Overlay};

pub fn options(bundle: impl Into<PathBuf>, form: Form, cgroup: String) -> Options {
    Options {
        bundle: bundle.into(),
        id: "bench".into(),
        form,
        overlay: Overlay::Off,
        view: None,
        seccomp: None,
        cgroup: Some(cgroup),
        systemd: None,
        pivot: true,
        new_keyring: true,
        preserve_fds: 0,
        env: Vec::new(),
        waits_for_start: false,
        end_with_caller: false,
        keep_changes: false,
        awaits_command: false,
    }
}
