//! The watcher: one for each calling process. When that ends, however it ends, what must not outlive it is ended and removed.
//!
//! The containers' own PID 1 end by the caller's pidfd too; only this process can remove their cgroups, since it is in none of them.

use core::ffi::CStr;

use linux_raw_sys::errno::{EBUSY, ENOENT, ENOTEMPTY};
use linux_raw_sys::general::*;
use pyrt_init::{kind, Message, CGROUP_MADE_ABOVE, MESSAGE_SIZE, WATCH_SIZE};

use crate::sys::{self, Result};
use crate::{directory, Init};

/// More containers than a process can have: each takes it some descriptors.
const SLOTS: usize = 1 << 15;
/// How long a cgroup may take to become empty after everything in it was killed, and to be removable after that: v1 tells of neither.
const PATIENCE_MILLISECONDS: i64 = 10_000;
const PAUSE_MILLISECONDS: i64 = 5;

/// What a `WATCH` message said; `number` 0 is a free slot.
#[repr(C)]
struct Watched {
    number: u64,
    paths: [u8; WATCH_SIZE - 8],
}

pub fn watch(init: &Init, caller: i32) -> Result<()> {
    sys::set_name(c"pyrt-watcher")?;
    // The caller's directory must stay removable.
    sys::chdir(c"/")?;
    let slots: &mut [Watched] = sys::slots(SLOTS)?;
    let own = sys::own_pidfd()?;
    sys::send(init.socket, Message { kind: kind::PROCESS, ..Message::default() }, Some(own))?;
    sys::send(init.socket, Message { kind: kind::READY, ..Message::default() }, None)?;
    let mut kept = [init.socket, caller];
    kept.sort_unstable();
    sys::close_all_but(&kept);
    let mut used = 0;
    loop {
        let ready = sys::poll(&[init.socket, caller], -1)?;
        // What it said before it ended is still to be read.
        while let Some(length) = receive(init.socket, slots, &mut used)? {
            if length == 0 {
                break;
            }
        }
        if ready & 2 != 0 {
            break;
        }
        if ready & 1 != 0 && closed(init.socket)? {
            // The last handle of the socket is gone, but not the caller (it has executed another program): only its end counts.
            sys::poll(&[caller], -1)?;
            break;
        }
    }
    slots[..used].iter().filter(|slot| slot.number != 0).for_each(end);
    sys::exit(0)
}

fn closed(socket: i32) -> Result<bool> {
    Ok(sys::receive_now(socket, &mut [0; MESSAGE_SIZE])? == Some(0))
}

/// One message into its slot: its length, or `None` where none is there.
fn receive(socket: i32, slots: &mut [Watched], used: &mut usize) -> Result<Option<usize>> {
    let mut bytes = [0u8; WATCH_SIZE + MESSAGE_SIZE];
    let Some(length) = sys::receive_now(socket, &mut bytes)? else { return Ok(None) };
    let Some((head, paths)) = bytes[..length].split_first_chunk::<MESSAGE_SIZE>() else { return Ok(Some(0)) };
    let message = Message::from_bytes(head);
    match message.kind {
        kind::WATCH => {
            let free = slots[..*used].iter().position(|slot| slot.number == 0).unwrap_or(*used);
            if let Some(slot) = slots.get_mut(free) {
                *used = (*used).max(free + 1);
                if let Some(room) = slot.paths.get_mut(..paths.len()) {
                    slot.number = message.value;
                    room.copy_from_slice(paths);
                    slot.paths[paths.len()..].fill(0);
                }
            }
        }
        kind::FORGET => {
            if let Some(slot) = slots[..*used].iter_mut().find(|slot| slot.number == message.value) {
                slot.number = 0;
            }
        }
        _ => {}
    }
    Ok(Some(length))
}

/// Ends everything in the cgroup, waits until it is empty and removes it everywhere. There is nobody to tell of what fails.
fn end(watched: &Watched) {
    let mut rest: &[u8] = &watched.paths;
    let mut first = true;
    while let Ok(path) = CStr::from_bytes_until_nul(rest) {
        rest = &rest[path.to_bytes_with_nul().len()..];
        let unified = core::mem::take(&mut first);
        if path.is_empty() {
            if unified {
                continue;
            }
            return;
        }
        if let Ok(directory) = sys::openat2(sys::CWD, path, O_RDONLY | O_DIRECTORY, RESOLVE_NO_SYMLINKS) {
            if unified {
                // A cgroup that is gone by now has nothing left in it.
                let _ = kill(directory);
            }
            remove(sys::CWD, path, directory);
            sys::close(directory);
            remove_above(path);
        }
    }
}

fn kill(directory: i32) -> Result<()> {
    let file = sys::openat2(directory, c"cgroup.kill", O_WRONLY, RESOLVE_BENEATH)?;
    let killed = sys::write(file, b"1");
    sys::close(file);
    killed?;
    let events = sys::openat2(directory, c"cgroup.events", O_RDONLY, RESOLVE_BENEATH)?;
    let mut waited = 0;
    while populated(events)? && waited < PATIENCE_MILLISECONDS {
        sys::poll_change(events, PAUSE_MILLISECONDS)?;
        waited += PAUSE_MILLISECONDS;
    }
    sys::close(events);
    Ok(())
}

fn populated(events: i32) -> Result<bool> {
    let mut text = [0u8; 128];
    sys::rewind(events)?;
    let length = sys::read(events, &mut text)?;
    Ok(text[..length].starts_with(b"populated 1"))
}

/// Removes those above that were made only for it, up to the first that is in use (`core/src/cgroup/above.rs`).
fn remove_above(path: &CStr) {
    let mut above = [0u8; WATCH_SIZE];
    let bytes = path.to_bytes();
    if bytes.len() >= above.len() {
        return;
    }
    above[..bytes.len()].copy_from_slice(bytes);
    while let Some(end) = above.iter().position(|byte| *byte == 0).and_then(|length| above[..length].iter().rposition(|byte| *byte == b'/'))
    {
        above[end..].fill(0);
        let Ok(parent) = CStr::from_bytes_until_nul(&above) else { return };
        match sys::getxattr(parent, CGROUP_MADE_ABOVE, &mut []).and_then(|_| sys::rmdir(sys::CWD, parent)) {
            Ok(()) => {}
            // Another one's removal was quicker.
            Err(failure) if failure.errno == ENOENT as i32 => {}
            Err(_) => return,
        }
    }
}

/// Removes a cgroup with those below it; waits out the moment in which v1 still holds an ended process.
fn remove(parent: i32, name: &CStr, directory: i32) {
    let mut waited = 0;
    loop {
        match sys::rmdir(parent, name) {
            Err(failure) if failure.errno == ENOTEMPTY as i32 || failure.errno == EBUSY as i32 => {}
            _ => return,
        }
        // What cannot be read now is tried again.
        let _ = directory::entries(directory, |name| {
            if let Ok(child) = sys::openat2(directory, name, O_RDONLY | O_DIRECTORY, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS) {
                remove(directory, name, child);
                sys::close(child);
            }
            Ok(())
        });
        if waited >= PATIENCE_MILLISECONDS {
            return;
        }
        let _ = sys::poll(&[], PAUSE_MILLISECONDS);
        waited += PAUSE_MILLISECONDS;
    }
}
