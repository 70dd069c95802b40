//! Signals by name or number: signal(7), kill(1).

use crate::error::{quoted, Error, Kind, Result};

/// SIGRTMAX: no signal of Linux on x86-64 or aarch64 has a higher number.
pub const LAST: i32 = 64;
/// The C library keeps 32 and 33 for itself, so this is the SIGRTMIN that programs see.
const FIRST_REAL_TIME: i32 = 34;

const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM", "STKFLT", "CHLD",
    "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// "15", "TERM", "SIGTERM", "SIGRTMIN+3"; case does not matter. 0 sends nothing and only asks whether the process is there.
///
/// Errors: `Spec` for anything else, and beyond 0..64.
pub fn number(text: &str) -> Result<i32> {
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let found = if text.starts_with(|first: char| first.is_ascii_digit()) { plain_number(text) } else { named(name) };
    found.filter(|number| (0..=LAST).contains(number)).ok_or_else(|| {
        let error = Error::new(Kind::Spec, format!("unknown signal {}", quoted(text)));
        error.with_hint(format!("give a name such as TERM or SIGTERM, or a number from 0 to {LAST}"))
    })
}

fn named(name: &str) -> Option<i32> {
    let name = match name {
        "IOT" => "ABRT",
        "CLD" => "CHLD",
        "POLL" => "IO",
        other => other,
    };
    if let Some(index) = NAMES.iter().position(|known| *known == name) {
        return Some(index as i32 + 1);
    }
    real_time(name).filter(|number| (FIRST_REAL_TIME..=LAST).contains(number))
}

/// RTMIN, RTMIN+n, RTMAX, RTMAX-n.
fn real_time(name: &str) -> Option<i32> {
    if let Some(rest) = name.strip_prefix("RTMIN") {
        return if rest.is_empty() { Some(FIRST_REAL_TIME) } else { Some(FIRST_REAL_TIME + plain_number(rest.strip_prefix('+')?)?) };
    }
    let rest = name.strip_prefix("RTMAX")?;
    if rest.is_empty() {
        Some(LAST)
    } else {
        Some(LAST - plain_number(rest.strip_prefix('-')?)?)
    }
}

/// Digits alone, few enough to be a signal's.
fn plain_number(text: &str) -> Option<i32> {
    (text.len() <= 2 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn names_with_and_without_prefix_numbers_and_real_time_signals_are_known() {
        for (text, expected) in [
            ("TERM", 15),
            ("SIGTERM", 15),
            ("sigkill", 9),
            ("9", 9),
            ("0", 0),
            ("64", 64),
            ("IOT", 6),
            ("SIGRTMIN", 34),
            ("RTMIN+3", 37),
            ("SIGRTMAX-1", 63),
        ] {
            assert_eq!(number(text).ok(), Some(expected), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in
            ["", "SIG", "65", "-1", "+1", "999999999999", "TERMINATE", "RTMIN+31", "RTMAX-31", "RTMIN-1", "RTMIN+", "1x", "\u{0661}"]
        {
            assert!(number(text).is_err(), "{text}");
        }
    }
}
