//! The first token of a new process in a job, or on a machine, of a platform that Entra ID trusts: the command beside the
//! SDKs that have the platform.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use mock_identity::{Credential, Endpoint, Mock, MockConfig};
use test_support::sdk::{Files, Sdk};
use tokio::process::Command;

use crate::SCOPE;
use crate::report::{Report, Table};
use crate::spread::{Spread, microseconds};

/// A way to get a token in a new process
struct Way {
    title: &'static str,
    platform: (Credential<'static>, Endpoint),
    program: Program,
}

#[derive(Clone, Copy)]
enum Program {
    TokenBroker,
    /// With this credential of the SDK's script
    Sdk(Sdk, &'static str),
}

pub(crate) async fn run(report: &mut Report) -> Result<()> {
    let config = MockConfig::default();
    let mock = Mock::start(MockConfig { listen_tls: Some(config.listen), ..config }).await?;
    let files = Files::new(mock.ca_pem().context("no TLS")?)?;
    let mut table = Table::new(
        "federation",
        &["", "first token, ms", "requests to the platform", "requests to Entra ID"],
    );
    for way in WAYS {
        if let Program::Sdk(sdk, _) = way.program
            && !sdk.program().exists()
        {
            report.missing(way.title, "cargo xtask setup python-sdk node-sdk");
            continue;
        }
        let (first, requests) = way.measure(&mock, &files).await?;
        if matches!(way.program, Program::TokenBroker) {
            report.at_most("first token of the command by another platform, ms", first.median, 500.0);
            report.at_most("requests of the command to another platform", requests.0 as f64, 1.0);
        }
        table.row([way.title.to_owned(), first.to_string(), requests.0.to_string(), requests.1.to_string()]);
    }
    table.print();
    Ok(())
}

impl Way {
    /// The milliseconds of a process, and its requests to the platform and to Entra ID
    async fn measure(&self, mock: &Mock, files: &Files) -> Result<(Spread, (u64, u64))> {
        // The first one fills caches: the command's has the compiled component.
        self.run(mock, files).await?;
        let mut times = Vec::new();
        for _ in 0..RUNS {
            mock.reset();
            let start = Instant::now();
            self.run(mock, files).await?;
            times.push(microseconds(start.elapsed()) / 1e3);
        }
        let counters = mock.counters();
        Ok((
            Spread::of(times),
            (counters.of(self.platform.1).requests, counters.of(Endpoint::Entra).requests),
        ))
    }

    async fn run(&self, mock: &Mock, files: &Files) -> Result<()> {
        let mut command = self.command(files);
        command.envs(mock.app_env(self.platform.0)).kill_on_drop(true);
        let output = command.output().await.with_context(|| format!("cannot start {}", self.title))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.stdout.starts_with(b"eyJ"), "{} gave no token: {said}", self.title);
        Ok(())
    }

    fn command(&self, files: &Files) -> Command {
        match self.program {
            Program::TokenBroker => {
                let mut command = Command::new(token_broker());
                command.args(["get", "--output", "token", "--scope", SCOPE]).env_clear();
                let cache = files.authority().with_file_name("cache");
                command.env("SSL_CERT_FILE", files.authority()).env("XDG_CACHE_HOME", cache);
                command
            }
            Program::Sdk(sdk, credential) => {
                let mut command = sdk.script("get_token");
                command.args(["--raw", credential, SCOPE]).env(sdk.authority_variable(), files.authority());
                command
            }
        }
    }
}

fn token_broker() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/token-broker")
}

const GITHUB: (Credential<'static>, Endpoint) = (Credential::GithubActions, Endpoint::GithubActions);
const PIPELINES: (Credential<'static>, Endpoint) = (Credential::AzurePipelines, Endpoint::AzurePipelines);
const GCP: (Credential<'static>, Endpoint) = (Credential::GcpMetadata, Endpoint::GcpMetadata);
const WAYS: [Way; 7] = [
    Way { title: "GitHub Actions, `token-broker get`", platform: GITHUB, program: Program::TokenBroker },
    Way {
        title: "GitHub Actions, `@actions/core` and `@azure/identity` for Node",
        platform: GITHUB,
        program: Program::Sdk(Sdk::Node, "github"),
    },
    Way { title: "Azure Pipelines, `token-broker get`", platform: PIPELINES, program: Program::TokenBroker },
    Way {
        title: "Azure Pipelines, `azure-identity` for Python",
        platform: PIPELINES,
        program: Program::Sdk(Sdk::Python, "azure-pipelines"),
    },
    Way {
        title: "Azure Pipelines, `@azure/identity` for Node",
        platform: PIPELINES,
        program: Program::Sdk(Sdk::Node, "azure-pipelines"),
    },
    Way { title: "Google Cloud, `token-broker get`", platform: GCP, program: Program::TokenBroker },
    Way {
        title: "Google Cloud, `google-auth` and `azure-identity` for Python",
        platform: GCP,
        program: Program::Sdk(Sdk::Python, "gcp"),
    },
];
const RUNS: usize = 21;
