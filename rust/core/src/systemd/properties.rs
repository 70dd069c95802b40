//! cgroup2 files and values as systemd's properties (systemd.resource-control(5)). A file that systemd never writes is not here.

use super::value::Value;
use crate::cgroup::Setting;

/// "No limit", and for weights "not set".
const INFINITY: u64 = u64::MAX;
const UNSET: Value = Value::U64(INFINITY);
/// The period of a quota that names none, in microseconds (cgroup-v2.rst, cpu.max).
const PERIOD: u64 = 100_000;
const SECOND: u64 = 1_000_000;
/// systemd keeps quotas in its own files as whole percent of a processor.
const PERCENT: u64 = SECOND / 100;
/// Since when CPUWeight=idle, and MemoryZSwapMax, are known.
const IDLE: u32 = 252;
const ZSWAP: u32 = 253;
/// The kernel's largest NR_CPUS, and more than its memory nodes.
const LARGEST_SET: usize = 8192;

/// Of what was set twice, the last. A value that is not understood is left to the kernel, which is asked first or last anyway.
pub fn of(settings: &[Setting], version: u32) -> Vec<(String, Value)> {
    let mut all: Vec<(String, Value)> = Vec::new();
    for (file, value) in settings.iter().flat_map(|setting| &setting.files) {
        for (name, value) in of_file(file, value, version).into_iter().flatten() {
            if file == "cpu.idle" && value == UNSET && all.iter().any(|(known, _)| known == name) {
                continue;
            }
            all.retain(|(known, _)| known != name);
            all.push((name.to_owned(), value));
        }
    }
    all
}

/// As the bus takes them: a(sv).
pub fn array(properties: Vec<(String, Value)>) -> Value {
    let pair = |(name, value)| Value::Struct(vec![Value::string(name), Value::Variant(Box::new(value))]);
    Value::Array("(sv)".to_owned(), properties.into_iter().map(pair).collect())
}

fn of_file(file: &str, value: &str, version: u32) -> Option<Vec<(&'static str, Value)>> {
    let one = |name, value| Some(vec![(name, value)]);
    match file {
        "cpu.weight" => one("CPUWeight", number(value)?),
        // The weight of an idle group is the kernel's own.
        "cpu.idle" if version < IDLE => None,
        "cpu.idle" => one("CPUWeight", if value.trim() == "1" { Value::U64(0) } else { UNSET }),
        "cpu.max" => quota(value),
        "cpuset.cpus" => one("AllowedCPUs", set(value)?),
        "cpuset.mems" => one("AllowedMemoryNodes", set(value)?),
        "memory.max" => one("MemoryMax", bytes(value)?),
        "memory.high" => one("MemoryHigh", bytes(value)?),
        "memory.low" => one("MemoryLow", bytes(value)?),
        "memory.min" => one("MemoryMin", bytes(value)?),
        "memory.swap.max" => one("MemorySwapMax", bytes(value)?),
        "memory.zswap.max" if version >= ZSWAP => one("MemoryZSwapMax", bytes(value)?),
        "pids.max" => one("TasksMax", bytes(value)?),
        "io.weight" => one("IOWeight", number(value.trim().strip_prefix("default").unwrap_or(value))?),
        _ => None,
    }
}

fn number(text: &str) -> Option<Value> {
    text.trim().parse().ok().map(Value::U64)
}

/// As the kernel reads them: "max", or a number with one of K, M, G, T.
fn bytes(text: &str) -> Option<Value> {
    let text = text.trim();
    if text == "max" {
        return Some(Value::U64(INFINITY));
    }
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift).map(Value::U64)
}

/// "QUOTA PERIOD" or "QUOTA", microseconds.
fn quota(text: &str) -> Option<Vec<(&'static str, Value)>> {
    let mut words = text.split_whitespace();
    let quota = words.next()?;
    let period = words.next().map_or(Some(PERIOD), |period| period.parse().ok()).filter(|period| *period > 0)?;
    let a_second = match quota {
        "max" => INFINITY,
        // Rounded up: systemd may never allow less than the file says.
        quota => {
            let used = u128::from(quota.parse::<u64>().ok()?) * u128::from(SECOND);
            u64::try_from(used.div_ceil(u128::from(period) * u128::from(PERCENT))).ok()?.checked_mul(PERCENT)?
        }
    };
    Some(vec![("CPUQuotaPerSecUSec", Value::U64(a_second)), ("CPUQuotaPeriodUSec", Value::U64(period))])
}

/// A list as in cpuset(7) as a bit mask, the lowest byte first. An empty one stands for the parent's.
fn set(list: &str) -> Option<Value> {
    let mut mask: Vec<u8> = Vec::new();
    for part in list.trim().split(',').filter(|part| !part.is_empty()) {
        let (range, pattern) = part.split_once(':').map_or((part, "1/1"), |(range, pattern)| (range, pattern));
        let (used, of) = pattern.split_once('/')?;
        let (used, of): (usize, usize) = (used.parse().ok()?, of.parse().ok()?);
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if last >= LARGEST_SET || of == 0 {
            return None;
        }
        for bit in (first..=last).filter(|bit| (bit - first) % of < used) {
            if mask.len() <= bit / 8 {
                mask.resize(bit / 8 + 1, 0);
            }
            mask[bit / 8] |= 1 << (bit % 8);
        }
    }
    Some(Value::Array("y".to_owned(), mask.into_iter().map(Value::Byte).collect()))
}
