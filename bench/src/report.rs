//! The tables of docs/benchmarks.md, and the failures of a run.

use std::process::ExitCode;

/// Collects limits that were missed, and peers that are missing.
#[derive(Default)]
pub(crate) struct Report {
    failures: Vec<String>,
}

impl Report {
    /// A limit that only a regression exceeds.
    pub(crate) fn at_most(&mut self, what: &str, value: f64, limit: f64) {
        if value > limit {
            self.failures.push(format!("{what}: {value:.2}, more than {limit}"));
        }
    }

    /// The same for figures of which more is better.
    pub(crate) fn at_least(&mut self, what: &str, value: f64, limit: f64) {
        if value < limit {
            self.failures.push(format!("{what}: {value:.2}, less than {limit}"));
        }
    }

    /// Something that could not be measured.
    pub(crate) fn missing(&mut self, what: &str, fix: &str) {
        eprintln!("missing: {what}; fix: {fix}");
        self.failures.push(format!("{what} is missing"));
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        for failure in &self.failures {
            eprintln!("failed: {failure}");
        }
        if self.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// A table in Markdown; all columns but the first are numbers.
pub(crate) struct Table {
    name: &'static str,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(name: &'static str, columns: &[&str]) -> Self {
        Self { name, rows: vec![columns.iter().map(|&column| column.to_owned()).collect()] }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Print it after the marker by which `cargo xtask bench --update-docs` finds its place.
    pub(crate) fn print(&self) {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let mut rows = self.rows.iter();
        let header = rows.next().map(Vec::as_slice).unwrap_or_default();
        let mut text = line(header);
        text.push_str(&format!("|---{}|\n", "|---:".repeat(header.len().saturating_sub(1))));
        rows.for_each(|row| text.push_str(&line(row)));
        print_block(self.name, text.trim_end());
    }
}

pub(crate) fn print_block(name: &str, text: &str) {
    println!("<!-- bench: {name} -->\n{text}\n");
}

/// The cell of something that does not apply.
pub(crate) fn none() -> String {
    "–".to_owned()
}
