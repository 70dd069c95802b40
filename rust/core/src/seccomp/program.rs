//! Decisions -> classic BPF (linux/filter.h): the architecture by comparing, the number by binary search, the arguments rule by rule.
//!
//! Jumps lead forward only, and conditional ones over 255 instructions at most. So the program is written from its end: whatever an
//! instruction leads to is there already, and what is near enough is used again. The kernel checks and compiles each instruction at each
//! load, which is why there should be few.
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

/// How far a conditional jump may lead. Less than 255: what its other branch needs may still come between.
const REACH: usize = 250;

/// Where a branch leads: a position, counted from the end of the program, or a return, of which there may be several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    At(usize),
    Return(u32),
}

/// Where the two halves of the key stand.
pub type KeyPlace = (usize, usize);

/// A program, last instruction first.
#[derive(Default)]
struct Reversed {
    instructions: Vec<Instruction>,
    /// The latest return of each value.
    returns: Vec<(u32, usize)>,
    /// What has been written for decisions that look at arguments, by whether those have 64 bits.
    decided: Vec<(Decision, bool, Goal)>,
    /// Of the key's high half, then its low one, counted from the end.
    keys: Vec<KeyPlace>,
}

/// The program as the kernel takes it, and where a key goes into it.
pub fn assemble(sections: &[Section]) -> (Vec<[u8; 8]>, Vec<KeyPlace>) {
    let mut program = Reversed::default();
    let first = sections.iter().rev().fold(Goal::Return(KILL_THREAD), |others, section| {
        let number = program.search(&section.intervals);
        let number = program.before(LOAD, NUMBER, number);
        program.test(EQUAL, section.audit, number, others)
    });
    program.before(LOAD, ARCH, first);
    let last = program.instructions.len() - 1;
    let keys = program.keys.iter().map(|(high, low)| (last - high, last - low)).collect();
    (program.instructions.into_iter().rev().map(encode).collect(), keys)
}

fn encode(instruction: Instruction) -> [u8; 8] {
    let ([c0, c1], [v0, v1, v2, v3]) = (instruction.code.to_ne_bytes(), instruction.value.to_ne_bytes());
    [c0, c1, instruction.if_true, instruction.if_false, v0, v1, v2, v3]
}

impl Reversed {
    fn push(&mut self, code: u16, value: u32, if_true: u8, if_false: u8) -> usize {
        self.instructions.push(Instruction { code, if_true, if_false, value });
        self.instructions.len() - 1
    }

    /// How many instructions an instruction that is written now has to jump over to get there.
    fn distance(&self, position: usize) -> usize {
        self.instructions.len() - 1 - position
    }

    /// A position that leads to the goal, and is at most `reach` away.
    fn near(&mut self, goal: Goal, reach: usize) -> usize {
        match goal {
            Goal::At(position) if self.distance(position) <= reach => position,
            Goal::At(position) => {
                let over = self.distance(position);
                self.push(JUMP, over as u32, 0, 0)
            }
            Goal::Return(value) => {
                let known = self.returns.iter().position(|(returned, _)| *returned == value);
                match known.map(|place| (place, self.returns[place].1)) {
                    Some((_, position)) if self.distance(position) <= reach => position,
                    known => {
                        let position = self.push(RETURN, value, 0, 0);
                        match known {
                            Some((place, _)) => self.returns[place].1 = position,
                            None => self.returns.push((value, position)),
                        }
                        position
                    }
                }
            }
        }
    }

    /// An instruction that does not jump: its goal is what comes next.
    fn before(&mut self, code: u16, value: u32, goal: Goal) -> Goal {
        self.near(goal, 0);
        Goal::At(self.push(code, value, 0, 0))
    }

    fn test(&mut self, code: u16, value: u32, if_true: Goal, if_false: Goal) -> Goal {
        let (if_true, if_false) = (self.near(if_true, REACH), self.near(if_false, REACH));
        let (if_true, if_false) = (self.distance(if_true) as u8, self.distance(if_false) as u8);
        Goal::At(self.push(code, value, if_true, if_false))
    }

    /// Binary search: half of the intervals, then the other half.
    fn search(&mut self, intervals: &[Interval]) -> Goal {
        if let [only] = intervals {
            return self.decide(&only.decision, only.wide);
        }
        let (below, above) = intervals.split_at(intervals.len() / 2);
        let (upper, lower) = (self.search(above), self.search(below));
        if upper == lower {
            return upper;
        }
        self.test(AT_LEAST, above.first().map_or(0, |first| first.start), upper, lower)
    }

    fn decide(&mut self, decision: &Decision, wide: bool) -> Goal {
        let (rules, otherwise) = match decision {
            Decision::Always(action) => return Goal::Return(*action),
            Decision::Rules(rules, otherwise) => (rules, *otherwise),
        };
        if let Some((_, _, goal)) = self.decided.iter().find(|(known, width, _)| known == decision && *width == wide) {
            return *goal;
        }
        let goal = rules.iter().rev().fold(Goal::Return(otherwise), |next, rule| self.apply(rule, wide, next));
        self.decided.push((decision.clone(), wide, goal));
        goal
    }

    /// One rule: where a condition does not hold, the next one.
    fn apply(&mut self, rule: &Rule, wide: bool, next: Goal) -> Goal {
        rule.conditions.iter().rev().fold(Goal::Return(rule.action), |goal, condition| self.hold(condition, wide, goal, next))
    }

    /// One condition.
    fn hold(&mut self, condition: &Condition, wide: bool, holds: Goal, fails: Goal) -> Goal {
        use LinuxSeccompOperator as Op;
        let value = match condition.operand {
            Operand::Value(value) => value,
            // Its place is what counts: the value comes with each launch.
            Operand::Key => 0,
        };
        let low = ARGUMENTS + 8 * u32::from(condition.argument);
        let (top, bottom) = ((value >> 32) as u32, value as u32);
        let below = match condition.operator {
            Op::ScmpCmpEq | Op::ScmpCmpMaskedEq => self.test(EQUAL, bottom, holds, fails),
            Op::ScmpCmpNe => self.test(EQUAL, bottom, fails, holds),
            Op::ScmpCmpGt => self.test(GREATER, bottom, holds, fails),
            Op::ScmpCmpGe => self.test(AT_LEAST, bottom, holds, fails),
            Op::ScmpCmpLt => self.test(AT_LEAST, bottom, fails, holds),
            Op::ScmpCmpLe => self.test(GREATER, bottom, fails, holds),
        };
        let low_test = self.instructions.len() - 1;
        let below = self.load(low, condition, condition.mask as u32, below);
        if !wide {
            return below;
        }
        let above = match condition.operator {
            Op::ScmpCmpEq | Op::ScmpCmpMaskedEq => self.test(EQUAL, top, below, fails),
            Op::ScmpCmpNe => self.test(EQUAL, top, below, holds),
            Op::ScmpCmpGt | Op::ScmpCmpGe => {
                let equal = self.test(EQUAL, top, below, fails);
                self.test(GREATER, top, holds, equal)
            }
            Op::ScmpCmpLt | Op::ScmpCmpLe => {
                let equal = self.test(EQUAL, top, below, holds);
                self.test(GREATER, top, fails, equal)
            }
        };
        if condition.operand == Operand::Key {
            self.keys.push((self.instructions.len() - 1, low_test));
        }
        self.load(low + 4, condition, (condition.mask >> 32) as u32, above)
    }

    /// Half of an argument, what of it counts, and the test of that.
    fn load(&mut self, offset: u32, condition: &Condition, mask: u32, then: Goal) -> Goal {
        let masked = condition.operator == LinuxSeccompOperator::ScmpCmpMaskedEq && mask != u32::MAX;
        let then = if masked { self.before(AND, mask, then) } else { then };
        self.before(LOAD, offset, then)
    }
}
