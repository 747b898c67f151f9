//! wasmCloud as a process: `wash dev`, which serves a workload.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::envoy::send;
use crate::hosts;

/// A wasmCloud that runs; it ends when dropped
pub struct Wash {
    folder: TempDir,
    process: Child,
    address: String,
}

impl Wash {
    /// Start one with this configuration, but for the keys `build` and `dev.address`, and wait until it serves. In it,
    /// `COMPONENTS` is the folder of the built components.
    ///
    /// # Errors
    /// When there is no `wash`, or it refuses the configuration; then with its log.
    pub async fn start(config: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        fs::create_dir(folder.path().join(".wash"))?;
        let components = hosts::components();
        let config = config.replace("COMPONENTS", &components.display().to_string());
        let config = config.replacen("dev:\n", "dev:\n  address: 127.0.0.1:0\n", 1);
        fs::write(
            folder.path().join(".wash/config.yaml"),
            format!("build: {{command: \"true\"}}\n{config}"),
        )?;
        let log = fs::File::create(folder.path().join("log"))?;
        let mut command = Command::new(hosts::wash());
        command.args(["--non-interactive", "-C"]).arg(folder.path()).arg("dev");
        command.env("HOME", folder.path()).env("NO_COLOR", "1");
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        let process = command.spawn().context("there is no wash; fix: cargo xtask setup hosts")?;
        let mut wash = Self { folder, process, address: String::new() };
        wash.until_ready().await?;
        Ok(wash)
    }

    /// The port is open before the component is compiled, so only the log says that it serves.
    async fn until_ready(&mut self) -> Result<()> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait()? {
                bail!("wash ended with {status}:\n{}", self.log());
            }
            let log = self.log();
            if log.contains("listening for HTTP requests") {
                let address =
                    log.split("HTTP server listening addr=").nth(1).context("no address in the log")?;
                self.address = address.split_whitespace().next().unwrap_or_default().to_owned();
                return Ok(());
            }
            if began.elapsed() > START_LIMIT {
                bail!("wash is not ready after {START_LIMIT:?}:\n{log}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The answer to a GET: its status and its body
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Result<(u16, String)> {
        let mut request = http::Request::get(path).header("host", &self.address);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = send(self.address.parse()?, request.body(Default::default())?).await?;
        Ok((answer.status, answer.text()))
    }

    /// Its log, and the output of its components
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

/// A machine that compiles at the same time takes its time to compile the components, too.
const START_LIMIT: Duration = Duration::from_secs(120);
