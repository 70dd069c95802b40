//! What needs no systemd: names, values on the wire, their text form, and properties.

use std::collections::HashMap;

use super::bus::address;
use super::value::{decode, Value};
use super::{name, properties, text, Manager, Name, Owner, Scope, ScopePlan};
use crate::cgroup::{CgroupPlan, Form, Hierarchies, Setting};
use crate::error::Kind;
use crate::oci::LinuxResources;

fn manager() -> Manager {
    Manager { owner: Owner::System, control_group: String::new(), version: 252, hierarchies: hierarchies() }
}

fn hierarchies() -> Hierarchies {
    Hierarchies::described(Some(("/sys/fs/cgroup", &["cpu", "cpuset", "io", "memory", "pids", "hugetlb"])), &[], false)
}

fn settings(resources: &str) -> Vec<Setting> {
    let resources: LinuxResources = serde_json::from_str(resources).unwrap();
    crate::cgroup::settings(&hierarchies(), &resources).unwrap().files
}

#[test]
fn a_cgroups_path_is_a_scope_in_a_slice() {
    for (path, slice, unit, directory) in [
        ("machine.slice:libpod:x", "machine.slice", "libpod-x.scope", "/machine.slice/libpod-x.scope"),
        ("a-b-c.slice:p:x", "a-b-c.slice", "p-x.scope", "/a.slice/a-b.slice/a-b-c.slice/p-x.scope"),
        (":pyrt:x", "system.slice", "pyrt-x.scope", "/system.slice/pyrt-x.scope"),
        ("-:p:x", "-.slice", "p-x.scope", "/p-x.scope"),
        // As runc and crun have it.
        ("a.slice::x", "a.slice", "-x.scope", "/a.slice/-x.scope"),
        (":p:a+b", "system.slice", "p-a\\x2bb.scope", "/system.slice/p-a\\x2bb.scope"),
        (":memory.p:x", "system.slice", "memory.p-x.scope", "/system.slice/_memory.p-x.scope"),
    ] {
        let name = Name::new(&manager(), path).unwrap();
        assert_eq!((name.slice.as_str(), name.unit.as_str(), name.path.as_str()), (slice, unit, directory), "{path}");
    }
    let own = Manager { owner: Owner::User, control_group: "/user.slice/user@7.service".into(), ..manager() };
    assert_eq!(Name::new(&own, ":p:x").unwrap().path, "/user.slice/user@7.service/user.slice/p-x.scope");
}

#[test]
fn a_cgroups_path_that_is_none_of_systemd_s_is_refused_where_it_stands() {
    let long = format!("a.slice:p:{}", "x".repeat(250));
    for (path, reason) in [
        ("/a/b", "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got \"/a/b\" instead"),
        ("a:b", "expected cgroupsPath"),
        ("a:b:c:d", "expected cgroupsPath"),
        ("a.slice:p:", "has no name"),
        ("a.slice:p:b.slice", "names a slice"),
        ("a:p:x", "\"a\" is no slice"),
        ("a/b.slice:p:x", "is no slice"),
        ("../x.slice:p:x", "is no slice"),
        ("a--b.slice:p:x", "is no slice"),
        ("-a.slice:p:x", "is no slice"),
        (&long, "is longer than the 255 bytes"),
    ] {
        let error = Name::new(&manager(), path).unwrap_err();
        assert_eq!((error.kind, error.json_path.as_deref()), (Kind::Spec, Some("linux.cgroupsPath")), "{path}");
        assert!(error.operation.contains(reason), "{path}: {error}");
    }
}

#[test]
fn only_scopes_can_be_recorded() {
    let scope = Scope::parse("system pyrt-a\\x2bb.scope").unwrap();
    assert_eq!(scope.to_string(), "system pyrt-a\\x2bb.scope");
    assert_eq!(Scope::parse("user x.scope").unwrap().unit(), "x.scope");
    for bad in ["", "x.scope", "system sshd.service", "system .scope", "root x.scope", "system a/b.scope", "system a b.scope"] {
        assert_eq!(Scope::parse(bad), None, "{bad:?}");
    }
    assert!(!name::is_scope(&format!("{}.scope", "x".repeat(250))));
}

#[test]
fn every_limit_that_systemd_knows_becomes_a_property() {
    let all = settings(
        r#"{"memory": {"limit": 1048576, "reservation": 4096, "swap": -1}, "pids": {"limit": -1},
            "cpu": {"shares": 1024, "quota": 50500, "period": 100000, "cpus": "0-2,9", "mems": "0"}, "blockIO": {"weight": 1000},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 0}],
            "unified": {"memory.high": "2M", "memory.min": "max", "memory.zswap.max": "0", "memory.oom.group": "1"}}"#,
    );
    let found: HashMap<_, _> = properties::of(&all, 252).into_iter().collect();
    let mask = |bytes: &[u8]| Value::Array("y".into(), bytes.iter().copied().map(Value::Byte).collect());
    let expected = [
        ("MemoryMax", Value::U64(1_048_576)),
        ("MemoryLow", Value::U64(4096)),
        ("MemorySwapMax", Value::U64(u64::MAX)),
        ("MemoryHigh", Value::U64(2 << 20)),
        ("MemoryMin", Value::U64(u64::MAX)),
        ("TasksMax", Value::U64(u64::MAX)),
        ("CPUWeight", Value::U64(100)),
        // Up to the next whole percent of a processor.
        ("CPUQuotaPerSecUSec", Value::U64(510_000)),
        ("CPUQuotaPeriodUSec", Value::U64(100_000)),
        ("AllowedCPUs", mask(&[0b111, 0b10])),
        ("AllowedMemoryNodes", mask(&[1])),
        ("IOWeight", Value::U64(10_000)),
    ];
    assert_eq!(found, expected.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
    assert!(properties::of(&all, 253).contains(&("MemoryZSwapMax".into(), Value::U64(0))));
}

#[test]
fn the_weight_of_an_idle_group_is_systemd_s_zero() {
    let weight = |resources, version| properties::of(&settings(resources), version).into_iter().map(|(_, value)| value).collect::<Vec<_>>();
    assert_eq!(weight(r#"{"cpu": {"idle": 1}}"#, 252), [Value::U64(0)]);
    assert_eq!(weight(r#"{"cpu": {"idle": 1}}"#, 249), []);
    assert_eq!(weight(r#"{"cpu": {"idle": 0}}"#, 252), [Value::U64(u64::MAX)]);
    assert_eq!(weight(r#"{"cpu": {"idle": 0, "shares": 1024}}"#, 252), [Value::U64(100)]);
}

#[test]
fn a_quota_never_becomes_less() {
    let quota = |cpu: &str| properties::of(&settings(&format!("{{\"cpu\": {cpu}}}")), 252).remove(0).1;
    assert_eq!(quota(r#"{"quota": 100000, "period": 300000}"#), Value::U64(340_000));
    assert_eq!(quota(r#"{"quota": 1000, "period": 1000000}"#), Value::U64(10_000));
    assert_eq!(quota(r#"{"quota": 250000}"#), Value::U64(2_500_000));
    assert_eq!(quota(r#"{"quota": -1, "period": 50000}"#), Value::U64(u64::MAX));
}

#[test]
fn a_list_with_a_pattern_is_a_mask() {
    let mask = |cpus: &str| properties::of(&settings(&format!("{{\"cpu\": {{\"cpus\": {cpus:?}}}}}")), 252);
    let bytes = |bytes: &[u8]| Value::Array("y".into(), bytes.iter().copied().map(Value::Byte).collect());
    assert_eq!(mask("0-7:2/4"), [("AllowedCPUs".to_owned(), bytes(&[0b0011_0011]))]);
    assert_eq!(mask("0-4000000000"), [], "the kernel says what is wrong with it");
}

#[test]
fn values_come_back_as_they_were_sent() {
    let values = [
        Value::Byte(7),
        Value::Bool(true),
        Value::I16(-2),
        Value::U16(2),
        Value::U64(u64::MAX),
        Value::string("h\u{e9}"),
        Value::Array("(sv)".into(), vec![Value::Struct(vec![Value::string("a"), Value::Variant(Box::new(Value::Double(0.5)))])]),
        Value::Array("t".into(), vec![]),
        Value::ObjectPath("/a".into()),
        Value::Signature("a(sv)".into()),
        Value::I64(-3),
        Value::I32(-1),
    ];
    let signature: String = values.iter().map(Value::signature).collect();
    let mut bytes = Vec::new();
    values.iter().for_each(|value| value.encode(&mut bytes));
    assert_eq!(decode(&signature, &bytes).unwrap(), values);
    for length in 0..bytes.len() {
        assert_eq!(decode(&signature, &bytes[..length]), None, "cut off after {length}");
    }
}

#[test]
fn bytes_that_are_no_message_are_refused() {
    assert_eq!(decode("s", b"\xff\xff\xff\xff\0"), None);
    assert_eq!(decode("s", b"\x01\0\0\0\xff\0"), None, "not UTF-8");
    assert_eq!(decode("s", b"\x01\0\0\0ab"), None, "not ended by NUL");
    assert_eq!(decode("v", b"\x02ss\0"), None, "two types in a variant");
    assert_eq!(decode("au", b"\x03\0\0\0\0\0\0\0"), None, "an array that ends inside an element");
    assert_eq!(decode("(s", b""), None);
    assert_eq!(decode("()", b""), None);
    assert_eq!(decode("z", b"\0"), None);
    let deep = format!("{}y", "a".repeat(1000));
    assert_eq!(decode(&deep, &[0; 4]), Some(vec![Value::Array(deep[1..].to_owned(), vec![])]));
    let variants = [&b"\x01v\0"[..]; 100].concat();
    assert_eq!(decode("v", &variants), None, "nested too deep");
}

#[test]
fn annotations_are_properties_in_the_text_form_of_gvariant() {
    let strings = |all: &[&str]| Value::Array("s".into(), all.iter().map(|text| Value::string(*text)).collect());
    for (name, written, property, value) in [
        ("TimeoutStopUSec", "uint64 123456789", "TimeoutStopUSec", Value::U64(123_456_789)),
        ("TimeoutStopSec", "7", "TimeoutStopUSec", Value::U64(7_000_000)),
        ("TimeoutStopSec", "2.5", "TimeoutStopUSec", Value::U64(2_500_000)),
        ("CollectMode", "'inactive'", "CollectMode", Value::string("inactive")),
        ("Description", "\"it's \\\"x\\\"\"", "Description", Value::string("it's \"x\"")),
        ("SendSIGHUP", " true ", "SendSIGHUP", Value::Bool(true)),
        ("After", "['a.service', 'b.service']", "After", strings(&["a.service", "b.service"])),
        ("After", "@as []", "After", strings(&[])),
        ("Number", "-5", "Number", Value::I32(-5)),
        ("Number", "byte 0x1f", "Number", Value::Byte(31)),
        ("Pair", "('a', uint32 1)", "Pair", Value::Struct(vec![Value::string("a"), Value::U32(1)])),
        ("Pair", "@(st) ('a', 1)", "Pair", Value::Struct(vec![Value::string("a"), Value::U64(1)])),
        ("Any", "<int64 2>", "Any", Value::Variant(Box::new(Value::I64(2)))),
    ] {
        assert_eq!(text::property(name, written), Ok((property.to_owned(), value)), "{name} {written}");
    }
}

#[test]
fn annotations_that_are_none_are_refused() {
    let nested = "[".repeat(100);
    let wide = format!("({})", vec!["1"; 300].join(","));
    for (name, written) in [
        ("Ab", "1"),
        ("A-b-c", "1"),
        ("", "1"),
        ("TimeoutStopSec", "'soon'"),
        ("TimeoutStopSec", "-1"),
        ("Some", ""),
        ("Some", "[]"),
        ("Some", "[1, 'a']"),
        ("Some", "[1"),
        ("Some", "'open"),
        ("Some", "uint64 -1"),
        ("Some", "int32 3000000000"),
        ("Some", "word"),
        ("Some", "1 2"),
        ("Some", "@zz 1"),
        ("Some", "@s 1"),
        ("Some", "{'a': 1}"),
        ("Some", "()"),
        ("Some", "@(st) ('a')"),
        ("Some", "'\\x'"),
        ("Some", &nested),
        ("Some", &wide),
    ] {
        assert!(text::property(name, written).is_err(), "{name} {written}");
    }
    let name = Name::new(&manager(), ":p:x").unwrap();
    let annotations = HashMap::from([("org.systemd.property.Some".to_owned(), "word".to_owned())]);
    let error = ScopePlan::new(&manager(), &name, "x", &[], Some(&annotations)).unwrap_err();
    assert_eq!(error.json_path.as_deref(), Some("annotations[\"org.systemd.property.Some\"]"));
}

#[test]
fn addresses_of_other_machines_are_passed_over() {
    assert!(address("unix:path=/run/bus,guid=1f").is_some());
    assert!(address("unix:guid=1f,abstract=/tmp/bus%2d1").is_some());
    for other in ["tcp:host=localhost,port=1", "unix:", "unix:path=%zz", "unixexec:path=/bin/true", ""] {
        assert_eq!(address(other), None, "{other}");
    }
}

#[test]
fn a_host_with_v1_controllers_is_refused() {
    let hybrid = Hierarchies::described(Some(("/u", &[])), &[("/m", &["memory"])], false);
    let error = CgroupPlan::by_systemd(&Manager { hierarchies: hybrid, ..manager() }, ":p:x", "x", None, None, Form::Engine).unwrap_err();
    assert_eq!(
        (error.kind, error.operation.as_str()),
        (Kind::Host, "use the systemd cgroup manager: it needs cgroup v2 alone, and this host has hybrid")
    );
    let plan = CgroupPlan::by_systemd(&manager(), ":p:x", "x", None, None, Form::Engine).unwrap();
    assert_eq!(plan.paths(), [("unified".to_owned(), "/sys/fs/cgroup/system.slice/p-x.scope".to_owned())]);
    assert_eq!(plan.scope().unwrap().to_string(), "system p-x.scope");
}
