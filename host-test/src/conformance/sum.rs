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
    /// The others, in the order of their files.
    pub failed: Vec<Failed>,
    /// How many cannot be played to it, by the reason.
    pub left_out: BTreeMap<&'static str, usize>,
}

/// A case that failed.
#[derive(Debug)]
pub struct Failed {
    /// The name of its file.
    pub name: String,
    /// Why.
    pub error: anyhow::Error,
}

/// Run cases, as many at once as there are processors. A file that cannot be read is a case that failed.
pub fn run_all(subject: &Subject, files: &[CaseFile]) -> Sum {
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let left_out = Mutex::new(BTreeMap::new());
    let work = || {
        while let Some((nth, file)) = {
            let nth = next.fetch_add(1, Ordering::Relaxed);
            files.get(nth).map(|file| (nth, file))
        } {
            let outcome = file.read().and_then(|case| match subject.cannot_play(&case) {
                Some(why) => {
                    *left_out.lock().unwrap_or_else(PoisonError::into_inner).entry(why).or_default() += 1;
                    Ok(())
                }
                None => run(subject, &case),
            });
            if let Err(error) = outcome {
                let failure = (nth, Failed { name: file.name.clone(), error });
                failed.lock().unwrap_or_else(PoisonError::into_inner).push(failure);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(work);
        }
    });
    let mut failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.sort_by_key(|(nth, _)| *nth);
    let failed: Vec<_> = failed.into_iter().map(|(_, failed)| failed).collect();
    let left_out = left_out.into_inner().unwrap_or_else(PoisonError::into_inner);
    Sum { passed: files.len() - failed.len() - left_out.values().sum::<usize>(), failed, left_out }
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
        for (why, count) in &self.left_out {
            writeln!(f, "{count:>4} not played: {why}")?;
        }
        write!(f, "{} passed, {} failed", self.passed, self.failed.len())
    }
}
