//! Collects steps in wire format, and what must be handed over for them to work.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, PathBuf};

use pyrt_init::{Encoder, List, Step, Words, NO_FD};

use super::idmap::IdMapped;
use crate::error::{quoted, Error, Result};
use crate::host::HostFacts;

/// What init gets as a descriptor. The launch opens each; a step names it by its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handed {
    Stdio(usize),
    /// `tasks` of the cgroup's Nth v1 hierarchy.
    Tasks(usize),
    /// The pidfd of the init of the container that is entered.
    Entered,
    /// The cgroup2 directory of the container that is entered.
    Unified,
    /// A namespace file, of this CLONE_NEW* kind; where config.json names it.
    Namespace {
        path: PathBuf,
        flag: u64,
        at: String,
    },
    /// A detached copy of the mount at a path.
    Tree {
        path: PathBuf,
        recursive: bool,
        /// What to do where it is missing.
        hint: Option<&'static str>,
        idmap: Option<IdMapped>,
    },
    /// The container's state in JSON, for a hook's stdin; written while init waits in `meet::HOOKS`.
    State(StatusFile),
    /// A hook's program, as the caller finds it.
    Program {
        path: PathBuf,
        operation: String,
    },
    /// The file that gets what hooks write.
    HookOutput,
    StartListener,
    /// The pidfd of the calling process.
    Caller,
    /// The Nth descriptor that the program keeps.
    Kept(usize),
}

/// Which status the state of a hook names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusFile {
    Creating,
    Created,
}

impl StatusFile {
    pub fn name(self) -> &'static str {
        match self {
            StatusFile::Creating => "creating",
            StatusFile::Created => "created",
        }
    }
}

#[derive(Debug, Default)]
pub struct Builder {
    encoder: Encoder,
    /// Where each step starts.
    starts: Vec<usize>,
    handed: Vec<Handed>,
    /// Mounts are copied inside, by path: the caller may not.
    copies_inside: bool,
    pub warnings: Vec<String>,
}

impl Builder {
    pub fn new(warnings: Vec<String>, facts: &HostFacts) -> Self {
        Builder { warnings, copies_inside: !facts.can_mount(), ..Builder::default() }
    }

    pub fn push(&mut self, step: Step<'_>) {
        self.starts.push(self.encoder.len());
        step.encode(&mut self.encoder);
    }

    /// The index by which a step names this descriptor. Place 0 is the plan itself.
    pub fn hand(&mut self, what: Handed) -> u64 {
        // A tree is used up where it is mounted: the same source elsewhere is another copy.
        let known = match what {
            Handed::Tree { .. } => None,
            _ => self.handed.iter().position(|known| *known == what),
        };
        let place = known.unwrap_or_else(|| {
            self.handed.push(what);
            self.handed.len() - 1
        });
        place as u64 + 1
    }

    /// The caller's copy of a mount. NO_FD where it may not make one: then init copies the step's own source.
    pub fn tree(&mut self, path: PathBuf, recursive: bool, hint: Option<&'static str>, idmap: Option<IdMapped>) -> Result<u64> {
        match (self.copies_inside, &idmap) {
            (true, Some(_)) => Err(Error::host(
                format!("map the ids of {}", path.display()),
                "it needs CAP_SYS_ADMIN over its file system, which the caller lacks",
            )),
            (true, None) => Ok(NO_FD),
            (false, _) => Ok(self.hand(Handed::Tree { path, recursive, hint, idmap })),
        }
    }

    pub fn stdio(&mut self) {
        let [input, output, error] = [0, 1, 2].map(|number| self.hand(Handed::Stdio(number)));
        self.push(Step::Stdio { input, output, error });
    }

    pub fn handed(&self) -> &[Handed] {
        &self.handed
    }

    pub fn bytes(&self) -> &[u8] {
        self.encoder.as_slice()
    }

    /// The step that failed, read back from our own copy.
    pub fn step(&self, index: u32) -> Option<Step<'_>> {
        let start = *self.starts.get(index as usize)?;
        Step::decode(&mut pyrt_init::Decoder::new(&self.encoder.as_slice()[start..])).ok()
    }

    /// Paths in the root at which something is mounted or made: what is missing there becomes an empty directory or file.
    pub fn targets(&self) -> BTreeSet<PathBuf> {
        let target = |step: Step<'_>| match step {
            Step::Mount { target: path, .. } | Step::Bind { target: path, .. } => Some(path.to_owned()),
            Step::Device { path, .. } | Step::Link { path, .. } => Some(path.to_owned()),
            _ => None,
        };
        let paths = self.steps().filter_map(target).map(|path| PathBuf::from(OsString::from_vec(path.into_bytes())));
        // Without the slash in front: as paths below the root.
        paths.map(|path| path.components().filter(|part| matches!(part, Component::Normal(_))).collect()).collect()
    }

    pub fn steps(&self) -> impl Iterator<Item = Step<'_>> {
        (0..self.starts.len() as u32).filter_map(|index| self.step(index))
    }
}

/// A string for the kernel; `at` is where config.json has it.
pub fn text(value: &str, at: &str) -> Result<CString> {
    CString::new(value).map_err(|_| Error::spec(at, "contains a NUL byte"))
}

/// Environment variables: environ(7) has them as NAME=VALUE.
pub fn variables<S: AsRef<str>>(values: impl IntoIterator<Item = S>, at: &str) -> Result<Strings> {
    let mut strings = Strings::default();
    for (index, value) in values.into_iter().enumerate() {
        let value = value.as_ref();
        if value.find('=').is_none_or(|place| place == 0) {
            return Err(Error::spec(format!("{at}[{index}]"), format!("{} is not NAME=VALUE", quoted(value))));
        }
        strings.push(value, || format!("{at}[{index}]"))?;
    }
    Ok(strings)
}

/// Several strings, for `Step` operands of the type `List`.
#[derive(Debug, Default, Clone)]
pub struct Strings(Vec<u8>);

impl Strings {
    pub fn collect<S: AsRef<str>>(values: impl IntoIterator<Item = S>, at: &str) -> Result<Self> {
        let mut strings = Strings::default();
        for (index, value) in values.into_iter().enumerate() {
            strings.push(value.as_ref(), || format!("{at}[{index}]"))?;
        }
        Ok(strings)
    }

    pub fn push(&mut self, value: &str, at: impl FnOnce() -> String) -> Result<()> {
        if value.contains('\0') {
            return Err(Error::spec(at(), "contains a NUL byte"));
        }
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(0);
        Ok(())
    }

    /// A file system option: `key` alone, or with its value (init's form: `=key`, then the value).
    pub fn push_option(&mut self, option: &str, at: &str) -> Result<()> {
        match option.split_once('=') {
            None => self.push(option, || at.to_owned()),
            Some((key, value)) => {
                self.0.push(b'=');
                self.push(key, || at.to_owned())?;
                self.push(value, || at.to_owned())
            }
        }
    }

    pub fn list(&self) -> List<'_> {
        List::new(&self.0)
    }
}

/// Several numbers, for `Step` operands of the type `Words`.
#[derive(Debug, Default, Clone)]
pub struct Numbers(Vec<u8>);

impl Numbers {
    pub fn push(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub fn words(&self) -> Words<'_> {
        Words::new(&self.0)
    }
}

impl FromIterator<u64> for Numbers {
    fn from_iter<I: IntoIterator<Item = u64>>(numbers: I) -> Self {
        let mut all = Numbers::default();
        numbers.into_iter().for_each(|number| all.push(number));
        all
    }
}

/// What a step's path operand says, for messages.
pub fn shown(path: &CStr) -> String {
    path.to_string_lossy().into_owned()
}
