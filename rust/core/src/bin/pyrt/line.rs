//! Reads a command line by the table, as python/pyrt/cli/line.py does; whatever is not plainly right is Python's to read and to explain.

use std::ffi::OsString;

use super::table::{Flag, Kind, GLOBAL, VERBS};

/// What asks for Python: pages of text, and regular expressions.
const OTHERS: [&str; 3] = ["--help", "--version", "--regex"];

pub struct Line<'a> {
    pub verb: &'static str,
    pub arguments: Vec<&'a str>,
    global: Vec<(&'static str, &'a str)>,
    options: Vec<(&'static str, &'a str)>,
}

impl<'a> Line<'a> {
    /// The value of a flag before the verb; the last one counts.
    pub fn global(&self, name: &str) -> Option<&'a str> {
        self.global.iter().rev().find(|(flag, _)| *flag == name).map(|(_, value)| *value)
    }

    /// Whether a flag of the verb without value was given, and not taken back by a later `=false`.
    pub fn is_set(&self, name: &str) -> bool {
        self.options.iter().rev().find(|(flag, _)| *flag == name).is_some_and(|(_, value)| *value == "true")
    }
}

/// `None` for another verb, for what only Python does, and for every mistake.
pub fn read(words: &[OsString]) -> Option<Line<'_>> {
    let words: Vec<&str> = words.iter().map(|word| word.to_str()).collect::<Option<_>>()?;
    let (mut global, mut options) = (Vec::new(), Vec::new());
    let mut before = Vec::new();
    let used = flags(&words, GLOBAL, &mut global, &mut before, true)?;
    let verb = VERBS.iter().find(|verb| Some(&verb.name) == before.first())?;
    let mut arguments = Vec::new();
    flags(&words[used..], verb.flags, &mut options, &mut arguments, false)?;
    let asks_python = global.iter().chain(&options).any(|(flag, _)| OTHERS.contains(flag));
    let plain = (verb.required..=verb.most).contains(&arguments.len()) && !asks_python;
    plain.then_some(Line { verb: verb.name, arguments, global, options })
}

/// Reads until the end, or the first argument; returns how many words were used.
fn flags<'a>(
    words: &[&'a str],
    known: &'static [Flag],
    found: &mut Vec<(&'static str, &'a str)>,
    arguments: &mut Vec<&'a str>,
    stop_at_argument: bool,
) -> Option<usize> {
    let mut position = 0;
    while let Some(word) = words.get(position) {
        position += 1;
        if *word == "--" {
            arguments.extend(&words[position..]);
            return Some(words.len());
        }
        if word.len() < 2 || !word.starts_with('-') {
            arguments.push(word);
            if stop_at_argument {
                return Some(position);
            }
            continue;
        }
        let (name, value) = word.split_once('=').map_or((*word, None), |(name, value)| (name, Some(value)));
        let flag = known.iter().find(|flag| flag.names.contains(&name))?;
        let value = match (&flag.kind, value) {
            (Kind::Flag, None | Some("true")) => "true",
            (Kind::Flag, Some("false")) => "false",
            (Kind::Flag, _) => return None,
            (_, Some(value)) => value,
            (_, None) => {
                position += 1;
                words.get(position - 1)?
            }
        };
        if let Kind::Choice(choices) = &flag.kind {
            choices.contains(&value).then_some(())?;
        }
        found.push((flag.names[0], value));
    }
    Some(position)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn an_engine_s_lines_are_read() {
        let words = words("--root /run/x --log=/log --log-format json kill --all web KILL");
        let line = read(&words).unwrap();
        assert_eq!((line.verb, line.arguments.as_slice()), ("kill", ["web", "KILL"].as_slice()));
        assert_eq!(
            (line.global("--root"), line.global("--log"), line.global("--log-format")),
            (Some("/run/x"), Some("/log"), Some("json"))
        );
        assert!(line.is_set("--all"));
    }

    #[test]
    fn short_flags_values_and_two_dashes_are_read_as_in_python() {
        for (text, forced) in [
            ("delete -f web", true),
            ("delete web --force=true", true),
            ("delete --force --force=false web", false),
            ("delete -- web", false),
        ] {
            let words = words(text);
            let line = read(&words).unwrap();
            assert_eq!((line.arguments.as_slice(), line.is_set("--force")), (["web"].as_slice(), forced), "{text}");
        }
    }

    #[test]
    fn all_else_is_python_s() {
        for text in [
            "run web",
            "list",
            "",
            "state",
            "state a b",
            "kill a b c",
            "--help",
            "state --help",
            "--version",
            "kill --regex a",
            "state --force a",
            "--root",
            "--log-format xml state a",
            "delete -fr a",
            "delete --force=maybe a",
            "-x state a",
        ] {
            assert!(read(&words(text)).is_none(), "{text}");
        }
    }
}
