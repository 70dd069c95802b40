//! Lists of devices on the real kernel, as root: what the list denies cannot be opened, by the v1 controller where it is mounted, and by
//! cgroup2's eBPF program, to which a hybrid host is brought by leaving its v1 controller out of what was discovered.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use oci_spec::runtime::LinuxResources;
use pyrt_core::cgroup::{Cgroup, CgroupPlan, Form, Hierarchies};
use pyrt_core::sys::bpf;
use pyrt_core::{Kind, Result};

const DENY_ALL: &str = r#"{"devices": [{"allow": false, "access": "rwm"}]}"#;
const ALLOW_ALL: &str = r#"{"devices": [{"allow": true, "access": "rwm"}]}"#;
/// /dev/kmsg, which every kernel has and no container needs.
const ALLOW_KMSG: &str = r#"{"devices": [{"allow": false}, {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "rw"}]}"#;
const KMSG_TO_READ: &str = r#"{"devices": [{"allow": false}, {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"}]}"#;

const READ_KMSG: &str = "exec 3</dev/kmsg";
const WRITE_KMSG: &str = "exec 3>/dev/kmsg";

fn resources(json: &str) -> LinuxResources {
    serde_json::from_str(json).unwrap()
}

/// A cgroup of the test's own, removed however the test ends.
struct Scratch {
    hierarchies: Hierarchies,
    path: String,
}

impl Scratch {
    fn on(hierarchies: Hierarchies, name: &str) -> Scratch {
        Scratch { hierarchies, path: format!("/pyrt-test-{}-devices-{name}", std::process::id()) }
    }

    /// The host as it is.
    fn as_found(name: &str) -> Scratch {
        Scratch::on(Hierarchies::discover().unwrap(), name)
    }

    /// The host's cgroup2 mount alone. None without one.
    fn only_v2(name: &str) -> Option<Scratch> {
        let found = Hierarchies::discover().unwrap();
        let Some(unified) = found.unified() else {
            eprintln!("skipped: no cgroup2");
            return None;
        };
        let controllers: Vec<&str> = unified.controllers.iter().map(String::as_str).collect();
        Some(Scratch::on(Hierarchies::described(Some((&unified.mount_point, &controllers)), &[], false), name))
    }

    fn create(&self, json: &str) -> Result<Cgroup> {
        CgroupPlan::new(&self.hierarchies, &self.path, Some(&resources(json)), Form::Library, &[])?.create()
    }

    fn directory(&self) -> String {
        format!("{}{}", self.hierarchies.unified().unwrap().mount_point, self.path)
    }

    /// Ids of the programs on the cgroup itself.
    fn programs(&self) -> Vec<u32> {
        let directory = std::fs::File::open(self.directory()).unwrap();
        bpf::program_query(directory.as_fd(), bpf::CGROUP_DEVICE).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for hierarchy in self.hierarchies.unified().into_iter().chain(self.hierarchies.v1()) {
            let key = if hierarchy.controllers.is_empty() || self.hierarchies.unified() == Some(hierarchy) { "unified" } else { "any" };
            let directory = format!("{}{}", hierarchy.mount_point, self.path);
            if Path::new(&directory).exists() {
                Cgroup::open(&[(key.to_owned(), directory)]).unwrap().remove().unwrap();
            }
        }
    }
}

/// Whether the shell command succeeds once it is in the cgroup `below` the group.
fn succeeds(group: &Cgroup, below: &str, script: &str) -> bool {
    let mut command = Command::new("sh");
    // It moves itself: the shell's own files are open by then, as init's are.
    let moves: String = group.paths().iter().map(|(_, path)| format!("echo 0 > {path}{below}/cgroup.procs && ")).collect();
    let output = command.args(["-c", &format!("{moves} echo moved; {script}")]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "moved\n", "{output:?}");
    output.status.success()
}

/// A program that allows everything, as somebody else may have attached it.
fn foreign_program() -> OwnedFd {
    let answer_1 = [[0xb7, 0, 0, 0, 1, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];
    bpf::program_load(bpf::CGROUP_DEVICE_PROGRAM, c"foreign", &answer_1, c"Apache-2.0").unwrap()
}

#[test]
fn a_device_that_the_list_denies_cannot_be_opened() {
    for scratch in [Some(Scratch::as_found("deny")), Scratch::only_v2("deny-v2")].into_iter().flatten() {
        let plan = CgroupPlan::new(&scratch.hierarchies, &scratch.path, Some(&resources(DENY_ALL)), Form::Library, &[]).unwrap();
        assert!(plan.warnings().is_empty(), "{:?}", plan.warnings());
        let group = plan.create().unwrap();
        assert!(succeeds(&group, "", "exec 3<>/dev/null 4<>/dev/zero 5</dev/urandom 6<>/dev/full 7<>/dev/ptmx"));
        assert!(!succeeds(&group, "", READ_KMSG));
        group.remove().unwrap();
    }
}

#[test]
fn a_device_may_be_read_and_not_written() {
    for scratch in [Some(Scratch::as_found("read")), Scratch::only_v2("read-v2")].into_iter().flatten() {
        let group = scratch.create(KMSG_TO_READ).unwrap();
        assert!(succeeds(&group, "", READ_KMSG));
        assert!(!succeeds(&group, "", WRITE_KMSG));
        assert!(!succeeds(&group, "", "exec 3<>/dev/kmsg"));
        group.remove().unwrap();
    }
}

#[test]
fn an_update_holds_for_processes_that_are_inside() {
    for scratch in [Some(Scratch::as_found("update")), Scratch::only_v2("update-v2")].into_iter().flatten() {
        let group = scratch.create(DENY_ALL).unwrap();
        assert!(!succeeds(&group, "", READ_KMSG));
        let waits = "read _; exec 3</dev/kmsg";
        let mut inside = Command::new("sh").args(["-c", waits]).stdin(Stdio::piped()).spawn().unwrap();
        group.add(inside.id() as i32).unwrap();
        group.update(&scratch.hierarchies, &resources(ALLOW_KMSG)).unwrap();
        drop(inside.stdin.take());
        assert!(inside.wait().unwrap().success());
        group.update(&scratch.hierarchies, &resources(DENY_ALL)).unwrap();
        assert!(!succeeds(&group, "", READ_KMSG));
        group.update(&scratch.hierarchies, &resources(ALLOW_ALL)).unwrap();
        assert!(succeeds(&group, "", READ_KMSG));
        group.remove().unwrap();
    }
}

#[test]
fn a_cgroup_below_has_the_program_too() {
    let Some(scratch) = Scratch::only_v2("below") else { return };
    let group = scratch.create(DENY_ALL).unwrap();
    std::fs::create_dir(format!("{}/inner", scratch.directory())).unwrap();
    assert!(!succeeds(&group, "/inner", READ_KMSG));
    assert!(succeeds(&group, "/inner", "exec 3<>/dev/null"));
    group.remove().unwrap();
}

#[test]
fn an_update_replaces_our_program_and_leaves_others() {
    let Some(scratch) = Scratch::only_v2("replace") else { return };
    let group = scratch.create(DENY_ALL).unwrap();
    let directory = std::fs::File::open(scratch.directory()).unwrap();
    let foreign = foreign_program();
    bpf::program_attach(directory.as_fd(), foreign.as_fd(), bpf::CGROUP_DEVICE, None).unwrap();
    let before = scratch.programs();
    group.update(&scratch.hierarchies, &resources(ALLOW_KMSG)).unwrap();
    let after = scratch.programs();
    assert_eq!((before.len(), after.len()), (2, 2), "{before:?} {after:?}");
    assert_eq!(before.iter().filter(|id| after.contains(id)).count(), 1, "{before:?} {after:?}");
    let name = |id: &u32| bpf::program_name(bpf::program_by_id(*id).unwrap().as_fd()).unwrap().into_string().unwrap();
    let mut names: Vec<String> = after.iter().map(name).collect();
    names.sort();
    assert_eq!(names, ["foreign", "pyrt_devices"]);
    bpf::program_detach(directory.as_fd(), foreign.as_fd(), bpf::CGROUP_DEVICE).unwrap();
    group.remove().unwrap();
}

#[test]
fn updates_at_the_same_time_leave_one_program() {
    let Some(scratch) = Scratch::only_v2("race") else { return };
    let group = scratch.create(DENY_ALL).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..10).for_each(|_| group.update(&scratch.hierarchies, &resources(ALLOW_KMSG)).unwrap()));
        }
    });
    assert_eq!(scratch.programs().len(), 1);
    group.remove().unwrap();
}

#[test]
fn a_list_that_allows_everything_and_no_list_at_all_need_no_program() {
    let Some(scratch) = Scratch::only_v2("none") else { return };
    for json in [ALLOW_ALL, r#"{"devices": []}"#, "{}"] {
        let group = scratch.create(json).unwrap();
        assert_eq!(scratch.programs(), [0; 0], "{json}");
        group.remove().unwrap();
    }
}

#[test]
fn the_kernel_takes_the_longest_list_and_any_kind_of_rule() {
    let Some(scratch) = Scratch::only_v2("long") else { return };
    let rule = |number: usize| {
        let (kind, access) = (["b", "c", "a"][number % 3], ["r", "w", "m", "rw", "rwm"][number % 5]);
        let (major, minor) = (if number % 7 == 0 { -1 } else { number as i64 }, if number % 11 == 0 { -1 } else { 4294967295i64 });
        format!(r#"{{"allow": {}, "type": "{kind}", "major": {major}, "minor": {minor}, "access": "{access}"}}"#, number % 2 == 0)
    };
    let list = |length: usize| format!(r#"{{"devices": [{}]}}"#, (0..length).map(rule).collect::<Vec<_>>().join(","));
    for length in (1..30).chain([2048]) {
        let group = scratch.create(&list(length)).unwrap();
        assert_eq!(scratch.programs().len(), 1);
        group.remove().unwrap();
    }
    assert_eq!(scratch.create(&list(2049)).unwrap_err().kind, Kind::Spec);
}

/// Set for this test's own second process, which has no capability outside a user namespace.
const POWERLESS: &str = "PYRT_TEST_POWERLESS";

#[test]
fn a_caller_who_may_not_load_programs_is_told_so_and_nothing_stays() {
    let Some(scratch) = Scratch::only_v2("refused") else { return };
    if std::env::var_os(POWERLESS).is_none() {
        let name = "a_caller_who_may_not_load_programs_is_told_so_and_nothing_stays";
        let mut again = Command::new("unshare");
        again.args(["--user", "--map-root-user"]).arg(std::env::current_exe().unwrap()).args(["--exact", name]).env(POWERLESS, "1");
        let output = again.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        return;
    }
    let error = scratch.create(DENY_ALL).unwrap_err();
    assert_eq!((error.kind, error.errno), (Kind::Host, Some(Errno::EPERM)), "{error}");
    assert_eq!(error.path, Some(scratch.directory()));
    let text = error.to_string();
    assert!(text.starts_with("limit linux.resources.devices: ") && text.contains("CAP_SYS_ADMIN"), "{text}");
    assert!(!Path::new(&scratch.directory()).exists());
    // Nothing to enforce: nothing to ask the kernel for.
    scratch.create(ALLOW_ALL).unwrap().remove().unwrap();
}
