//! Everything that a cgroup counts, for who watches it; `usage` has the few numbers that a result carries.
//!
//! Each file is read once. A part is None where no joined controller counts it, a number where this kernel does not: never 0 instead.
//! The names of the fields are those that Python knows. Sources: cgroup-v2.rst; cgroup-v1/{memory,cpuacct,pids,blkio-controller}.rst;
//! accounting/psi.rst. Neighbour: `group` says which directories there are.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Serialize;

use super::directory::Directory;
use super::group::Cgroup;
use super::usage::{keyed, number, Texts, Usage};
use crate::error::Result;

#[derive(Debug, Default, Serialize)]
pub struct Statistics {
    pub cpu: Option<Cpu>,
    pub memory: Option<Memory>,
    pub pids: Option<Pids>,
    /// By "major:minor".
    pub io: Option<BTreeMap<String, Device>>,
    /// By page size as the files are named, "2MB".
    pub hugetlb: Option<BTreeMap<String, Hugetlb>>,
    /// By device; handles and objects in use.
    pub rdma: Option<BTreeMap<String, BTreeMap<String, u64>>>,
    /// "cpu", "memory", "io", "irq", as far as the kernel has them.
    pub pressure: Option<BTreeMap<&'static str, Pressure>>,
}

#[derive(Debug, Default, Serialize)]
pub struct Cpu {
    pub usage_usec: Option<u64>,
    pub user_usec: Option<u64>,
    pub system_usec: Option<u64>,
    /// Periods of the quota that have passed, those in which it ran out, and how long tasks then waited.
    pub periods: Option<u64>,
    pub throttled_periods: Option<u64>,
    pub throttled_usec: Option<u64>,
}

#[derive(Debug, Default, Serialize)]
pub struct Memory {
    pub current_bytes: Option<u64>,
    pub peak_bytes: Option<u64>,
    pub limit_bytes: Option<u64>,
    pub swap_bytes: Option<u64>,
    /// Of swap alone; v1 limits memory and swap together, and has none.
    pub swap_limit_bytes: Option<u64>,
    /// How often: "low", "high", "max", "oom", "oom_kill", ... on v2; "max" and "oom_kill" on v1.
    pub events: BTreeMap<String, u64>,
    /// memory.stat as the kernel writes it.
    pub stat: BTreeMap<String, u64>,
}

#[derive(Debug, Default, Serialize)]
pub struct Pids {
    pub current: Option<u64>,
    pub peak: Option<u64>,
    pub limit: Option<u64>,
    /// Forks that failed because of the limit.
    pub limit_hits: Option<u64>,
}

#[derive(Debug, Default, Serialize)]
pub struct Device {
    pub read_bytes: Option<u64>,
    pub write_bytes: Option<u64>,
    pub discard_bytes: Option<u64>,
    pub reads: Option<u64>,
    pub writes: Option<u64>,
    pub discards: Option<u64>,
}

#[derive(Debug, Default, Serialize)]
pub struct Hugetlb {
    pub current_bytes: Option<u64>,
    pub limit_bytes: Option<u64>,
    pub limit_hits: Option<u64>,
}

#[derive(Debug, Default, Serialize)]
pub struct Pressure {
    pub some: Option<Stall>,
    pub full: Option<Stall>,
}

/// Share of the time in percent over the last 10, 60 and 300 seconds, and the time in all.
#[derive(Debug, Default, Serialize)]
pub struct Stall {
    pub avg10_percent: f64,
    pub avg60_percent: f64,
    pub avg300_percent: f64,
    pub total_usec: u64,
}

impl Cgroup {
    /// All that is counted of it and what is below it. Stops nothing and writes nothing.
    pub fn statistics(&self) -> Result<Statistics> {
        let mut texts = Texts::default();
        let usage = self.usage_with(&mut texts)?;
        let pids = usage.pids.map(|current| Pids {
            current: Some(current),
            peak: usage.pids_peak,
            limit: usage.pids_limit,
            limit_hits: usage.pids_limit_hits,
        });
        let io = match (self.v1("blkio"), self.v2()) {
            (Some(directory), _) => v1_devices(directory, texts.io.as_deref())?,
            (None, _) => texts.io.as_deref().map(v2_devices),
        };
        let hugetlb = match (self.v1("hugetlb"), self.v2()) {
            (Some(directory), _) => hugetlb(directory, "usage_in_bytes", "limit_in_bytes")?,
            (None, Some(directory)) => hugetlb(directory, "current", "max")?,
            (None, None) => None,
        };
        let rdma = self.v1("rdma").or(self.v2()).map_or(Ok(None), |directory| directory.read_if_there("rdma.current"))?;
        Ok(Statistics {
            cpu: self.cpu(&usage, &texts)?,
            memory: self.memory(&usage, &texts)?,
            pids,
            io,
            hugetlb,
            rdma: rdma.map(|text| devices_of_rdma(&text)),
            pressure: self.v2().map_or(Ok(None), pressure)?,
        })
    }

    fn cpu(&self, usage: &Usage, texts: &Texts) -> Result<Option<Cpu>> {
        if usage.cpu_usec.is_none() {
            return Ok(None);
        }
        let (user_usec, system_usec) = (usage.cpu_user_usec, usage.cpu_system_usec);
        let mut cpu = Cpu { usage_usec: usage.cpu_usec, user_usec, system_usec, ..Cpu::default() };
        let of_v1 = self.v1("cpu").map_or(Ok(None), |directory| directory.read_if_there("cpu.stat"))?;
        if let Some(text) = of_v1.as_deref().or(texts.cpu.as_deref()) {
            cpu.periods = keyed(text, "nr_periods");
            cpu.throttled_periods = keyed(text, "nr_throttled");
            // v1 counts this one in nanoseconds.
            cpu.throttled_usec =
                keyed(text, "throttled_usec").or_else(|| keyed(text, "throttled_time").map(|nanoseconds| nanoseconds / 1_000));
        }
        Ok(Some(cpu))
    }

    fn memory(&self, usage: &Usage, texts: &Texts) -> Result<Option<Memory>> {
        if usage.memory_bytes.is_none() {
            return Ok(None);
        }
        let mut memory = Memory {
            current_bytes: usage.memory_bytes,
            peak_bytes: usage.memory_peak_bytes,
            limit_bytes: usage.memory_limit_bytes,
            swap_bytes: usage.swap_bytes,
            ..Memory::default()
        };
        if let Some(directory) = self.v1("memory") {
            memory.stat = rows(directory.read_if_there("memory.stat")?.as_deref());
            let counters = [("max", usage.memory_limit_hits), ("oom_kill", usage.oom_kills)];
            memory.events = counters.into_iter().filter_map(|(name, count)| Some((name.to_owned(), count?))).collect();
        } else if let Some(directory) = self.v2() {
            memory.stat = rows(directory.read_if_there("memory.stat")?.as_deref());
            memory.events = rows(texts.memory_events.as_deref());
            memory.swap_limit_bytes = number(directory, "memory.swap.max")?;
        }
        Ok(Some(memory))
    }
}

/// A file of `KEY NUMBER` lines; empty where it is missing.
fn rows(text: Option<&str>) -> BTreeMap<String, u64> {
    let row = |line: &str| line.split_once(' ').and_then(|(key, value)| Some((key.to_owned(), value.parse().ok()?)));
    text.unwrap_or_default().lines().filter_map(row).collect()
}

/// Lines are `MAJOR:MINOR rbytes=N wbytes=N rios=N wios=N dbytes=N dios=N`; a device may stand there without any.
fn v2_devices(text: &str) -> BTreeMap<String, Device> {
    let device = |line: &str| {
        let mut words = line.split_whitespace();
        let name = words.next()?.to_owned();
        let values: BTreeMap<&str, u64> =
            words.filter_map(|word| word.split_once('=')).filter_map(|(k, v)| Some((k, v.parse().ok()?))).collect();
        let of = |key| values.get(key).copied();
        Some((
            name,
            Device {
                read_bytes: of("rbytes"),
                write_bytes: of("wbytes"),
                discard_bytes: of("dbytes"),
                reads: of("rios"),
                writes: of("wios"),
                discards: of("dios"),
            },
        ))
    };
    text.lines().filter_map(device).filter(|(_, device)| device.read_bytes.is_some()).collect()
}

/// Lines are `MAJOR:MINOR KIND NUMBER`, and one `Total NUMBER`.
fn v1_devices(directory: &Directory, bytes: Option<&str>) -> Result<Option<BTreeMap<String, Device>>> {
    let Some(bytes) = bytes else { return Ok(None) };
    let requests = directory.read_if_there("blkio.throttle.io_serviced_recursive")?.unwrap_or_default();
    let mut devices: BTreeMap<String, Device> = BTreeMap::new();
    for (text, counts_bytes) in [(bytes, true), (requests.as_str(), false)] {
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let [name, kind, count] = words[..] else { continue };
            let device = devices.entry(name.to_owned()).or_default();
            let field = match (kind, counts_bytes) {
                ("Read", true) => &mut device.read_bytes,
                ("Write", true) => &mut device.write_bytes,
                ("Discard", true) => &mut device.discard_bytes,
                ("Read", false) => &mut device.reads,
                ("Write", false) => &mut device.writes,
                ("Discard", false) => &mut device.discards,
                _ => continue,
            };
            *field = count.parse().ok();
        }
    }
    Ok(Some(devices))
}

/// The host's sizes of huge pages as the files are named by them, "2MB" (hugetlb_cgroup.c, mem_fmt). They do not change after boot.
fn page_sizes() -> &'static [String] {
    static SIZES: OnceLock<Vec<String>> = OnceLock::new();
    SIZES.get_or_init(|| {
        let Ok(entries) = std::fs::read_dir("/sys/kernel/mm/hugepages") else { return Vec::new() };
        let size = |name: String| {
            let kibibytes: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
            Some(match kibibytes {
                1_048_576.. => format!("{}GB", kibibytes >> 20),
                1_024.. => format!("{}MB", kibibytes >> 10),
                _ => format!("{kibibytes}KB"),
            })
        };
        entries.filter_map(|entry| size(entry.ok()?.file_name().into_string().ok()?)).collect()
    })
}

/// A file for each page size, `hugetlb.2MB.current`.
fn hugetlb(directory: &Directory, current: &str, limit: &str) -> Result<Option<BTreeMap<String, Hugetlb>>> {
    let mut sizes = BTreeMap::new();
    for size in page_sizes() {
        let Some(current_bytes) = number(directory, &format!("hugetlb.{size}.{current}"))? else { continue };
        let events = directory.read_if_there(&format!("hugetlb.{size}.events"))?;
        let limit_hits = match events {
            Some(text) => keyed(&text, "max"),
            None => number(directory, &format!("hugetlb.{size}.failcnt"))?,
        };
        let limit_bytes = number(directory, &format!("hugetlb.{size}.{limit}"))?;
        sizes.insert(size.clone(), Hugetlb { current_bytes: Some(current_bytes), limit_bytes, limit_hits });
    }
    Ok((!sizes.is_empty()).then_some(sizes))
}

/// Lines are `DEVICE hca_handle=N hca_object=N`.
fn devices_of_rdma(text: &str) -> BTreeMap<String, BTreeMap<String, u64>> {
    let device = |line: &str| {
        let mut words = line.split_whitespace();
        let name = words.next()?.to_owned();
        let counts = words.filter_map(|word| word.split_once('=')).filter_map(|(key, value)| Some((key.to_owned(), value.parse().ok()?)));
        Some((name, counts.collect()))
    };
    text.lines().filter_map(device).collect()
}

fn pressure(directory: &Directory) -> Result<Option<BTreeMap<&'static str, Pressure>>> {
    let mut all = BTreeMap::new();
    for (name, file) in [("cpu", "cpu.pressure"), ("memory", "memory.pressure"), ("io", "io.pressure"), ("irq", "irq.pressure")] {
        // EOPNOTSUPP: the kernel was started with psi=0.
        let text = match directory.try_read(file) {
            Ok(text) => text,
            Err(nix::errno::Errno::ENOENT | nix::errno::Errno::ENODEV | nix::errno::Errno::EOPNOTSUPP) => continue,
            Err(errno) => return Err(crate::error::Error::system("read", directory.path_of(file), errno)),
        };
        all.insert(name, Pressure { some: stall(&text, "some "), full: stall(&text, "full ") });
    }
    Ok((!all.is_empty()).then_some(all))
}

/// A line is `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`.
fn stall(text: &str, prefix: &str) -> Option<Stall> {
    let line = text.lines().find_map(|line| line.strip_prefix(prefix))?;
    let of = |key: &str| line.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    Some(Stall {
        avg10_percent: of("avg10")?.parse().ok()?,
        avg60_percent: of("avg60")?.parse().ok()?,
        avg300_percent: of("avg300")?.parse().ok()?,
        total_usec: of("total")?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::{stall, v2_devices};

    #[test]
    fn a_device_without_counters_is_left_out() {
        let devices = v2_devices("7:0 \n8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n");
        assert_eq!(devices.keys().collect::<Vec<_>>(), ["8:16"]);
        assert_eq!((devices["8:16"].write_bytes, devices["8:16"].discards), (Some(2), Some(6)));
    }

    #[test]
    fn a_line_of_pressure_is_percent_and_microseconds() {
        let text = "some avg10=1.50 avg60=0.25 avg300=0.00 total=42\n";
        let some = stall(text, "some ").expect("it is there");
        assert_eq!((some.avg10_percent, some.avg60_percent, some.total_usec), (1.5, 0.25, 42));
        assert!(stall(text, "full ").is_none());
    }
}
