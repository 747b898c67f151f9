//! A NATS server with buckets of keys and values.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use crate::hosts;

/// A server that runs; it ends when dropped
pub struct Nats {
    _folder: TempDir,
    process: Child,
    address: String,
}

impl Nats {
    /// Start one on a free port of loopback
    ///
    /// # Errors
    /// When there is no server, or it does not start.
    pub async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
        let mut command = Command::new(hosts::nats());
        command.args(["-js", "-a", "127.0.0.1", "-p", &port.to_string(), "-sd"]).arg(folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let process = command.spawn().context("there is no nats-server; fix: cargo xtask setup hosts")?;
        let nats = Self { _folder: folder, process, address: format!("127.0.0.1:{port}") };
        let began = Instant::now();
        while TcpStream::connect(&nats.address).await.is_err() {
            ensure!(began.elapsed() < START_LIMIT, "nats-server is not ready");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(nats)
    }

    /// Its URL
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Make a bucket: a stream of this name and form
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn create_bucket(&self, name: &str) -> Result<()> {
        let stream = json!({
            "name": format!("KV_{name}"), "subjects": [format!("$KV.{name}.>")], "max_msgs_per_subject": 1,
            "storage": "memory", "allow_rollup_hdrs": true, "deny_delete": true, "allow_direct": true,
            "discard": "new", "num_replicas": 1,
        });
        let answer = self.request(&format!("$JS.API.STREAM.CREATE.KV_{name}"), &stream.to_string()).await?;
        ensure!(!answer.contains("\"error\""), "{answer}");
        Ok(())
    }

    /// Kill the server
    ///
    /// # Errors
    /// When it is gone already.
    pub async fn kill(&mut self) -> Result<()> {
        Ok(self.process.kill().await?)
    }

    /// Send a request; the text of its answer
    ///
    /// <https://docs.nats.io/reference/reference-protocols/nats-protocol>
    async fn request(&self, subject: &str, text: &str) -> Result<String> {
        let (read, mut write) = TcpStream::connect(&self.address).await?.into_split();
        let line = format!(
            "CONNECT {{\"verbose\":false}}\r\nSUB inbox 1\r\nPUB {subject} inbox {}\r\n{text}\r\n",
            text.len()
        );
        write.write_all(line.as_bytes()).await?;
        let mut read = BufReader::new(read);
        loop {
            let mut line = String::new();
            ensure!(read.read_line(&mut line).await? > 0, "nats-server hung up");
            if let Some(message) = line.strip_prefix("MSG ") {
                let length = message.trim().rsplit(' ').next().context("no length")?.parse()?;
                let mut text = vec![0; length];
                read.read_exact(&mut text).await?;
                return Ok(String::from_utf8(text)?);
            }
        }
    }
}

const START_LIMIT: Duration = Duration::from_secs(30);
