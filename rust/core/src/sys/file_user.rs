//! Files made for another user: setfsuid(2), setfsgid(2).

use nix::libc;

/// Whatever `call` makes belongs to that user and group from the start; a file system of a user namespace refuses files of ids that it does
/// not have (EOVERFLOW). The calling thread keeps its capabilities meanwhile, and is as before afterwards.
pub fn as_file_user<T>((uid, gid): (u32, u32), call: impl FnOnce() -> T) -> T {
    const VERSION_3: u32 = 0x2008_0522;
    let header = [VERSION_3, 0];
    let mut capabilities = [0u32; 6];
    // SAFETY: header and data are as large as version 3 wants them.
    unsafe { libc::syscall(libc::SYS_capget, header.as_ptr(), capabilities.as_mut_ptr()) };
    let set = |uid: u32, gid: u32| {
        // The system calls, which are the calling thread's alone. Each returns the id before, and never fails.
        // SAFETY: no pointers.
        let before = unsafe { (libc::syscall(libc::SYS_setfsuid, uid) as u32, libc::syscall(libc::SYS_setfsgid, gid) as u32) };
        // Leaving user 0 has taken those capabilities out of the effective set that are about files.
        // SAFETY: as above.
        unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), capabilities.as_ptr()) };
        before
    };
    let before = set(uid, gid);
    let result = call();
    set(before.0, before.1);
    result
}
