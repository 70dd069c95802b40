//! Decisions about hosts of every kind, without any of them.

use super::*;
use crate::error::Kind;

fn v2() -> Hierarchies {
    Hierarchies::described(Some(("/u", &["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc"])), &[], false)
}

fn v1(memsw: bool) -> Hierarchies {
    let all: &[(&str, &[&str])] = &[
        ("/m", &["memory"]),
        ("/c", &["cpu", "cpuacct"]),
        ("/s", &["cpuset"]),
        ("/p", &["pids"]),
        ("/b", &["blkio"]),
        ("/d", &["devices"]),
        ("/n", &["net_cls", "net_prio"]),
    ];
    Hierarchies::described(Some(("/u", &[])), all, memsw)
}

fn parse(json: &str) -> LinuxResources {
    serde_json::from_str(json).unwrap()
}

/// `file=value` of each setting; alternatives with `|` between.
fn written(hierarchies: &Hierarchies, json: &str) -> Vec<String> {
    let settings = settings(hierarchies, &parse(json)).unwrap().files;
    let text = |setting: Setting| setting.files.iter().map(|(file, value)| format!("{file}={value}")).collect::<Vec<_>>().join("|");
    settings.into_iter().map(text).collect()
}

fn refused(hierarchies: &Hierarchies, json: &str) -> (Kind, String) {
    let error = settings(hierarchies, &parse(json)).unwrap_err();
    (error.kind, error.json_path.unwrap_or(error.operation))
}

#[test]
fn swap_is_the_sum_on_v1_and_the_difference_on_v2() {
    let json = r#"{"memory": {"limit": 100, "swap": 300, "reservation": 50}}"#;
    assert_eq!(written(&v1(true), json), ["memory.limit_in_bytes=100", "memory.memsw.limit_in_bytes=300", "memory.soft_limit_in_bytes=50"]);
    assert_eq!(written(&v2(), json), ["memory.max=100", "memory.swap.max=200", "memory.low=50"]);
    let none = r#"{"memory": {"limit": 100, "swap": 100}}"#;
    assert_eq!(written(&v2(), none), ["memory.max=100", "memory.swap.max=0"]);
    let unlimited = r#"{"memory": {"limit": 100, "swap": -1}}"#;
    assert_eq!(written(&v1(true), unlimited), ["memory.limit_in_bytes=100", "memory.memsw.limit_in_bytes=-1"]);
    assert_eq!(written(&v2(), unlimited), ["memory.max=100", "memory.swap.max=max"]);
    assert_eq!(written(&v2(), r#"{"memory": {"limit": -1}}"#), ["memory.max=max", "memory.swap.max=max"]);
    assert_eq!(written(&v2(), r#"{"memory": {"limit": 0, "swap": 0}}"#), [""; 0]);
}

#[test]
fn swap_that_makes_no_sense_is_refused_at_its_field() {
    let at_swap = (Kind::Spec, "linux.resources.memory.swap".to_owned());
    assert_eq!(refused(&v2(), r#"{"memory": {"limit": 100, "swap": 99}}"#), at_swap);
    assert_eq!(refused(&v1(true), r#"{"memory": {"swap": 99}}"#), at_swap);
    assert_eq!(refused(&v1(true), r#"{"memory": {"limit": -2}}"#).0, Kind::Spec);
}

#[test]
fn swap_that_the_kernel_does_not_count_can_only_be_unlimited() {
    assert_eq!(written(&v1(false), r#"{"memory": {"limit": 100, "swap": -1}}"#), ["memory.limit_in_bytes=100"]);
    assert_eq!(refused(&v1(false), r#"{"memory": {"limit": 100, "swap": 100}}"#).0, Kind::Host);
}

#[test]
fn cpu_limits_of_both_versions() {
    let json = r#"{"cpu": {"shares": 1024, "quota": 50000, "period": 200000, "burst": 1000, "cpus": "0-1", "mems": "0"}}"#;
    assert_eq!(
        written(&v1(true), json),
        [
            "cpu.shares=1024",
            "cpu.cfs_period_us=200000",
            "cpu.cfs_quota_us=50000",
            "cpu.cfs_burst_us=1000",
            "cpuset.cpus=0-1",
            "cpuset.mems=0"
        ]
    );
    assert_eq!(written(&v2(), json), ["cpu.weight=100", "cpu.max=50000 200000", "cpu.max.burst=1000", "cpuset.cpus=0-1", "cpuset.mems=0"]);
    assert_eq!(written(&v2(), r#"{"cpu": {"quota": -1}}"#), ["cpu.max=max"]);
    assert_eq!(written(&v2(), r#"{"cpu": {"period": 5000}}"#), ["cpu.max=max 5000"]);
    assert_eq!(written(&v2(), r#"{"cpu": {"idle": 1, "shares": 2}}"#), ["cpu.idle=1"]);
}

#[test]
fn cpu_values_out_of_range_name_their_field() {
    for (json, field) in [
        (r#"{"cpu": {"shares": 1}}"#, "shares"),
        (r#"{"cpu": {"shares": 262145}}"#, "shares"),
        (r#"{"cpu": {"quota": 999}}"#, "quota"),
        (r#"{"cpu": {"period": 999}}"#, "period"),
        (r#"{"cpu": {"quota": 1000, "burst": 1001}}"#, "burst"),
        (r#"{"cpu": {"idle": 2}}"#, "idle"),
        (r#"{"cpu": {"cpus": "a"}}"#, "cpus"),
    ] {
        assert_eq!(refused(&v2(), json), (Kind::Spec, format!("linux.resources.cpu.{field}")));
    }
}

#[test]
fn pids_zero_is_not_set_and_minus_one_is_no_limit() {
    assert_eq!(written(&v2(), r#"{"pids": {"limit": 7}}"#), ["pids.max=7"]);
    assert_eq!(written(&v1(true), r#"{"pids": {"limit": -1}}"#), ["pids.max=max"]);
    assert_eq!(written(&v2(), r#"{"pids": {"limit": 0}}"#), [""; 0]);
}

#[test]
fn io_of_both_versions() {
    let json = r#"{"blockIO": {"weight": 500, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1000}],
        "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 0}]}}"#;
    assert_eq!(
        written(&v1(true), json),
        ["blkio.bfq.weight=500|blkio.weight=500", "blkio.throttle.read_bps_device=8:0 1000", "blkio.throttle.write_iops_device=8:16 0"]
    );
    assert_eq!(written(&v2(), json), ["io.bfq.weight=500|io.weight=4950", "io.max=8:0 rbps=1000", "io.max=8:16 wiops=max"]);
    assert_eq!(refused(&v2(), r#"{"blockIO": {"weight": 9}}"#).0, Kind::Spec);
    assert_eq!(refused(&v2(), r#"{"blockIO": {"leafWeight": 10}}"#).0, Kind::Host);
}

#[test]
fn a_device_list_is_followed_by_what_every_container_needs() {
    let json = r#"{"devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"},
        {"allow": false, "type": "a", "major": 7, "access": "rw"}]}"#;
    let lines = written(&v1(true), json);
    assert_eq!(
        lines[..4],
        ["devices.deny=a *:* rwm", "devices.allow=c 10:229 rw", "devices.deny=b 7:* rw", "devices.deny=c 7:* rw"].map(str::to_owned)
    );
    assert!(lines.contains(&"devices.allow=c 1:3 rwm".to_owned()) && lines.contains(&"devices.allow=c 136:* rwm".to_owned()));
    assert_eq!(refused(&v1(true), r#"{"devices": [{"allow": true, "access": "rx"}]}"#).1, "linux.resources.devices[0].access");
}

#[test]
fn a_device_list_without_the_v1_controller_becomes_a_program_of_cgroup2() {
    let hybrid = Hierarchies::described(Some(("/u", &[])), &[("/m", &["memory"])], false);
    for hierarchies in [v2(), hybrid] {
        let decided = settings(&hierarchies, &parse(r#"{"devices": [{"allow": false, "access": "rwm"}]}"#)).unwrap();
        assert!(decided.files.is_empty() && decided.warnings.is_empty() && decided.devices.is_some(), "{decided:?}");
    }
    assert_eq!(settings(&v2(), &parse("{}")).unwrap().devices, None);
    assert_eq!(refused(&v2(), r#"{"devices": [{"allow": true, "type": "p"}]}"#).1, "linux.resources.devices[0].type");
    assert_eq!(refused(&v2(), r#"{"devices": [{"allow": true, "major": 4294967296}]}"#).1, "linux.resources.devices[0].major");
}

#[test]
fn a_device_list_that_no_hierarchy_can_hold_is_a_warning_if_it_denies_something() {
    let warned = |list: &str| {
        let decided = settings(&Hierarchies::described(None, &[("/m", &["memory"])], false), &parse(list)).unwrap();
        assert_eq!((decided.files.len(), decided.devices), (0, None));
        decided.warnings
    };
    assert!(warned(r#"{"devices": [{"allow": false, "access": "rwm"}]}"#)[0].starts_with("linux.resources.devices is not enforced"));
    assert!(warned(r#"{"devices": [{"allow": true, "access": "rwm"}]}"#).is_empty());
}

#[test]
fn a_limit_without_a_controller_is_an_error_and_no_limit_is_none() {
    let none = Hierarchies::described(None, &[], false);
    for json in [
        r#"{"memory": {"limit": 4096}}"#,
        r#"{"cpu": {"shares": 2}}"#,
        r#"{"cpu": {"quota": 1000}}"#,
        r#"{"cpu": {"cpus": "0"}}"#,
        r#"{"pids": {"limit": 1}}"#,
        r#"{"blockIO": {"weight": 10}}"#,
        r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": 1}]}"#,
        r#"{"network": {"classID": 1}}"#,
        r#"{"rdma": {"mlx": {"hcaHandles": 1}}}"#,
        r#"{"unified": {"memory.high": "1"}}"#,
    ] {
        assert_eq!(refused(&none, json).0, Kind::Host, "{json}");
    }
    let nothing =
        r#"{"memory": {"limit": -1, "swap": -1, "disableOOMKiller": false}, "cpu": {"shares": 0, "quota": -1}, "pids": {"limit": -1}}"#;
    assert_eq!(written(&none, nothing), [""; 0]);
}

#[test]
fn what_only_v1_has_is_refused_on_v2() {
    for json in [r#"{"memory": {"swappiness": 10}}"#, r#"{"memory": {"disableOOMKiller": true}}"#, r#"{"cpu": {"realtimePeriod": 1000}}"#] {
        assert_eq!(refused(&v2(), json).0, Kind::Host, "{json}");
        assert_eq!(written(&v1(true), json).len(), 1, "{json}");
    }
}

#[test]
fn unified_names_limits_of_cgroup2_only() {
    assert_eq!(written(&v2(), r#"{"unified": {"io.max": "8:0 rbps=1\n8:16 rbps=2\n", "cgroup.max.depth": "3"}}"#).len(), 3);
    for bad in ["cgroup.procs", "cgroup.kill", "memory", "../memory.max", ".max", "a/b.c"] {
        assert_eq!(refused(&v2(), &format!(r#"{{"unified": {{"{bad}": "1"}}}}"#)).0, Kind::Spec, "{bad}");
    }
    assert_eq!(refused(&v1(true), r#"{"unified": {"memory.high": "1"}}"#).0, Kind::Host);
}

#[test]
fn huge_pages_limit_reservations_too() {
    let json = r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": 9}]}"#;
    assert_eq!(written(&v2(), json), ["hugetlb.2MB.max=9", "hugetlb.2MB.rsvd.max=9"]);
    assert_eq!(refused(&v2(), r#"{"hugepageLimits": [{"pageSize": "2", "limit": 9}]}"#).1, "linux.resources.hugepageLimits[0].pageSize");
}
