//! The compiler by itself. Its decisions are compared with libseccomp's in tests/unit/test_seccomp_oracle.py.

use oci_spec::runtime::LinuxSeccomp;
use serde_json::{json, Value};

use super::{Architecture, Filter};

const SECCOMP_RET_ALLOW: u32 = 0x7fff_0000;

fn profile(value: Value) -> LinuxSeccomp {
    serde_json::from_value(value).unwrap()
}

/// What a filter says of one call, by running its instructions as the kernel does (linux/filter.h).
fn run(program: &[u8], audit: u32, number: u32, arguments: [u64; 6]) -> u32 {
    let mut data = [0u8; 64];
    data[..4].copy_from_slice(&number.to_ne_bytes());
    data[4..8].copy_from_slice(&audit.to_ne_bytes());
    for (index, argument) in arguments.iter().enumerate() {
        data[16 + 8 * index..24 + 8 * index].copy_from_slice(&argument.to_ne_bytes());
    }
    let word = |at: usize| u32::from_ne_bytes(data[at..at + 4].try_into().unwrap());
    let (mut at, mut accumulator) = (0, 0);
    loop {
        let instruction = &program[8 * at..8 * at + 8];
        let code = u16::from_ne_bytes([instruction[0], instruction[1]]);
        let value = u32::from_ne_bytes(instruction[4..].try_into().unwrap());
        let jump = |holds: bool| 1 + usize::from(instruction[if holds { 2 } else { 3 }]);
        at += match code {
            0x20 => {
                accumulator = word(value as usize);
                1
            }
            0x54 => {
                accumulator &= value;
                1
            }
            0x05 => 1 + value as usize,
            0x15 => jump(accumulator == value),
            0x25 => jump(accumulator > value),
            0x35 => jump(accumulator >= value),
            0x06 => return value,
            other => panic!("instruction {other:#x}"),
        };
    }
}

#[test]
fn a_key_admits_what_init_calls_and_nothing_else() {
    let filter = Filter::compile(&profile(json!({"defaultAction": "SCMP_ACT_KILL_PROCESS"})), Architecture::X86_64).unwrap();
    assert!(filter.needs_key());
    let key = 0x1122_3344_5566_7788;
    let program = filter.program(key);
    let (execve, getpid) = (59, 39);
    let outcome = |number, sixth| run(&program, Architecture::X86_64.audit(), number, [0, 0, 0, 0, 0, sixth]);
    assert_eq!(outcome(execve, key), SECCOMP_RET_ALLOW);
    for wrong in [0, key ^ 1, key ^ 1 << 40] {
        assert_eq!(outcome(execve, wrong), 0x8000_0000);
    }
    assert_eq!(outcome(getpid, key), 0x8000_0000);
}

#[test]
fn a_profile_that_lets_init_go_on_has_no_key() {
    let names = super::KEYED_CALLS;
    let allowing = json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}]});
    assert!(!Filter::compile(&profile(allowing), Architecture::NATIVE).unwrap().needs_key());
}

#[test]
fn a_filter_is_loaded_before_the_wait_only_where_each_call_of_it_is_let_through() {
    let lets_wait = |names: &[&str], args: Value| {
        let allowing = json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW", "args": args}]});
        Filter::compile(&profile(allowing), Architecture::NATIVE).unwrap().lets_wait()
    };
    let names = super::WAITING_CALLS;
    assert!(lets_wait(&names, json!([])));
    assert!(!lets_wait(&names, json!([{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}])), "some arguments alone");
    for missing in 0..names.len() {
        let rest: Vec<&str> = names.iter().enumerate().filter(|(index, _)| *index != missing).map(|(_, name)| *name).collect();
        assert!(!lets_wait(&rest, json!([])), "without {}", names[missing]);
    }
}

#[test]
fn a_profile_too_long_for_the_kernel_is_refused_by_path() {
    let rules: Vec<Value> = (0..1100)
        .map(|value| json!({"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}]}))
        .collect();
    let error = Filter::compile(&profile(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules})), Architecture::X86_64).unwrap_err();
    assert_eq!(error.json_path.as_deref(), Some("linux.seccomp.syscalls"));
    assert!(error.operation.contains("the kernel takes 4096"), "{error}");
}

#[test]
fn no_profile_makes_a_program_that_runs_out_of_its_instructions() {
    // Every operator on every argument, beside each other, on every architecture: all jumps must land inside.
    let operators = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];
    let rules: Vec<Value> = operators
        .iter()
        .enumerate()
        .map(|(index, operator)| {
            let args: Vec<Value> = (0..6)
                .map(|argument| json!({"index": argument, "value": u64::MAX >> index, "valueTwo": 5, "op": format!("SCMP_CMP_{operator}")}))
                .collect();
            json!({"names": ["openat", "socket", "sendmsg"], "action": "SCMP_ACT_ALLOW", "args": args})
        })
        .collect();
    let architectures = ["SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_ARM", "SCMP_ARCH_MIPS"];
    let wanted = profile(json!({"defaultAction": "SCMP_ACT_TRAP", "architectures": architectures, "syscalls": rules}));
    for native in [Architecture::X86_64, Architecture::Aarch64] {
        let program = Filter::compile(&wanted, native).unwrap().program(7);
        for architecture in Architecture::ALL {
            for number in (0..600).chain([u32::MAX, 0x4000_0000, 0x4000_01ff]) {
                for value in [0, 5, 1 << 32, u64::MAX] {
                    run(&program, architecture.audit(), number, [value; 6]);
                }
            }
        }
    }
}
