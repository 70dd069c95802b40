//! Signals that the calling program handles by itself: what a wait asks when one has interrupted it.
//!
//! Python turns Ctrl-C into an exception, but only once it runs again: so it says how it is asked (`ask_by`), and every wait of the core that
//! another process can make endless ends with `Interrupted` where the answer is yes. Who says nothing (the command's quick verbs) keeps the
//! kernel's own dispositions.

use std::sync::OnceLock;
use std::time::Duration;

use crate::error::{Error, Kind, Result};

static ASKED: OnceLock<fn() -> bool> = OnceLock::new();

/// How long such a wait may take in one piece: a signal that came right before it has interrupted nothing, and is asked about after this.
pub const PIECE: Duration = Duration::from_millis(500);

/// Sets, once, who knows whether a wait is to be given up. It is called in the thread that waits.
pub fn ask_by(wanted: fn() -> bool) {
    ASKED.get_or_init(|| wanted);
}

/// For a wait that was interrupted (EINTR), or has taken a `PIECE`. Errors: `Interrupted` where it is to be given up.
pub fn check(operation: &str) -> Result<()> {
    match ASKED.get() {
        Some(wanted) if wanted() => Err(Error::new(Kind::Interrupted, operation)),
        _ => Ok(()),
    }
}
