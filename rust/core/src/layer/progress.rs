//! How far a copy or a commit is, told to whoever asked for it: in the thread that copies, at a pace, and once at the end.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use nix::errno::Errno;

/// Called with the entries and the bytes of content written so far. `Break` ends the operation, with ECANCELED.
pub type OnProgress<'a> = dyn Fn(u64, u64) -> ControlFlow<()> + 'a;

/// From the end of one call to the next.
const PACE: Duration = Duration::from_millis(100);

pub(super) struct Progress<'a> {
    entries: u64,
    bytes: u64,
    on_progress: Option<&'a OnProgress<'a>>,
    pace: Duration,
    /// When the last call returned.
    told: Option<Instant>,
}

impl<'a> Progress<'a> {
    pub fn new(on_progress: Option<&'a OnProgress<'a>>) -> Self {
        Progress { entries: 0, bytes: 0, on_progress, pace: PACE, told: None }
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// For one more file, directory, link or whiteout that is done. Errors: ECANCELED.
    pub fn entry(&mut self) -> Result<(), Errno> {
        self.entries += 1;
        self.tell_when_due()
    }

    /// For so many bytes that are written next: whoever is told now is told of those before. Errors: ECANCELED.
    pub fn content(&mut self, count: u64) -> Result<(), Errno> {
        self.tell_when_due()?;
        self.bytes += count;
        Ok(())
    }

    /// Tells the totals: to be called while the operation can still be undone. Errors: ECANCELED.
    pub fn finish(&self) -> Result<(), Errno> {
        match self.on_progress.map(|on_progress| on_progress(self.entries, self.bytes)) {
            Some(ControlFlow::Break(())) => Err(Errno::ECANCELED),
            Some(ControlFlow::Continue(())) | None => Ok(()),
        }
    }

    fn tell_when_due(&mut self) -> Result<(), Errno> {
        if self.on_progress.is_none() || self.told.is_some_and(|told| told.elapsed() < self.pace) {
            return Ok(());
        }
        self.finish()?;
        self.told = Some(Instant::now());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn told_at(pace: Duration) -> Vec<(u64, u64)> {
        let told = RefCell::new(Vec::new());
        let on_progress = |entries, bytes| {
            told.borrow_mut().push((entries, bytes));
            ControlFlow::Continue(())
        };
        let mut progress = Progress { pace, ..Progress::new(Some(&on_progress)) };
        progress.entry().unwrap();
        progress.content(10).unwrap();
        progress.content(5).unwrap();
        progress.entry().unwrap();
        progress.finish().unwrap();
        told.into_inner()
    }

    #[test]
    fn the_first_and_the_last_are_told_and_between_them_what_the_pace_allows() {
        assert_eq!(told_at(Duration::MAX), [(1, 0), (2, 15)]);
        assert_eq!(told_at(Duration::ZERO), [(1, 0), (1, 0), (1, 10), (2, 15), (2, 15)]);
    }

    #[test]
    fn who_is_told_can_end_it() {
        let mut progress = Progress::new(Some(&|_, _| ControlFlow::Break(())));
        assert_eq!(progress.content(1), Err(Errno::ECANCELED));
        assert_eq!(progress.entry(), Err(Errno::ECANCELED));
        assert_eq!(progress.finish(), Err(Errno::ECANCELED));
    }
}
