//! What the kernel gives a process and how it shows itself: `process.scheduler`, `process.ioPriority`, `linux.memoryPolicy`,
//! `linux.personality`. Numbers are those of linux/sched.h, linux/ioprio.h, linux/mempolicy.h and sys/personality.h.

use oci_spec::runtime::{
    IOPriorityClass, LinuxIOPriority, LinuxMemoryPolicy, LinuxPersonality, LinuxPersonalityDomain, LinuxSchedulerFlag,
    LinuxSchedulerPolicy, MemoryPolicyFlagType, MemoryPolicyModeType, Scheduler, Spec,
};
use pyrt_init::{Step, MASK_BITS};

use super::builder::{Builder, Numbers};
use crate::error::{Error, Result};

/// While the caller's capabilities are still there: most of these need CAP_SYS_NICE.
pub fn build(steps: &mut Builder, spec: &Spec) -> Result<()> {
    if let Some(process) = spec.process() {
        process.io_priority().as_ref().map_or(Ok(()), |priority| io_priority(steps, priority))?;
        // It is of what `exec` runs; what is wrong with it is told now.
        let affinity = process.exec_cpu_affinity().clone().unwrap_or_default();
        cpus(affinity.initial().as_deref(), "process.execCPUAffinity.initial")?;
        cpus(affinity.cpu_affinity_final().as_deref(), "process.execCPUAffinity.final")?;
        process.scheduler().as_ref().map_or(Ok(()), |wanted| scheduler(steps, wanted))?;
    }
    let Some(linux) = spec.linux() else { return Ok(()) };
    linux.memory_policy().as_ref().map_or(Ok(()), |policy| memory_policy(steps, policy))?;
    linux.personality().as_ref().map_or(Ok(()), |wanted| personality(steps, wanted))
}

/// The CPUs that the process may run on from here on.
pub fn affinity(steps: &mut Builder, list: Option<&str>, at: &str) -> Result<()> {
    if let Some(mask) = cpus(list, at)? {
        steps.push(Step::Affinity { cpus: mask.into_iter().collect::<Numbers>().words() });
    }
    Ok(())
}

fn cpus(list: Option<&str>, at: &str) -> Result<Option<[u64; MASK_BITS / 64]>> {
    list.filter(|list| !list.is_empty()).map(|list| mask(list, "CPU", at)).transpose()
}

fn io_priority(steps: &mut Builder, wanted: &LinuxIOPriority) -> Result<()> {
    let class = match wanted.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    match u64::try_from(wanted.priority()) {
        Ok(level @ 0..=7) => {
            steps.push(Step::IoPriority { class, level });
            Ok(())
        }
        _ => Err(Error::spec("process.ioPriority.priority", format!("{} is not in 0 to 7", wanted.priority()))),
    }
}

fn scheduler(steps: &mut Builder, wanted: &Scheduler) -> Result<()> {
    let policy = match wanted.policy() {
        LinuxSchedulerPolicy::SchedOther => 0,
        LinuxSchedulerPolicy::SchedFifo => 1,
        LinuxSchedulerPolicy::SchedRr => 2,
        LinuxSchedulerPolicy::SchedBatch => 3,
        LinuxSchedulerPolicy::SchedIso => 4,
        LinuxSchedulerPolicy::SchedIdle => 5,
        LinuxSchedulerPolicy::SchedDeadline => 6,
    };
    let nice = wanted.nice().unwrap_or(0);
    if !(-20..=19).contains(&nice) {
        return Err(Error::spec("process.scheduler.nice", format!("{nice} is not in -20 to 19")));
    }
    // sched(7): a static priority is what the two real-time policies have, and they alone.
    let real_time = matches!(wanted.policy(), LinuxSchedulerPolicy::SchedFifo | LinuxSchedulerPolicy::SchedRr);
    let (range, priority) = (if real_time { 1..=99 } else { 0..=0 }, wanted.priority().unwrap_or(0));
    if !range.contains(&priority) {
        let reason = format!("{priority} is not in {} to {}, as {} has it", range.start(), range.end(), wanted.policy());
        return Err(Error::spec("process.scheduler.priority", reason));
    }
    let mut flags = 0;
    for (index, flag) in wanted.flags().iter().flatten().enumerate() {
        flags |= match flag {
            LinuxSchedulerFlag::SchedResetOnFork => 0x01,
            LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
            LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
            LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
            LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
            LinuxSchedulerFlag::SchedFlagUtilClampMin | LinuxSchedulerFlag::SchedFlagUtilClampMax => {
                return Err(Error::spec(
                    format!("process.scheduler.flags[{index}]"),
                    "config.json has no field for the value that it clamps to",
                ));
            }
        };
    }
    steps.push(Step::Scheduler {
        policy,
        flags,
        // A negative number travels as its two's complement.
        nice: i64::from(nice) as u64,
        priority: u64::from(priority.unsigned_abs()),
        runtime: wanted.runtime().unwrap_or(0),
        deadline: wanted.deadline().unwrap_or(0),
        period: wanted.period().unwrap_or(0),
    });
    Ok(())
}

fn memory_policy(steps: &mut Builder, wanted: &LinuxMemoryPolicy) -> Result<()> {
    let mode = match wanted.mode() {
        MemoryPolicyModeType::MpolDefault => 0,
        MemoryPolicyModeType::MpolPreferred => 1,
        MemoryPolicyModeType::MpolBind => 2,
        MemoryPolicyModeType::MpolInterleave => 3,
        MemoryPolicyModeType::MpolLocal => 4,
        MemoryPolicyModeType::MpolPreferredMany => 5,
        MemoryPolicyModeType::MpolWeightedInterleave => 6,
    };
    let flags = wanted.flags().iter().flatten().fold(0, |flags, flag| {
        flags
            | match flag {
                MemoryPolicyFlagType::MpolFNumaBalancing => 1 << 13,
                MemoryPolicyFlagType::MpolFRelativeNodes => 1 << 14,
                MemoryPolicyFlagType::MpolFStaticNodes => 1 << 15,
            }
    });
    let at = "linux.memoryPolicy.nodes";
    let mask = mask(wanted.nodes().as_deref().unwrap_or_default(), "node", at)?;
    let (none, mode_name) = (mask.iter().all(|word| *word == 0), wanted.mode());
    // set_mempolicy(2): two modes take no nodes, the others at least one; an empty set for MPOL_PREFERRED means the local node.
    match mode_name {
        MemoryPolicyModeType::MpolDefault | MemoryPolicyModeType::MpolLocal if !none => {
            return Err(Error::spec(at, format!("{mode_name} takes no nodes")));
        }
        MemoryPolicyModeType::MpolDefault | MemoryPolicyModeType::MpolLocal | MemoryPolicyModeType::MpolPreferred => {}
        _ if none => return Err(Error::spec(at, format!("{mode_name} needs at least one node"))),
        _ => {}
    }
    let mask: Numbers = mask.into_iter().collect();
    steps.push(Step::MemoryPolicy { mode: mode | flags, nodes: mask.words() });
    Ok(())
}

/// cpuset(7), "List format": numbers and ranges, `0-3,7`.
fn mask(list: &str, what: &str, at: &str) -> Result<[u64; MASK_BITS / 64]> {
    let mut mask = [0; MASK_BITS / 64];
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) else {
            return Err(Error::spec(at, format!("{part:?} is neither a {what} nor a range such as 0-3")));
        };
        if first > last || last >= MASK_BITS {
            return Err(Error::spec(at, format!("{part:?} is not a range of {what}s below {MASK_BITS}")));
        }
        (first..=last).for_each(|number| mask[number / 64] |= 1 << (number % 64));
    }
    Ok(mask)
}

fn personality(steps: &mut Builder, wanted: &LinuxPersonality) -> Result<()> {
    // config-linux.md: no flag is supported at this time.
    if wanted.flags().as_ref().is_some_and(|flags| !flags.is_empty()) {
        return Err(Error::spec("linux.personality.flags", "the runtime-spec has none that could be set"));
    }
    let persona = match wanted.domain() {
        LinuxPersonalityDomain::PerLinux => 0x00,
        LinuxPersonalityDomain::PerLinux32 => 0x08,
    };
    steps.push(Step::Personality { persona });
    Ok(())
}
