//! The file system of a component: a temporary directory.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use super::content::Content;

/// The directory that the component sees as `/`.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new(files: &BTreeMap<String, Content>) -> Result<Self> {
        let directory = Self(tempfile::tempdir()?);
        directory.write(files)?;
        Ok(directory)
    }

    pub(crate) fn root(&self) -> &Path {
        self.0.path()
    }

    /// Replace all files.
    pub(crate) fn set(&self, files: &BTreeMap<String, Content>) -> Result<()> {
        for entry in fs::read_dir(self.root())? {
            fs::remove_dir_all(entry?.path())?;
        }
        self.write(files)
    }

    fn write(&self, files: &BTreeMap<String, Content>) -> Result<()> {
        for (name, content) in files {
            let Some(path) = name.strip_prefix('/') else { bail!("files: {name} is not an absolute path") };
            let path = self.root().join(path);
            let directory = path.parent().context("files: a file has a name")?;
            fs::create_dir_all(directory)?;
            content.put(&path).with_context(|| format!("files: cannot write {name}"))?;
        }
        Ok(())
    }
}

impl Content {
    fn put(&self, path: &Path) -> std::io::Result<()> {
        match self {
            Self::Raw(raw) => fs::write(path, raw.bytes()),
            Self::Filler { size } => fs::write(path, filler(*size)),
            Self::Link { link } => symlink(link, path),
        }
    }
}

/// A JWT with claims of zeros.
fn filler(size: usize) -> String {
    let (header, signature) = ("eyJhbGciOiJSUzI1NiJ9.", ".c2ln");
    let zeros = size.saturating_sub(header.len() + signature.len());
    format!("{header}{}{signature}", "A".repeat(zeros))
}
