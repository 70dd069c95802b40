//! linux.seccomp as it was said: read, checked and compiled once a process for each text of it.
//!
//! docker's profile is 10 kB of JSON; to read it takes longer than all else that is decided before a launch, to find it here 0.01 ms.

use std::sync::{Arc, OnceLock};

use oci_spec::runtime::LinuxSeccomp;
use serde_json::Value;

use super::{check, Architecture, Filter};
use crate::error::{Error, Result};
use crate::kept::Kept;
use crate::oci::parse_part;

/// A profile that has been checked.
#[derive(Debug)]
pub struct Section {
    pub profile: LinuxSeccomp,
    pub warnings: Vec<String>,
    filter: OnceLock<Arc<Filter>>,
}

impl Section {
    /// Errors name the JSON path, from linux.seccomp on.
    pub fn read(text: &str) -> Result<Arc<Self>> {
        static KNOWN: Kept<Section> = Kept::new();
        KNOWN.get(text.as_bytes(), |_| Section::parse(text))
    }

    fn parse(text: &str) -> Result<Self> {
        let mut warnings = Vec::new();
        let profile = parse_part(&mut serde_json::Deserializer::from_str(text), "linux.seccomp", &mut warnings);
        // What the text alone cannot be read as, a tree may: in it the last of several members of one name counts.
        let profile: LinuxSeccomp = profile.or_else(|_| {
            warnings.clear();
            let tree: Value = serde_json::from_str(text).map_err(|error| Error::spec("linux.seccomp", format!("not JSON: {error}")))?;
            parse_part(&tree, "linux.seccomp", &mut warnings)
        })?;
        check(&profile, &mut warnings)?;
        Ok(Section { profile, warnings, filter: OnceLock::new() })
    }

    /// For this machine, compiled when it is first asked for.
    pub fn filter(&self) -> Result<Arc<Filter>> {
        if let Some(filter) = self.filter.get() {
            return Ok(Arc::clone(filter));
        }
        let filter = Arc::new(Filter::compile(&self.profile, Architecture::NATIVE)?);
        // Another thread's is the same.
        let _ = self.filter.set(Arc::clone(&filter));
        Ok(filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_and_compiled_once() {
        let text = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "nonesuch"], "action": "SCMP_ACT_ERRNO"}]}"#;
        let (first, again) = (Section::read(text).unwrap(), Section::read(text).unwrap());
        assert!(Arc::ptr_eq(&first.filter().unwrap(), &again.filter().unwrap()));
        assert_eq!(again.warnings, ["config.json: linux.seccomp.syscalls: no system call is known as nonesuch: ignored"]);
        let other = Section::read(&text.replace("mkdir", "rmdir")).unwrap();
        assert_ne!(other.filter().unwrap(), first.filter().unwrap());
    }

    #[test]
    fn members_of_one_name_and_wrong_values_are_what_a_tree_of_them_is() {
        let section = Section::read(r#"{"defaultAction": 1, "defaultAction": "SCMP_ACT_ALLOW", "more": 1}"#).unwrap();
        assert_eq!(section.warnings, ["config.json: linux.seccomp.more: unknown key, ignored"]);
        let wrong = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NONE"}]}"#;
        let error = Section::read(wrong).unwrap_err();
        assert_eq!(error.json_path.as_deref(), Some("linux.seccomp.syscalls[0].action"));
        // Nested deeper than a tree may be: what is not a profile is an error, never the end of the stack.
        let deep = format!(r#"{{"more": {}{}}}"#, "[".repeat(5000), "]".repeat(5000));
        assert_eq!(Section::read(&deep).unwrap_err().json_path.as_deref(), Some("linux.seccomp"));
    }
}
