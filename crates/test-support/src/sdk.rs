//! Azure's SDKs for Python and for Node.js as clients: scripts that run in processes of their own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

/// One of Azure's SDKs; `cargo xtask setup` installs both
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sdk {
    /// azure-identity
    Python,
    /// @azure/identity
    Node,
}

impl Sdk {
    /// Both
    pub const ALL: [Self; 2] = [Self::Python, Self::Node];

    /// The interpreter that has the SDK
    pub fn program(self) -> PathBuf {
        root().join("../../target").join(match self {
            Self::Python => "venv/bin/python",
            Self::Node => "node/bin/node",
        })
    }

    /// A script of the folder `sdk`, with an empty environment; each SDK has its own of most names
    pub fn script(self, name: &str) -> Command {
        let mut command = Command::new(self.program());
        command.arg(root().join("sdk").join(name).with_extension(match self {
            Self::Python => "py",
            Self::Node => "mjs",
        }));
        command.env_clear();
        command
    }

    /// The variable that names a file with a certificate authority to trust
    pub fn authority_variable(self) -> &'static str {
        match self {
            Self::Python => "REQUESTS_CA_BUNDLE",
            Self::Node => "NODE_EXTRA_CA_CERTS",
        }
    }
}

/// Run a script, and read the JSON that it prints
///
/// # Errors
/// When it cannot be started, does not end within a minute, fails, or prints something else.
pub async fn run(script: &mut Command) -> Result<Value> {
    let program = script.as_std().get_program().display().to_string();
    let output = script.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(DEADLINE, output).await.context("the script does not end")?;
    let output = output.with_context(|| format!("{program} is missing; fix: cargo xtask setup"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the script failed: {errors}");
    serde_json::from_slice(&output.stdout).with_context(|| errors.into_owned())
}

/// Files of a program under test, among them the certificate authority that it trusts
pub struct Files(TempDir);

impl Files {
    /// Write the authority, given as PEM
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn new(authority: &str) -> Result<Self> {
        let files = Self(tempfile::tempdir()?);
        fs::write(files.authority(), authority)?;
        Ok(files)
    }

    /// The file with the authority
    pub fn authority(&self) -> PathBuf {
        self.0.path().join("ca.pem")
    }

    /// The variables by which token-broker and the SDK for Python trust it
    pub fn trust(&self) -> Vec<(&'static str, String)> {
        let authority = self.authority().display().to_string();
        vec![(Sdk::Python.authority_variable(), authority.clone()), ("SSL_CERT_FILE", authority)]
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

const DEADLINE: Duration = Duration::from_secs(60);
