//! What the kernel gives the program: scheduler, CPUs and memory policy.

use linux_raw_sys::errno::E2BIG;
use linux_raw_sys::general::{__NR_sched_setaffinity, __NR_set_mempolicy};
use pyrt_init::{Words, MASK_BITS};

use crate::sys::{self, refused, Result};

pub fn memory_policy(mode: u64, nodes: Words<'_>) -> Result<()> {
    sys::set_mempolicy(mode, &mask(nodes, __NR_set_mempolicy)?)
}

pub fn affinity(cpus: Words<'_>) -> Result<()> {
    sys::sched_setaffinity(&mask(cpus, __NR_sched_setaffinity)?)
}

fn mask(words: Words<'_>, call: u32) -> Result<[u64; MASK_BITS / 64]> {
    let mut mask = [0; MASK_BITS / 64];
    let mut words = words.iter();
    for (slot, word) in mask.iter_mut().zip(&mut words) {
        *slot = word;
    }
    match words.next() {
        Some(_) => refused(call, E2BIG),
        None => Ok(mask),
    }
}
