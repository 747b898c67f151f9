//! A process of the fleet: the program `fleet` with its instances.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use mock_identity::Environment;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::hosts;

/// A running process
pub struct Process {
    process: Child,
    scopes: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    instances: usize,
}

/// What an instance got
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Got {
    /// The token, if there is one
    pub token: Option<String>,
    /// Why there is none
    #[serde(default)]
    pub error: Option<String>,
    /// How often the instance took the turn of another over
    #[serde(default)]
    pub lease_takeovers: u64,
}

impl Process {
    /// Start one with so many instances, and with nothing of this environment in its own; without the URL of a Redis its
    /// instances share nothing
    ///
    /// # Errors
    /// When `cargo build --release -p host-test` and `cargo xtask build` have not been run.
    pub async fn start(environment: Environment, redis: Option<&str>, instances: usize) -> Result<Self> {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
        let mut command = Command::new(hosts::built("fleet", "host-test")?);
        command.arg("--component").arg(target.join("components/token-broker-core.wasm"));
        command.arg("--cache").arg(target.join("tmp/cache"));
        command.args(["--instances", &instances.to_string()]).env_clear().envs(environment);
        if let Some(url) = redis {
            command.args(["--redis", url]).env("TOKEN_BROKER_STORE_KEY", KEY);
        }
        Self::of(command, instances).await
    }

    /// Start a program that speaks as `fleet` does
    ///
    /// # Errors
    /// When it does not.
    pub async fn of(mut command: Command, instances: usize) -> Result<Self> {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn()?;
        let scopes = process.stdin.take().context("a child without its pipe")?;
        let stdout = process.stdout.take().context("a child without its pipe")?;
        let mut process = Self { process, scopes, lines: BufReader::new(stdout).lines(), instances };
        let line = process.line().await?;
        ensure!(line == "ready", "the process said {line}");
        Ok(process)
    }

    /// Have all instances ask for a token at once
    ///
    /// # Errors
    /// When the process has ended.
    pub async fn ask(&mut self, scope: &str) -> Result<()> {
        Ok(self.scopes.write_all(format!("{scope}\n").as_bytes()).await?)
    }

    /// What each of them got
    ///
    /// # Errors
    /// When the process has ended.
    pub async fn answers(&mut self) -> Result<Vec<Got>> {
        let mut answers = Vec::new();
        for _ in 0..self.instances {
            answers.push(serde_json::from_str(&self.line().await?)?);
        }
        Ok(answers)
    }

    /// End it at once, by SIGKILL
    ///
    /// # Errors
    /// When the system does not let us.
    pub async fn kill(mut self) -> Result<()> {
        Ok(self.process.kill().await?)
    }

    async fn line(&mut self) -> Result<String> {
        self.lines.next_line().await?.context("the process has ended")
    }
}

const KEY: &str = "dGhlIGtleSBvZiBhIGZsZWV0IGluIGl0cyB0ZXN0cyE=";
