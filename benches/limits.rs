//! What limits cost a launch: containers without any and with one of every controller, in turn, so that both meet the same noise. Needs root.
//!
//! Not by criterion, which measures one after the other. Prints the median of each and of the differences.

mod bundle;
mod once;
mod options;

use std::fs::{File, OpenOptions};
use std::time::{Duration, Instant};

use bundle::Bundle;
use once::once;
use options::options;
use pyrt_core::cgroup::Mode;
use pyrt_core::host::HostFacts;
use pyrt_core::plan::{Form, LaunchPlan};
use pyrt_core::Result;

const ROUNDS: usize = 200;
const WARM_UP: usize = 10;

/// Of each controller that can be limited without a device of its own. v1 here has no weights without BFQ, and cgroup2 no hugetlb under v1.
const EVERYWHERE: &str = r#""memory": {"limit": 268435456, "reservation": 134217728}, "pids": {"limit": 512},
    "cpu": {"shares": 512, "quota": 80000, "period": 100000, "cpus": "0", "mems": "0"},
    "devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"}]"#;
const ON_V2: &str = r#", "blockIO": {"weight": 500}, "hugepageLimits": [{"pageSize": "2MB", "limit": 2097152}]"#;

fn plan(bundle: &Bundle, resources: &str) -> Result<LaunchPlan> {
    let options = options(&bundle.path, Form::Library, format!("/pyrt-bench-{}", std::process::id()));
    let mut config: serde_json::Value = serde_json::from_slice(bundle::CONFIG).expect("the bundle's config.json");
    config["linux"]["resources"] = serde_json::from_str(resources).expect("the limits above");
    LaunchPlan::new(config.to_string().as_bytes(), options, HostFacts::get()?)
}

fn timed(plan: &LaunchPlan, null: &File) -> Result<Duration> {
    let begun = Instant::now();
    once(plan, null)?;
    Ok(begun.elapsed())
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() -> Result<()> {
    let bundle = Bundle::create("limits").expect("a bundle of Debian's busybox-static");
    let null = OpenOptions::new().read(true).write(true).open("/dev/null").expect("/dev/null");
    let mode = HostFacts::get()?.hierarchies.mode();
    let all = format!("{{{EVERYWHERE}{}}}", if mode == Mode::V2 { ON_V2 } else { "" });
    let (without, with) = (plan(&bundle, "{}")?, plan(&bundle, &all)?);
    let mut pairs = Vec::new();
    for round in 0..WARM_UP + ROUNDS {
        let pair = (timed(&without, &null)?, timed(&with, &null)?);
        if round >= WARM_UP {
            pairs.push(pair);
        }
    }
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    let none = median(pairs.iter().map(|pair| milliseconds(pair.0)).collect());
    let every = median(pairs.iter().map(|pair| milliseconds(pair.1)).collect());
    let more = median(pairs.iter().map(|pair| milliseconds(pair.1) - milliseconds(pair.0)).collect());
    println!("cgroups: {}; launch to removal, median of {ROUNDS}", mode.name());
    println!("without limits           {none:8.3} ms");
    println!("with every controller's  {every:8.3} ms");
    println!("more                     {more:8.3} ms, {:.2} of a launch without limits", more / none);
    Ok(())
}
