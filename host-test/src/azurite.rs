//! Azure Storage as Microsoft emulates it, which checks issuer, audience and time of the tokens that it is shown.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;
use test_support::port::Port;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::certificate::{self, AUTHORITY, CERTIFICATE, PRIVATE_KEY};

/// A running blob service, whose blobs are gone with it
pub struct Azurite {
    folder: TempDir,
    port: Port,
    _process: Child,
}

impl Azurite {
    /// Start one, once `cargo xtask setup` has brought it, and wait until it listens
    ///
    /// # Errors
    /// When it is not there, or says something else.
    pub async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        certificate::write(folder.path())?;
        let port = Port::reserve()?;
        let mut process = serve(folder.path(), port.number())?;
        let mut lines = BufReader::new(process.stdout.take().context("a child without its pipe")?).lines();
        while let Some(line) = lines.next_line().await? {
            if line.contains("successfully listens on") {
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return Ok(Self { folder, port, _process: process });
            }
        }
        bail!("Azurite has ended")
    }

    /// Where it is; accounts are the first part of a path
    pub fn origin(&self) -> String {
        format!("https://localhost:{}", self.port.number())
    }

    /// The authority of its certificate
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join(AUTHORITY)
    }
}

fn serve(folder: &Path, port: u16) -> Result<Child> {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/azurite").canonicalize();
    let installed = installed.context("there is no Azurite; `cargo xtask setup` brings it")?;
    Ok(Command::new(installed.join("bin/node"))
        .arg(installed.join("node_modules/azurite/dist/src/blob/main.js"))
        .args(["--blobPort", &port.to_string(), "--oauth", "basic", "--inMemoryPersistence"])
        .args(["--cert", CERTIFICATE, "--key", PRIVATE_KEY, "--disableTelemetry", "--silent"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?)
}
