//! The command against a mock, as a user runs it.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use mock_identity::{Answer, Endpoint, Environment, Fault, Mock, MockConfig, ServiceFabricConfig};

pub(crate) const VAULT: &str = "https://vault.azure.net/.default";
pub(crate) const UNKNOWN: &str = "99999999-9999-4999-8999-999999999999";

/// The command with nothing in its environment but what points it at the mock.
pub(crate) struct Cli {
    pub(crate) mock: Mock,
    env: Vec<(&'static str, String)>,
}

impl Cli {
    pub(crate) async fn new() -> Self {
        Self::at(MockConfig::default()).await
    }

    /// Against a platform that has TLS and Service Fabric, too.
    pub(crate) async fn with_tls() -> Self {
        let config =
            MockConfig { service_fabric: Some(ServiceFabricConfig::default()), ..MockConfig::default() };
        Self::at(MockConfig { listen_tls: Some(config.listen), ..config }).await
    }

    pub(crate) async fn at(config: MockConfig) -> Self {
        let mock = Mock::start(config).await.unwrap();
        Self { env: mock.env(Endpoint::Imds), mock }
    }

    pub(crate) fn with_all(self, environment: &Environment) -> Self {
        environment.iter().fold(self, |cli, (name, value)| cli.with(name, value))
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.env.retain(|(known, _)| *known != name);
        self.env.push((name, value.to_owned()));
        self
    }

    pub(crate) fn fault(self, answer: Answer) -> Self {
        self.mock.fault(Fault::new(Endpoint::Imds, answer).forever());
        self
    }

    /// Its cache is that of all tests: the first one compiles the component.
    pub(crate) fn command(&self, args: &[impl AsRef<OsStr>]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_token-broker"));
        command.args(args).env_clear().stdin(Stdio::null());
        command.env("XDG_CACHE_HOME", Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache-of-user"));
        command.envs(self.env.iter().cloned());
        command
    }

    pub(crate) async fn run(&self, args: &[impl AsRef<OsStr>]) -> Output {
        output(self.command(args)).await
    }

    /// Its stdout, of a command that says nothing else.
    pub(crate) async fn prints(&self, args: &[impl AsRef<OsStr>]) -> String {
        let output = self.run(args).await;
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
        text(&output.stdout)
    }

    pub(crate) async fn get(&self, args: &[&str]) -> Output {
        self.run(&[&["get", "--scope", VAULT], args].concat()).await
    }

    /// The exit code and the one line of a command that fails.
    pub(crate) async fn failure(&self, args: &[impl AsRef<OsStr>]) -> (i32, String) {
        let output = self.run(args).await;
        assert_eq!(text(&output.stdout), "", "a failure prints nothing on stdout");
        let line = text(&output.stderr);
        assert!(line.lines().count() == 1 && line.len() < 2000, "a failure is one line: {line}");
        assert!(!line.contains("eyJ"), "no token is in {line}");
        assert_eq!(line.matches("; fix: ").count(), 1, "{line}");
        (output.status.code().unwrap(), line)
    }

    /// How often the mock's IMDS was asked.
    pub(crate) fn requests(&self) -> u64 {
        self.mock.counters().of(Endpoint::Imds).requests
    }

    /// As [`Cli::failure`], of a token for the vault.
    pub(crate) async fn refusal(&self) -> (i32, String) {
        self.failure(&["get", "--scope", VAULT]).await
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Run it off the thread that the mock answers on.
pub(crate) async fn output(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// A command of WASI 0.2 whose `run` is these instructions.
pub(crate) fn component(run: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
            (core module $m
                (memory 1)
                (func (export "run") (result i32) {run}))
            (core instance $i (instantiate $m))
            (func $run (result (result)) (canon lift (core func $i "run")))
            (component $shim
                (import "run" (func $run (result (result))))
                (export "run" (func $run)))
            (instance $export (instantiate $shim (with "run" (func $run))))
            (export "wasi:cli/run@0.2.0" (instance $export)))"#
    );
    wat::parse_str(text).unwrap()
}
