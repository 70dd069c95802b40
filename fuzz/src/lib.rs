//! What is fuzzed, one function a kind of input that may be hostile. None may panic, whatever the bytes are.
//!
//! The targets of cargo-fuzz call them without end; rust/core/tests/no_panic.rs, which includes this file, for a few seconds on stable.

use pyrt_core::cgroup::Hierarchies;
use pyrt_core::container::{Init, State};
use pyrt_core::host::{HostFacts, SecurityModules};
use pyrt_core::oci::{CapabilitySet, Config};
use pyrt_core::plan::{Form, LaunchPlan, Options, Overlay};
use pyrt_core::seccomp::Profile;

/// config.json, from its bytes to checked types.
pub fn config(data: &[u8]) {
    let _ = Config::parse(data);
}

/// config.json, from its bytes to a launch plan, for hosts of two kinds and both forms of container.
pub fn plan(data: &[u8]) {
    for facts in hosts() {
        for form in [Form::Engine, Form::Library] {
            let options = Options {
                bundle: "/bundle".into(),
                id: "fuzzed".to_owned(),
                form,
                overlay: if form == Form::Library { Overlay::Discard { size: None } } else { Overlay::Off },
                view: None,
                seccomp: None,
                cgroup: Some("/pyrt-fuzzed".to_owned()),
                systemd: None,
                pivot: true,
                new_keyring: true,
                preserve_fds: 1,
                env: vec!["NOTIFY_SOCKET=/run/notify/notify.sock".to_owned()],
                passwd: Some(data.to_vec()),
                waits_for_start: form == Form::Engine,
                end_with_caller: form == Form::Library,
                keep_changes: false,
                awaits_command: false,
            };
            let _ = LaunchPlan::new(data, options, &facts);
        }
    }
}

/// state.json, and the mark that names a container's process.
pub fn state(data: &[u8]) {
    let _ = State::from_json(data, "web");
    let _ = std::str::from_utf8(data).map(Init::parse);
}

/// A seccomp profile that stands alone, compiled.
pub fn seccomp(data: &[u8]) {
    if let Ok(value) = serde_json::from_slice(data) {
        for answers in [false, true] {
            let _ = Profile::parse(&value, answers);
        }
    }
}

/// Steps of a plan, as init reads them.
pub fn step(data: &[u8]) {
    let mut steps = pyrt_init::Decoder::new(data);
    while !steps.is_empty() && pyrt_init::Step::decode(&mut steps).is_ok() {}
}

fn hosts() -> [HostFacts; 2] {
    let host = |hierarchies, capabilities| HostFacts {
        kernel: (6, 18),
        uid: 0,
        gid: 0,
        initial_user_namespace: true,
        capabilities: CapabilitySet(capabilities),
        bounding: CapabilitySet(capabilities),
        hierarchies,
        setgroups_denied: false,
        modules: SecurityModules { apparmor: true, selinux: false },
    };
    let all: &[&str] = &["cpu", "cpuset", "hugetlb", "io", "memory", "pids", "rdma"];
    let v1: &[(&str, &[&str])] = &[
        ("/sys/fs/cgroup/memory", &["memory"]),
        ("/sys/fs/cgroup/pids", &["pids"]),
        ("/sys/fs/cgroup/cpu", &["cpu", "cpuacct"]),
        ("/sys/fs/cgroup/devices", &["devices"]),
        ("/sys/fs/cgroup/hugetlb", &["hugetlb"]),
        ("/sys/fs/cgroup/cpuset", &["cpuset"]),
    ];
    [
        host(Hierarchies::described(Some(("/sys/fs/cgroup", all)), &[], false), u64::MAX),
        host(Hierarchies::described(Some(("/sys/fs/cgroup/unified", &[])), v1, true), 0),
    ]
}
