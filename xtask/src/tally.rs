//! Counts passed, failed and skipped tests and checks.
//!
//! From the summaries of libtest: cargo-nextest runs each test in a process of its own, and each would compile the component
//! again that a test program compiles once; nor does it run documentation tests.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::{process, say};

/// Counts of tests and checks
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Tally {
    pub(crate) fn check(&mut self, what: &str, check: impl FnOnce() -> Result<()>) {
        say::step(what);
        let began = Instant::now();
        let outcome = check();
        self.count(outcome.is_ok());
        report(outcome, began);
    }

    /// Run a program as a check, with its exit code as the outcome
    pub(crate) fn program(&mut self, command: &mut Command) {
        self.check(&process::line(command), || process::run(command));
    }

    /// Run a program that prints counts of tests; its output is printed as it comes
    pub(crate) fn tests(&mut self, command: &mut Command) {
        say::step(&process::line(command));
        let began = Instant::now();
        let before = *self;
        let outcome = self.count_output(command);
        if outcome.is_err() && self.failed == before.failed {
            // It did not compile, or it ended before it printed its counts.
            self.failed += 1;
        }
        report(outcome, began);
    }

    fn count_output(&mut self, command: &mut Command) -> Result<()> {
        let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| process::line(command))?;
        let output = child.stdout.take().context("the output was not piped")?;
        let mut returned = 0;
        for line in BufReader::new(output).split(b'\n') {
            let line = line.context("the output cannot be read")?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            self.add(counts(&line).unwrap_or_default());
            returned += u64::from(line.starts_with(SKIPPED));
        }
        // libtest knows no such outcome, and has counted each as passed.
        self.passed = self.passed.saturating_sub(returned);
        self.skipped += returned;
        std::io::stdout().flush()?;
        let status = child.wait().context("its end cannot be awaited")?;
        anyhow::ensure!(status.success(), "`{}` failed: {status}", process::line(command));
        Ok(())
    }

    pub(crate) fn count(&mut self, passed: bool) {
        match passed {
            true => self.passed += 1,
            false => self.failed += 1,
        }
    }

    pub(crate) fn skip(&mut self) {
        self.skipped += 1;
    }

    /// Whether exactly so many passed, and none failed or was skipped
    pub(crate) fn has_passed(self, count: usize) -> bool {
        self == Self { passed: count as u64, ..Self::default() }
    }

    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// Print the counts as the last line
    pub(crate) fn finish(self, strict: bool) -> ExitCode {
        println!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped);
        match self.failed > 0 || (strict && self.skipped > 0) {
            true => ExitCode::FAILURE,
            false => ExitCode::SUCCESS,
        }
    }
}

fn report(outcome: Result<()>, began: Instant) {
    match outcome {
        Ok(()) => say::done("ok", began),
        Err(error) => say::detail(&format!("FAILED: {error:#}")),
    }
}

/// The counts in a summary line, `test result: ok. 5 passed; 0 failed; 1 ignored` or `5 passed, 0 failed`
fn counts(line: &str) -> Option<Tally> {
    let summary =
        line.strip_prefix("test result:").and_then(|rest| rest.split_once(". ")).map_or(line, |(_, it)| it);
    let mut parts = summary.split([';', ',']).map(str::trim);
    let mut tally = Tally { passed: count_of(parts.next()?, &["passed"])?, ..Tally::default() };
    tally.failed = count_of(parts.next()?, &["failed"])?;
    tally.skipped = parts.next().and_then(|part| count_of(part, &["ignored", "skipped"])).unwrap_or(0);
    Some(tally)
}

fn count_of(part: &str, words: &[&str]) -> Option<u64> {
    let (count, word) = part.split_once(' ')?;
    words.contains(&word).then(|| count.parse().ok()).flatten()
}

/// The beginning of the line by which a test reports that it was skipped; `test_support::skip` writes it
const SKIPPED: &str = "skipped: ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_lines_of_both_kinds_are_counted() {
        let libtest = "test result: FAILED. 5 passed; 2 failed; 1 ignored; 0 measured; 9 filtered out; finished in 0.1s";

        assert_eq!(counts(libtest), Some(Tally { passed: 5, failed: 2, skipped: 1 }));
        assert_eq!(counts("12 passed, 0 failed"), Some(Tally { passed: 12, failed: 0, skipped: 0 }));
        assert_eq!(counts("1 passed, 2 failed, 3 skipped"), Some(Tally { passed: 1, failed: 2, skipped: 3 }));
    }

    #[test]
    fn other_lines_count_nothing() {
        assert_eq!(counts("test broker::tests::five_passed ... ok"), None);
        assert_eq!(counts("running 5 tests"), None);
        assert_eq!(counts(""), None);
    }

    #[test]
    fn a_test_that_says_that_it_did_nothing_is_skipped_and_not_passed() {
        let mut tally = Tally::default();
        let output = "skipped: arc: no directory\ntest result: ok. 3 passed; 0 failed; 0 ignored\n";

        tally.tests(Command::new("printf").arg(output));

        assert_eq!(tally, Tally { passed: 2, failed: 0, skipped: 1 });
    }

    #[test]
    fn a_program_that_dies_before_it_counts_is_one_failure() {
        let mut tally = Tally::default();

        tally.tests(&mut Command::new("false"));

        assert_eq!(tally, Tally { passed: 0, failed: 1, skipped: 0 });
    }
}
