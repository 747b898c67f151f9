//! Envoy as a process.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::bootstrap::Bootstrap;
use super::client;
use crate::hosts;

/// An Envoy that runs; it ends when dropped
pub struct Envoy {
    folder: TempDir,
    process: Child,
    admin: SocketAddr,
}

impl Envoy {
    /// Start one with so many workers, and wait until it serves
    ///
    /// # Errors
    /// When there is no Envoy, or it refuses the configuration; then with what it logged.
    pub async fn start(bootstrap: &Bootstrap, workers: u32) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (config, log) = (folder.path().join("envoy.json"), folder.path().join("log"));
        fs::write(&config, bootstrap.to_json().to_string())?;
        let log = fs::File::create(log)?;
        let mut command = Command::new(hosts::envoy());
        command.arg("--config-path").arg(config).args(["--concurrency", &workers.to_string()]);
        command.arg("--admin-address-path").arg(folder.path().join("admin"));
        command.args(["--use-dynamic-base-id", "--log-level", "warning"]);
        command.args(["--component-log-level", "wasm:debug"]);
        command.args(["--drain-time-s", "1", "--parent-shutdown-time-s", "2"]);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        let process = command.spawn().context("there is no Envoy; `cargo xtask setup` brings it")?;
        let mut envoy = Self { folder, process, admin: SocketAddr::from(([127, 0, 0, 1], 0)) };
        envoy.until_ready().await?;
        Ok(envoy)
    }

    async fn until_ready(&mut self) -> Result<()> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait()? {
                bail!("Envoy ended with {status}:\n{}", self.log());
            }
            let address = fs::read_to_string(self.file("admin")).ok();
            if let Some(address) = address.and_then(|text| text.trim().parse().ok()) {
                self.admin = address;
                if client::get(address, "/ready").await.is_ok_and(|ready| ready.status == 200) {
                    return Ok(());
                }
            }
            if began.elapsed() > START_LIMIT {
                bail!("Envoy is not ready after {START_LIMIT:?}:\n{}", self.log());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Where a listener listens
    ///
    /// # Errors
    /// When there is none of that name.
    pub async fn listener(&self, name: &str) -> Result<SocketAddr> {
        let listeners = self.admin_json("/listeners?format=json").await?;
        let statuses = listeners["listener_statuses"].as_array().context("no listeners")?;
        let found = statuses.iter().find(|status| status["name"] == name);
        let address = found.map(|status| &status["local_address"]["socket_address"]);
        let address = address.with_context(|| format!("there is no listener {name}"))?;
        let (ip, port) = (address["address"].as_str().context("no address")?, &address["port_value"]);
        Ok(format!("{ip}:{port}").parse()?)
    }

    /// Counters and gauges whose names begin with a text, without it
    ///
    /// # Errors
    /// When the admin interface does not answer.
    pub async fn stats(&self, prefix: &str) -> Result<BTreeMap<String, u64>> {
        let stats = self.admin_json("/stats?format=json").await?;
        let stats = stats["stats"].as_array().context("no statistics")?;
        let named = stats.iter().filter_map(|stat| {
            let name = stat["name"].as_str()?.strip_prefix(prefix)?;
            Some((name.to_owned(), stat["value"].as_u64()?))
        });
        Ok(named.collect())
    }

    /// One of the filter's own metrics
    ///
    /// # Errors
    /// When there is none of that name.
    pub async fn metric(&self, name: &str) -> Result<u64> {
        let all = self.stats(METRICS).await?;
        all.get(name).copied().ok_or_else(|| anyhow!("no metric {name} in {all:?}"))
    }

    /// What a page of the admin interface says
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn admin(&self, path: &str) -> Result<String> {
        Ok(client::get(self.admin, path).await?.text())
    }

    async fn admin_json(&self, path: &str) -> Result<Value> {
        serde_json::from_str(&self.admin(path).await?).with_context(|| format!("{path} is not JSON"))
    }

    /// What it has logged
    pub fn log(&self) -> String {
        fs::read_to_string(self.file("log")).unwrap_or_default()
    }

    /// The id of its process
    pub fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// A file of its folder
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// A machine that compiles at the same time takes its time to compile the filter, too.
const START_LIMIT: Duration = Duration::from_secs(60);
const METRICS: &str = "wasmcustom.token_broker.";
