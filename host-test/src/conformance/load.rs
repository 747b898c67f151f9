//! Finding cases and reading them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};

use super::Case;
use super::case::Step;
use super::source::{Sources, parse};

/// A case by its name, not read yet.
#[derive(Clone, Debug)]
pub struct NamedCase {
    /// Its path below the directory of all cases, without `.json`: `imds/I01`.
    pub name: String,
    origin: Origin,
}

#[derive(Clone, Debug)]
enum Origin {
    /// A file of its own.
    File(PathBuf, Arc<Sources>),
    /// The table of bad answers.
    Table(Box<Case>),
}

/// The cases below a directory whose names hold a text, sorted by name.
///
/// # Errors
/// If the directory cannot be read, or a description of a source or the table of bad answers cannot be used.
pub fn find(directory: &Path, filter: &str) -> Result<Vec<NamedCase>> {
    let mut files = Vec::new();
    collect(directory, directory, &mut files)?;
    let mut sources = Sources::default();
    for (name, path) in &files {
        if let Some(area) = name.strip_suffix(DESCRIPTION) {
            sources.add(area.to_owned(), path)?;
        }
    }
    let table = files.iter().find(|(name, _)| name == TABLE).map(|(_, path)| sources.cases(path));
    let table = table.transpose()?.unwrap_or_default().into_iter();
    let sources = Arc::new(sources);
    let own = files.into_iter().filter(|(name, _)| !name.ends_with(DESCRIPTION) && name != TABLE);
    let own = own.map(|(name, path)| NamedCase { name, origin: Origin::File(path, Arc::clone(&sources)) });
    let of_table = table.map(|(name, case)| NamedCase { name, origin: Origin::Table(Box::new(case)) });
    let mut cases: Vec<_> = own.chain(of_table).filter(|case| case.name.contains(filter)).collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(pair) = cases.windows(2).find(|pair| pair[0].name == pair[1].name) {
        bail!("{} is a file and a row of the table", pair[0].name);
    }
    Ok(cases)
}

fn collect(root: &Path, directory: &Path, files: &mut Vec<(String, PathBuf)>) -> Result<()> {
    let entries = std::fs::read_dir(directory)
        .with_context(|| format!("cannot list the cases in {}", directory.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "json") {
            let name = path.strip_prefix(root)?.with_extension("").to_string_lossy().into_owned();
            files.push((name, path));
        }
    }
    Ok(())
}

impl NamedCase {
    /// The case, completed from the description of its source.
    ///
    /// # Errors
    /// If the file cannot be read, is not a case, or names a source without a description.
    pub fn read(&self) -> Result<Case> {
        match &self.origin {
            Origin::File(path, sources) => {
                let file = path.display();
                let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {file}"))?;
                let case = parse(&text).and_then(|case| sources.complete(case));
                let case = case.and_then(|case| case.checked(path.file_stem().and_then(OsStr::to_str)));
                case.with_context(|| format!("{file} is not a case"))
            }
            Origin::Table(case) => {
                case.as_ref().clone().checked(None).with_context(|| format!("{} of {TABLE}.json", self.name))
            }
        }
    }
}

impl Case {
    /// A case from its JSON.
    ///
    /// # Errors
    /// If it is not a case; the error names the place of the field.
    pub fn parse(json: &str) -> Result<Self> {
        parse::<Self>(json)?.checked(None)
    }

    fn checked(self, name: Option<&str>) -> Result<Self> {
        if let (Some(id), Some(name)) = (&self.id, name) {
            ensure!(id == name, "its id is {id}, and the name of its file is {name}");
        }
        self.check().map(|()| self)
    }

    /// Refuse fields that contradict each other: they would hide a check.
    fn check(&self) -> Result<()> {
        ensure!(self.source.is_none(), "nothing describes its source");
        let uses_store = |step: &Step| step.store_condition.is_some() || step.store_change.is_some();
        if !self.store && (!self.settings.is_empty() || self.steps.iter().any(uses_store)) {
            bail!("settings, store-condition and store-change need \"store\": true");
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
                if exchange.request.is_some() {
                    bail!("step {nth}, http entry {entry} is a request of no source");
                }
                if exchange.reply.token.is_some() {
                    let why = "which needs a source and no body but fields";
                    bail!("step {nth}, http entry {entry} has a token, {why}");
                }
                exchange.reply.check().with_context(|| format!("step {nth}, http entry {entry}"))?;
            }
        }
        Ok(())
    }
}

/// The end of the name of a description, behind its area.
const DESCRIPTION: &str = "/source";
/// The name of the table of bad answers.
const TABLE: &str = "bad-answers";
