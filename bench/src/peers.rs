//! Azure's own SDKs, on the same machine, against the same mock.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use host_test::console::{Page, Stage};
use mock_identity::{Endpoint, Mock};
use serde::Deserialize;
use test_support::sdk::Sdk;
use tokio::process::Command;

use crate::process::first_token;
use crate::report::Report;
use crate::timing::milliseconds;

/// A program that measures one of Azure's SDKs: its argument says what.
pub(crate) struct Peer {
    pub(crate) title: &'static str,
    program: PathBuf,
    script: Option<PathBuf>,
    environment: Vec<(&'static str, String)>,
    pub(crate) endpoint: Endpoint,
    pub(crate) comes_by: &'static str,
}

/// What a peer prints of itself.
#[derive(Deserialize)]
struct Figures {
    version: String,
    cached_us: f64,
    memory_mib: f64,
}

pub(crate) async fn run(mock: &Mock, report: &mut Report) -> Result<()> {
    for peer in Peer::all(mock) {
        peer.run(mock, report).await?;
    }
    Peer::in_node(mock).run(mock, report).await?;
    match node_example() {
        Ok(example) => Peer::ours_in_node(mock, &example).run(mock, report).await,
        Err(error) => {
            report.section(OURS_IN_NODE);
            report.skip("all of it", &format!("{error:#}"));
            Ok(())
        }
    }
}

/// `examples/node`, translated by the first two commands of its README
fn node_example() -> Result<Stage> {
    let stage =
        Stage::in_example("node")?.stand_in("npm", "ln -s $TARGET/example-node/node_modules node_modules")?;
    let mut shell = stage.shell()?;
    for command in Page::read("examples/node/README.md")?.commands().take(2) {
        let typed = shell.type_in(command)?;
        ensure!(typed.status == 0, "`{command}` failed: {}", typed.output);
    }
    Ok(stage)
}

impl Peer {
    pub(crate) fn all(mock: &Mock) -> [Self; 2] {
        [Self::python(mock), Self::rust(mock)]
    }

    /// A script, whose interpreter somebody may have.
    fn script(
        mock: &Mock,
        title: &'static str,
        interpreter: PathBuf,
        script: &str,
        comes_by: &'static str,
    ) -> Self {
        let (script, endpoint) = (Some(file(script)), Endpoint::Imds);
        Self { title, program: interpreter, script, environment: mock.env(endpoint), endpoint, comes_by }
    }

    fn python(mock: &Mock) -> Self {
        let comes_by = "`cargo xtask setup` makes target/venv";
        Self::script(
            mock,
            "azure-identity for Python",
            Sdk::Python.program(),
            "peers/azure_identity.py",
            comes_by,
        )
    }

    /// It has no variable that moves IMDS, so it is measured at App Service.
    fn rust(mock: &Mock) -> Self {
        Self {
            title: "azure_identity for Rust",
            program: file("../target/peer/release/azure-identity-peer"),
            script: None,
            environment: mock.env(Endpoint::AppService),
            endpoint: Endpoint::AppService,
            comes_by: "`cargo xtask bench` builds it in target/peer",
        }
    }

    fn in_node(mock: &Mock) -> Self {
        let (node, comes_by) = (file("../target/node/bin/node"), "`cargo xtask setup` makes target/node");
        Self::script(mock, "@azure/identity for Node", node, "peers/azure_identity.mjs", comes_by)
    }

    fn ours_in_node(mock: &Mock, example: &Stage) -> Self {
        let module = example.folder().join("broker/token-broker-sync.js").display().to_string();
        let node = file("../target/example-node/bin/node");
        let comes_by = "`cargo xtask setup` makes target/example-node";
        let mut peer = Self::script(mock, OURS_IN_NODE, node, "peers/token_broker.mjs", comes_by);
        peer.environment.push(("BROKER_MODULE", module));
        peer
    }

    pub(crate) fn is_there(&self) -> bool {
        self.program.exists()
    }

    async fn run(&self, mock: &Mock, report: &mut Report) -> Result<()> {
        if !self.is_there() {
            report.section(self.title);
            report.skip("all of it", self.comes_by);
            return Ok(());
        }
        let output = self.command("cached").output().await?;
        let figures: Figures = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("{} said {}", self.title, String::from_utf8_lossy(&output.stderr)))?;
        report.section(&format!("{}, {}", self.title, figures.version));
        report.figure("cached get_token", figures.cached_us, "us");
        let first = milliseconds(first_token(self.command("first")).await?);
        report.figure("process start to first token", first, "ms");
        report.figure("memory", figures.memory_mib, "MiB");
        let before = mock.counters().of(self.endpoint).requests;
        self.command("herd").output().await?;
        let requests = mock.counters().of(self.endpoint).requests - before;
        report.figure("32 cold callers at once, requests sent", requests as f64, "");
        Ok(())
    }

    /// A process of a fleet, that speaks as the program `fleet` does.
    pub(crate) fn member(&self) -> Command {
        if self.script.is_none() {
            return self.command("member");
        }
        let mut member = Sdk::Python.script("member");
        member.envs(self.environment.iter().cloned());
        member
    }

    fn command(&self, mode: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.script).arg(mode).envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

const OURS_IN_NODE: &str = "token-broker-sync.wasm, through jco";
