//! bpf(2): programs loaded, and attached to cgroups. Commands and attributes are those of linux/bpf.h, as far as the kernel reads them
//! for these commands: it takes a shorter structure than its own.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;

use super::{checked, owned, Result};

/// BPF_PROG_TYPE_CGROUP_DEVICE.
pub const CGROUP_DEVICE_PROGRAM: u32 = 15;
/// BPF_CGROUP_DEVICE.
pub const CGROUP_DEVICE: u32 = 6;

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_DETACH: libc::c_int = 9;
const BPF_PROG_GET_FD_BY_ID: libc::c_int = 13;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_PROG_QUERY: libc::c_int = 16;

const BPF_F_ALLOW_MULTI: u32 = 1 << 1;
const BPF_F_REPLACE: u32 = 1 << 2;

const NAME_BYTES: usize = 16;

/// BPF_CGROUP_MAX_PROGS: a cgroup never has more of one kind.
const MOST_PROGRAMS: usize = 64;

/// The verifier gives up with EAGAIN when a signal is pending; as often as libbpf tries.
const LOAD_ATTEMPTS: usize = 5;

#[repr(C)]
#[derive(Default)]
struct LoadAttributes {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; NAME_BYTES],
}

#[repr(C)]
#[derive(Default)]
struct AttachAttributes {
    target_fd: u32,
    program_fd: u32,
    attach_type: u32,
    flags: u32,
    replaced_fd: u32,
}

/// The whole of it: the kernel writes its last field (since 6.17) without a look at the size.
#[repr(C)]
#[derive(Default)]
struct QueryAttributes {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    program_ids: u64,
    program_count: u32,
    _unused: u32,
    program_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

#[repr(C)]
#[derive(Default)]
struct IdAttributes {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct InfoAttributes {
    fd: u32,
    info_size: u32,
    info: u64,
}

/// struct bpf_prog_info up to the name: the kernel writes as much as there is room for.
#[repr(C)]
#[derive(Default)]
struct ProgramInfo {
    until_name: [u64; 8],
    name: [u8; NAME_BYTES],
}

/// # Safety
/// `T` is what the command reads and writes, without padding, and every address in it leads to memory that lives past the call and is as
/// large as the attributes say.
unsafe fn bpf<T>(command: libc::c_int, attributes: &mut T) -> Result<libc::c_long> {
    // SAFETY: the attributes live past the call and their size is passed; the rest is the caller's word.
    checked(unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) })
}

/// BPF_PROG_LOAD: verified and compiled; it lives as long as a descriptor or a cgroup holds it. EINVAL for a name longer than 15 bytes.
pub fn program_load(program_type: u32, name: &CStr, instructions: &[[u8; 8]], license: &CStr) -> Result<OwnedFd> {
    let mut attributes = LoadAttributes {
        program_type,
        instruction_count: u32::try_from(instructions.len()).map_err(|_| Errno::E2BIG)?,
        instructions: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        ..LoadAttributes::default()
    };
    let name = name.to_bytes_with_nul();
    attributes.name.get_mut(..name.len()).ok_or(Errno::EINVAL)?.copy_from_slice(name);
    for _ in 1..LOAD_ATTEMPTS {
        // SAFETY: instructions, as many as counted, and the terminated licence live past the call.
        match unsafe { bpf(BPF_PROG_LOAD, &mut attributes) } {
            Err(Errno::EAGAIN) => {}
            loaded => return owned(loaded?),
        }
    }
    // SAFETY: as above.
    owned(unsafe { bpf(BPF_PROG_LOAD, &mut attributes) }?)
}

/// BPF_PROG_ATTACH with BPF_F_ALLOW_MULTI: beside the programs that the cgroup has, or in one step in the place of `replaced`.
pub fn program_attach(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>, attach_type: u32, replaced: Option<BorrowedFd<'_>>) -> Result<()> {
    let mut attributes = AttachAttributes {
        target_fd: number(cgroup),
        program_fd: number(program),
        attach_type,
        flags: BPF_F_ALLOW_MULTI | if replaced.is_some() { BPF_F_REPLACE } else { 0 },
        replaced_fd: replaced.map_or(0, number),
    };
    // SAFETY: no addresses.
    unsafe { bpf(BPF_PROG_ATTACH, &mut attributes) }.map(drop)
}

/// BPF_PROG_DETACH. ENOENT where it is not attached.
pub fn program_detach(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>, attach_type: u32) -> Result<()> {
    let mut attributes =
        AttachAttributes { target_fd: number(cgroup), program_fd: number(program), attach_type, ..AttachAttributes::default() };
    // SAFETY: no addresses.
    unsafe { bpf(BPF_PROG_DETACH, &mut attributes) }.map(drop)
}

/// BPF_PROG_QUERY: ids of the programs on this cgroup itself, in the order in which they run.
pub fn program_query(cgroup: BorrowedFd<'_>, attach_type: u32) -> Result<Vec<u32>> {
    let mut ids = [0u32; MOST_PROGRAMS];
    let mut attributes = QueryAttributes {
        target_fd: number(cgroup),
        attach_type,
        program_ids: ids.as_mut_ptr() as u64,
        program_count: MOST_PROGRAMS as u32,
        ..QueryAttributes::default()
    };
    // SAFETY: the array lives past the call and has room for as many as the count says.
    unsafe { bpf(BPF_PROG_QUERY, &mut attributes) }?;
    Ok(ids[..MOST_PROGRAMS.min(attributes.program_count as usize)].to_vec())
}

/// BPF_PROG_GET_FD_BY_ID. ENOENT where no such program is any more.
pub fn program_by_id(id: u32) -> Result<OwnedFd> {
    // SAFETY: no addresses.
    owned(unsafe { bpf(BPF_PROG_GET_FD_BY_ID, &mut IdAttributes { id, ..IdAttributes::default() }) }?)
}

/// BPF_OBJ_GET_INFO_BY_FD: the name that it was loaded with.
pub fn program_name(program: BorrowedFd<'_>) -> Result<CString> {
    let mut info = ProgramInfo::default();
    let mut attributes =
        InfoAttributes { fd: number(program), info_size: size_of::<ProgramInfo>() as u32, info: std::ptr::from_mut(&mut info) as u64 };
    // SAFETY: the structure lives past the call and is as large as said.
    unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attributes) }?;
    CStr::from_bytes_until_nul(&info.name).map(CStr::to_owned).map_err(|_| Errno::EINVAL)
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd() as u32
}
