//! Plans are pure: these tests need no root, and no step of them runs.

use std::path::PathBuf;

use nix::libc;
use pyrt_init::{behaviour, meet, Step, NO_FD};
use serde_json::{json, Value};

use super::*;
use crate::cgroup::Hierarchies;
use crate::error::Kind;
use crate::host::SecurityModules;
use crate::oci::CapabilitySet;

fn facts() -> HostFacts {
    HostFacts {
        kernel: (6, 18),
        uid: 0,
        gid: 0,
        initial_user_namespace: true,
        capabilities: CapabilitySet(u64::MAX),
        bounding: CapabilitySet(u64::MAX),
        hierarchies: Hierarchies::described(
            Some(("/sys/fs/cgroup/unified", &[])),
            &[("/sys/fs/cgroup/memory", &["memory"]), ("/sys/fs/cgroup/pids", &["pids"])],
            false,
        ),
        setgroups_denied: false,
        modules: SecurityModules::default(),
    }
}

fn options() -> Options {
    Options { bundle: PathBuf::from("/bundle"), id: "web".to_owned(), cgroup: Some("/pyrt-web".to_owned()), ..Options::default() }
}

fn config() -> Value {
    let namespaces: Vec<Value> = ["pid", "mount", "ipc", "uts", "network", "cgroup"].iter().map(|kind| json!({"type": kind})).collect();
    json!({
        "ociVersion": "1.3.0",
        "root": {"path": "rootfs"},
        "process": {"cwd": "/", "user": {"uid": 0, "gid": 0}, "args": ["sh"], "env": ["PATH=/bin:/usr/bin"]},
        "linux": {"namespaces": namespaces},
    })
}

fn plan(config: &Value, options: Options) -> Result<LaunchPlan> {
    LaunchPlan::new(config.to_string().as_bytes(), options, &facts())
}

fn planned(config: &Value) -> LaunchPlan {
    plan(config, options()).unwrap()
}

fn place(plan: &LaunchPlan, wanted: impl Fn(&Step<'_>) -> bool) -> usize {
    plan.steps.steps().position(|step| wanted(&step)).expect("the step is there")
}

fn refused(config: &Value) -> Error {
    plan(config, options()).unwrap_err()
}

#[test]
fn the_cgroup_namespace_is_made_after_the_hierarchies_are_joined() {
    let plan = planned(&config());
    let joined = place(&plan, |step| matches!(step, Step::JoinTasks { .. }));
    let unshared = place(&plan, |step| matches!(step, Step::Unshare { flags } if *flags == libc::CLONE_NEWCGROUP as u64));
    assert!(joined < unshared);
    assert_eq!(plan.clone_flags & libc::CLONE_NEWCGROUP as u64, 0);
}

#[test]
fn everything_is_mounted_before_the_pivot_and_the_program_runs_after_it() {
    let mut config = config();
    config["mounts"] = json!([{"destination": "/proc", "type": "proc", "source": "proc"}]);
    config["linux"]["maskedPaths"] = json!(["/proc/keys"]);
    let plan = planned(&config);
    let pivot = place(&plan, |step| matches!(step, Step::Pivot {}));
    assert!(place(&plan, |step| matches!(step, Step::Mount { .. })) < place(&plan, |step| matches!(step, Step::Mask { .. })));
    assert!(place(&plan, |step| matches!(step, Step::Mask { .. })) < pivot);
    assert!(matches!(plan.steps.steps().last(), Some(Step::Execute { .. })));
}

#[test]
fn proc_and_sysfs_are_never_reached_through_a_symbolic_link() {
    let mut config = config();
    config["mounts"] = json!([{"destination": "/proc", "type": "proc"}, {"destination": "/sys", "type": "sysfs"}, {"destination": "/data", "type": "tmpfs"}]);
    let plan = planned(&config);
    let strict: Vec<bool> = plan
        .steps
        .steps()
        .filter_map(|step| match step {
            Step::Mount { behaviour, .. } => Some(behaviour & behaviour::NO_SYMLINKS != 0),
            _ => None,
        })
        .collect();
    assert_eq!(strict, [true, true, false]);
}

#[test]
fn a_given_pid_namespace_takes_the_second_path() {
    let mut config = config();
    config["linux"]["namespaces"][0]["path"] = json!("/proc/1/ns/pid");
    let plan = planned(&config);
    assert!(plan.forks);
    assert_eq!(plan.clone_flags, 0);
    let join = place(&plan, |step| matches!(step, Step::JoinNamespaces { .. }));
    let fork = place(&plan, |step| matches!(step, Step::Fork { flags, .. } if flags & libc::CLONE_NEWNS as u64 != 0));
    assert!(join < fork);
}

#[test]
fn a_given_network_namespace_alone_stays_on_the_quick_path() {
    let mut config = config();
    config["linux"]["namespaces"][4]["path"] = json!("/proc/1/ns/net");
    let plan = planned(&config);
    assert!(!plan.forks);
    assert_eq!(plan.clone_flags & libc::CLONE_NEWNET as u64, 0);
}

#[test]
fn the_pid_namespace_is_joined_last() {
    let mut config = config();
    for (index, kind) in [(0, "pid"), (4, "net")] {
        config["linux"]["namespaces"][index]["path"] = json!(format!("/proc/1/ns/{kind}"));
    }
    let plan = planned(&config);
    let Some(Step::JoinNamespaces { pairs }) = plan.steps.steps().find(|step| matches!(step, Step::JoinNamespaces { .. })) else {
        panic!()
    };
    let flags: Vec<u64> = pairs.iter().skip(1).step_by(2).collect();
    assert_eq!(flags, [libc::CLONE_NEWNET as u64, libc::CLONE_NEWPID as u64]);
}

#[test]
fn a_new_user_namespace_waits_for_its_maps_first_and_binds_its_devices() {
    let mut config = config();
    config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    config["linux"]["uidMappings"] = json!([{"containerID": 1000, "hostID": 100000, "size": 10}]);
    config["linux"]["gidMappings"] = json!([{"containerID": 0, "hostID": 100000, "size": 10}]);
    let plan = planned(&config);
    assert_eq!(place(&plan, |step| matches!(step, Step::Meet { what } if *what == meet::MAPS)), 1);
    // Without a container 0 init takes the first id that is mapped: an unmapped one cannot make files.
    place(&plan, |step| matches!(step, Step::BecomeMapped { uid: 1000, gid: 0 }));
    assert!(!plan.steps.steps().any(|step| matches!(step, Step::Device { .. })));
    place(
        &plan,
        |step| matches!(step, Step::Bind { behaviour, device, .. } if behaviour & behaviour::DEVICE != 0 && *device == (1 << 32 | 3)),
    );
}

#[test]
fn the_library_form_stays_as_pid_1_and_roots_are_nodev() {
    let mut library = options();
    library.form = Form::Library;
    let plan = plan(&config(), library).unwrap();
    let stay = place(&plan, |step| matches!(step, Step::Stay { caller: NO_FD, subreaper: 0 }));
    assert!(stay < place(&plan, |step| matches!(step, Step::Identity { .. })));
    place(&plan, |step| matches!(step, Step::RootTree { attributes: mount_options::MOUNT_ATTR_NODEV, .. }));
}

#[test]
fn a_library_container_without_pid_namespace_and_cgroup_is_refused() {
    let mut config = config();
    config["linux"]["namespaces"] = json!([{"type": "mount"}]);
    let refused = plan(&config, Options { form: Form::Library, cgroup: None, ..options() }).unwrap_err();
    assert_eq!((refused.kind, refused.json_path.as_deref()), (Kind::Spec, Some("linux.namespaces")));
}

#[test]
fn capabilities_that_the_caller_lacks_are_dropped_with_a_warning() {
    let mut config = config();
    config["process"]["capabilities"] =
        json!({"bounding": ["CAP_SYS_RESOURCE", "CAP_KILL"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL", "CAP_FLY"]});
    let held = HostFacts { capabilities: CapabilitySet(1 << 5), bounding: CapabilitySet(1 << 5), ..facts() };
    let plan = LaunchPlan::new(config.to_string().as_bytes(), options(), &held).unwrap();
    place(&plan, |step| {
        matches!(step, Step::Identity { bounding: 0x20, permitted: 0x20, effective: 0x20, inheritable: 0, ambient: 0, .. })
    });
    assert!(plan.warnings().iter().any(|warning| warning.contains("CAP_SYS_RESOURCE cannot be granted")));
    assert!(plan.warnings().iter().any(|warning| warning.contains("unknown capability \"CAP_FLY\"")));
}

/// What a user other than root has: no capability, and ids of his own.
fn ordinary() -> HostFacts {
    HostFacts { uid: 1000, gid: 100, capabilities: CapabilitySet(0), ..facts() }
}

fn with_user_namespace(uid_mappings: Value, gid_mappings: Value) -> Value {
    let mut config = config();
    config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    config["linux"]["uidMappings"] = uid_mappings;
    config["linux"]["gidMappings"] = gid_mappings;
    config
}

#[test]
fn an_ordinary_users_own_id_is_mapped_by_himself_and_ranges_by_the_helper() {
    let alone = |id: u32| json!([{"containerID": 0, "hostID": id, "size": 1}]);
    let range = json!([{"containerID": 0, "hostID": 1000, "size": 1}, {"containerID": 1, "hostID": 100_000, "size": 65_536}]);
    let writers = |config: &Value, facts: &HostFacts| {
        let maps = LaunchPlan::new(config.to_string().as_bytes(), options(), facts).unwrap().maps.unwrap();
        (maps.uids.writer, maps.gids.writer)
    };
    assert_eq!(writers(&with_user_namespace(alone(1000), alone(100)), &ordinary()), (Writer::Himself, Writer::Himself));
    assert_eq!(writers(&with_user_namespace(range.clone(), alone(100)), &ordinary()), (Writer::Helper, Writer::Himself));
    assert_eq!(writers(&with_user_namespace(range.clone(), range.clone()), &ordinary()), (Writer::Helper, Writer::Helper));
    assert_eq!(writers(&with_user_namespace(range.clone(), range), &facts()), (Writer::Privileged, Writer::Privileged));
}

#[test]
fn an_ordinary_user_hands_over_no_tree_and_init_copies_by_path() {
    let one = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
    let config = with_user_namespace(one.clone(), one);
    let plan = |facts: &HostFacts| LaunchPlan::new(config.to_string().as_bytes(), options(), facts).unwrap();
    let trees = |plan: &LaunchPlan| plan.steps.handed().iter().filter(|handed| matches!(handed, Handed::Tree { .. })).count();
    let (his, roots) = (plan(&ordinary()), plan(&facts()));
    assert_eq!(trees(&his), 0);
    assert!(trees(&roots) > 0);
    place(&his, |step| matches!(step, Step::RootTree { fd: NO_FD, .. }));
    assert!(place(&his, |step| matches!(step, Step::Dumpable {})) < place(&his, |step| matches!(step, Step::Meet { what: meet::MAPS })));
    assert!(roots.steps.steps().all(|step| !matches!(step, Step::Dumpable {})));
}

#[test]
fn unknown_keys_are_warnings_with_their_path() {
    let mut config = config();
    config["process"]["colour"] = json!("green");
    let plan = planned(&config);
    assert_eq!(plan.warnings(), ["config.json: process.colour: unknown key, ignored"]);
}

#[test]
fn wrong_types_and_values_are_refused_by_their_path() {
    let cases = [
        ("/process/args", json!("sh"), "process.args"),
        ("/process/args", json!([]), "process.args"),
        ("/process/cwd", json!("relative"), "process.cwd"),
        ("/ociVersion", json!("2.0.0"), "ociVersion"),
        ("/linux/namespaces/0/type", json!("pids"), "linux.namespaces[0].type"),
        ("/linux/namespaces/1/type", json!("pid"), "linux.namespaces[1]"),
        ("/linux/namespaces/0", json!({"type": "pid", "path": "ns/pid"}), "linux.namespaces[0].path"),
    ];
    for (pointer, value, path) in cases {
        let mut config = config();
        *config.pointer_mut(pointer).unwrap() = value;
        let error = refused(&config);
        assert_eq!((error.kind, error.json_path.as_deref()), (Kind::Spec, Some(path)), "{error}");
    }
}

#[test]
fn fields_that_are_not_honoured_yet_are_refused_by_name() {
    let mut config = config();
    config["linux"]["intelRdt"] = json!({"closID": "x"});
    let error = refused(&config);
    assert_eq!((error.kind, error.json_path.as_deref()), (Kind::Host, Some("linux.intelRdt")));
}

#[test]
fn the_selinux_label_is_that_of_the_program_and_of_its_keyring() {
    let mut config = config();
    config["process"]["selinuxLabel"] = json!("system_u:system_r:container_t:s0");
    let mut facts = facts();
    facts.modules.selinux = true;
    let labelled = |options: Options| {
        let plan = LaunchPlan::new(config.to_string().as_bytes(), options, &facts).unwrap();
        let attributes = plan.steps.steps().filter_map(|step| match step {
            Step::Label { attribute, value } => Some((attribute.to_owned(), value == c"system_u:system_r:container_t:s0")),
            _ => None,
        });
        let keyring = place(&plan, |step| matches!(step, Step::Keyring { .. }));
        (attributes.collect::<Vec<_>>(), keyring > place(&plan, |step| matches!(step, Step::Label { .. })))
    };
    let (exec, keys) = ((c"self/attr/exec".to_owned(), true), (c"self/attr/keycreate".to_owned(), true));
    assert_eq!(labelled(options()), (vec![exec, keys], true));
}

#[test]
fn without_a_keyring_of_its_own_there_is_none_to_label_or_join() {
    let plan = plan(&config(), Options { new_keyring: false, ..options() }).unwrap();
    assert!(!plan.steps.steps().any(|step| matches!(step, Step::Keyring { .. } | Step::Label { .. })));
}

#[test]
fn kernel_parameters_of_the_host_are_refused() {
    let mut config = config();
    for (name, wrong) in [("kernel.shmmax", false), ("net.ipv4.ip_forward", false), ("kernel.panic", true), ("vm.overcommit_memory", true)]
    {
        config["linux"]["sysctl"] = json!({name: "1"});
        assert_eq!(plan(&config, options()).is_err(), wrong, "{name}");
    }
    config["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
    config["linux"]["namespaces"].as_array_mut().unwrap().remove(4);
    assert_eq!(refused(&config).json_path.as_deref(), Some("linux.sysctl.net.ipv4.ip_forward"));
}

#[test]
fn a_program_without_a_slash_is_looked_for_in_the_containers_own_path() {
    let plan = planned(&config());
    let Some(Step::Find { candidates }) = plan.steps.steps().find(|step| matches!(step, Step::Find { .. })) else { panic!() };
    assert!(candidates.iter().eq([c"/bin/sh", c"/usr/bin/sh"]));
}

#[test]
fn strings_with_a_nul_are_refused_where_they_are() {
    let mut config = config();
    config["process"]["env"] = json!(["A=1", "B=\u{0}"]);
    assert_eq!(refused(&config).json_path.as_deref(), Some("process.env[1]"));
}
