//! The machine, the date and the commit of a run.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::report::print_block;

pub(crate) fn print() -> Result<()> {
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    // On arm64 it names none.
    let model = model.map_or(std::env::consts::ARCH, |(_, model)| model);
    let cores = std::thread::available_parallelism()?;
    let system = output("uname", &["-sr"])?;
    // Without the name that a distribution gives to its build
    let system = system.split('-').next().unwrap_or_default();
    let date = output("date", &["-u", "+%-d %B %Y"])?;
    let commit = output("git", &["describe", "--always", "--dirty=, with changes", "--exclude=*"])?;
    print_block("machine", &format!("{model}, {cores} cores, {system}; {date}; commit {commit}."));
    Ok(())
}

fn output(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let output = output.with_context(|| format!("cannot run {program}"))?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
