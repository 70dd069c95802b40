//! What the benches have in common of how a container is made; each changes what it measures.

use std::path::PathBuf;

use pyrt_core::plan::{Form, Options};

pub fn options(bundle: impl Into<PathBuf>, form: Form, cgroup: String) -> Options {
    Options { bundle: bundle.into(), id: "bench".into(), form, cgroup: Some(cgroup), ..Options::default() }
}
