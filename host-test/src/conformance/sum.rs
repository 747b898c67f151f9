//! Many cases on all processors, and what came of them.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::{CaseFile, Subject, run};

/// What came of some cases.
#[derive(Debug, Default)]
pub struct Sum {
    /// How many did what they say.
    pub passed: usize,
    /// How many were not played, by what they need and this component cannot have.
    pub left_out: BTreeMap<&'static str, usize>,
    /// The others, in the order of their files.
    pub failed: Vec<Failed>,
}

/// A case that failed.
#[derive(Debug)]
pub struct Failed {
    /// The name of its file.
    pub name: String,
    /// Why.
    pub error: anyhow::Error,
}

enum Outcome {
    Passed,
    LeftOut(&'static str),
    Failed(anyhow::Error),
}

/// Run cases, as many at once as there are processors. A file that cannot be read is a case that failed.
pub fn run_all(subject: &Subject, files: &[CaseFile]) -> Sum {
    let (next, outcomes) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let work = || {
        while let Some((nth, file)) = {
            let nth = next.fetch_add(1, Ordering::Relaxed);
            files.get(nth).map(|file| (nth, file))
        } {
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
    let mut sum = Sum::default();
    for (file, outcome) in files.iter().zip(outcomes.into_values()) {
        sum.add(file, outcome);
    }
    sum
}

fn play(subject: &Subject, file: &CaseFile) -> Outcome {
    let case = match file.read() {
        Ok(case) => case,
        Err(error) => return Outcome::Failed(error),
    };
    match subject.cannot_play(&case) {
        Some(what) => Outcome::LeftOut(what),
        None => run(subject, &case).map_or_else(Outcome::Failed, |()| Outcome::Passed),
    }
}

impl Sum {
    fn add(&mut self, file: &CaseFile, outcome: Outcome) {
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::LeftOut(what) => *self.left_out.entry(what).or_default() += 1,
            Outcome::Failed(error) => self.failed.push(Failed { name: file.name.clone(), error }),
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FAILED {}: {:#}", self.name, self.error)
    }
}

impl fmt::Display for Sum {
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
