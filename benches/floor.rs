//! The floor: what the kernel alone charges for `true` in the container of `pyrt spec`.
//!
//! The same namespaces, cgroups, mounts, devices, masks, privileges and exec as a launch of pyrt, by bare system calls: no config.json, no plan,
//! no state, no handshake, no error texts. `compare.py` divides by it. Nothing here is part of pyrt, and pyrt uses nothing of it.
//!
//!     floor --rootfs DIR [--form library|engine] [--iterations N | --stdin] [--ballast MIB]
//!
//! On hosts with cgroup v1 `--form` says which hierarchies are joined: memory and pids as pyrt's library does, or all eight as engines need.
//! `--iterations` prints one JSON object with every launch in microseconds; `--stdin` makes a launch for each line it reads and answers with its
//! microseconds, so that other contenders can run in between. `--ballast` keeps that many mebibytes resident in the caller.
//!
//! The child shares the caller's memory until its exec (`CLONE_VM|CLONE_VFORK`: clone(2)), so a large caller costs nothing, and a failing
//! step is simply written into a static.

use std::arch::asm;
use std::ffi::{c_int, c_long, c_void, CStr, CString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};
use std::time::Instant;

/// Size of the child's stack in bytes; its deepest frame holds a few arguments.
const STACK: usize = 64 * 1024;

const PROGRAM: &CStr = c"/bin/true";
const HOSTNAME: &[u8] = b"floor";

/// keyctl(2): a container does not see its caller's session keyring.
const KEYCTL_JOIN_SESSION_KEYRING: c_long = 1;
const KEYRING: &CStr = c"_ses.floor";

/// Namespaces of `pyrt spec`, but for the cgroup namespace: where v1 hierarchies are joined it can only come after that.
const NAMESPACES: u64 = (libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWNET) as u64;

/// clone(2); libc's own constants are too narrow for these two.
const CLONE_CLEAR_SIGHAND: u64 = 1 << 32;
const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// Source, target below the root, type, flags, data: the default mounts but for the cgroup file systems.
const MOUNTS: &[(&CStr, &CStr, &CStr, u64, &CStr)] = &[
    (c"proc", c"proc", c"proc", NO_PRIVILEGE, c""),
    (c"tmpfs", c"dev", c"tmpfs", libc::MS_NOSUID | libc::MS_STRICTATIME, c"mode=755,size=65536k"),
    (c"devpts", c"dev/pts", c"devpts", libc::MS_NOSUID | libc::MS_NOEXEC, c"newinstance,ptmxmode=0666,mode=0620,gid=5"),
    (c"shm", c"dev/shm", c"tmpfs", NO_PRIVILEGE, c"mode=1777,size=65536k"),
    (c"mqueue", c"dev/mqueue", c"mqueue", NO_PRIVILEGE, c""),
    (c"sysfs", c"sys", c"sysfs", NO_PRIVILEGE | libc::MS_RDONLY, c""),
];
const NO_PRIVILEGE: u64 = libc::MS_NOSUID | libc::MS_NOEXEC | libc::MS_NODEV;

/// Name, major, minor (runtime-spec, config-linux: default devices).
const DEVICES: &[(&CStr, u32, u32)] =
    &[(c"dev/null", 1, 3), (c"dev/zero", 1, 5), (c"dev/full", 1, 7), (c"dev/random", 1, 8), (c"dev/urandom", 1, 9), (c"dev/tty", 5, 0)];

const LINKS: &[(&CStr, &CStr)] = &[
    (c"pts/ptmx", c"dev/ptmx"),
    (c"/proc/self/fd", c"dev/fd"),
    (c"/proc/self/fd/0", c"dev/stdin"),
    (c"/proc/self/fd/1", c"dev/stdout"),
    (c"/proc/self/fd/2", c"dev/stderr"),
    (c"/proc/kcore", c"dev/core"),
];

const MASKED: &[&str] = &[
    "proc/acpi",
    "proc/asound",
    "proc/interrupts",
    "proc/kcore",
    "proc/keys",
    "proc/latency_stats",
    "proc/sched_debug",
    "proc/scsi",
    "proc/timer_list",
    "proc/timer_stats",
    "sys/devices/virtual/powercap",
    "sys/firmware",
];

const READ_ONLY: &[&CStr] = &[c"proc/bus", c"proc/fs", c"proc/irq", c"proc/sys", c"proc/sysrq-trigger"];

/// CAP_KILL, CAP_NET_BIND_SERVICE, CAP_AUDIT_WRITE: the sets of `pyrt spec`.
const CAPABILITIES: u64 = 1 << 5 | 1 << 10 | 1 << 29;
const OPEN_FILES: libc::rlimit = libc::rlimit { rlim_cur: 1024, rlim_max: 1024 };

/// cgroup v1 controllers that each form joins; devices because of the rule in `pyrt spec`.
const LIBRARY_CONTROLLERS: &[&str] = &["memory", "pids", "devices"];
const ENGINE_CONTROLLERS: &[&str] = &["memory", "cpu", "cpuacct", "pids", "blkio", "cpuset", "devices", "freezer"];
/// A new cpuset of v1 is empty, and no process can join it before it has these (cpuset(7)).
const CPUSET_FILES: [&str; 2] = ["cpuset.cpus", "cpuset.mems"];

/// The rule of `pyrt spec`, and the devices that every container has: file and value, as runc and pyrt write them.
const DEVICE_RULES: [(&str, &str); 11] = [
    ("devices.deny", "a *:* rwm"),
    ("devices.allow", "c *:* m"),
    ("devices.allow", "b *:* m"),
    ("devices.allow", "c 1:3 rwm"),
    ("devices.allow", "c 1:5 rwm"),
    ("devices.allow", "c 1:7 rwm"),
    ("devices.allow", "c 1:8 rwm"),
    ("devices.allow", "c 1:9 rwm"),
    ("devices.allow", "c 5:0 rwm"),
    ("devices.allow", "c 5:2 rwm"),
    ("devices.allow", "c 136:* rwm"),
];

/// Which step of the child failed, and how. The child shares this memory.
static FAILED: AtomicPtr<i8> = AtomicPtr::new(null_mut());
static ERRNO: AtomicI32 = AtomicI32::new(0);

/// clone(2), `struct clone_args`.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Where cgroups can be made: the cgroup2 mount, and the v1 hierarchies of a form.
struct Hierarchies {
    unified: Option<PathBuf>,
    v1: Vec<V1>,
}

struct V1 {
    /// Its name below /sys/fs/cgroup and the data of its mount: "memory", "cpu,cpuacct".
    controllers: CString,
    mount: PathBuf,
    /// Files of a new cgroup that must be written first, and what.
    settings: Vec<(&'static str, String)>,
}

impl Hierarchies {
    /// From /proc/self/mountinfo (proc(5)): field 5 is the mount point, the type is the first field after the dash, options the last.
    fn find(wanted: &[&str]) -> io::Result<Self> {
        let mut found = Hierarchies { unified: None, v1: Vec::new() };
        for line in fs::read_to_string("/proc/self/mountinfo")?.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let (Some(point), Some(kind)) = (left.split(' ').nth(4), right.split(' ').next()) else { continue };
            let mount = PathBuf::from(point);
            let options = right.rsplit(' ').next().unwrap_or_default();
            match kind {
                "cgroup2" => found.unified = Some(mount),
                "cgroup" => {
                    let names: Vec<&str> = options.split(',').filter(|name| wanted.contains(name)).collect();
                    if names.is_empty() {
                        continue;
                    }
                    let mut settings = Vec::new();
                    if names.contains(&"cpuset") {
                        for name in CPUSET_FILES {
                            settings.push((name, fs::read_to_string(mount.join(name))?));
                        }
                    }
                    if names.contains(&"devices") {
                        settings.extend(DEVICE_RULES.map(|(file, value)| (file, value.to_owned())));
                    }
                    found.v1.push(V1 { controllers: CString::new(names.join(","))?, mount, settings });
                }
                _ => {}
            }
        }
        Ok(found)
    }

    fn mode(&self) -> &'static str {
        match (&self.unified, self.v1.is_empty()) {
            (Some(_), true) => "v2",
            (Some(_), false) => "hybrid",
            (None, false) => "v1",
            (None, true) => "none",
        }
    }
}

/// The cgroups of one launch.
struct Cgroups {
    directories: Vec<PathBuf>,
    unified: Option<File>,
    tasks: Vec<File>,
}

impl Cgroups {
    fn create(hierarchies: &Hierarchies, name: &str) -> io::Result<Self> {
        let mut made = Cgroups { directories: Vec::new(), unified: None, tasks: Vec::new() };
        if let Some(mount) = &hierarchies.unified {
            made.unified = Some(File::open(made.make(mount.join(name))?)?);
        }
        for V1 { mount, settings, .. } in &hierarchies.v1 {
            let directory = made.make(mount.join(name))?;
            for (file, value) in settings {
                fs::write(directory.join(file), value)?;
            }
            let tasks = OpenOptions::new().write(true).open(directory.join("tasks"))?;
            made.tasks.push(tasks);
        }
        Ok(made)
    }

    fn make(&mut self, directory: PathBuf) -> io::Result<&Path> {
        fs::create_dir(&directory)?;
        self.directories.push(directory);
        Ok(self.directories.last().expect("just pushed"))
    }

    fn remove(&mut self) -> io::Result<()> {
        self.directories.drain(..).try_for_each(fs::remove_dir)
    }
}

/// What the child reads: everything made before the clone.
struct Inside<'a> {
    rootfs: &'a CStr,
    tasks: &'a [File],
    v1: &'a [V1],
    unified: bool,
    masked: &'a [CString],
    stdio: RawFd,
}

/// MASKED, and each processor's `thermal_throttle` where there is one.
fn masked_paths() -> io::Result<Vec<CString>> {
    let mut paths = MASKED.iter().map(|path| CString::new(*path)).collect::<Result<Vec<_>, _>>()?;
    for entry in fs::read_dir("/sys/devices/system/cpu")? {
        let throttle = entry?.path().join("thermal_throttle");
        if throttle.is_dir() {
            paths.push(CString::new(throttle.as_os_str().as_bytes().strip_prefix(b"/").unwrap_or_default())?);
        }
    }
    Ok(paths)
}

fn main() {
    if let Err(error) = run() {
        eprintln!("floor: {error}");
        std::process::exit(1);
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let (mut rootfs, mut iterations, mut ballast, mut stdin) = (None, 100_usize, 0_usize, false);
    let mut controllers = LIBRARY_CONTROLLERS;
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{} needs a value", argument.to_string_lossy()));
        match argument.to_str() {
            Some("--rootfs") => rootfs = Some(fs::canonicalize(value()?)?),
            Some("--form") => {
                controllers = match value()?.to_str() {
                    Some("library") => LIBRARY_CONTROLLERS,
                    Some("engine") => ENGINE_CONTROLLERS,
                    _ => return Err("--form is library or engine".into()),
                }
            }
            Some("--iterations") => iterations = value()?.to_string_lossy().parse()?,
            Some("--ballast") => ballast = value()?.to_string_lossy().parse()?,
            Some("--stdin") => stdin = true,
            _ => return Err(format!("unknown argument {}", argument.to_string_lossy()).into()),
        }
    }
    let rootfs = CString::new(rootfs.ok_or("--rootfs is needed")?.as_os_str().as_bytes())?;
    // Written, so that every page of it is resident.
    let resident = vec![1_u8; ballast << 20];
    let hierarchies = Hierarchies::find(controllers)?;
    let masked = masked_paths()?;
    let mut stack = vec![0_u8; STACK];
    let null_device = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    let mut count = 0_u64;
    let mut once = || -> Result<f64, Box<dyn std::error::Error>> {
        count += 1;
        let name = format!("pyrt-floor-{}-{count}", std::process::id());
        let start = Instant::now();
        let mut cgroups = Cgroups::create(&hierarchies, &name)?;
        let inside = Inside {
            rootfs: &rootfs,
            tasks: &cgroups.tasks,
            v1: &hierarchies.v1,
            unified: cgroups.unified.is_some(),
            masked: &masked,
            stdio: null_device.as_raw_fd(),
        };
        let launched = launch(&inside, cgroups.unified.as_ref(), &mut stack);
        cgroups.remove()?;
        launched?;
        Ok(start.elapsed().as_nanos() as f64 / 1000.0)
    };
    let mut out = io::stdout().lock();
    if stdin {
        for line in io::stdin().lock().lines() {
            line?;
            writeln!(out, "{:.1}", once()?)?;
            out.flush()?;
        }
    } else {
        let mut times = (0..iterations).map(|_| once()).collect::<Result<Vec<_>, _>>()?;
        let all = times.iter().map(|time| format!("{time:.1}")).collect::<Vec<_>>().join(", ");
        times.sort_by(f64::total_cmp);
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        let mode = hierarchies.mode();
        writeln!(
            out,
            r#"{{"name": "floor", "cgroup": "{mode}", "ballast_mib": {ballast}, "median_usec": {median:.1}, "microseconds": [{all}]}}"#
        )?;
    }
    std::hint::black_box(resident);
    Ok(())
}

/// One container, until it has ended.
fn launch(inside: &Inside, cgroup: Option<&File>, stack: &mut [u8]) -> Result<(), Box<dyn std::error::Error>> {
    let mut pidfd: c_int = -1;
    let mut arguments = CloneArgs {
        flags: NAMESPACES | (libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD) as u64 | CLONE_CLEAR_SIGHAND,
        pidfd: &raw mut pidfd as u64,
        exit_signal: libc::SIGCHLD as u64,
        stack: stack.as_mut_ptr() as u64,
        stack_size: stack.len() as u64,
        ..CloneArgs::default()
    };
    if let Some(directory) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = directory.as_raw_fd() as u64;
    }
    FAILED.store(null_mut(), Ordering::Relaxed);
    // SAFETY: the caller is stopped until the child has executed or ended (CLONE_VFORK), so `arguments`, `inside` and `stack` outlive its use of
    // them, and no other thread exists.
    let pid = unsafe { clone3(&arguments, enter, std::ptr::from_ref(inside).cast()) };
    if pid < 0 {
        let error = io::Error::from_raw_os_error(-pid as i32);
        return Err(format!("clone3: {error}").into());
    }
    // SAFETY: the kernel has just made this descriptor for us (CLONE_PIDFD); nothing else owns it.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    // SAFETY: all zeroes is a valid siginfo_t.
    let mut ended: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `ended` lives past the call.
    if unsafe { libc::waitid(libc::P_PIDFD, pidfd.as_raw_fd() as libc::id_t, &mut ended, libc::WEXITED) } == -1 {
        return Err(format!("waitid: {}", io::Error::last_os_error()).into());
    }
    let failed = FAILED.load(Ordering::Relaxed);
    if !failed.is_null() {
        // SAFETY: the child stores only pointers of string literals, which have a NUL and live forever.
        let step = unsafe { CStr::from_ptr(failed.cast()) }.to_string_lossy();
        return Err(format!("{step}: {}", io::Error::from_raw_os_error(ERRNO.load(Ordering::Relaxed))).into());
    }
    // SAFETY: waitid has filled the fields of a child that ended.
    match (ended.si_code, unsafe { ended.si_status() }) {
        (libc::CLD_EXITED, 0) => Ok(()),
        (code, status) => Err(format!("true ended with code {code}, status {status}").into()),
    }
}

/// clone3(2) with a stack: the child runs `enter(argument)` there. Returns the PID or minus errno.
///
/// # Safety
/// `arguments.stack` must be memory that only the child uses; `enter` must not return.
unsafe fn clone3(arguments: &CloneArgs, enter: unsafe extern "C" fn(*const c_void) -> !, argument: *const c_void) -> c_long {
    let result: c_long;
    // SAFETY: the child starts with an empty stack, 16-byte aligned as the ABI wants before a call, touches no frame of the caller, and never
    // comes back; the parent sees an ordinary system call.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "and rsp, -16",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") arguments,
            in("rsi") size_of::<CloneArgs>(),
            in("r12") argument,
            in("r13") enter,
            out("rcx") _,
            out("r11") _,
        );
    }
    result
}

/// The child's first function: nothing in it or below it allocates or locks.
///
/// # Safety
/// `argument` must be an `Inside` that lives until this process has executed or ended.
unsafe extern "C" fn enter(argument: *const c_void) -> ! {
    // SAFETY: as the caller promises.
    let inside = unsafe { &*argument.cast::<Inside>() };
    let Err(step) = build(inside);
    ERRNO.store(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO), Ordering::Relaxed);
    FAILED.store(step.as_ptr().cast_mut().cast(), Ordering::Relaxed);
    // SAFETY: ends this process without running anything of the caller's.
    unsafe { libc::_exit(1) }
}

/// The name of the step, where the call said -1.
fn check(result: c_long, step: &'static CStr) -> Result<(), &'static CStr> {
    if result == -1 {
        return Err(step);
    }
    Ok(())
}

fn mount(source: &CStr, target: &CStr, kind: &CStr, flags: u64, data: &CStr) -> c_long {
    // SAFETY: NUL-terminated strings that live past the call.
    c_long::from(unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast()) })
}

fn mkdir(target: &CStr) -> Result<(), &'static CStr> {
    // SAFETY: a NUL-terminated string that lives past the call.
    let made = unsafe { libc::mkdir(target.as_ptr(), 0o755) };
    if made == -1 && io::Error::last_os_error().raw_os_error() != Some(libc::EEXIST) {
        return Err(c"mkdir");
    }
    Ok(())
}

fn missing() -> bool {
    matches!(io::Error::last_os_error().raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR))
}

/// Everything from the clone to the exec; returns only a failed step.
fn build(inside: &Inside) -> Result<std::convert::Infallible, &'static CStr> {
    for tasks in inside.tasks {
        // SAFETY: one byte of a literal; the descriptor is the caller's, held open.
        check(unsafe { libc::write(tasks.as_raw_fd(), b"0".as_ptr().cast(), 1) } as c_long, c"join cgroup")?;
    }
    // SAFETY: changes only this process.
    check(c_long::from(unsafe { libc::unshare(libc::CLONE_NEWCGROUP) }), c"unshare cgroup namespace")?;

    loopback_up()?;
    check(mount(c"", c"/", c"", libc::MS_REC | libc::MS_SLAVE, c""), c"mount propagation")?;
    check(mount(inside.rootfs, inside.rootfs, c"", libc::MS_BIND | libc::MS_REC, c""), c"bind rootfs")?;
    // SAFETY: a NUL-terminated string that lives past the call.
    check(c_long::from(unsafe { libc::chdir(inside.rootfs.as_ptr()) }), c"chdir rootfs")?;
    for (source, target, kind, flags, data) in MOUNTS {
        mkdir(target)?;
        check(mount(source, target, kind, *flags, data), c"mount")?;
    }
    mount_cgroups(inside)?;
    make_devices()?;
    mask(inside.masked)?;
    pivot()?;
    drop_privileges()?;
    execute(inside.stdio)
}

/// netdevice(7): a new network namespace has a loopback interface that is down.
fn loopback_up() -> Result<(), &'static CStr> {
    // SAFETY: all zeroes is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[..2].copy_from_slice(&[b'l' as libc::c_char, b'o' as libc::c_char]);
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: `request` lives past the call, and the descriptor is closed by the exec at the latest.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        check(c_long::from(socket), c"socket")?;
        check(c_long::from(libc::ioctl(socket, libc::SIOCSIFFLAGS, &request)), c"loopback up")
    }
}

fn mount_cgroups(inside: &Inside) -> Result<(), &'static CStr> {
    const CGROUP: &CStr = c"sys/fs/cgroup";
    let read_only = NO_PRIVILEGE | libc::MS_RDONLY;
    if inside.v1.is_empty() {
        return if inside.unified { check(mount(c"cgroup", CGROUP, c"cgroup2", read_only, c""), c"mount cgroup2") } else { Ok(()) };
    }
    check(mount(c"tmpfs", CGROUP, c"tmpfs", NO_PRIVILEGE, c"mode=755"), c"mount cgroup tmpfs")?;
    // SAFETY: NUL-terminated strings that live past the calls.
    check(c_long::from(unsafe { libc::chdir(CGROUP.as_ptr()) }), c"chdir cgroup")?;
    for V1 { controllers, .. } in inside.v1 {
        mkdir(controllers)?;
        check(mount(c"cgroup", controllers, c"cgroup", read_only, controllers), c"mount cgroup")?;
    }
    if inside.unified {
        mkdir(c"unified")?;
        check(mount(c"cgroup", c"unified", c"cgroup2", read_only, c""), c"mount cgroup2")?;
    }
    // SAFETY: as above.
    check(c_long::from(unsafe { libc::chdir(inside.rootfs.as_ptr()) }), c"chdir rootfs")?;
    check(mount(c"", CGROUP, c"", libc::MS_REMOUNT | libc::MS_BIND | read_only, c""), c"remount cgroup tmpfs")
}

fn make_devices() -> Result<(), &'static CStr> {
    // SAFETY: umask cannot fail and changes only this process (no CLONE_FS).
    let umask = unsafe { libc::umask(0) };
    for (path, major, minor) in DEVICES {
        // SAFETY: a NUL-terminated string that lives past the call.
        check(c_long::from(unsafe { libc::mknod(path.as_ptr(), libc::S_IFCHR | 0o666, libc::makedev(*major, *minor)) }), c"mknod")?;
    }
    for (target, path) in LINKS {
        // SAFETY: NUL-terminated strings that live past the call.
        check(c_long::from(unsafe { libc::symlink(target.as_ptr(), path.as_ptr()) }), c"symlink")?;
    }
    // SAFETY: as above.
    unsafe { libc::umask(umask) };
    Ok(())
}

fn mask(masked: &[CString]) -> Result<(), &'static CStr> {
    for path in masked {
        if mount(c"dev/null", path, c"", libc::MS_BIND, c"") == 0 {
            continue;
        }
        // A directory: /dev/null cannot be bound over it.
        match io::Error::last_os_error().raw_os_error() {
            Some(libc::ENOENT) => {}
            Some(libc::ENOTDIR) => check(mount(c"tmpfs", path, c"tmpfs", libc::MS_RDONLY, c""), c"mask directory")?,
            _ => return Err(c"mask file"),
        }
    }
    for path in READ_ONLY {
        if mount(path, path, c"", libc::MS_BIND | libc::MS_REC, c"") == 0 {
            check(mount(c"", path, c"", libc::MS_BIND | libc::MS_REMOUNT | libc::MS_RDONLY | NO_PRIVILEGE, c""), c"make path read-only")?;
        } else if !missing() {
            return Err(c"bind read-only path");
        }
    }
    Ok(())
}

/// pivot_root(2), "pivot_root(".", ".")": no directory for the old root is needed.
fn pivot() -> Result<(), &'static CStr> {
    // SAFETY: NUL-terminated literals; changes only this mount namespace.
    unsafe {
        check(libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()), c"pivot_root")?;
        check(mount(c"", c".", c"", libc::MS_REC | libc::MS_SLAVE, c""), c"old root propagation")?;
        check(c_long::from(libc::umount2(c".".as_ptr(), libc::MNT_DETACH)), c"umount old root")?;
        check(c_long::from(libc::chdir(c"/".as_ptr())), c"chdir /")?;
    }
    check(mount(c"", c"/", c"", libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY, c""), c"read-only root")
}

fn drop_privileges() -> Result<(), &'static CStr> {
    const CAPABILITY_VERSION_3: u32 = 0x2008_0522;
    let half = [CAPABILITIES as u32, (CAPABILITIES >> 32) as u32];
    let header = [CAPABILITY_VERSION_3, 0];
    // Effective, permitted, inheritable of the low and of the high half (capset(2)).
    let sets = [half[0], half[0], 0, half[1], half[1], 0];
    // SAFETY: every pointer is of a local or a literal that lives past its call; each call changes only this process.
    unsafe {
        check(c_long::from(libc::sethostname(HOSTNAME.as_ptr().cast(), HOSTNAME.len())), c"sethostname")?;
        check(libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, KEYRING.as_ptr()), c"session keyring")?;
        check(c_long::from(libc::setsid()), c"setsid")?;
        check(c_long::from(libc::setrlimit(libc::RLIMIT_NOFILE, &OPEN_FILES)), c"setrlimit")?;
        check(c_long::from(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)), c"no_new_privs")?;
        for capability in 0..u64::BITS {
            let kept = CAPABILITIES & (1 << capability) != 0;
            if !kept && libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) == -1 {
                break; // EINVAL: the kernel knows no more of them
            }
        }
        check(libc::syscall(libc::SYS_setgroups, 0, null::<libc::gid_t>()), c"setgroups")?;
        check(libc::syscall(libc::SYS_setresgid, 0, 0, 0), c"setresgid")?;
        check(libc::syscall(libc::SYS_setresuid, 0, 0, 0), c"setresuid")?;
        check(c_long::from(libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)), c"ambient capabilities")?;
        check(libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()), c"capset")
    }
}

fn execute(stdio: RawFd) -> Result<std::convert::Infallible, &'static CStr> {
    const PATH: &CStr = c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let arguments = [PROGRAM.as_ptr(), null()];
    let environment = [PATH.as_ptr(), c"TERM=xterm".as_ptr(), null()];
    // SAFETY: arrays end with a null pointer and live past the calls; the descriptors are this process's own (no CLONE_FILES).
    unsafe {
        for descriptor in 0..3 {
            check(c_long::from(libc::dup2(stdio, descriptor)), c"dup2")?;
        }
        check(libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0), c"close_range")?;
        libc::execve(PROGRAM.as_ptr(), arguments.as_ptr(), environment.as_ptr());
    }
    Err(c"execve /bin/true")
}
