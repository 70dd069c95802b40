//! From config.json's bytes to a launch plan: parsing, checking and deciding. No system call, so no root.

use criterion::{criterion_group, criterion_main, Criterion};
use pyrt_core::host::HostFacts;
use pyrt_core::oci::Config;
use pyrt_core::plan::{Form, LaunchPlan, Options, Overlay};

/// `pyrt spec`'s, with `true` and no terminal.
const CONFIG: &[u8] = include_bytes!("config.json");

fn options(form: Form) -> Options {
    Options {
        bundle: "/bundle".into(),
        id: "bench".into(),
        form,
        overlay: Overlay::Off,
        view: None,
        seccomp: None,
        cgroup: Some("/pyrt/bench".into()),
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

fn plan(criterion: &mut Criterion) {
    let facts = HostFacts::get().expect("this host is one that pyrt runs on");
    criterion.bench_function("plan: parse config.json", |bencher| bencher.iter(|| Config::parse(CONFIG)));
    for form in [Form::Engine, Form::Library] {
        criterion.bench_function(&format!("plan: config.json to plan, {form:?}"), |bencher| {
            bencher.iter(|| LaunchPlan::new(CONFIG, options(form), facts));
        });
    }
}

criterion_group!(benches, plan);
criterion_main!(benches);
