//! The program's answers, interpreted here as the kernel would run it, against rules applied one after the other as the spec has it.

use super::program::Program;
use super::rules::{read, Access, Kind, Rule, IMPLICIT, MOST};

const MAKE: u32 = 1;
const READ: u32 = 2;
const WRITE: u32 = 4;

const NULL: (u32, u32) = (1, 3);
const FUSE: (u32, u32) = (10, 229);
const KMSG: (u32, u32) = (1, 11);

#[derive(Debug, Clone, Copy)]
struct Request {
    kind: Kind,
    major: u32,
    minor: u32,
    access: u32,
}

fn character((major, minor): (u32, u32), access: u32) -> Request {
    Request { kind: Kind::Character, major, minor, access }
}

fn rules(json: &str) -> Vec<Rule> {
    read(&serde_json::from_str::<Vec<_>>(json).unwrap()).unwrap()
}

/// What an interpreter makes of the program, given struct bpf_cgroup_dev_ctx.
fn answer(program: &Program, request: Request) -> bool {
    let kind = match request.kind {
        Kind::Block => 1,
        Kind::Character => 2,
    };
    let context = [request.access << 16 | kind, request.major, request.minor].map(u32::to_ne_bytes).concat();
    let answer = rbpf::EbpfVmRaw::new(Some(program.instructions().as_flattened())).unwrap().execute_program(&mut context.clone()).unwrap();
    assert!(answer <= 1, "the kernel takes 0 and 1 only: {answer}");
    answer == 1
}

/// The same, said plainly: for each thing asked for, the last rule about it.
fn expected(list: &[Rule], request: Request) -> bool {
    [MAKE, READ, WRITE].into_iter().filter(|bit| request.access & bit != 0).all(|bit| {
        let mut allowed = false;
        for rule in list.iter().chain(IMPLICIT) {
            let named = rule.kind.is_none_or(|kind| kind == request.kind)
                && rule.major.is_none_or(|major| major == request.major)
                && rule.minor.is_none_or(|minor| minor == request.minor);
            if named && rule.access.bits() & bit != 0 {
                allowed = rule.allow;
            }
        }
        allowed
    })
}

/// A sequence of numbers that looks random and is the same each time: splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

const ACCESSES: [Access; 6] = [Access::ALL, Access::ALL, Access::MAKE, Access::READ, Access::WRITE, Access::ALL];
const NUMBERS: [u32; 7] = [0, 1, 3, 5, 136, 0x7fff_ffff, u32::MAX];

fn random_rule(random: &mut Random) -> Rule {
    let number = |random: &mut Random| (random.below(3) != 0).then(|| random.of(&NUMBERS));
    Rule {
        allow: random.below(2) == 0,
        kind: random.of(&[None, Some(Kind::Block), Some(Kind::Character)]),
        major: number(random),
        minor: number(random),
        access: random.of(&ACCESSES),
    }
}

#[test]
fn the_program_answers_as_the_rules_do_for_random_lists() {
    let mut random = Random(5);
    for round in 0..3000 {
        let list: Vec<Rule> = (0..random.below(9)).map(|_| random_rule(&mut random)).collect();
        let program = Program::new(&list);
        for _ in 0..30 {
            let kind = random.of(&[Kind::Block, Kind::Character]);
            let (major, minor) = (random.of(&NUMBERS), random.of(&NUMBERS));
            let request = Request { kind, major, minor, access: random.below(8) as u32 };
            let (said, wanted) = (answer(&program, request), expected(&list, request));
            assert_eq!(said, wanted, "round {round}: {request:?} by {list:?}");
            assert!(said || !program.allows_everything(), "round {round}: {request:?} by {list:?}");
        }
    }
}

#[test]
fn a_list_that_denies_all_leaves_what_every_container_needs() {
    let program = Program::new(&rules(r#"[{"allow": false, "access": "rwm"}]"#));
    for numbers in [NULL, (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2), (136, 0), (136, 7)] {
        assert!(answer(&program, character(numbers, READ | WRITE | MAKE)), "{numbers:?}");
    }
    for numbers in [KMSG, FUSE, (5, 1), (1, 1), (4, 0)] {
        assert!(!answer(&program, character(numbers, READ)), "{numbers:?}");
        assert!(answer(&program, character(numbers, MAKE)), "{numbers:?}");
    }
    // Block devices of the same numbers are others.
    assert!(!answer(&program, Request { kind: Kind::Block, ..character(NULL, READ) }));
    assert!(!program.allows_everything());
}

#[test]
fn the_last_rule_about_a_device_decides() {
    let request = character(FUSE, READ | WRITE);
    let deny = r#"{"allow": false, "access": "rwm"}"#;
    let allow = r#"{"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rwm"}"#;
    assert!(answer(&Program::new(&rules(&format!("[{deny}, {allow}]"))), request));
    assert!(!answer(&Program::new(&rules(&format!("[{allow}, {deny}]"))), request));
    // What is on no list is not allowed.
    assert!(!answer(&Program::new(&rules(&format!("[{allow}]"))), character(KMSG, READ)));
}

#[test]
fn reading_and_writing_are_decided_by_themselves_and_both_are_needed() {
    let split = Program::new(&rules(
        r#"[{"allow": false}, {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "r"},
            {"allow": true, "type": "c", "major": 10, "access": "w"}]"#,
    ));
    assert!(answer(&split, character(FUSE, READ | WRITE)));
    let read_only = Program::new(&rules(r#"[{"allow": true}, {"allow": false, "type": "c", "major": 10, "minor": 229, "access": "w"}]"#));
    assert!(answer(&read_only, character(FUSE, READ)));
    assert!(!answer(&read_only, character(FUSE, WRITE)));
    assert!(!answer(&read_only, character(FUSE, READ | WRITE)));
}

#[test]
fn nothing_comes_before_a_rule_about_everything() {
    let program = |json: &str| Program::new(&rules(json));
    let long = program(r#"[{"allow": true, "type": "c", "major": 10}, {"allow": false, "type": "b"}, {"allow": true}]"#);
    assert_eq!(long, program(r#"[{"allow": true, "type": "a", "major": -1, "minor": -1, "access": "mrw"}]"#));
    assert!(long.allows_everything());
    assert!(!program(r#"[{"allow": true}, {"allow": false, "type": "c", "major": 10}]"#).allows_everything());
    assert!(!program(r#"[{"allow": true, "type": "c"}, {"allow": true, "type": "b"}]"#).allows_everything());
}

#[test]
fn the_longest_list_is_answered_to_its_first_rule_and_a_longer_one_is_refused() {
    let entry = |number: usize| format!(r#"{{"allow": true, "type": "b", "major": {number}, "minor": {number}, "access": "r"}}"#);
    let longest: Vec<String> = (0..MOST).map(entry).collect();
    let program = Program::new(&rules(&format!("[{}]", longest.join(","))));
    for (number, access, allowed) in [(0, READ, true), (MOST - 1, READ, true), (0, READ | WRITE, false), (MOST, READ, false)] {
        let request = Request { kind: Kind::Block, major: number as u32, minor: number as u32, access };
        assert_eq!(answer(&program, request), allowed, "{request:?}");
    }
    let error = read(&serde_json::from_str::<Vec<_>>(&format!("[{},{}]", longest.join(","), entry(0))).unwrap()).unwrap_err();
    assert_eq!(error.json_path.as_deref(), Some("linux.resources.devices"));
}
