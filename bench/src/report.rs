//! The table, and whether every promise was kept.

use std::fmt::Display;
use std::process::ExitCode;

/// Prints each figure when it is known.
pub(crate) struct Report {
    broken: usize,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self { broken: 0 }
    }

    pub(crate) fn section(&mut self, title: &str) {
        println!("\n{title}");
    }

    /// A figure without a promise.
    pub(crate) fn figure(&mut self, what: &str, value: f64, unit: &str) {
        println!("  {what:<58}{value:>10.2} {unit}");
    }

    /// A figure that the design promises to be at most `limit`.
    pub(crate) fn promise(&mut self, what: &str, value: f64, limit: f64, unit: &str) {
        let kept = value <= limit;
        self.broken += usize::from(!kept);
        let verdict = if kept { "ok" } else { "MISSED" };
        println!("  {what:<58}{value:>10.2} {unit:<5} at most {limit:<7} {verdict}");
    }

    /// What the figures of the rows that follow are.
    pub(crate) fn columns(&mut self, names: &[&str]) {
        self.row("", names);
    }

    /// A figure for each of the columns.
    pub(crate) fn row(&mut self, what: &str, cells: &[impl Display]) {
        let cells: String = cells.iter().map(|cell| format!("{cell:>16}")).collect();
        println!("  {what:<20}{cells}");
    }

    pub(crate) fn skip(&mut self, what: &str, why: &str) {
        println!("  {what:<58}   skipped: {why}");
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self.broken {
            0 => ExitCode::SUCCESS,
            broken => {
                println!("\n{broken} promised figures were missed");
                ExitCode::FAILURE
            }
        }
    }
}
