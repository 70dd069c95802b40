//! From a plan to a container that has ended, cgroup made and removed: the whole mechanism without Python and state. Needs root.

mod bundle;
mod once;
mod options;

use std::fs::OpenOptions;

use bundle::Bundle;
use criterion::{criterion_group, criterion_main, Criterion};
use once::once;
use options::options;
use pyrt_core::host::HostFacts;
use pyrt_core::plan::{Form, LaunchPlan, Options, Overlay};
use pyrt_core::Result;

fn plan(bundle: &Bundle, form: Form, overlay: Overlay) -> Result<LaunchPlan> {
    let options = Options { overlay, ..options(&bundle.path, form, format!("/pyrt/bench-{}", std::process::id())) };
    LaunchPlan::new(bundle::CONFIG, options, HostFacts::get()?)
}

fn launches(criterion: &mut Criterion) {
    let bundle = Bundle::create("launch").expect("a bundle of Debian's busybox-static");
    let null = OpenOptions::new().read(true).write(true).open("/dev/null").expect("/dev/null");
    let overlay = Overlay::Discard { size: Some(1 << 20) };
    for (name, form, overlay) in [
        ("launch: engine form", Form::Engine, Overlay::Off),
        ("launch: library form", Form::Library, Overlay::Off),
        ("launch: library form, thrown-away overlay", Form::Library, overlay),
    ] {
        let plan = plan(&bundle, form, overlay).expect("the default spec can be planned");
        criterion.bench_function(name, |bencher| bencher.iter(|| once(&plan, &null).expect("a launch")));
    }
}

criterion_group!(benches, launches);
criterion_main!(benches);
