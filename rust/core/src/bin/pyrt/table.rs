//! Made by scripts/quick_verbs.py from python/pyrt/cli/table.py: change that, and make it anew.

pub enum Kind {
    Flag,
    Text,
    Choice(&'static [&'static str]),
}

pub struct Flag {
    pub names: &'static [&'static str],
    pub kind: Kind,
}

pub struct Verb {
    pub name: &'static str,
    /// How many arguments there must be, and may be.
    pub required: usize,
    pub most: usize,
    pub flags: &'static [Flag],
}

pub const GLOBAL: &[Flag] = &[
    Flag { names: &["--root"], kind: Kind::Text },
    Flag { names: &["--log"], kind: Kind::Text },
    Flag { names: &["--log-format"], kind: Kind::Choice(&["text", "json"]) },
    Flag { names: &["--debug"], kind: Kind::Flag },
    Flag { names: &["--systemd-cgroup"], kind: Kind::Flag },
    Flag { names: &["--rootless"], kind: Kind::Choice(&["true", "false", "auto"]) },
    Flag { names: &["--cgroup-manager"], kind: Kind::Choice(&["cgroupfs", "systemd", "disabled"]) },
    Flag { names: &["--version", "-v"], kind: Kind::Flag },
    Flag { names: &["--help", "-h"], kind: Kind::Flag },
];

pub const VERBS: &[Verb] = &[
    Verb { name: "start", required: 1, most: 1, flags: &[Flag { names: &["--help", "-h"], kind: Kind::Flag }] },
    Verb { name: "state", required: 1, most: 1, flags: &[Flag { names: &["--help", "-h"], kind: Kind::Flag }] },
    Verb {
        name: "kill",
        required: 1,
        most: 2,
        flags: &[
            Flag { names: &["--help", "-h"], kind: Kind::Flag },
            Flag { names: &["--all", "-a"], kind: Kind::Flag },
            Flag { names: &["--regex", "-r"], kind: Kind::Flag },
        ],
    },
    Verb {
        name: "delete",
        required: 1,
        most: 1,
        flags: &[
            Flag { names: &["--help", "-h"], kind: Kind::Flag },
            Flag { names: &["--force", "-f"], kind: Kind::Flag },
            Flag { names: &["--regex", "-r"], kind: Kind::Flag },
        ],
    },
];
