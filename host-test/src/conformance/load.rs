//! Finding case files and reading them.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};

use super::Case;
use super::case::Step;

/// A file that holds one case.
#[derive(Clone, Debug)]
pub struct CaseFile {
    /// Its path below the directory of all cases, without `.json`: `imds/I01`.
    pub name: String,
    path: PathBuf,
}

/// The case files below a directory whose names hold a text, sorted by name.
///
/// # Errors
/// If the directory cannot be read.
pub fn find(directory: &Path, filter: &str) -> Result<Vec<CaseFile>> {
    let mut files = Vec::new();
    collect(directory, directory, &mut files)?;
    files.retain(|file| file.name.contains(filter));
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

fn collect(root: &Path, directory: &Path, files: &mut Vec<CaseFile>) -> Result<()> {
    let entries = std::fs::read_dir(directory)
        .with_context(|| format!("cannot list the cases in {}", directory.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "json") {
            let name = path.strip_prefix(root)?.with_extension("").to_string_lossy().into_owned();
            files.push(CaseFile { name, path });
        }
    }
    Ok(())
}

impl CaseFile {
    /// The case in the file.
    ///
    /// # Errors
    /// What cannot be read, by file and field.
    pub fn read(&self) -> Result<Case> {
        let file = self.path.display();
        let text = std::fs::read_to_string(&self.path).with_context(|| format!("cannot read {file}"))?;
        Case::parse(&text).with_context(|| format!("{file} is not a case"))
    }
}

impl Case {
    /// A case from its JSON.
    ///
    /// # Errors
    /// The field that is unknown or of the wrong form, and where.
    pub fn parse(json: &str) -> Result<Self> {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let case: Self = serde_path_to_error::deserialize(&mut deserializer)
            .map_err(|error| anyhow!("{}: {}", error.path(), error.inner()))?;
        deserializer.end()?;
        case.check()?;
        Ok(case)
    }

    /// Fields that contradict one another would hide a check.
    fn check(&self) -> Result<()> {
        let speaks_of_store = |step: &Step| step.store_stands.is_some() || step.store_happens.is_some();
        if !self.store && (!self.settings.is_empty() || self.steps.iter().any(speaks_of_store)) {
            bail!("settings, store-stands and store-happens need \"store\": true");
        }
        for (step, nth) in self.steps.iter().zip(1..) {
            if step.ask.is_some() && step.peek.is_some() {
                bail!("step {nth} has an ask and a peek, and one `then` for both; make it two steps");
            }
            if step.then.is_some() && step.ask.is_none() && step.peek.is_none() {
                bail!("step {nth} has a `then` and neither an ask nor a peek");
            }
            if step.then.iter().flatten().any(|then| then.is_error() && then.is_token()) {
                bail!("step {nth} has a `then` that expects both a token and an error");
            }
            for (exchange, entry) in step.http.iter().zip(1..) {
                if exchange.reply.body.is_some() && exchange.reply.raw.is_some() {
                    bail!("step {nth}, http entry {entry} has a body and a raw one");
                }
                exchange.reply.check().with_context(|| format!("step {nth}, http entry {entry}"))?;
            }
        }
        Ok(())
    }
}
