//! Rules as an eBPF program of type BPF_PROG_TYPE_CGROUP_DEVICE: assembled by hand, without maps and helpers, pure.
//!
//! The kernel asks it about each open and mknod of a device with `struct bpf_cgroup_dev_ctx` (linux/bpf.h); 1 allows, 0 is EPERM.
//! It goes through the rules from the last to the first, with those bits of the request in `OPEN` that no rule has decided yet: a rule
//! that denies one of them ends it, a rule that allows some takes them away, and nothing left means allowed. So the last rule decides
//! each of making, reading and writing by itself, and a request for two of them needs both.
//!
//! What a rule names is loaded anew for each test of it. In registers that live on, the kernel's verifier would follow each number that a
//! test has found down the whole rest of the program: for 100 rules it took 12 ms so, and gave up before 1,000.
//!
//! Source: Documentation/bpf/standardization/instruction-set.rst. Neighbours: `attach` loads it, `tests` interprets it.

use super::rules::{Access, Kind, Rule, IMPLICIT};

/// As the kernel has it: opcode, registers (source in the high half), offset, immediate value.
pub(in crate::cgroup) type Instruction = [u8; 8];

// Opcodes: class, operation and whether the operand is an immediate value (K) or a register (X).
const LOAD_WORD: u8 = 0x61; // BPF_LDX | BPF_MEM | BPF_W
const LOAD_HALF_WORD: u8 = 0x69; // BPF_LDX | BPF_MEM | BPF_H
const AND: u8 = 0x57; // BPF_ALU64 | BPF_AND | BPF_K
const SHIFT_RIGHT: u8 = 0x77; // BPF_ALU64 | BPF_RSH | BPF_K
const SET: u8 = 0xb7; // BPF_ALU64 | BPF_MOV | BPF_K
const JUMP: u8 = 0x05; // BPF_JMP | BPF_JA
const JUMP_IF_ANY_BIT: u8 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
                                  // On the lower half, since the immediate value is signed and device numbers are not.
const JUMP_UNLESS_EQUAL: u8 = 0x56; // BPF_JMP32 | BPF_JNE | BPF_K
const EXIT: u8 = 0x95; // BPF_JMP | BPF_EXIT

// Registers: the kernel fixes what 0 and 1 are.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const OPEN: u8 = 2;
const FIELD: u8 = 3;

// struct bpf_cgroup_dev_ctx as (how to load, offset): the access in the high half of the first field, BPF_DEVCG_DEV_* in the low one.
const ACCESS_AND_KIND: (u8, i16) = (LOAD_WORD, 0);
const KIND: (u8, i16) = (LOAD_HALF_WORD, 0);
const MAJOR: (u8, i16) = (LOAD_WORD, 4);
const MINOR: (u8, i16) = (LOAD_WORD, 8);
const ACCESS_SHIFT: i32 = 16;
const BPF_DEVCG_DEV_BLOCK: u32 = 1;
const BPF_DEVCG_DEV_CHAR: u32 = 2;

const ALLOW: i32 = 1;
const DENY: i32 = 0;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cgroup) struct Program {
    instructions: Vec<Instruction>,
    allows_everything: bool,
}

impl Program {
    /// The list's rules with the implicit ones above them.
    pub fn new(list: &[Rule]) -> Program {
        let decisive = list.iter().rev().find(|rule| !rule.allow || rule.is_about_everything());
        Program { instructions: assemble(list), allows_everything: decisive.is_some_and(|rule| rule.allow) }
    }

    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }

    /// Then a cgroup does as well without it.
    pub fn allows_everything(&self) -> bool {
        self.allows_everything
    }
}

fn assemble(list: &[Rule]) -> Vec<Instruction> {
    let mut code = vec![load(OPEN, ACCESS_AND_KIND), instruction(SHIFT_RIGHT, OPEN, 0, 0, ACCESS_SHIFT)];
    // access(2) with F_OK and a like request for nothing. From here on, something is open.
    code.extend(unless_equal(OPEN, 0, answer(ALLOW)));
    for rule in IMPLICIT.iter().chain(list.iter().rev()) {
        code.extend(decide(rule));
        // The kernel refuses a program with instructions that nothing leads to.
        if rule.is_about_everything() {
            return code;
        }
    }
    code.extend(answer(DENY));
    code
}

/// The rule's decision, behind one test for each thing that it names.
fn decide(rule: &Rule) -> Vec<Instruction> {
    let mut code = match (rule.allow, rule.access) {
        (true, Access::ALL) => answer(ALLOW).to_vec(),
        (false, Access::ALL) => answer(DENY).to_vec(),
        (true, access) => {
            let mut code = vec![instruction(AND, OPEN, 0, 0, !(access.bits() as i32))];
            code.extend(unless_equal(OPEN, 0, answer(ALLOW)));
            code
        }
        (false, access) => {
            let deny = answer(DENY);
            let mut code = vec![
                // Over the jump that leads past the answer.
                instruction(JUMP_IF_ANY_BIT, OPEN, 0, 1, access.bits() as i32),
                instruction(JUMP, 0, 0, deny.len() as i16, 0),
            ];
            code.extend(deny);
            code
        }
    };
    let kind = rule.kind.map(|kind| match kind {
        Kind::Block => BPF_DEVCG_DEV_BLOCK,
        Kind::Character => BPF_DEVCG_DEV_CHAR,
    });
    for (field, value) in [(MINOR, rule.minor), (MAJOR, rule.major), (KIND, kind)] {
        if let Some(value) = value {
            let guarded = unless_equal(FIELD, value as i32, code);
            code = vec![load(FIELD, field)];
            code.extend(guarded);
        }
    }
    code
}

fn load(register: u8, (opcode, offset): (u8, i16)) -> Instruction {
    instruction(opcode, register, CONTEXT, offset, 0)
}

/// The code with a jump before it that leads past it where the register's lower half is another value.
fn unless_equal(register: u8, value: i32, code: impl AsRef<[Instruction]>) -> Vec<Instruction> {
    let code = code.as_ref();
    let mut guarded = vec![instruction(JUMP_UNLESS_EQUAL, register, 0, code.len() as i16, value)];
    guarded.extend_from_slice(code);
    guarded
}

fn answer(value: i32) -> [Instruction; 2] {
    [instruction(SET, ANSWER, 0, 0, value), instruction(EXIT, 0, 0, 0, 0)]
}

/// All that pyrt runs on is little-endian, where the destination is the low half of the byte.
fn instruction(opcode: u8, destination: u8, source: u8, offset: i16, value: i32) -> Instruction {
    let (offset, value) = (offset.to_le_bytes(), value.to_le_bytes());
    [opcode, source << 4 | destination, offset[0], offset[1], value[0], value[1], value[2], value[3]]
}
