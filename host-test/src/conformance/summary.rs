//! Playing many cases on all processors, and the summary.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::{NamedCase, Subject, run};

/// The results of some cases.
#[derive(Debug, Default)]
pub struct Summary {
    /// The number of cases that passed.
    pub passed: usize,
    /// The number of cases that the subject cannot play, by reason.
    pub left_out: BTreeMap<&'static str, usize>,
    /// The failed cases, by name.
    pub failed: Vec<Failed>,
}

/// A case that failed.
#[derive(Debug)]
pub struct Failed {
    /// Its name.
    pub name: String,
    /// The differences, or the reason why it could not be played.
    pub error: anyhow::Error,
}

/// Play cases, one at a time on each processor. A case that cannot be read has failed.
pub fn run_all(subject: &Subject, files: &[NamedCase]) -> Summary {
    let (next, outcomes) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let work = || {
        loop {
            let nth = next.fetch_add(1, Ordering::Relaxed);
            let Some(file) = files.get(nth) else { return };
            let outcome = play(subject, file);
            outcomes.lock().unwrap_or_else(PoisonError::into_inner).insert(nth, outcome);
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(work);
        }
    });
    let outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut sum = Summary::default();
    for (file, outcome) in files.iter().zip(outcomes.into_values()) {
        match outcome {
            Ok(None) => sum.passed += 1,
            Ok(Some(why)) => *sum.left_out.entry(why).or_default() += 1,
            Err(error) => sum.failed.push(Failed { name: file.name.clone(), error }),
        }
    }
    sum
}

/// The reason why the case is left out, if it is.
fn play(subject: &Subject, file: &NamedCase) -> anyhow::Result<Option<&'static str>> {
    let case = file.read()?;
    let left_out = subject.cannot_play(&case);
    if left_out.is_none() {
        run(subject, &case)?;
    }
    Ok(left_out)
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FAILED {}: {:#}", self.name, self.error)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for failed in &self.failed {
            writeln!(f, "{failed}")?;
        }
        for (what, count) in &self.left_out {
            writeln!(f, "{count} left out: {what}")?;
        }
        write!(f, "{} passed, {} failed", self.passed, self.failed.len())
    }
}
