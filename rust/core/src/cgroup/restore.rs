//! What files of a cgroup said before an update, to be written back where it fails half way. Neighbour: `update`.

use super::directory::Directory;
use super::limits::Setting;
use crate::error::{Error, Result};

/// Values of before, in the order in which they are about to be replaced.
#[derive(Default)]
pub(super) struct Former<'a>(Vec<(&'a Directory, String, String)>);

impl<'a> Former<'a> {
    pub fn note(&mut self, directory: &'a Directory, settings: &[Setting]) -> Result<()> {
        for setting in settings {
            for (file, value) in &setting.files {
                let Some(text) = directory.read_if_there(file).or_else(|error| if is_write_only(file) { Ok(None) } else { Err(error) })?
                else {
                    continue;
                };
                self.0.push((directory, file.clone(), before(file, value, &text)));
                break;
            }
        }
        Ok(())
    }

    /// Write all back, the last first, and return why that was necessary. A value that depends on another one (memory on memory plus swap) may
    /// be refused until that one is back.
    pub fn write_back(self, reason: Error) -> Error {
        let mut left = self.0;
        for _ in 0..2 {
            let mut refused = Vec::new();
            for (directory, file, value) in left.into_iter().rev() {
                if directory.try_write(&file, &value).is_err() {
                    refused.push((directory, file, value));
                }
            }
            refused.reverse();
            left = refused;
        }
        match left.first() {
            Some((directory, file, value)) => {
                reason.with_hint(format!("and {} could not be set back to {value:?}", directory.path_of(file)))
            }
            None => reason,
        }
    }
}

/// v1's devices can be changed, but what they were is in a list of another form.
fn is_write_only(file: &str) -> bool {
    matches!(file, "devices.allow" | "devices.deny")
}

/// What to write to the file so that it is again as `text` has it, in the place that `value` is about to change.
fn before(file: &str, value: &str, text: &str) -> String {
    let first = text.lines().next().unwrap_or_default();
    match value.split_once(' ') {
        // A file with a line for each device (or interface): `value` is about that one.
        Some((device, _)) if file != "cpu.max" => {
            let line = text.lines().find(|line| line.split(' ').next() == Some(device));
            line.map_or_else(|| format!("{device} {}", unset(file)), str::to_owned)
        }
        _ if file == "memory.oom_control" => first.split(' ').nth(1).unwrap_or_default().to_owned(),
        // An empty list of CPUs: an empty write would write nothing.
        _ if first.is_empty() => "\n".to_owned(),
        _ => first.to_owned(),
    }
}

/// What a device has that is not listed.
fn unset(file: &str) -> &'static str {
    match file {
        "io.max" => "rbps=max wbps=max riops=max wiops=max",
        "io.weight" | "io.bfq.weight" => "default",
        _ => "0",
    }
}

#[cfg(test)]
mod tests {
    use super::before;

    #[test]
    fn the_value_of_before_is_in_the_form_that_the_file_takes() {
        for (file, value, text, expected) in [
            ("pids.max", "5", "max\n", "max"),
            ("cpu.max", "50000 100000", "max 100000\n", "max 100000"),
            ("cpuset.cpus", "0", "\n", "\n"),
            ("memory.oom_control", "1", "oom_kill_disable 0\nunder_oom 0\n", "0"),
            ("io.weight", "200", "default 100\n8:0 50\n", "default 100"),
            ("io.weight", "8:16 200", "default 100\n8:0 50\n", "8:16 default"),
            ("io.max", "8:0 rbps=1", "8:0 rbps=2 wbps=max riops=max wiops=max\n", "8:0 rbps=2 wbps=max riops=max wiops=max"),
            ("io.max", "8:16 rbps=1", "", "8:16 rbps=max wbps=max riops=max wiops=max"),
            ("blkio.throttle.read_bps_device", "8:0 5", "", "8:0 0"),
        ] {
            assert_eq!(before(file, value, text), expected, "{file} {value}");
        }
    }
}
