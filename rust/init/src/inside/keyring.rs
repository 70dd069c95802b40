//! A session keyring of the container's own: what the caller keeps in its keyring is not for those inside (session-keyring(7)).

use core::ffi::CStr;

use linux_raw_sys::errno::{ENOSYS, EPERM};

use crate::sys::{self, Failure, Result};

/// keyctl_setperm(3): who is no possessor may search. Without it a keyring cannot be joined by its name.
const SEARCH_BY_OTHERS: u32 = 0x0008_0808;

/// Room for type, owner, permissions and the longest description that a container's id makes.
const DESCRIPTION_SIZE: usize = 512;

pub fn join(name: &CStr) -> Result<()> {
    match sys::join_session_keyring(Some(name)) {
        // A name is joined where a keyring has it that can be searched, and one that was just made cannot: somebody waited for us there.
        Ok(keyring) if permissions(keyring)? & SEARCH_BY_OTHERS != 0 => sys::join_session_keyring(None).map(drop),
        // A kernel without keys, or a seccomp filter around the caller that forbids them: it binds the container too.
        Err(Failure { errno, .. }) if errno == ENOSYS as i32 || errno == EPERM as i32 => Ok(()),
        joined => joined.map(drop),
    }
}

/// keyctl_describe(3): `type;uid;gid;permissions;description`. All of them where it cannot be understood: then it is not ours.
fn permissions(keyring: i32) -> Result<u32> {
    let mut text = [0; DESCRIPTION_SIZE];
    let length = sys::describe_key(keyring, &mut text)?.min(text.len());
    let number = text[..length].split(|byte| *byte == b';').nth(3).and_then(|digits| core::str::from_utf8(digits).ok());
    Ok(number.and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or(u32::MAX))
}
