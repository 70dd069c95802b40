//! From config.json's bytes to a launch plan: parsing, checking and deciding. No system call, so no root.

mod options;

use criterion::{criterion_group, criterion_main, Criterion};
use options::options;
use pyrt_core::host::HostFacts;
use pyrt_core::oci::Config;
use pyrt_core::plan::{Form, LaunchPlan};

/// `pyrt spec`'s, with `true` and no terminal.
const CONFIG: &[u8] = include_bytes!("config.json");

fn plan(criterion: &mut Criterion) {
    let facts = HostFacts::get().expect("this host is one that pyrt runs on");
    criterion.bench_function("plan: parse config.json", |bencher| bencher.iter(|| Config::parse(CONFIG)));
    for form in [Form::Engine, Form::Library] {
        criterion.bench_function(&format!("plan: config.json to plan, {form:?}"), |bencher| {
            bencher.iter(|| LaunchPlan::new(CONFIG, options("/bundle", form, "/pyrt/bench".into()), facts));
        });
    }
}

criterion_group!(benches, plan);
criterion_main!(benches);
