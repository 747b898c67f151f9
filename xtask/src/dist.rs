//! `cargo xtask dist`: makes the files of a release, into `target/dist/`.
//!
//! The components with metadata for registries, a bill of materials for each, the contract as a WIT package, and the digests
//! of all of them.

mod materials;
mod metadata;

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use sha2::{Digest as _, Sha256};
use wit_parser::Resolve;

use crate::artefact::ARTEFACTS;
use crate::{build, process, repo, say};

use materials::Materials;

/// Metadata of the release
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The address of the source, for the metadata of the components
    #[arg(long, value_name = "URL")]
    source: Option<String>,
}

/// The metadata that all files of a release share
struct Release {
    version: &'static str,
    /// The commit
    revision: String,
    /// The time of the commit: the same commit makes the same files
    created: String,
    source: Option<String>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    build::everything()?;
    let failed = build::checks().iter().filter(|check| !build::report(check)).count();
    ensure!(failed == 0, "{failed} checks of the artefacts failed");
    say::step("dist");
    let files = release(options.source.clone())?;
    for (name, contents) in &files {
        say::detail(&format!("{name:<40}{:>8}", say::size(contents.len())));
    }
    Ok(ExitCode::SUCCESS)
}

/// Write the release of the artefacts that are built; its files by name
pub(crate) fn release(source: Option<String>) -> Result<BTreeMap<String, Vec<u8>>> {
    let release = Release::of_this_commit(source)?;
    let mut files = BTreeMap::from([("token-broker-identity.wasm".to_owned(), contract()?)]);
    for artefact in ARTEFACTS {
        let Some(about) = artefact.about else { continue };
        let component = release.describe(&artefact.read()?, artefact.name, about)?;
        let materials = Materials::of(artefact)?;
        let bill = materials.bill(&release, &artefact.file(), &digest(&component))?;
        files.insert(format!("{}.spdx.json", artefact.file()), bill);
        files.insert(artefact.file(), component);
    }
    let sums: String = files.iter().map(|(name, file)| format!("{}  {name}\n", digest(file))).collect();
    files.insert("SHA256SUMS".to_owned(), sums.into_bytes());
    write(&files)?;
    Ok(files)
}

impl Release {
    fn of_this_commit(source: Option<String>) -> Result<Self> {
        let clean = git(&["status", "--porcelain"])?.is_empty();
        let commit = git(&["rev-parse", "HEAD"])?;
        let created = git(&["log", "-1", "--date=format-local:%Y-%m-%dT%H:%M:%SZ", "--format=%cd"])?;
        let revision = if clean { commit } else { format!("{commit}+changes") };
        Ok(Self { version: env!("CARGO_PKG_VERSION"), revision, created, source })
    }
}

fn git(arguments: &[&str]) -> Result<String> {
    let said =
        process::output(Command::new("git").current_dir(repo::path("")).env("TZ", "UTC").args(arguments))?;
    Ok(said.trim().to_owned())
}

/// `wit/` as a WIT package for registries
fn contract() -> Result<Vec<u8>> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(repo::path("wit")).context("wit/ cannot be read")?;
    wit_component::encode(&resolve, package).context("wit/ cannot be encoded")
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Nothing of an earlier release stays.
fn write(files: &BTreeMap<String, Vec<u8>>) -> Result<()> {
    let folder = repo::target("dist");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    fs::create_dir_all(&folder)?;
    for (name, contents) in files {
        fs::write(folder.join(name), contents).with_context(|| format!("cannot write {name}"))?;
    }
    Ok(())
}
