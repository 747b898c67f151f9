//! From the start of a process to its first token.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use mock_identity::{Endpoint, Environment, Mock};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use crate::SCOPE;
use crate::report::Report;
use crate::timing::{median, milliseconds};

pub(crate) async fn run(mock: &Mock, report: &mut Report) -> Result<()> {
    report.section("process start to first token, the mock's signing included");
    let Some(command) = TokenBroker::find()? else {
        report.skip("token-broker get --raw", TokenBroker::COMES_BY);
        return Ok(());
    };
    let environment = mock.env(Endpoint::Imds);
    let get = async || first_token(command.get(&environment)).await;
    report.figure("first run ever: compiled, and kept precompiled", milliseconds(get().await?), "ms");
    let mut times = Vec::new();
    for _ in 0..STARTS {
        times.push(get().await?);
    }
    report.promise("later runs", milliseconds(median(times)), 5.0, "ms");
    Ok(())
}

/// The command `token-broker`, and where it keeps the precompiled component.
pub(crate) struct TokenBroker {
    program: PathBuf,
    cache: TempDir,
}

impl TokenBroker {
    pub(crate) const COMES_BY: &str = "`cargo build --release -p token-broker-cli` makes it";

    /// The one beside this program, with nothing kept yet; none if it is not built.
    pub(crate) fn find() -> Result<Option<Self>> {
        let program = std::env::current_exe()?.with_file_name("token-broker");
        let found = program.exists().then(|| Ok(Self { program, cache: tempfile::tempdir()? }));
        found.transpose()
    }

    /// Print a token, with nothing of this environment but what is given.
    pub(crate) fn get(&self, environment: &Environment) -> Command {
        let mut get = Command::new(&self.program);
        get.args(["get", "--raw", "--scope", SCOPE]).env_clear().env("XDG_CACHE_HOME", self.cache.path());
        get.envs(environment.iter().cloned());
        get
    }
}

/// How long a command takes until the token is on its stdout.
pub(crate) async fn first_token(command: Command) -> Result<Duration> {
    first_output(command, "eyJ").await
}

/// How long a command takes until its stdout begins with `beginning`.
pub(crate) async fn first_output(mut command: Command, beginning: &str) -> Result<Duration> {
    let start = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let mut stdout = child.stdout.take().context("a child without its pipe")?;
    let mut first = [0; 16];
    let read = stdout.read(&mut first).await?;
    let time = start.elapsed();
    let name = command.as_std().get_program().display();
    let seen = first.get(..read).unwrap_or_default();
    ensure!(seen.starts_with(beginning.as_bytes()), "{name} printed nothing that begins with {beginning}");
    // A pipe that is closed too early fails the child.
    tokio::io::copy(&mut stdout, &mut tokio::io::sink()).await?;
    child.wait().await?;
    Ok(time)
}

const STARTS: usize = 41;
