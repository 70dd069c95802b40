//! The features document (runtime-spec, features.md, features-linux.md): what this build recognizes, from the tables that recognize it, and
//! for `supportedFlags` what the running kernel has of it.

use serde_json::{json, Value};

use crate::assistant::KINDS;
use crate::oci::{self, CapabilitySet};
use crate::plan::{mount_option_names, HookStage};
use crate::seccomp::{filter_flags, Architecture};

/// Actions and operators of linux.seccomp: all that the spec has.
const ACTIONS: [&str; 9] = [
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];
const OPERATORS: [&str; 7] =
    ["SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE"];
const MEMORY_POLICIES: [&str; 7] =
    ["MPOL_DEFAULT", "MPOL_BIND", "MPOL_INTERLEAVE", "MPOL_WEIGHTED_INTERLEAVE", "MPOL_PREFERRED", "MPOL_PREFERRED_MANY", "MPOL_LOCAL"];
const MEMORY_POLICY_FLAGS: [&str; 3] = ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"];

/// `kernel`: the running one. `commit`: of which pyrt was built, where that is known.
pub fn document(kernel: (u32, u32), commit: Option<&str>) -> Value {
    let mut annotations = json!({"org.pyrt.version": env!("CARGO_PKG_VERSION")});
    if let Some(commit) = commit {
        annotations["org.pyrt.commit"] = json!(commit);
    }
    let mut kinds = KINDS.map(|(kind, _, _)| kind);
    kinds.sort_unstable();
    let flags = |since: (u32, u32)| -> Vec<&str> { filter_flags().iter().filter(|flag| flag.1 <= since).map(|flag| flag.0).collect() };
    json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": oci::VERSION,
        "hooks": HookStage::ALL.map(HookStage::name),
        "mountOptions": mount_option_names(),
        "linux": {
            "namespaces": kinds,
            "capabilities": CapabilitySet::KNOWN.names(),
            "cgroup": {"v1": true, "v2": true, "systemd": true, "systemdUser": true, "rdma": true},
            "seccomp": {
                "enabled": true,
                "actions": ACTIONS,
                "operators": OPERATORS,
                "archs": Architecture::ALL.map(|architecture| format!("SCMP_ARCH_{}", architecture.name().to_uppercase())),
                "knownFlags": flags((u32::MAX, 0)),
                "supportedFlags": flags(kernel),
            },
            "apparmor": {"enabled": true},
            "selinux": {"enabled": true},
            "intelRdt": {"enabled": false},
            "mountExtensions": {"idmap": {"enabled": true}},
            "netDevices": {"enabled": true},
            "memoryPolicy": {"modes": MEMORY_POLICIES, "flags": MEMORY_POLICY_FLAGS},
        },
        "annotations": annotations,
        "potentiallyUnsafeConfigAnnotations": [],
    })
}
