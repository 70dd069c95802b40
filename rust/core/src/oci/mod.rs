//! config.json as types, read strictly: a wrong type is an error with its JSON path, an unknown key a warning, as the runtime-spec demands
//! (config.md, "Extensibility"). What the values mean is checked in `check`; `document` leaves a seccomp profile to those who know it already.

mod capabilities;
mod check;
mod document;

use std::sync::Arc;

use oci_spec::runtime::Spec;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::kept::Kept;
use crate::seccomp::Section;
pub use capabilities::{CapabilityNames, CapabilitySet};
pub use check::plain_path;
use document::Document;
pub use oci_spec::runtime::LinuxResources;

/// The newest runtime-spec release whose fields we know. The constant of `oci-spec` lags behind.
pub const VERSION: &str = "1.3.0";

/// More than any engine writes; a hostile bundle cannot make us read without end.
pub const SIZE_LIMIT: usize = 16 << 20;

/// What config.json said, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// But for process.capabilities and linux.seccomp.
    pub spec: Spec,
    pub seccomp: Option<Arc<Section>>,
    pub capabilities: Option<CapabilityNames>,
    pub warnings: Vec<String>,
}

impl Config {
    /// As `parse`, which is done once a process for each text.
    pub fn of(bytes: &[u8]) -> Result<Arc<Self>> {
        static KNOWN: Kept<Config> = Kept::new();
        KNOWN.get(bytes, Config::parse)
    }

    pub fn parse(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > SIZE_LIMIT {
            return Err(Error::spec("(file)", format!("larger than {SIZE_LIMIT} bytes")));
        }
        let Document { tree: mut value, seccomp } = Document::read(bytes).map_err(|error| {
            Error::spec(format!("line {} column {}", error.line(), error.column()), format!("not JSON: {}", reason(&error.to_string())))
        })?;
        let mut warnings = Vec::new();
        // Read as strings: an unknown capability is a warning, and the crate's enum would refuse it.
        let capabilities = match value.get_mut("process").and_then(|process| process.get_mut("capabilities")).map(Value::take) {
            None | Some(Value::Null) => None,
            Some(names) => Some(CapabilityNames::parse(&names, &mut warnings)?),
        };
        if let Some(flags) = value.pointer_mut("/process/scheduler/flags").and_then(Value::as_array_mut) {
            for flag in flags {
                // `oci-spec` derives other spellings than the runtime-spec's.
                match flag.as_str() {
                    Some("SCHED_FLAG_RESET_ON_FORK") => *flag = "SCHED_RESET_ON_FORK".into(),
                    Some("SCHED_FLAG_DL_OVERRUN") => *flag = "SCHED_FLAG_D_L_OVERRUN".into(),
                    _ => {}
                }
            }
        }
        let mut unknown = Vec::new();
        let mut track = serde_path_to_error::Track::new();
        let tracked = serde_path_to_error::Deserializer::new(&value, &mut track);
        let spec = serde_ignored::deserialize(tracked, |path| unknown.push(path.to_string()));
        let spec: Spec = spec.map_err(|error: serde_json::Error| Error::spec(track.path().to_string(), reason(&error.to_string())))?;
        warnings.extend(unknown.iter().map(|path| format!("config.json: {}: unknown key, ignored", path.replace(".?", ""))));
        let seccomp = seccomp.map(Section::read).transpose()?;
        let mut config = Config { spec, seccomp, capabilities, warnings };
        check::check(&mut config)?;
        Ok(config)
    }
}

/// serde's words without its own position, which we say in ours.
fn reason(message: &str) -> String {
    message.split(" at line ").next().unwrap_or(message).to_owned()
}

/// Reads a part of a config that stands alone, such as `linux.resources`.
pub fn parse_part<'de, T, D>(source: D, name: &str, warnings: &mut Vec<String>) -> Result<T>
where
    T: Deserialize<'de>,
    D: Deserializer<'de, Error = serde_json::Error>,
{
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(source, &mut track);
    let mut unknown = Vec::new();
    let part = serde_ignored::deserialize(tracked, |path| unknown.push(path.to_string()));
    let part = part.map_err(|error| {
        let path = match track.path().to_string() {
            path if path == "." => name.to_owned(),
            path => format!("{name}.{path}"),
        };
        Error::spec(path, reason(&error.to_string()))
    })?;
    warnings.extend(unknown.iter().map(|path| format!("config.json: {name}.{}: unknown key, ignored", path.replace(".?", ""))));
    Ok(part)
}
