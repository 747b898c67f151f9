//! `cargo xtask bench`: measures, and writes the tables of docs/benchmarks.md.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::builder::PossibleValuesParser;

use crate::setup::{self, Tool};
use crate::{build, process, repo, say};

/// The sections to measure, and where the tables go
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The sections; all of them by default
    #[arg(value_name = "SECTION", value_parser = PossibleValuesParser::new(SECTIONS))]
    sections: Vec<String>,
    /// Write the tables into docs/benchmarks.md, provided that everything was measured and every limit met
    #[arg(long, conflicts_with = "sections")]
    update_docs: bool,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    build::everything()?;
    say::step("build: the command and the benchmark");
    let programs = ["build", "-p", "token-broker-cli", "-p", "host-test", "-p", "bench"];
    process::run(process::cargo().args(programs).args(OPTIMISED))?;
    peers();
    say::step("bench");
    let began = Instant::now();
    let mut bench = process::cargo();
    bench.args(["run", "--quiet", "-p", "bench"]).args(OPTIMISED).arg("--").args(&options.sections);
    // wasmtime makes errors that nobody sees, and with this on takes a backtrace for each.
    bench.env("RUST_BACKTRACE", "0");
    let tables = measure(&mut bench)?;
    say::done("bench", began);
    if options.update_docs {
        let page = std::fs::read_to_string(repo::path(PAGE))?;
        process::write_if_changed(&repo::path(PAGE), updated(&page, &tables)?.as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Install the peers of the comparison; the benchmark reports those that are missing.
fn peers() {
    use Tool::{Hosts, Jco, NodeSdk, PythonSdk, Redis, Wrk};
    setup::install(&[PythonSdk, NodeSdk, Jco, Hosts, Redis, Wrk]);
    say::step("build: azure_identity for Rust, a peer");
    let mut peer = process::cargo();
    peer.args(["build", "--release", "--locked", "--manifest-path", PEER]);
    if let Err(error) = process::run(peer.arg("--target-dir").arg(repo::target("peer"))) {
        say::detail(&format!("without this peer: {error:#}"));
    }
}

/// Run it, show its output as it comes, and return it
fn measure(bench: &mut Command) -> Result<String> {
    let mut child = bench.stdout(Stdio::piped()).spawn().context("cannot run the benchmark")?;
    let stdout = child.stdout.take().context("a child without its pipe")?;
    let mut output = String::new();
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        println!("{line}");
        output.push_str(&line);
        output.push('\n');
    }
    let status = child.wait()?;
    ensure!(status.success(), "the benchmark failed: {status}");
    Ok(output)
}

/// The page with the tables of a run; each table has its place, and each place its table
fn updated(page: &str, output: &str) -> Result<String> {
    let mut tables = BTreeMap::new();
    with_tables(output, |name, table| {
        tables.insert(name.to_owned(), table.to_owned());
        Ok(String::new())
    })?;
    let page = with_tables(page, |name, _| tables.remove(name).with_context(|| format!("no table {name}")))?;
    match tables.keys().next() {
        None => Ok(page),
        Some(name) => bail!("{PAGE} has no place for the table {name}"),
    }
}

/// A text with other tables: each begins after a marker with its name, and ends at an empty line
fn with_tables(text: &str, mut other: impl FnMut(&str, &str) -> Result<String>) -> Result<String> {
    let (mut result, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once(BEGIN) {
        let (name, after) = after.split_once(" -->\n").context("a marker without its end")?;
        let end = after.find("\n\n").unwrap_or(after.len());
        let (table, after) = after.split_at(end);
        result.push_str(&format!("{before}{BEGIN}{name} -->\n{}", other(name, table)?));
        rest = after;
    }
    result.push_str(rest);
    Ok(result)
}

/// Those of the benchmark, which takes minutes to build
const SECTIONS: [&str; 9] =
    ["tokens", "federation", "stampede", "endpoint", "injector", "sharing", "hosts", "envoy", "size"];
const PAGE: &str = "docs/benchmarks.md";
const BEGIN: &str = "<!-- bench: ";
/// The fleet of host-test is not optimised for tests; here its time is part of the figures.
const OPTIMISED: [&str; 3] = ["--release", "--config", "profile.release.package.host-test.opt-level=3"];
const PEER: &str = "bench/peers/azure-identity/Cargo.toml";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_table_of_a_run_replaces_the_one_of_its_name() {
        let page = "# Page\n\n<!-- bench: a -->\nold\n\ntext\n\n<!-- bench: b -->\nold\nold\n\nend\n";
        let output = "<!-- bench: b -->\n2\n\n<!-- bench: a -->\n1\n\n";

        assert_eq!(
            updated(page, output).unwrap(),
            "# Page\n\n<!-- bench: a -->\n1\n\ntext\n\n<!-- bench: b -->\n2\n\nend\n"
        );
    }

    #[test]
    fn a_table_without_a_place_and_a_place_without_a_table_are_errors() {
        let a = "<!-- bench: a -->\n1\n\n";

        assert_eq!(
            updated("", a).unwrap_err().to_string(),
            "docs/benchmarks.md has no place for the table a"
        );
        assert_eq!(updated(a, "").unwrap_err().to_string(), "no table a");
    }

    #[test]
    fn the_page_has_a_place_for_every_section() {
        let page = std::fs::read_to_string(repo::path(PAGE)).unwrap();
        let mut places = Vec::new();
        with_tables(&page, |name, _| {
            places.push(name.to_owned());
            Ok(String::new())
        })
        .unwrap();

        assert_eq!(
            places,
            [
                "machine",
                "tokens",
                "federation",
                "stampede",
                "endpoint",
                "injector",
                "sharing",
                "hosts",
                "envoy",
                "size"
            ]
        );
    }
}
