//! Azure's SDKs for Python and for Node as clients of the [`mock`](crate::mock), in processes of their own.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use tokio::process::Command;

use crate::mock::{Environment, Mock};

/// The Python that has the SDK, once `cargo xtask setup` was run
pub fn python() -> PathBuf {
    root().join("../target/venv/bin/python")
}

/// The Node that has the SDK, once `cargo xtask setup` was run
pub fn node() -> PathBuf {
    root().join("../target/node/bin/node")
}

/// A script of the directory `sdk`, run with nothing of this environment in its own
pub fn script(name: &str) -> Command {
    let mut command = Command::new(if name.ends_with(".mjs") { node() } else { python() });
    command.arg(root().join("sdk").join(name)).env_clear();
    command
}

/// What a program that is pointed at the mock finds in files: whom it trusts, and with what it proves itself
pub struct Files(TempDir);

impl Files {
    /// Those of a program that trusts the mock's TLS listener
    ///
    /// # Errors
    /// When the mock has no such listener, or the files cannot be written.
    pub fn new(mock: &Mock) -> Result<Self> {
        let files = Self(tempfile::tempdir()?);
        fs::write(files.authority(), mock.ca_pem().context("the mock does not listen with TLS")?)?;
        Ok(files)
    }

    /// The certificate authority of the mock's TLS listener
    pub fn authority(&self) -> PathBuf {
        self.0.path().join("ca.pem")
    }

    /// The variables by which a program trusts that authority
    pub fn trust(&self) -> Environment {
        let authority = self.authority().display().to_string();
        vec![("REQUESTS_CA_BUNDLE", authority.clone()), ("SSL_CERT_FILE", authority)]
    }

    /// Write another file beside it
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, content: &str) -> Result<PathBuf> {
        let file = self.0.path().join(name);
        fs::write(&file, content)?;
        Ok(file)
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
