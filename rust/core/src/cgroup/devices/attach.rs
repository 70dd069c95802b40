//! The device program on a cgroup2 directory: loaded, attached beside what others attached, replaced in one step.
//!
//! It is ours by its name. The kernel detaches and frees it with the cgroup, so that nothing has to be removed. Beside it (the multi
//! flag) systemd's or an administrator's programs hold too, here and on every cgroup above: a device is allowed when all of them allow it.
//! Source: bpf(2), Documentation/bpf/prog_cgroup_sysctl.rst for the flags. Neighbours: `program`, `sys/bpf.rs` (the calls).

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;

use super::rules::LIST;
use super::Program;
use crate::cgroup::directory::Directory;
use crate::error::{Error, Kind, Result};
use crate::sys::bpf;

/// At most 15 letters, digits, `_` and `.`.
const NAME: &CStr = c"pyrt_devices";

/// It calls no helper, so that the kernel asks for no other licence than ours.
const LICENSE: &CStr = c"Apache-2.0";

/// Attach the program, or put it in the place of the one that an earlier call attached: no request goes undecided between them.
///
/// Errors: `Host` where this kernel has no device programs, or the caller may not load or attach any.
pub(in crate::cgroup) fn install(directory: &Directory, program: &Program) -> Result<()> {
    let cgroup = directory.fd();
    let refused = |step: &'static str| move |errno| refused(step, directory, errno);
    let code = program.instructions();
    let new = bpf::program_load(bpf::CGROUP_DEVICE_PROGRAM, NAME, code, LICENSE).map_err(refused("load the eBPF program for"))?;
    let old = loop {
        let old = attached(directory).map_err(refused("look for the eBPF program of"))?;
        match bpf::program_attach(cgroup, new.as_fd(), bpf::CGROUP_DEVICE, old.first().map(AsFd::as_fd)) {
            Ok(()) => break old,
            // Another update replaced it since we looked.
            Err(Errno::ENOENT) if !old.is_empty() => {}
            Err(errno) => return Err(refused("attach the eBPF program to")(errno)),
        }
    };
    // More than one only where two updates at the same time found none: then both held, and from now on this one does.
    for other in old.iter().skip(1) {
        match bpf::program_detach(cgroup, other.as_fd(), bpf::CGROUP_DEVICE) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(refused("detach an old eBPF program from")(errno)),
        }
    }
    Ok(())
}

/// Our programs on this cgroup itself.
fn attached(directory: &Directory) -> nix::Result<Vec<OwnedFd>> {
    let mut ours = Vec::new();
    for id in bpf::program_query(directory.fd(), bpf::CGROUP_DEVICE)? {
        let program = match bpf::program_by_id(id) {
            // Detached meanwhile, and gone.
            Err(Errno::ENOENT) => continue,
            opened => opened?,
        };
        if bpf::program_name(program.as_fd())?.as_c_str() == NAME {
            ours.push(program);
        }
    }
    Ok(ours)
}

fn refused(step: &str, directory: &Directory, errno: Errno) -> Error {
    let operation = format!("limit {LIST}: {step} cgroup");
    let hint = match errno {
        Errno::EPERM => {
            "it needs CAP_SYS_ADMIN in the first user namespace, a seccomp profile that permits bpf(2), and no program on a cgroup \
             above that permits no other; or leave the list out"
        }
        Errno::ENOSYS => "this kernel has no eBPF (CONFIG_BPF_SYSCALL); leave the list out, or mount the v1 devices controller",
        Errno::EINVAL => {
            "this kernel has no device programs for cgroups (CONFIG_CGROUP_BPF); leave the list out, or mount the v1 devices controller"
        }
        Errno::E2BIG => "the cgroup has as many device programs as the kernel permits",
        _ => return Error::system(operation, directory.path().to_owned(), errno),
    };
    Error { errno: Some(errno), ..Error::new(Kind::Host, operation) }.with_path(directory.path()).with_hint(hint)
}
