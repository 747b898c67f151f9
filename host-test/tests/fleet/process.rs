//! A process of the fleet: the program `fleet` with its instances.

use std::path::Path;
use std::process::Stdio;

use host_test::mock::Mock;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

pub(crate) struct Process {
    process: Child,
    scopes: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    instances: usize,
}

/// What an instance got
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Got {
    pub(crate) ms: f64,
    pub(crate) token: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) lease_takeovers: u64,
}

impl Process {
    /// With nothing of this environment in its own
    pub(crate) async fn start(mock: &Mock, redis: &str, instances: usize) -> Self {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
        let mut process = Command::new(env!("CARGO_BIN_EXE_fleet"))
            .arg("--component")
            .arg(target.join("components/token-broker-core.wasm"))
            .arg("--cache")
            .arg(target.join("tmp/cache"))
            .args(["--instances", &instances.to_string(), "--redis", redis])
            .env_clear()
            .env("TOKEN_BROKER_STORE_KEY", "dGhlIGtleSBvZiBhIGZsZWV0IGluIGl0cyB0ZXN0cyE=")
            .envs(mock.imds_env())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (scopes, stdout) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let mut process = Self { process, scopes, lines: BufReader::new(stdout).lines(), instances };
        assert_eq!(process.line().await, "ready");
        process
    }

    pub(crate) async fn ask(&mut self, scope: &str) {
        self.scopes.write_all(format!("{scope}\n").as_bytes()).await.unwrap();
    }

    pub(crate) async fn answers(&mut self) -> Vec<Got> {
        let mut answers = Vec::new();
        for _ in 0..self.instances {
            answers.push(serde_json::from_str(&self.line().await).unwrap());
        }
        answers
    }

    pub(crate) async fn kill(mut self) {
        self.process.kill().await.unwrap();
    }

    async fn line(&mut self) -> String {
        self.lines.next_line().await.unwrap().expect("the process goes on")
    }
}
