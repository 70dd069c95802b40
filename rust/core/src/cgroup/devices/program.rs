//! Rules as an eBPF program of type BPF_PROG_TYPE_CGROUP_DEVICE: assembled by hand, without maps and helpers, pure.
//!
//! The kernel asks it about each open and mknod of a device with `struct bpf_cgroup_dev_ctx` (linux/bpf.h); 1 allows, 0 is EPERM.
//! Making, reading and writing are decided one after the other, each in a section that only requests for it go through: from the last
//! rule about it to the first, and the first that fits the device decides. Denied ends the program, allowed leads to the next section,
//! behind the last of which all that was asked for is allowed. Reading and writing share a section where the same rules are about both.
//!
//! Each test loads what it compares anew, and nothing else lives in a register. Otherwise the kernel's verifier follows what a test has
//! found through the whole rest of the program: it took 12 ms for 100 rules, and gave up before 1,000.
//!
//! Source: Documentation/bpf/standardization/instruction-set.rst. Neighbours: `attach` loads it, `tests` interprets it.

use super::rules::{Access, Kind, Rule, IMPLICIT};

/// As the kernel has it: opcode, registers (source in the high half), offset, immediate value.
pub(in crate::cgroup) type Instruction = [u8; 8];

// Opcodes: class, operation and whether the operand is an immediate value (K).
const LOAD_WORD: u8 = 0x61; // BPF_LDX | BPF_MEM | BPF_W
const LOAD_HALF_WORD: u8 = 0x69; // BPF_LDX | BPF_MEM | BPF_H
const SET: u8 = 0xb7; // BPF_ALU64 | BPF_MOV | BPF_K
const JUMP: u8 = 0x05; // BPF_JMP | BPF_JA
const JUMP_IF_ANY_BIT: u8 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
const JUMP_UNLESS_EQUAL: u8 = 0x56; // BPF_JMP32 | BPF_JNE | BPF_K: lower halves only, for immediate values are signed, device numbers not
const EXIT: u8 = 0x95; // BPF_JMP | BPF_EXIT

// Registers: the kernel fixes what 0 and 1 are.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const FIELD: u8 = 2;

// struct bpf_cgroup_dev_ctx as (how to load, offset): the access in the high half of the first field, BPF_DEVCG_DEV_* in the low one.
const ACCESS: (u8, i16) = (LOAD_WORD, 0);
const KIND: (u8, i16) = (LOAD_HALF_WORD, 0);
const MAJOR: (u8, i16) = (LOAD_WORD, 4);
const MINOR: (u8, i16) = (LOAD_WORD, 8);
const ACCESS_SHIFT: u32 = 16;
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
    let mut sections: Vec<(u32, Vec<Rule>)> = Vec::new();
    for access in [Access::MAKE, Access::READ, Access::WRITE] {
        let rules = about(access, list);
        match sections.iter_mut().find(|(_, known)| *known == rules) {
            Some((bits, _)) => *bits |= access.bits(),
            None => sections.push((access.bits(), rules)),
        }
    }
    let mut code: Vec<Instruction> = sections.iter().flat_map(|(bits, rules)| section(*bits, rules)).collect();
    code.extend(answer(ALLOW));
    code
}

/// The rules about one kind of access, the last first, up to one that fits every device. All say `Access::ALL`, to be compared.
fn about(access: Access, list: &[Rule]) -> Vec<Rule> {
    let mut rules = Vec::new();
    for rule in IMPLICIT.iter().chain(list.iter().rev()).filter(|rule| rule.access.bits() & access.bits() != 0) {
        let rule = Rule { access: Access::ALL, ..*rule };
        rules.push(rule);
        if rule.is_about_everything() {
            break;
        }
    }
    rules
}

/// Leads past its end where the rules allow, and where the request is not about these bits.
fn section(bits: u32, rules: &[Rule]) -> Vec<Instruction> {
    // The kernel refuses instructions that nothing leads to: after a rule that fits every device comes nothing.
    let (mut code, conditional) = match rules.split_last() {
        Some((last, before)) if last.is_about_everything() && last.allow => (Vec::new(), before),
        Some((last, before)) if last.is_about_everything() => (answer(DENY).to_vec(), before),
        _ => (answer(DENY).to_vec(), rules),
    };
    for rule in conditional.iter().rev() {
        let decision = if rule.allow { vec![jump(code.len())] } else { answer(DENY).to_vec() };
        let mut longer = guarded(rule, decision);
        longer.append(&mut code);
        code = longer;
    }
    if code.is_empty() {
        return code;
    }
    let bits = (bits << ACCESS_SHIFT) as i32;
    // Over the jump that leads past the section.
    let mut section = vec![load(ACCESS), instruction(JUMP_IF_ANY_BIT, FIELD, 0, 1, bits), jump(code.len())];
    section.append(&mut code);
    section
}

/// The decision behind one test for each thing that the rule names.
fn guarded(rule: &Rule, decision: Vec<Instruction>) -> Vec<Instruction> {
    let kind = rule.kind.map(|kind| match kind {
        Kind::Block => BPF_DEVCG_DEV_BLOCK,
        Kind::Character => BPF_DEVCG_DEV_CHAR,
    });
    let mut code = decision;
    for (field, value) in [(MINOR, rule.minor), (MAJOR, rule.major), (KIND, kind)] {
        if let Some(value) = value {
            let mut test = vec![load(field), instruction(JUMP_UNLESS_EQUAL, FIELD, 0, code.len() as i16, value as i32)];
            test.append(&mut code);
            code = test;
        }
    }
    code
}

fn load((opcode, offset): (u8, i16)) -> Instruction {
    instruction(opcode, FIELD, CONTEXT, offset, 0)
}

/// Over so many instructions. `rules` bounds the list, so that the distance fits.
fn jump(distance: usize) -> Instruction {
    instruction(JUMP, 0, 0, distance as i16, 0)
}

fn answer(value: i32) -> [Instruction; 2] {
    [instruction(SET, ANSWER, 0, 0, value), instruction(EXIT, 0, 0, 0, 0)]
}

/// All that pyrt runs on is little-endian, where the destination is the low half of the byte.
fn instruction(opcode: u8, destination: u8, source: u8, offset: i16, value: i32) -> Instruction {
    let (offset, value) = (offset.to_le_bytes(), value.to_le_bytes());
    [opcode, source << 4 | destination, offset[0], offset[1], value[0], value[1], value[2], value[3]]
}
