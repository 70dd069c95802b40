//! What the kernel gives the program: scheduler and memory policy.

use linux_raw_sys::errno::E2BIG;
use linux_raw_sys::general::__NR_set_mempolicy;
use pyrt_init::{Words, NODES_MAX};

use crate::sys::{self, refused, Result};

pub fn memory_policy(mode: u64, nodes: Words<'_>) -> Result<()> {
    let mut mask = [0; NODES_MAX / 64];
    let mut words = nodes.iter();
    for (slot, word) in mask.iter_mut().zip(&mut words) {
        *slot = word;
    }
    match words.next() {
        Some(_) => refused(__NR_set_mempolicy, E2BIG),
        None => sys::set_mempolicy(mode, &mask),
    }
}
