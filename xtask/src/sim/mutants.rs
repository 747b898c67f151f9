//! Mutations of the core, each of which the simulator must detect.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::{repo, say};

/// A change of the core, and the invariant that it violates
#[derive(Deserialize)]
struct Mutant {
    what: String,
    file: String,
    is: String,
    becomes: String,
    noticed: String,
}

/// Run the simulator on each mutant until a seed fails
pub(crate) fn run(seeds: u64) -> Result<ExitCode> {
    let mutants = read()?;
    let mut missed = 0;
    for mutant in &mutants {
        say::step(&mutant.what);
        let report = mutant.report(seeds)?;
        let noticed = report.as_ref().is_some_and(|line| line.contains(&mutant.noticed));
        missed += u32::from(!noticed);
        let verdict = if noticed { "detected" } else { "NOT DETECTED" };
        say::detail(&format!("{verdict}: {}", report.as_deref().unwrap_or("every seed passes")));
    }
    println!("{} detected, {missed} not", mutants.len() - missed as usize);
    Ok(if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read() -> Result<Vec<Mutant>> {
    let text = fs::read_to_string(repo::path(MUTANTS)).context(MUTANTS)?;
    let mut lists: BTreeMap<String, Vec<Mutant>> = toml::from_str(&text).context(MUTANTS)?;
    lists.remove("mutant").context(MUTANTS)
}

impl Mutant {
    fn occurs_once_in(&self, text: &str) -> bool {
        text.matches(&self.is).count() == 1
    }

    /// The line of the simulator on the first seed that fails, if one does
    fn report(&self, seeds: u64) -> Result<Option<String>> {
        let copy = repo::target("mutants");
        copy_of_the_core(&copy)?;
        let file = copy.join(&self.file);
        let text = fs::read_to_string(&file)?;
        ensure!(self.occurs_once_in(&text), "{} has not once: {}", self.file, self.is);
        fs::write(&file, text.replace(&self.is, &self.becomes))?;
        let mut command = super::command(seeds);
        command.current_dir(&copy).arg("--target-dir").arg(copy.join("target"));
        let output = command.arg("every_invariant").stderr(Stdio::piped()).output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let compiled = said.contains("running 1 test");
        ensure!(compiled, "it does not compile:\n{}", String::from_utf8_lossy(&output.stderr));
        Ok(said
            .lines()
            .find(|line| line.starts_with("seed ") && line.contains(" breaks "))
            .map(str::to_owned))
    }
}

/// The core and its simulator as a workspace of their own
fn copy_of_the_core(to: &Path) -> Result<()> {
    let mut manifest: toml::Table = fs::read_to_string(repo::path("Cargo.toml"))?.parse()?;
    let workspace = manifest.get_mut("workspace").and_then(toml::Value::as_table_mut);
    let workspace = workspace.context("Cargo.toml has no workspace")?;
    workspace.remove("members");
    workspace.remove("default-members");
    fs::create_dir_all(to)?;
    fs::write(to.join("Cargo.toml"), manifest.to_string())?;
    fs::copy(repo::path("Cargo.lock"), to.join("Cargo.lock"))?;
    for folder in ["src", "tests/sim", "crates/cipher"] {
        copy_folder(&repo::path(folder), &to.join(folder))?;
    }
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy_folder(&from, &to)?;
        } else {
            fs::copy(from, to)?;
        }
    }
    Ok(())
}

const MUTANTS: &str = "tests/sim/mutants.toml";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process;

    #[test]
    fn the_text_of_each_mutant_occurs_once() {
        for mutant in read().unwrap() {
            let text = fs::read_to_string(repo::path(&mutant.file)).unwrap();
            assert!(
                mutant.occurs_once_in(&text),
                "{}: {} has not once: {}",
                mutant.what,
                mutant.file,
                mutant.is
            );
        }
    }

    #[test]
    fn the_copy_of_the_core_is_a_workspace_that_cargo_can_load() {
        let copy = repo::target("tmp/copy-of-the-core");
        copy_of_the_core(&copy).unwrap();
        let mut metadata = process::cargo();
        metadata.args(["metadata", "--offline", "--no-deps", "--format-version", "1"]).current_dir(&copy);
        let output = metadata.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let members = String::from_utf8_lossy(&output.stdout);
        assert!(members.contains("token-broker-cipher"), "{members}");
    }
}
