//! Many cases on all processors, and what came of them.

use std::fmt;
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::{CaseFile, Component, run};

/// What came of some cases.
#[derive(Debug, Default)]
pub struct Sum {
    /// How many did what they say.
    pub passed: usize,
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

/// Run cases, as many at once as there are processors. A file that cannot be read is a case that failed.
pub fn run_all(component: &Component, files: &[CaseFile]) -> Sum {
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((nth, file)) = {
            let nth = next.fetch_add(1, Ordering::Relaxed);
            files.get(nth).map(|file| (nth, file))
        } {
            if let Err(error) = file.read().and_then(|case| run(component, &case)) {
                let failure = (nth, Failed { name: file.name.clone(), error });
                failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(failure);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(work);
        }
    });
    let mut failed = failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    failed.sort_by_key(|(nth, _)| *nth);
    let failed: Vec<_> = failed.into_iter().map(|(_, failed)| failed).collect();
    Sum { passed: files.len() - failed.len(), failed }
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
        write!(f, "{} passed, {} failed", self.passed, self.failed.len())
    }
}
