//! Decisions -> classic BPF (linux/filter.h): the architecture by comparing, the number by binary search, the arguments rule by rule.
//!
//! The kernel keeps a bitmap of the numbers that a filter always allows (since 5.11) and does not run it for them; what is left to be
//! quick is the search for the others.

use nix::libc;
use oci_spec::runtime::LinuxSeccompOperator;

use super::decision::{Condition, Decision, Interval, Operand, Rule, Section};

/// struct sock_filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Instruction {
    code: u16,
    if_true: u8,
    if_false: u8,
    value: u32,
}

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const GREATER: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
const AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;

/// Offsets in struct seccomp_data, whose 64 bits are little-endian on every architecture here.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

/// What kills a thread that calls by an architecture which the profile does not list.
const KILL_THREAD: u32 = 0;

/// BPF_MAXINSNS.
pub const LONGEST: usize = 4096;

fn plain(code: u16, value: u32) -> Instruction {
    Instruction { code, if_true: 0, if_false: 0, value }
}

fn test(code: u16, value: u32, if_true: usize, if_false: usize) -> Instruction {
    // Conditions are short, and longer distances are jumped by `branch`.
    Instruction { code, if_true: if_true as u8, if_false: if_false as u8, value }
}

/// Where the two halves of the key stand.
pub type KeyPlace = (usize, usize);

#[derive(Default)]
struct Block {
    instructions: Vec<Instruction>,
    /// Of the key's high half, then its low one.
    keys: Vec<KeyPlace>,
}

impl Block {
    fn append(&mut self, other: Block) {
        let base = self.instructions.len();
        self.instructions.extend(other.instructions);
        self.keys.extend(other.keys.into_iter().map(|(high, low)| (base + high, base + low)));
    }

    /// `code value`: true jumps over `over` instructions, false goes on.
    fn branch(&mut self, code: u16, value: u32, over: usize) {
        match u8::try_from(over) {
            Ok(over) => self.instructions.push(Instruction { code, if_true: over, if_false: 0, value }),
            Err(_) => self.instructions.extend([test(code, value, 0, 1), plain(JUMP, over as u32)]),
        }
    }
}

/// The program as the kernel takes it, and where a key goes into it.
pub fn assemble(sections: &[Section]) -> (Vec<[u8; 8]>, Vec<KeyPlace>) {
    let mut program = Block::default();
    program.instructions.push(plain(LOAD, ARCH));
    for section in sections {
        let code = search_number(section);
        // Over this section where the architecture is another.
        let skip = code.instructions.len();
        match u8::try_from(skip) {
            Ok(_) => program.instructions.push(test(EQUAL, section.audit, 0, skip)),
            Err(_) => program.instructions.extend([test(EQUAL, section.audit, 1, 0), plain(JUMP, skip as u32)]),
        }
        program.append(code);
    }
    program.instructions.push(plain(RETURN, KILL_THREAD));
    (program.instructions.into_iter().map(encode).collect(), program.keys)
}

fn encode(instruction: Instruction) -> [u8; 8] {
    let ([c0, c1], [v0, v1, v2, v3]) = (instruction.code.to_ne_bytes(), instruction.value.to_ne_bytes());
    [c0, c1, instruction.if_true, instruction.if_false, v0, v1, v2, v3]
}

fn search_number(section: &Section) -> Block {
    let mut block = Block::default();
    block.instructions.push(plain(LOAD, NUMBER));
    block.append(search(&section.intervals));
    block
}

/// Binary search: half of the intervals, then the other half.
fn search(intervals: &[Interval]) -> Block {
    if let [only] = intervals {
        return decide(&only.decision, only.wide);
    }
    let (below, above) = intervals.split_at(intervals.len() / 2);
    let lower = search(below);
    let mut block = Block::default();
    block.branch(AT_LEAST, above.first().map_or(0, |first| first.start), lower.instructions.len());
    block.append(lower);
    block.append(search(above));
    block
}

fn decide(decision: &Decision, wide: bool) -> Block {
    let mut block = Block::default();
    let otherwise = match decision {
        Decision::Always(action) => *action,
        Decision::Rules(rules, otherwise) => {
            rules.iter().for_each(|rule| block.append(apply(rule, wide)));
            *otherwise
        }
    };
    block.instructions.push(plain(RETURN, otherwise));
    block
}

/// One rule: where a condition does not hold, over the rest of it.
fn apply(rule: &Rule, wide: bool) -> Block {
    let lengths: Vec<usize> = rule.conditions.iter().map(|condition| hold(condition, wide, 0).instructions.len()).collect();
    let mut block = Block::default();
    for (index, condition) in rule.conditions.iter().enumerate() {
        // The rest of the rule is the conditions that follow and the return.
        let rest = lengths[index + 1..].iter().sum::<usize>() + 1;
        block.append(hold(condition, wide, rest));
    }
    block.instructions.push(plain(RETURN, rule.action));
    block
}

/// One condition: falls through where it holds, else jumps over `rest` instructions behind it.
fn hold(condition: &Condition, wide: bool, rest: usize) -> Block {
    use LinuxSeccompOperator as Op;
    let value = match condition.operand {
        Operand::Value(value) => value,
        // Its place is what counts: the value comes with each launch.
        Operand::Key => 0,
    };
    let low = ARGUMENTS + 8 * u32::from(condition.argument);
    let high = low + 4;
    let masked = condition.operator == Op::ScmpCmpMaskedEq;
    let mut instructions = Vec::new();
    let load = |offset: u32, mask: u32, instructions: &mut Vec<Instruction>| {
        instructions.push(plain(LOAD, offset));
        if masked && mask != u32::MAX {
            instructions.push(plain(AND, mask));
        }
    };
    let mut keys = Vec::new();
    if wide {
        load(high, (condition.mask >> 32) as u32, &mut instructions);
        let top = (value >> 32) as u32;
        // What follows: the low half's load, its mask if any, its test.
        let last = if masked && condition.mask as u32 != u32::MAX { 3 } else { 2 };
        match condition.operator {
            Op::ScmpCmpEq | Op::ScmpCmpMaskedEq => instructions.push(test(EQUAL, top, 0, last + rest)),
            Op::ScmpCmpNe => instructions.push(test(EQUAL, top, 0, last)),
            Op::ScmpCmpGt | Op::ScmpCmpGe => {
                instructions.extend([test(GREATER, top, last + 1, 0), test(EQUAL, top, 0, last + rest)]);
            }
            Op::ScmpCmpLt | Op::ScmpCmpLe => {
                instructions.extend([test(GREATER, top, last + 1 + rest, 0), test(EQUAL, top, 0, last)]);
            }
        }
    }
    load(low, condition.mask as u32, &mut instructions);
    let bottom = value as u32;
    instructions.push(match condition.operator {
        Op::ScmpCmpEq | Op::ScmpCmpMaskedEq => test(EQUAL, bottom, 0, rest),
        Op::ScmpCmpNe => test(EQUAL, bottom, rest, 0),
        Op::ScmpCmpGt => test(GREATER, bottom, 0, rest),
        Op::ScmpCmpGe => test(AT_LEAST, bottom, 0, rest),
        Op::ScmpCmpLt => test(AT_LEAST, bottom, rest, 0),
        Op::ScmpCmpLe => test(GREATER, bottom, rest, 0),
    });
    if condition.operand == Operand::Key {
        keys.push((1, instructions.len() - 1));
    }
    Block { instructions, keys }
}
