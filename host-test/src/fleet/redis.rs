//! A real Redis, which can be killed and started again.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use redis::{Client, aio::MultiplexedConnection};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use test_support::port::Port;
use tokio::process::{Child, Command};

use crate::certificate::{self, AUTHORITY, CERTIFICATE, PRIVATE_KEY};

/// A server on a port of its own, without persistence: what it held is gone with it
pub struct Redis {
    folder: TempDir,
    port: Port,
    tls_port: Port,
    process: Child,
}

impl Redis {
    /// Start one and wait until it answers
    ///
    /// # Errors
    /// When there is no `redis-server`, or it does not answer within five seconds.
    pub async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        certificate::write(folder.path())?;
        let (port, tls_port) = (Port::reserve()?, Port::reserve()?);
        let process = serve(folder.path(), &port, &tls_port)?;
        let redis = Self { folder, port, tls_port, process };
        redis.until_it_answers().await?;
        Ok(redis)
    }

    /// Where it is, with its password
    pub fn url(&self) -> String {
        self.url_with_password(PASSWORD)
    }

    /// Where it is, with another password
    pub fn url_with_password(&self, password: &str) -> String {
        format!("redis://:{password}@{}", self.port.address())
    }

    /// Where it is with TLS, with its password
    pub fn tls_url(&self) -> String {
        format!("rediss://:{PASSWORD}@localhost:{}", self.tls_port.number())
    }

    /// The authority of its certificate, as PEM
    ///
    /// # Errors
    /// When the file is gone.
    pub fn authority(&self) -> Result<Vec<u8>> {
        Ok(std::fs::read(self.folder.path().join(AUTHORITY))?)
    }

    /// Have it ask for another password from now on
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn set_password(&self, password: &str) -> Result<()> {
        let mut set = redis::cmd("CONFIG");
        Ok(set.arg("SET").arg("requirepass").arg(password).query_async(&mut self.connect().await?).await?)
    }

    /// Have it stand still, or go on: its connections stay, and nothing is answered
    ///
    /// # Errors
    /// When the system does not let us.
    pub fn stand_still(&self, stands_still: bool) -> Result<()> {
        let signal = if stands_still { Signal::STOP } else { Signal::CONT };
        let id = self.process.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Ok(kill_process(id.context("the server has ended")?, signal)?)
    }

    /// End it at once
    ///
    /// # Errors
    /// When the system does not let us.
    pub async fn kill(&mut self) -> Result<()> {
        Ok(self.process.kill().await?)
    }

    /// Start it again at the same place, with nothing of what it held
    ///
    /// # Errors
    /// As [`Redis::start`].
    pub async fn restart(&mut self) -> Result<()> {
        self.process = serve(self.folder.path(), &self.port, &self.tls_port)?;
        self.until_it_answers().await
    }

    /// The names of all that it holds
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn names(&self) -> Result<Vec<String>> {
        Ok(redis::cmd("KEYS").arg("*").query_async(&mut self.connect().await?).await?)
    }

    async fn until_it_answers(&self) -> Result<()> {
        let began = Instant::now();
        while self.connect().await.is_err() {
            ensure!(began.elapsed() < Duration::from_secs(5), "redis-server does not answer");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    async fn connect(&self) -> Result<MultiplexedConnection> {
        Ok(Client::open(self.url())?.get_multiplexed_async_connection().await?)
    }
}

fn serve(folder: &Path, port: &Port, tls_port: &Port) -> Result<Child> {
    Command::new("redis-server")
        .args(["--port", &port.number().to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no"])
        .args(["--tls-port", &tls_port.number().to_string(), "--tls-auth-clients", "no"])
        .args(["--tls-cert-file", CERTIFICATE, "--tls-key-file", PRIVATE_KEY])
        .args(["--tls-ca-cert-file", AUTHORITY, "--requirepass", PASSWORD])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("there is no redis-server; `cargo xtask setup` brings it")
}

const PASSWORD: &str = "of-the-fleet";
