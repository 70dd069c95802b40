//! What a cgroup has used: each file is read once, and what no joined controller counts is None, never 0.
//!
//! Neighbours: `group` says which directories there are, `statistics` reads the rest. Sources: cgroup-v2.rst; cgroup-v1/{memory,cpuacct,pids,blkio-controller}.rst.

use super::directory::Directory;
use crate::error::Result;

/// Counters since the cgroup was made, its descendants included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Microseconds of CPU time; user and system are the kernel's estimate of its parts.
    pub cpu_usec: Option<u64>,
    pub cpu_user_usec: Option<u64>,
    pub cpu_system_usec: Option<u64>,
    /// Bytes in use now, page cache included.
    pub memory_bytes: Option<u64>,
    pub memory_peak_bytes: Option<u64>,
    pub swap_bytes: Option<u64>,
    /// None also where there is no limit.
    pub memory_limit_bytes: Option<u64>,
    /// How often its own limit held memory back; none where the kernel killed for a limit above, or because the host had no more.
    pub memory_limit_hits: Option<u64>,
    /// Processes that the kernel killed because a memory limit was reached.
    pub oom_kills: Option<u64>,
    /// Tasks now.
    pub pids: Option<u64>,
    pub pids_peak: Option<u64>,
    /// None also where there is no limit.
    pub pids_limit: Option<u64>,
    /// Forks that failed because of the limit.
    pub pids_limit_hits: Option<u64>,
    /// Bytes of block devices.
    pub io_read_bytes: Option<u64>,
    pub io_write_bytes: Option<u64>,
}

/// What the files said that `statistics` finds more in.
#[derive(Debug, Default)]
pub(super) struct Texts {
    /// cgroup2's.
    pub cpu: Option<String>,
    pub memory_events: Option<String>,
    /// io.stat, or v1's bytes.
    pub io: Option<String>,
}

const NANOSECONDS: u64 = 1_000;

/// v1 writes CPU time of user and system in ticks of USER_HZ, which is 100 a second on every architecture pyrt runs on.
const TICK_USEC: u64 = 10_000;

/// v1's "no limit": the largest number of pages (PAGE_COUNTER_MAX), in bytes; less than this by a page of any size.
const V1_UNLIMITED: u64 = (i64::MAX as u64) - 0xffff;

impl Usage {
    /// By the names that Python knows.
    pub fn fields(&self) -> [(&'static str, Option<u64>); 15] {
        [
            ("cpu_usec", self.cpu_usec),
            ("cpu_user_usec", self.cpu_user_usec),
            ("cpu_system_usec", self.cpu_system_usec),
            ("memory_bytes", self.memory_bytes),
            ("memory_peak_bytes", self.memory_peak_bytes),
            ("swap_bytes", self.swap_bytes),
            ("memory_limit_bytes", self.memory_limit_bytes),
            ("memory_limit_hits", self.memory_limit_hits),
            ("oom_kills", self.oom_kills),
            ("pids", self.pids),
            ("pids_peak", self.pids_peak),
            ("pids_limit", self.pids_limit),
            ("pids_limit_hits", self.pids_limit_hits),
            ("io_read_bytes", self.io_read_bytes),
            ("io_write_bytes", self.io_write_bytes),
        ]
    }

    /// `cpu.stat` of the cgroup2 directory is there without the cpu controller.
    pub(super) fn read_v2_cpu(&mut self, directory: &Directory, texts: &mut Texts) -> Result<()> {
        if let Some(text) = kept(&mut texts.cpu, directory, "cpu.stat")? {
            self.cpu_usec = keyed(text, "usage_usec");
            self.cpu_user_usec = keyed(text, "user_usec");
            self.cpu_system_usec = keyed(text, "system_usec");
        }
        Ok(())
    }

    pub(super) fn read_v2_memory(&mut self, directory: &Directory, texts: &mut Texts) -> Result<()> {
        if let Some(current) = number(directory, "memory.current")? {
            self.memory_bytes = Some(current);
            self.memory_peak_bytes = number(directory, "memory.peak")?;
            self.swap_bytes = number(directory, "memory.swap.current")?;
            self.memory_limit_bytes = number(directory, "memory.max")?;
            if let Some(events) = kept(&mut texts.memory_events, directory, "memory.events")? {
                self.memory_limit_hits = keyed(events, "max");
                self.oom_kills = keyed(events, "oom_kill");
            }
        }
        Ok(())
    }

    pub(super) fn read_v2_io(&mut self, directory: &Directory, texts: &mut Texts) -> Result<()> {
        if let Some(text) = kept(&mut texts.io, directory, "io.stat")? {
            let total = |key: &str| text.split_whitespace().filter_map(|word| word.strip_prefix(key)?.parse::<u64>().ok()).sum();
            self.io_read_bytes = Some(total("rbytes="));
            self.io_write_bytes = Some(total("wbytes="));
        }
        Ok(())
    }

    /// The files of pids are the same on v1 and v2; `pids.peak` is newer than the rest.
    pub(super) fn read_pids(&mut self, directory: &Directory) -> Result<()> {
        if let Some(current) = number(directory, "pids.current")? {
            self.pids = Some(current);
            self.pids_peak = number(directory, "pids.peak")?;
            self.pids_limit = number(directory, "pids.max")?;
            self.pids_limit_hits = directory.read_if_there("pids.events")?.and_then(|text| keyed(&text, "max"));
        }
        Ok(())
    }

    pub(super) fn read_v1_cpuacct(&mut self, directory: &Directory) -> Result<()> {
        self.cpu_usec = number(directory, "cpuacct.usage")?.map(|nanoseconds| nanoseconds / NANOSECONDS);
        if let Some(text) = directory.read_if_there("cpuacct.stat")? {
            self.cpu_user_usec = keyed(&text, "user").map(|ticks| ticks * TICK_USEC);
            self.cpu_system_usec = keyed(&text, "system").map(|ticks| ticks * TICK_USEC);
        }
        Ok(())
    }

    pub(super) fn read_v1_memory(&mut self, directory: &Directory) -> Result<()> {
        self.memory_bytes = number(directory, "memory.usage_in_bytes")?;
        self.memory_peak_bytes = number(directory, "memory.max_usage_in_bytes")?;
        // memsw counts memory and swap together; read a moment later, it can be the smaller one.
        let both = number(directory, "memory.memsw.usage_in_bytes")?;
        self.swap_bytes = both.zip(self.memory_bytes).map(|(both, memory)| both.saturating_sub(memory));
        self.memory_limit_bytes = number(directory, "memory.limit_in_bytes")?.filter(|limit| *limit < V1_UNLIMITED);
        // Where both limits are the same, only the one of memory and swap together is hit.
        let hits = [number(directory, "memory.failcnt")?, number(directory, "memory.memsw.failcnt")?];
        self.memory_limit_hits = hits.into_iter().flatten().reduce(u64::saturating_add);
        self.oom_kills = directory.read_if_there("memory.oom_control")?.and_then(|text| keyed(&text, "oom_kill"));
        Ok(())
    }

    /// The recursive file counts cgroups below too. Lines are `MAJOR:MINOR Read BYTES`, and one `Total BYTES`.
    pub(super) fn read_v1_blkio(&mut self, directory: &Directory, texts: &mut Texts) -> Result<()> {
        if let Some(text) = kept(&mut texts.io, directory, "blkio.throttle.io_service_bytes_recursive")? {
            let total = |kind: &str| {
                let bytes = text.lines().filter_map(|line| {
                    let mut words = line.split(' ');
                    (words.nth(1) == Some(kind)).then(|| words.next()?.parse::<u64>().ok()).flatten()
                });
                bytes.sum()
            };
            self.io_read_bytes = Some(total("Read"));
            self.io_write_bytes = Some(total("Write"));
        }
        Ok(())
    }
}

/// Read the file into its place.
fn kept<'a>(place: &'a mut Option<String>, directory: &Directory, file: &str) -> Result<Option<&'a str>> {
    *place = directory.read_if_there(file)?;
    Ok(place.as_deref())
}

/// A file with one number; None where it is missing or says "max".
pub(super) fn number(directory: &Directory, file: &str) -> Result<Option<u64>> {
    Ok(directory.read_if_there(file)?.and_then(|text| text.trim_end().parse().ok()))
}

/// The number of a `KEY NUMBER` line.
pub(super) fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::keyed;

    #[test]
    fn a_key_is_not_found_in_the_middle_of_another() {
        let text = "oom 3\noom_kill 2\noom_group_kill 1\n";
        assert_eq!(keyed(text, "oom"), Some(3));
        assert_eq!(keyed(text, "oom_kill"), Some(2));
        assert_eq!(keyed(text, "kill"), None);
    }
}
