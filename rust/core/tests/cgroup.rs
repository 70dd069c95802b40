//! Cgroups on the real kernel, as root: limits act, endings end, and nothing is left behind. Runs on hybrid hosts and on pure cgroup v2.
//! Neighbour: `cgroup_devices` (lists of devices).

use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use oci_spec::runtime::LinuxResources;
use pyrt_core::cgroup::{default_path, Cgroup, CgroupPlan, Form, Hierarchies, Mode, Version};
use pyrt_core::Kind;

const MIB: u64 = 1 << 20;

fn resources(json: &str) -> LinuxResources {
    serde_json::from_str(json).unwrap()
}

/// A path below a parent of the test's own, which is removed with everything in it however the test ends.
struct Scratch {
    hierarchies: Hierarchies,
    parent: String,
}

impl Scratch {
    fn new(name: &str) -> Scratch {
        Scratch { hierarchies: Hierarchies::discover().unwrap(), parent: format!("pyrt-test-{}-{name}", std::process::id()) }
    }

    /// The host as if it had no cgroup2 mount.
    fn only_v1(name: &str) -> Option<Scratch> {
        let scratch = Scratch::new(name);
        let names: Vec<(&str, Vec<&str>)> =
            scratch.hierarchies.v1().iter().map(|h| (h.mount_point.as_str(), h.controllers.iter().map(String::as_str).collect())).collect();
        let v1: Vec<(&str, &[&str])> = names.iter().map(|(mount, controllers)| (*mount, controllers.as_slice())).collect();
        let hierarchies = Hierarchies::described(None, &v1, scratch.hierarchies.memsw());
        (!v1.is_empty()).then(|| Scratch { hierarchies, parent: scratch.parent.clone() })
    }

    fn path(&self) -> String {
        format!("/{}/group", self.parent)
    }

    fn plan(&self, json: &str, form: Form) -> pyrt_core::Result<CgroupPlan> {
        CgroupPlan::new(&self.hierarchies, &self.path(), Some(&resources(json)), form, &[])
    }

    fn create(&self, json: &str) -> Cgroup {
        self.plan(json, Form::Library).unwrap().create().unwrap()
    }

    fn directories(&self) -> Vec<String> {
        self.hierarchies.unified().into_iter().chain(self.hierarchies.v1()).map(|h| format!("{}/{}", h.mount_point, self.parent)).collect()
    }

    /// The directory of the hierarchy that has the controller.
    fn directory(&self, controller: &str) -> String {
        let v1 = self.hierarchies.v1().iter().find(|h| h.controllers.iter().any(|name| name == controller));
        format!("{}{}", v1.or(self.hierarchies.unified()).unwrap().mount_point, self.path())
    }

    fn has(&self, controller: &str) -> bool {
        let found = self.hierarchies.locate(controller).is_some();
        if !found {
            eprintln!("skipped: no {controller} controller");
        }
        found
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for directory in self.directories().iter().filter(|directory| Path::new(directory).exists()) {
            let key = if std::fs::metadata(format!("{directory}/cgroup.controllers")).is_ok() { "unified" } else { "any" };
            let parent = Cgroup::open(&[(key.to_owned(), directory.clone())]).unwrap();
            parent.kill().unwrap();
            parent.remove().unwrap();
        }
    }
}

/// A shell command that starts once it is in the cgroup.
fn run_in(group: &Cgroup, script: &str) -> Child {
    let mut command = Command::new("sh");
    let mut child = command
        .args(["-c", &format!("read _; {script}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    group.add(child.id() as i32).unwrap();
    writeln!(child.stdin.take().unwrap()).unwrap();
    child
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not come about");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_memory_hog_is_killed_and_counted() {
    let scratch = Scratch::new("memory");
    if !scratch.has("memory") {
        return;
    }
    let group = scratch.create(r#"{"memory": {"limit": 16777216, "swap": 16777216}}"#);
    let status = run_in(&group, "exec tail /dev/zero").wait().unwrap();
    assert!(!status.success());
    let usage = group.usage().unwrap();
    assert_eq!(usage.oom_kills, Some(1));
    assert_eq!(usage.memory_limit_bytes, Some(16 * MIB));
    assert!(usage.memory_peak_bytes.unwrap() > 12 * MIB && usage.memory_peak_bytes.unwrap() <= 16 * MIB);
    assert!(usage.cpu_usec.unwrap() > 0);
    group.remove().unwrap();
}

#[test]
fn forks_stop_at_the_pids_limit() {
    let scratch = Scratch::new("pids");
    if !scratch.has("pids") {
        return;
    }
    let group = scratch.create(r#"{"pids": {"limit": 6}}"#);
    let mut child = run_in(&group, "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 60 & done; wait");
    assert!(!child.wait().unwrap().success());
    let usage = group.usage().unwrap();
    assert!(usage.pids.unwrap() <= 6 && usage.pids_limit_hits.unwrap() >= 1, "{usage:?}");
    assert!(usage.pids_peak.is_none_or(|peak| peak == 6));
    group.kill().unwrap();
    assert_eq!(group.processes().unwrap(), [0; 0]);
}

#[test]
fn a_busy_loop_is_throttled_to_its_quota() {
    let scratch = Scratch::new("cpu");
    if !scratch.has("cpu") {
        return;
    }
    let group = scratch.create(r#"{"cpu": {"quota": 10000, "period": 50000}}"#);
    let mut child = run_in(&group, "while :; do :; done");
    let throttled = || {
        let stat = std::fs::read_to_string(format!("{}/cpu.stat", scratch.directory("cpu"))).unwrap();
        stat.lines().find_map(|line| line.strip_prefix("nr_throttled ")?.parse::<u64>().ok()).unwrap()
    };
    let start = Instant::now();
    let before = group.usage().unwrap().cpu_usec.unwrap();
    wait_until("throttling", || throttled() >= 10);
    let used = group.usage().unwrap().cpu_usec.unwrap() - before;
    // A fifth is allowed; half tells it from a loop that runs free, also where the machine is busy.
    assert!(u128::from(used) < start.elapsed().as_micros() / 2, "{used} of {:?}", start.elapsed());
    group.kill().unwrap();
    child.wait().unwrap();
}

/// A loop device over a file of 8 MiB, both gone at the end.
struct Loop {
    device: String,
    file: String,
}

impl Loop {
    fn new(name: &str) -> Loop {
        let file = format!("/tmp/{name}-{}.img", std::process::id());
        std::fs::File::create(&file).unwrap().set_len(8 * MIB).unwrap();
        let output = Command::new("losetup").args(["--find", "--show", &file]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        Loop { device: String::from_utf8(output.stdout).unwrap().trim().to_owned(), file }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        assert!(Command::new("losetup").args(["--detach", &self.device]).status().unwrap().success());
        std::fs::remove_file(&self.file).unwrap();
    }
}

#[test]
fn a_writer_is_held_to_its_rate_and_counted() {
    let scratch = Scratch::new("io");
    if !scratch.has("io") {
        return;
    }
    let disk = Loop::new("pyrt-test-io");
    let number = std::os::unix::fs::MetadataExt::rdev(&std::fs::metadata(&disk.device).unwrap());
    let (major, minor) = (nix::sys::stat::major(number), nix::sys::stat::minor(number));
    let rate = format!(r#"{{"blockIO": {{"throttleWriteBpsDevice": [{{"major": {major}, "minor": {minor}, "rate": 1048576}}]}}}}"#);
    let group = scratch.create(&rate);
    let start = Instant::now();
    let status = run_in(&group, &format!("exec dd if=/dev/zero of={} bs=256K count=8 oflag=direct", disk.device)).wait().unwrap();
    assert!(status.success());
    // 2 MiB at 1 MiB a second; without the limit it takes milliseconds, and a busy machine only makes it longer.
    assert!(start.elapsed() > Duration::from_secs(1));
    assert_eq!(group.usage().unwrap().io_write_bytes, Some(2 * MIB));
    group.remove().unwrap();
}

#[test]
fn a_frozen_cgroup_stands_still_and_still_dies() {
    for scratch in [Some(Scratch::new("freeze")), Scratch::only_v1("freeze-v1")].into_iter().flatten() {
        let group = scratch.create("{}");
        assert!(!group.frozen().unwrap());
        let mut child = run_in(&group, "while :; do :; done");
        let cpu = || group.usage().unwrap().cpu_usec.unwrap();
        wait_until("running", || cpu() > 0);
        group.freeze().unwrap();
        assert!(group.frozen().unwrap());
        // The kernel calls a process frozen just before it leaves its processor, and counts that time a little later.
        wait_until("standing still", || {
            let before = cpu();
            std::thread::sleep(Duration::from_millis(100));
            cpu() == before
        });
        let before = cpu();
        group.thaw().unwrap();
        assert!(!group.frozen().unwrap());
        wait_until("running again", || cpu() > before);
        group.freeze().unwrap();
        group.kill().unwrap();
        assert!(group.processes().unwrap().is_empty());
        child.wait().unwrap();
        group.remove().unwrap();
    }
}

#[test]
fn kill_ends_what_forks_and_what_is_in_cgroups_below() {
    for scratch in [Some(Scratch::new("kill")), Scratch::only_v1("kill-v1")].into_iter().flatten() {
        let group = scratch.create("{}");
        group.kill().unwrap();
        let (_, top) = group.paths().remove(0);
        std::fs::create_dir_all(format!("{top}/a/b")).unwrap();
        let mut forking = run_in(&group, "while :; do sleep 0.01 & sleep 0.01; done");
        let mut inside = run_in(&group, &format!("echo $$ > {top}/a/b/cgroup.procs; trap '' TERM; while :; do sleep 60; done"));
        wait_until("all started", || group.processes().unwrap().len() >= 3);
        group.kill().unwrap();
        assert!(group.processes().unwrap().is_empty());
        forking.wait().unwrap();
        inside.wait().unwrap();
        group.remove().unwrap();
        assert!(!Path::new(&top).exists());
        group.kill().unwrap();
        group.remove().unwrap();
    }
}

#[test]
fn a_signal_reaches_every_process() {
    let scratch = Scratch::new("signal");
    let group = scratch.create("{}");
    let mut children = [run_in(&group, "exec sleep 60"), run_in(&group, "exec sleep 60")];
    let mut pids: Vec<i32> = children.iter().map(|child| child.id() as i32).collect();
    pids.sort();
    wait_until("both inside", || group.processes().unwrap() == pids);
    group.signal(15).unwrap();
    for child in &mut children {
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(child.wait().unwrap().signal(), Some(15));
    }
}

#[test]
fn a_lone_thread_joins_by_tasks() {
    let scratch = Scratch::new("tasks");
    let group = scratch.create("{}");
    let tasks = group.tasks().unwrap();
    assert_eq!(tasks.len(), group.paths().iter().filter(|(key, _)| key != "unified").count());
    let inside = std::thread::spawn(move || {
        for file in &tasks {
            nix::unistd::write(file.as_fd(), b"0").unwrap();
        }
        std::fs::read_to_string("/proc/thread-self/cgroup").unwrap()
    });
    let inside = inside.join().unwrap();
    for (key, _) in group.paths().iter().filter(|(key, _)| key != "unified") {
        assert!(inside.lines().any(|line| line.ends_with(&format!(":{key}:{}", scratch.path()))), "{key} in {inside}");
    }
    assert_eq!(group.unified().is_some(), scratch.hierarchies.unified().is_some());
    group.remove().unwrap();
}

#[test]
fn a_cgroup_in_use_is_neither_taken_nor_removed() {
    let scratch = Scratch::new("busy");
    let group = scratch.create("{}");
    // Empty and without children: taken.
    scratch.create("{}");
    let mut child = run_in(&group, "exec sleep 60");
    let error = scratch.plan("{}", Form::Library).unwrap().create().unwrap_err();
    assert_eq!((error.kind, error.path.as_deref()), (Kind::AlreadyExists, Some(group.paths()[0].1.as_str())));
    assert!(error.to_string().contains(&child.id().to_string()), "{error}");
    let error = group.remove().unwrap_err();
    assert_eq!(error.errno, Some(nix::errno::Errno::EBUSY));
    assert!(error.to_string().contains(&child.id().to_string()), "{error}");
    group.kill().unwrap();
    child.wait().unwrap();
    std::fs::create_dir(format!("{}/below", group.paths()[0].1)).unwrap();
    let error = scratch.plan("{}", Form::Library).unwrap().create().unwrap_err();
    assert_eq!(error.kind, Kind::AlreadyExists, "{error}");
    group.remove().unwrap();
}

#[test]
fn a_refused_value_names_its_file_and_undoes_everything() {
    let scratch = Scratch::new("undo");
    if !scratch.has("cpuset") {
        return;
    }
    let plan = scratch.plan(r#"{"cpu": {"cpus": "4000"}, "memory": {"limit": 16777216}}"#, Form::Engine).unwrap();
    let error = plan.create().unwrap_err();
    assert_eq!(error.path, Some(format!("{}/cpuset.cpus", scratch.directory("cpuset"))));
    assert!(error.to_string().contains("\"4000\""), "{error}");
    for directory in scratch.directories() {
        assert!(!Path::new(&directory).exists(), "{directory}");
    }
}

#[test]
fn every_controller_of_the_engine_form_takes_its_limits() {
    let scratch = Scratch::new("engine");
    if !scratch.has("memory") || !scratch.has("cpuset") {
        return;
    }
    let json = r#"{"memory": {"limit": 67108864, "swap": 134217728, "reservation": 33554432},
        "cpu": {"shares": 512, "quota": 50000, "period": 100000, "burst": 10000, "cpus": "0", "mems": "0"},
        "pids": {"limit": 50}, "blockIO": {"weight": 300}}"#;
    let group = scratch.plan(json, Form::Engine).unwrap().create().unwrap();
    let read = |controller: &str, file: &str| std::fs::read_to_string(format!("{}/{file}", scratch.directory(controller))).unwrap();
    match scratch.hierarchies.locate("memory").unwrap().0 {
        Version::V1 => {
            assert_eq!(read("memory", "memory.limit_in_bytes"), "67108864\n");
            assert_eq!(read("memory", "memory.memsw.limit_in_bytes"), "134217728\n");
            assert_eq!(read("cpu", "cpu.shares"), "512\n");
            assert_eq!(read("cpu", "cpu.cfs_quota_us"), "50000\n");
            assert_eq!(read("cpu", "cpu.cfs_burst_us"), "10000\n");
            assert_eq!(read("blkio", "blkio.bfq.weight"), "300\n");
        }
        Version::V2 => {
            assert_eq!(read("memory", "memory.max"), "67108864\n");
            assert_eq!(read("memory", "memory.swap.max"), "67108864\n");
            assert_eq!(read("memory", "memory.low"), "33554432\n");
            assert_eq!(read("cpu", "cpu.weight"), "59\n");
            assert_eq!(read("cpu", "cpu.max"), "50000 100000\n");
            assert_eq!(read("cpu", "cpu.max.burst"), "10000\n");
        }
    }
    assert_eq!(read("cpuset", "cpuset.cpus"), "0\n");
    assert_eq!(read("pids", "pids.max"), "50\n");
    let mut child = run_in(&group, "exec sleep 60");
    wait_until("inside", || group.processes().unwrap() == [child.id() as i32]);
    let usage = group.usage().unwrap();
    assert_eq!(usage.pids, Some(1));
    assert!(usage.io_read_bytes.is_some() && usage.swap_bytes.is_some());
    group.kill().unwrap();
    child.wait().unwrap();
    group.remove().unwrap();
}

#[test]
fn update_raises_and_lowers_and_keeps_the_rest() {
    let scratch = Scratch::new("update");
    if !scratch.has("memory") || !scratch.has("cpu") {
        return;
    }
    let group = scratch.create(r#"{"memory": {"limit": 33554432, "swap": 33554432}, "cpu": {"quota": 20000, "period": 100000}}"#);
    let update = |json: &str| group.update(&scratch.hierarchies, &resources(json));
    let limit = || group.usage().unwrap().memory_limit_bytes;
    update(r#"{"memory": {"limit": 67108864, "swap": 67108864}}"#).unwrap();
    assert_eq!(limit(), Some(64 * MIB));
    update(r#"{"memory": {"limit": 16777216, "swap": 33554432}}"#).unwrap();
    assert_eq!(limit(), Some(16 * MIB));
    update(r#"{"memory": {"swap": 50331648}}"#).unwrap();
    assert_eq!(limit(), Some(16 * MIB));
    update(r#"{"memory": {"limit": -1}}"#).unwrap();
    assert_eq!(limit(), None);
    update(r#"{"cpu": {"period": 50000}}"#).unwrap();
    let read = |file: &str| std::fs::read_to_string(format!("{}/{file}", scratch.directory("cpu")));
    let quota = read("cpu.cfs_quota_us").or_else(|_| read("cpu.max")).unwrap();
    assert!(quota.starts_with("20000"), "{quota}");
    update(r#"{"cpu": {"quota": 500000, "period": 1000000}}"#).unwrap();
    update(r#"{"cpu": {"quota": 2000, "period": 2000}}"#).unwrap();
    assert_eq!(update(r#"{"cpu": {"quota": 1}}"#).unwrap_err().kind, Kind::Spec);
    if scratch.hierarchies.mode() == Mode::Hybrid {
        let error = update(r#"{"blockIO": {"weight": 100}}"#).unwrap_err();
        assert_eq!(error.kind, Kind::Host, "{error}");
    }
}

#[test]
fn a_limit_below_what_is_in_use_is_refused_when_asked_to_check() {
    let scratch = Scratch::new("check");
    if !scratch.has("memory") {
        return;
    }
    let group = scratch.create(r#"{"memory": {"limit": 268435456}}"#);
    // tail holds what it read until somebody reads its end of the pipe.
    let mut child = run_in(&group, "head -c 67108864 /dev/zero | tail -c 67108864 | sleep 60");
    wait_until("in use", || group.usage().unwrap().memory_bytes.unwrap() > 32 * MIB);
    let error = group.update(&scratch.hierarchies, &resources(r#"{"memory": {"limit": 4096, "checkBeforeUpdate": true}}"#)).unwrap_err();
    assert_eq!(error.errno, Some(nix::errno::Errno::EBUSY), "{error}");
    group.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn cgroup2_gives_controllers_down_unless_a_process_is_in_the_way() {
    let scratch = Scratch::new("give");
    if scratch.hierarchies.mode() != Mode::V2 {
        eprintln!("skipped: not a pure cgroup v2 host");
        return;
    }
    let json = r#"{"unified": {"memory.high": "33554432", "pids.max": "9"}}"#;
    let nested = |middle: &str| {
        let path = format!("/{}/{middle}/c", scratch.parent);
        CgroupPlan::new(&scratch.hierarchies, &path, Some(&resources(json)), Form::Library, &["hugetlb".to_owned()]).unwrap()
    };
    let group = nested("a/b").create().unwrap();
    let read = |file: &str| std::fs::read_to_string(format!("{}/{file}", group.paths()[0].1)).unwrap();
    assert_eq!((read("memory.high"), read("pids.max")), ("33554432\n".to_owned(), "9\n".to_owned()));
    assert!(read("cgroup.controllers").contains("hugetlb"));
    group.remove().unwrap();

    let middle = scratch.create("{}");
    let mut child = run_in(&middle, "exec sleep 60");
    let error = nested("group").create().unwrap_err();
    assert_eq!(error.errno, Some(nix::errno::Errno::EBUSY));
    assert!(error.to_string().contains(&format!("process {} is in that cgroup itself", child.id())), "{error}");
    assert!(!Path::new(&format!("{}/c", middle.paths()[0].1)).exists());
    middle.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_thaw_below_a_frozen_cgroup_is_refused_at_once() {
    for scratch in [Some(Scratch::new("thaw")), Scratch::only_v1("thaw-v1")].into_iter().flatten() {
        let group = scratch.create("{}");
        let (key, path) = group.paths().into_iter().find(|(key, _)| key == "unified" || key == "freezer").unwrap();
        let above = Cgroup::open(&[(key, path.rsplit_once('/').unwrap().0.to_owned())]).unwrap();
        above.freeze().unwrap();
        assert_eq!(group.thaw().unwrap_err().kind, Kind::InvalidState);
        above.thaw().unwrap();
        group.thaw().unwrap();
        group.remove().unwrap();
    }
}

#[test]
fn paths_from_state_are_not_believed() {
    let scratch = Scratch::new("open");
    let group = scratch.create("{}");
    let paths = group.paths();
    assert_eq!(Cgroup::open(&paths).unwrap().paths(), paths);
    let (key, path) = paths[0].clone();
    let root = path.strip_suffix(&scratch.path()).unwrap().to_owned();
    for bad in [root, format!("{path}/../group"), "/tmp".to_owned(), "relative".to_owned()] {
        let error = Cgroup::open(&[(key.clone(), bad.clone())]).unwrap_err();
        assert_eq!(error.kind, Kind::InvalidState, "{bad}: {error}");
    }
    group.remove().unwrap();
    assert!(Cgroup::open(&paths).unwrap().paths().is_empty());
}

#[test]
fn a_deep_tree_is_removed() {
    let scratch = Scratch::new("deep");
    let group = scratch.create("{}");
    let (_, top) = group.paths().remove(0);
    for depth in 1..200 {
        std::fs::create_dir(format!("{top}{}", "/d".repeat(depth))).unwrap();
        std::fs::create_dir(format!("{top}{}/e", "/d".repeat(depth - 1))).unwrap();
    }
    group.remove().unwrap();
    assert!(!Path::new(&top).exists());
}

#[test]
fn default_cgroups_come_and_go_from_many_threads() {
    let hierarchies = Hierarchies::discover().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let hierarchies = &hierarchies;
            scope.spawn(move || {
                for round in 0..20 {
                    let path = default_path(&format!("test-{}-{thread}-{round}", std::process::id()));
                    let group = CgroupPlan::new(hierarchies, &path, None, Form::Library, &[]).unwrap().create().unwrap();
                    let paths = group.paths();
                    group.remove().unwrap();
                    assert!(paths.iter().all(|(_, path)| !Path::new(path).exists()));
                }
            });
        }
    });
}
