//! The machine of a page's reader: a folder, and the programs that the page requires.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use super::Shell;

/// A folder of its own for each page; it is gone when dropped.
pub struct Stage {
    root: TempDir,
    folder: PathBuf,
}

impl Stage {
    /// A folder with these files of `target/components/`, which a reader has downloaded
    ///
    /// # Errors
    /// One is not built, or the system does not let us.
    pub fn with(artefacts: &[&str]) -> Result<Self> {
        let stage = Self::at("work")?;
        for name in artefacts {
            symlink(crate::hosts::artefact(name)?.canonicalize()?, stage.folder.join(name))?;
        }
        // Kept from run to run, so that the dependencies of a page's program are compiled once.
        let kept = target().join("quickstarts");
        std::fs::create_dir_all(&kept)?;
        symlink(kept, stage.folder.join("target"))?;
        // The crates of this project are in no registry yet, and those of others are the ones that the lock file names.
        std::fs::copy(repository().join("Cargo.lock"), stage.folder.join("Cargo.lock"))?;
        std::fs::create_dir(stage.root.path().join(".cargo"))?;
        let patch = format!(
            "[patch.crates-io]\ntoken-broker-client = {{ path = {:?} }}\n",
            repository().join("crates/client")
        );
        std::fs::write(stage.root.path().join(".cargo/config.toml"), patch)?;
        Ok(stage)
    }

    /// A clone of the repository in which `cargo xtask build` was run, and the shell in one of the examples
    ///
    /// # Errors
    /// There is no such example, or the system does not let us.
    pub fn in_example(name: &str) -> Result<Self> {
        let mut stage = Self::in_clone()?;
        stage.folder = stage.folder.join("examples").join(name);
        ensure!(stage.folder.is_dir(), "there is no example {name}");
        Ok(stage)
    }

    /// The same at the root of the clone
    ///
    /// # Errors
    /// The system does not let us.
    pub fn in_clone() -> Result<Self> {
        let stage = Self::at("token-broker")?;
        copy(&repository().join("examples"), &stage.folder.join("examples"))?;
        for shared in ["target", "wit"] {
            symlink(repository().join(shared), stage.folder.join(shared))?;
        }
        Ok(stage)
    }

    /// A program that the page calls and that cannot do its work here, in which a script stands in for it. `$TARGET` is
    /// the build's folder.
    ///
    /// # Errors
    /// The system does not let us.
    pub fn stand_in(self, program: &str, script: &str) -> Result<Self> {
        let file = self.root.path().join("bin").join(program);
        std::fs::write(&file, format!("#!/bin/sh\nTARGET='{}'\n{script}\n", target().display()))?;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755))?;
        Ok(self)
    }

    /// The folder in which the page's commands are typed
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the page's commands are typed
    ///
    /// # Errors
    /// There is no bash.
    pub fn shell(&self) -> Result<Shell> {
        self.shell_with_bound(LONGEST)
    }

    /// The same with another limit for each command
    ///
    /// # Errors
    /// There is no bash.
    pub fn shell_with_bound(&self, bound: Duration) -> Result<Shell> {
        let path = std::env::var("PATH").unwrap_or_default();
        let brought = ["release", "hosts/bin", "wac/bin"].map(|folder| target().join(folder));
        let brought = std::iter::once(self.root.path().join("bin")).chain(brought);
        let path = std::env::join_paths(brought.chain(std::env::split_paths(&path)))?;
        let home = std::env::var("HOME").unwrap_or_default();
        let kept =
            |name: &str, folder: &str| std::env::var(name).unwrap_or_else(|_| format!("{home}/{folder}"));
        let variables = [
            ("PATH", path.into_string().ok().context("PATH is not UTF-8")?),
            ("HOME", self.root.path().display().to_string()),
            // Compiled once for all pages.
            ("XDG_CACHE_HOME", target().join("tmp/cache-of-user").display().to_string()),
            ("CARGO_HOME", kept("CARGO_HOME", ".cargo")),
            ("RUSTUP_HOME", kept("RUSTUP_HOME", ".rustup")),
            ("CARGO_NET_OFFLINE", "true".to_owned()),
            // News of their own releases are not what a page shows.
            ("NPM_CONFIG_UPDATE_NOTIFIER", "false".to_owned()),
            ("PIP_DISABLE_PIP_VERSION_CHECK", "1".to_owned()),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value));
        Shell::start(&self.folder, variables, bound)
    }

    fn at(folder: &str) -> Result<Self> {
        ensure!(target().join("release/token-broker").exists(), "{MISSING}");
        let root = tempfile::tempdir()?;
        let folder = root.path().join(folder);
        std::fs::create_dir_all(&folder)?;
        std::fs::create_dir(root.path().join("bin"))?;
        Ok(Self { root, folder })
    }
}

fn repository() -> PathBuf {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    above.canonicalize().unwrap_or(above)
}

fn target() -> PathBuf {
    repository().join("target")
}

/// Without the results of the same commands in the example itself
fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let (name, to) = (entry.file_name(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if LEFT_OUT.iter().any(|out| name == *out) {
            continue;
        } else if kind.is_symlink() {
            symlink(std::fs::read_link(entry.path())?, to)?;
        } else if kind.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            std::fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

const LEFT_OUT: [&str; 6] = [".spin", ".venv", "__pycache__", "broker", "node_modules", "target"];
/// A component is compiled by the first command, and a program by some.
const LONGEST: Duration = Duration::from_secs(300);
const MISSING: &str =
    "token-broker is missing; fix: cargo build --release -p token-broker-cli -p mock-identity";
