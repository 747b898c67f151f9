//! A platform, the files of the examples, and the command that keeps tokens in files.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use host_test::hosts;
use mock_identity::{Endpoint, Environment, ImdsConfig, Mock, MockConfig};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// The audience that the examples ask for: the application ID URI of an app registration.
pub(crate) const AUDIENCE: &str = "api://00001111-aaaa-2222-bbbb-3333cccc4444";

/// A platform that knows the audience; its tokens live for so many seconds.
pub(crate) async fn platform(seconds: u64) -> Mock {
    let imds = ImdsConfig {
        token_lifetime_seconds: seconds.try_into().unwrap(),
        requests_per_second: None,
        older_form: false,
    };
    let mut config = MockConfig { imds, ..MockConfig::default() };
    config.audiences.push(AUDIENCE.to_owned());
    Mock::start(config).await.unwrap()
}

/// A directory in the place of `/run/token-broker`, which programs of other users can read.
pub(crate) struct Run(TempDir);

impl Run {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self(folder)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file of the examples, written here, with parts of it replaced; each of them is there.
    pub(crate) fn example(&self, name: &str, replacements: &[(&str, &str)]) -> PathBuf {
        let run = self.0.path().to_str().unwrap();
        let mut text = example(name).replace("/run/token-broker", run);
        for (part, replacement) in replacements {
            assert!(text.contains(part), "{name} has no {part}");
            text = text.replace(part, replacement);
        }
        let file = self.path(name);
        fs::write(&file, text).unwrap();
        file
    }
}

pub(crate) fn example(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/other-clouds");
    fs::read_to_string(folder.join(name)).unwrap()
}

/// `token-broker get --watch`, until it is dropped.
pub(crate) struct Watch(#[expect(dead_code, reason = "its end ends the process")] Child);

impl Watch {
    /// Once the file is there, which `--write` gets with options.
    pub(crate) async fn start(mock: &Mock, scope: &str, file: &Path, options: &str) -> Self {
        let environment: Environment =
            [mock.env(Endpoint::Imds), vec![("TOKEN_BROKER_BUDGET_MS", "500".to_owned())]].concat();
        let mut command = Command::new(hosts::built("token-broker", "token-broker-cli").unwrap());
        command.args(["get", "--scope", scope, "--watch", "--mode", "0644", "--write"]);
        command.arg(format!("{}{options}", file.display())).env_clear().envs(environment);
        let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tmp/cache-of-user");
        command.env("XDG_CACHE_HOME", cache).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let process = command.spawn().unwrap();
        until(async || file.exists()).await;
        Self(process)
    }
}

pub(crate) async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("it does not come about");
}
