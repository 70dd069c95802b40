//! A bounded run of the fuzz targets (fuzz/src/lib.rs), on stable and the same each time: hostile input is refused or taken, never a panic.

#[path = "../../../fuzz/src/lib.rs"]
mod targets;

use std::panic::catch_unwind;

use serde_json::{json, Value};

const FULL: &str = include_str!("../../../fuzz/seeds/full.json");
/// Rounds a target, some seconds in a debug build.
const ROUNDS: u64 = 4000;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// xorshift64*: as good as is needed, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

const NUMBERS: [i64; 12] = [0, 1, -1, 2, 63, 64, 65535, 65536, u32::MAX as i64, i64::MAX, i64::MIN, i64::MAX / 1000 + 1];
const TEXTS: [&str; 27] = [
    "",
    "/",
    ".",
    "..",
    "/..",
    "/a/../../b",
    "a\0b",
    "=",
    "=x",
    "-1",
    "0-",
    "-",
    "0-99999999999999999999",
    "18446744073709551616",
    ",",
    "CAP_",
    "é\u{202e}",
    "/proc",
    "/proc/self",
    "/dev/null",
    "rro",
    "mode=",
    "size=-1",
    "0-4294967295",
    "a:b:c",
    "net.ipv4..x",
    "read",
];

/// A value that programs stumble over.
fn odd(random: &mut Random) -> Value {
    match random.below(8) {
        0 => Value::Null,
        1 => json!(random.one_of(&NUMBERS)),
        2 => json!(u64::MAX),
        3 => json!(random.one_of(&TEXTS)),
        4 => json!("x".repeat(1 << random.below(13))),
        5 => json!([random.one_of(&TEXTS), random.one_of(&TEXTS)]),
        6 => json!({ random.one_of(&TEXTS): random.one_of(&NUMBERS) }),
        _ => json!(random.next() & 1 == 0),
    }
}

/// Changes something somewhere in it: puts an odd value there, takes one away, or doubles one.
fn mutate(value: &mut Value, random: &mut Random) {
    match value {
        Value::Object(members) if !members.is_empty() && random.below(12) != 0 => {
            let name = members.keys().nth(random.below(members.len())).cloned().unwrap_or_default();
            match random.below(14) {
                0 => drop(members.remove(&name)),
                1 => drop(members.insert(name, odd(random))),
                _ => members.get_mut(&name).into_iter().for_each(|member| mutate(member, random)),
            }
        }
        Value::Array(items) if !items.is_empty() && random.below(12) != 0 => {
            let place = random.below(items.len());
            match random.below(10) {
                0 => drop(items.remove(place)),
                1 => items.push(items[place].clone()),
                2 => items.push(odd(random)),
                _ => mutate(&mut items[place], random),
            }
        }
        other => *other = odd(random),
    }
}

fn never_panics(name: &str, target: fn(&[u8]), input: impl Fn(&mut Random) -> Vec<u8>) {
    let mut random = Random(setting("PYRT_FUZZ_SEED", 0x9E37_79B9_7F4A_7C15) | 1);
    for round in 0..setting("PYRT_FUZZ_ROUNDS", ROUNDS) {
        let bytes = input(&mut random);
        if catch_unwind(|| target(&bytes)).is_err() {
            panic!("{name}, round {round}: {}", String::from_utf8_lossy(&bytes));
        }
    }
}

/// The seed, changed in up to five places; now and then in a byte too.
fn changed(seed: &Value, random: &mut Random) -> Vec<u8> {
    let mut value = seed.clone();
    for _ in 0..=random.below(4) {
        mutate(&mut value, random);
    }
    let mut bytes = value.to_string().into_bytes();
    if random.below(16) == 0 && !bytes.is_empty() {
        let place = random.below(bytes.len());
        bytes[place] = random.next() as u8;
    }
    bytes
}

fn full() -> Value {
    serde_json::from_str(FULL).expect("the seed is JSON")
}

#[test]
fn the_seed_is_a_good_configuration() {
    let config = pyrt_core::oci::Config::parse(FULL.as_bytes()).expect("the seed is a good configuration");
    assert_eq!(config.warnings, Vec::<String>::new());
}

#[test]
fn no_config_makes_the_parser_panic() {
    let seed = full();
    never_panics("config", targets::config, |random| changed(&seed, random));
}

#[test]
fn no_config_makes_the_planner_panic() {
    let seed = full();
    never_panics("plan", targets::plan, |random| changed(&seed, random));
}

#[test]
fn no_seccomp_profile_makes_the_compiler_panic() {
    let seed = full()["linux"]["seccomp"].clone();
    never_panics("seccomp", targets::seccomp, |random| changed(&seed, random));
}

#[test]
fn no_state_makes_its_reader_panic() {
    let seed = json!({
        "version": 1, "id": "web", "boot_id": "x", "oci_version": "1.3.0", "created": "2026-01-01T00:00:00Z", "bundle": "/b", "rootfs": "/b/r",
        "annotations": {"a": "b"}, "own_pid_namespace": true, "has_poststart": false, "has_poststop": false, "new_keyring": true, "config": {"ociVersion": "1.3.0"},
    });
    never_panics("state", targets::state, |random| match random.below(4) {
        0 => format!("{} {}", random.next() as i64, random.next()).into_bytes(),
        _ => changed(&seed, random),
    });
}

#[test]
fn no_step_makes_inits_decoder_panic() {
    never_panics("step", targets::step, |random| {
        let words = random.below(24);
        // Small numbers are steps and lengths.
        (0..words).flat_map(|_| (random.next() >> (8 * random.below(8))).to_le_bytes()).collect()
    });
}
