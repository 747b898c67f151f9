//! Azure's SDKs on the same machine, against the same mock as an IMDS; and the broker in Node, which is measured as they are.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use mock_identity::{Endpoint, Environment, Mock};
use serde::Deserialize;
use tokio::process::Command;

/// A program of `bench/peers`; its argument says what it does
pub(crate) struct Peer {
    pub(crate) title: &'static str,
    program: PathBuf,
    script: Option<PathBuf>,
    environment: Environment,
    blocks: bool,
    pub(crate) fix: &'static str,
}

/// The figures that a peer prints
#[derive(Deserialize)]
pub(crate) struct Figures {
    pub(crate) version: String,
    pub(crate) cached_us: Vec<f64>,
    /// Of new credentials; none if they are not cold
    pub(crate) first_ms: Vec<f64>,
    pub(crate) memory_mib: f64,
}

impl Peer {
    pub(crate) const RUST: &str = "`azure_identity` for Rust";

    pub(crate) fn rust(mock: &Mock) -> Self {
        Self {
            title: Self::RUST,
            program: target("peer/release/azure-identity-peer"),
            script: None,
            environment: mock.env(Endpoint::Imds),
            blocks: false,
            fix: "cargo xtask bench, which builds it",
        }
    }

    pub(crate) fn python(mock: &Mock) -> Self {
        Self {
            title: "`azure-identity` for Python",
            program: target("venv/bin/python"),
            script: Some(script("azure_identity.py")),
            environment: mock.env(Endpoint::Imds),
            blocks: false,
            fix: "cargo xtask setup python-sdk",
        }
    }

    pub(crate) fn node(mock: &Mock) -> Self {
        Self {
            title: "`@azure/identity` for Node",
            program: target("node/bin/node"),
            script: Some(script("azure_identity.mjs")),
            environment: mock.env(Endpoint::Imds),
            blocks: false,
            fix: "cargo xtask setup node-sdk",
        }
    }

    /// `token-broker-sync.wasm`, as JavaScript.
    pub(crate) fn broker_in_node(mock: &Mock) -> Self {
        let mut environment = mock.env(Endpoint::Imds);
        environment
            .push(("BROKER_MODULE", target(MODULE).join("token-broker-sync.js").display().to_string()));
        Self {
            title: "`token-broker-sync.wasm` in Node",
            program: target("example-node/bin/node"),
            script: Some(script("token_broker.mjs")),
            environment,
            blocks: true,
            fix: "cargo xtask setup jco",
        }
    }

    pub(crate) fn is_installed(&self) -> bool {
        self.program.exists()
    }

    pub(crate) async fn measure(&self) -> Result<Figures> {
        let output = self.run("measure").await?;
        serde_json::from_slice(&output).with_context(|| format!("{} printed other figures", self.title))
    }

    /// The requests of 32 cold callers in one process; none where a call blocks, so that no two are under way.
    pub(crate) async fn herd(&self, mock: &Mock) -> Result<Option<u64>> {
        if self.blocks {
            return Ok(None);
        }
        mock.reset();
        self.run("herd").await?;
        Ok(Some(mock.counters().of(Endpoint::Imds).requests))
    }

    /// A process of a fleet, which speaks as the program `fleet` does.
    pub(crate) fn member(&self, instances: usize) -> Command {
        let mut member = self.command("member");
        // They log each instance that gives up.
        member.arg(instances.to_string()).stderr(Stdio::null());
        member
    }

    async fn run(&self, mode: &str) -> Result<Vec<u8>> {
        let output = self.command(mode).kill_on_drop(true).output().await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{} failed: {said}", self.title);
        Ok(output.stdout)
    }

    fn command(&self, mode: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.script).arg(mode).env_clear().envs(self.environment.iter().cloned());
        command
    }
}

/// Make JavaScript of `token-broker-sync.wasm`, where it finds jco's shim.
pub(crate) async fn transpile() -> Result<()> {
    let mut jco = Command::new(target("example-node/bin/node"));
    jco.arg(target("example-node/node_modules/.bin/jco")).arg("transpile");
    jco.arg(target("components/token-broker-sync.wasm")).arg("-o").arg(target(MODULE));
    let output = jco.output().await?;
    ensure!(output.status.success(), "jco failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(name)
}

fn target(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target").join(path)
}

const MODULE: &str = "example-node/bench";
