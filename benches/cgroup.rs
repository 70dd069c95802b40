//! A cgroup by itself: made in every hierarchy that a launch of that form joins, asked for its usage, removed. Needs root.

use criterion::{criterion_group, criterion_main, Criterion};
use pyrt_core::cgroup::{CgroupPlan, Form, Hierarchies};
use pyrt_core::host::HostFacts;

fn hierarchies() -> &'static Hierarchies {
    &HostFacts::get().expect("this host is one that pyrt runs on").hierarchies
}

fn plan(form: Form) -> CgroupPlan {
    let path = format!("/pyrt/bench-{}", std::process::id());
    CgroupPlan::new(hierarchies(), &path, None, form, &[]).expect("a cgroup without limits can be planned")
}

fn cgroups(criterion: &mut Criterion) {
    for form in [Form::Library, Form::Engine] {
        let plan = plan(form);
        criterion.bench_function(&format!("cgroup: create and remove, {form:?}"), |bencher| {
            bencher.iter(|| plan.create().and_then(|cgroup| cgroup.remove()).expect("root, and cgroups"));
        });
    }
    let cgroup = plan(Form::Library).create().expect("root, and cgroups");
    criterion.bench_function("cgroup: usage", |bencher| bencher.iter(|| cgroup.usage().expect("readable counters")));
    criterion.bench_function("cgroup: statistics", |bencher| bencher.iter(|| cgroup.statistics().expect("readable counters")));
    let live = cgroup.keeping_files_open().expect("descriptors");
    criterion
        .bench_function("cgroup: statistics, files held open", |bencher| bencher.iter(|| live.statistics().expect("readable counters")));
    criterion.bench_function("cgroup: kill when empty", |bencher| bencher.iter(|| cgroup.kill().expect("an empty cgroup")));
    cgroup.remove().expect("an empty cgroup");
}

criterion_group!(benches, cgroups);
criterion_main!(benches);
