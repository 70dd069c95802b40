//! A value of the calling process, which a forked child does not share: the child has no thread that could release a lock held at the fork.

use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Starts with T's default, in each process anew. One value a process is never freed: whoever uses it may be in the middle of a fork.
pub struct PerProcess<T: 'static>(AtomicPtr<(u32, T)>);

impl<T: Default + Sync> PerProcess<T> {
    #[allow(clippy::new_without_default)] // For statics alone, which need a const function.
    pub const fn new() -> Self {
        PerProcess(AtomicPtr::new(null_mut()))
    }

    pub fn get(&self) -> &'static T {
        let owner = std::process::id();
        let mut known = self.0.load(Ordering::Acquire);
        loop {
            // SAFETY: not null, it came from `Box::leak` below, and is only ever read.
            if let Some((made_by, value)) = unsafe { known.as_ref() } {
                if *made_by == owner {
                    return value;
                }
            }
            let made: *mut (u32, T) = Box::leak(Box::new((owner, T::default())));
            match self.0.compare_exchange(known, made, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => known = made,
                Err(other) => {
                    // SAFETY: leaked just above, and seen by nobody else.
                    drop(unsafe { Box::from_raw(made) });
                    known = other;
                }
            }
        }
    }
}
