//! linux.seccomp -> what happens to each number, an architecture at a time. The meaning is libseccomp's, as runc uses it:
//!
//! - A rule whose action is the default one says nothing. Of rules without conditions the first counts, and it outweighs those with
//!   conditions. Among the latter the first that holds counts, in the order of the profile (libseccomp's order is its own).
//! - The conditions of a rule must all hold, but where several are about one argument, each is a rule of its own.
//! - Names that an architecture does not have are skipped.
//! - A call of another architecture than those listed kills the thread. The native one is always listed.
//! - Unless the default action lets calls through, numbers above the largest one that the profile names are ENOSYS: they are younger
//!   than the profile, and programs must be able to fall back to older ones (runc's libcontainer/seccomp/patchbpf).

use std::collections::BTreeMap;
use std::rc::Rc;

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction, LinuxSeccompOperator, LinuxSyscall};

use super::architecture::{Architecture, X32_BIT};
use super::KEYED_CALLS;

/// SECCOMP_RET_* of linux/seccomp.h, with their data.
pub const ALLOW: u32 = 0x7fff_0000;
const KILL_THREAD: u32 = 0;
const ENOSYS: u32 = 0x0005_0000 | nix::libc::ENOSYS as u32;

/// The number with which a tracer, since Linux 4.8, skips a call.
const SKIPPED: u32 = u32::MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operand {
    Value(u64),
    /// What only this launch's init knows.
    Key,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    pub argument: u8,
    pub operator: LinuxSeccompOperator,
    pub operand: Operand,
    /// For `ScmpCmpMaskedEq`: bits that count.
    pub mask: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// All of them must hold.
    pub conditions: Vec<Condition>,
    pub action: u32,
}

/// What happens to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Always(u32),
    /// The first rule that holds, else the action.
    Rules(Rc<Vec<Rule>>, u32),
}

/// All numbers of one `seccomp_data.arch`: each interval reaches to the next one's start.
pub struct Section {
    pub audit: u32,
    pub intervals: Vec<Interval>,
}

pub struct Interval {
    pub start: u32,
    pub decision: Decision,
    /// Whether arguments have 64 bits that count.
    pub wide: bool,
}

/// What the profile says, a section for each architecture that a kernel of architecture `native` serves.
pub fn sections(profile: &LinuxSeccomp, native: Architecture) -> Vec<Section> {
    let default = profile.default_action().as_u32(profile.default_errno_ret());
    let listed: Vec<Architecture> = profile.architectures().iter().flatten().filter_map(|arch| Architecture::from_spec(*arch)).collect();
    let mut sections: Vec<Section> = Vec::new();
    for architecture in native.served().iter().copied().filter(|one| *one == native || listed.contains(one)) {
        let (calls, largest) = calls(profile, architecture, default);
        // x32 shares the section of x86_64, which comes first.
        let (mut numbers, first, last) = match sections.last_mut() {
            Some(section) if section.audit == architecture.audit() => (Numbers::from(section), X32_BIT, u32::MAX),
            _ if architecture == Architecture::X86_64 => {
                let mut numbers = Numbers::new(default);
                numbers.assign(X32_BIT, SKIPPED - 1, Decision::Always(KILL_THREAD), true);
                (numbers, 0, X32_BIT - 1)
            }
            _ => (Numbers::new(default), 0, u32::MAX),
        };
        numbers.assign(first, last, Decision::Always(default), architecture.is_wide());
        if let (false, Some(largest)) = (lets_through(profile.default_action()), largest) {
            numbers.assign(largest.saturating_add(1), last, Decision::Always(ENOSYS), architecture.is_wide());
        }
        for (number, decision) in calls {
            numbers.assign(number, number, decision, architecture.is_wide());
        }
        if architecture == native {
            KEYED_CALLS.iter().filter_map(|name| native.number(name)).for_each(|number| numbers.admit_key(number));
        }
        if first != 0 {
            sections.pop();
        }
        sections.push(numbers.into_section(architecture));
    }
    sections
}

/// Whether the call is let through, whatever its arguments are.
pub fn allows(sections: &[Section], architecture: Architecture, name: &str) -> bool {
    let section = sections.iter().find(|section| section.audit == architecture.audit());
    let (Some(number), Some(section)) = (architecture.number(name), section) else { return false };
    let interval = section.intervals.iter().rfind(|interval| interval.start <= number);
    interval.is_some_and(|interval| interval.decision == Decision::Always(ALLOW))
}

/// Actions under which a call that the profile does not name reaches the kernel, or a tracer, who can tell what is new.
fn lets_through(action: LinuxSeccompAction) -> bool {
    matches!(action, LinuxSeccompAction::ScmpActAllow | LinuxSeccompAction::ScmpActLog | LinuxSeccompAction::ScmpActTrace)
}

/// The calls that rules name, by number, and the largest number named.
fn calls(profile: &LinuxSeccomp, architecture: Architecture, default: u32) -> (BTreeMap<u32, Decision>, Option<u32>) {
    let mut calls = BTreeMap::new();
    let mut largest = None;
    for rule in profile.syscalls().iter().flatten() {
        let action = rule.action().as_u32(rule.errno_ret());
        for name in rule.names() {
            let number = architecture.number(name);
            let behind = architecture.multiplexed().iter().find(|call| call.name == name);
            if behind.is_none() {
                largest = largest.max(number);
            }
            if action == default {
                continue;
            }
            if let Some(number) = number {
                add(&mut calls, number, rules(rule, action, None), action, default);
            }
            if let Some((through, selector)) = behind.and_then(|call| Some((architecture.number(call.through)?, call.selector))) {
                // What is behind a pointer cannot be seen: of the call's own conditions those about the first argument give way.
                add(&mut calls, through, rules(rule, action, Some(selector)), action, default);
            }
        }
    }
    (calls, largest)
}

fn add(calls: &mut BTreeMap<u32, Decision>, number: u32, rules: Vec<Rule>, action: u32, default: u32) {
    let known = calls.entry(number).or_insert_with(|| Decision::Rules(Rc::default(), default));
    match known {
        Decision::Always(_) => {}
        Decision::Rules(..) if rules.is_empty() => *known = Decision::Always(action),
        Decision::Rules(all, _) => Rc::make_mut(all).extend(rules),
    }
}

/// The conditional rules that one entry of the profile makes for one call: none where it has no conditions.
fn rules(entry: &LinuxSyscall, action: u32, selector: Option<u32>) -> Vec<Rule> {
    let mut conditions: Vec<Condition> = entry
        .args()
        .iter()
        .flatten()
        .map(|arg| {
            let masked = arg.op() == LinuxSeccompOperator::ScmpCmpMaskedEq;
            let (value, mask) = if masked { (arg.value_two().unwrap_or(0), arg.value()) } else { (arg.value(), u64::MAX) };
            Condition { argument: arg.index() as u8, operator: arg.op(), operand: Operand::Value(value), mask }
        })
        .collect();
    let several = conditions.iter().enumerate().any(|(index, one)| conditions[..index].iter().any(|other| other.argument == one.argument));
    let mut alternatives: Vec<Vec<Condition>> = match several {
        true => conditions.into_iter().map(|one| vec![one]).collect(),
        false if conditions.is_empty() && selector.is_none() => return Vec::new(),
        false => vec![std::mem::take(&mut conditions)],
    };
    if let Some(selector) = selector {
        let selected = Condition {
            argument: 0,
            operator: LinuxSeccompOperator::ScmpCmpEq,
            operand: Operand::Value(u64::from(selector)),
            mask: u64::MAX,
        };
        for conditions in &mut alternatives {
            conditions.retain(|one| one.argument != 0);
            conditions.insert(0, selected);
        }
    }
    alternatives.into_iter().map(|conditions| Rule { conditions, action }).collect()
}

/// All numbers from 0 to 0xffffffff, by where a decision begins.
struct Numbers(BTreeMap<u64, (Decision, bool)>);

impl Numbers {
    fn new(default: u32) -> Self {
        Numbers(BTreeMap::from([(0, (Decision::Always(default), true))]))
    }

    fn from(section: &Section) -> Self {
        Numbers(section.intervals.iter().map(|one| (u64::from(one.start), (one.decision.clone(), one.wide))).collect())
    }

    fn at(&self, number: u64) -> (Decision, bool) {
        // The first interval starts at 0.
        self.0.range(..=number).next_back().map_or((Decision::Always(KILL_THREAD), true), |(_, found)| found.clone())
    }

    fn assign(&mut self, first: u32, last: u32, decision: Decision, wide: bool) {
        if first > last {
            return;
        }
        let (first, after) = (u64::from(first), u64::from(last) + 1);
        let behind = self.at(after);
        let gone: Vec<u64> = self.0.range(first..after).map(|(start, _)| *start).collect();
        gone.iter().for_each(|start| drop(self.0.remove(start)));
        self.0.entry(after).or_insert(behind);
        self.0.insert(first, (decision, wide));
    }

    /// Whoever knows the key may make this call, whatever the profile says.
    fn admit_key(&mut self, number: u32) {
        let key = Rule {
            conditions: vec![Condition {
                argument: KEY_ARGUMENT,
                operator: LinuxSeccompOperator::ScmpCmpEq,
                operand: Operand::Key,
                mask: u64::MAX,
            }],
            action: ALLOW,
        };
        let (decision, wide) = self.at(u64::from(number));
        let (rules, otherwise) = match decision {
            Decision::Always(ALLOW) => return,
            Decision::Always(action) => (vec![key], action),
            Decision::Rules(rules, action) => (std::iter::once(key).chain(rules.iter().cloned()).collect(), action),
        };
        self.assign(number, number, Decision::Rules(Rc::new(rules), otherwise), wide);
    }

    fn into_section(self, architecture: Architecture) -> Section {
        let mut intervals: Vec<Interval> = Vec::new();
        for (start, (decision, wide)) in self.0 {
            let Ok(start) = u32::try_from(start) else { break };
            if intervals
                .last()
                .is_none_or(|last| last.decision != decision || (last.wide != wide && matches!(decision, Decision::Rules(..))))
            {
                intervals.push(Interval { start, decision, wide });
            }
        }
        Section { audit: architecture.audit(), intervals }
    }
}

/// No call that init makes with the key has six arguments.
pub const KEY_ARGUMENT: u8 = 5;
