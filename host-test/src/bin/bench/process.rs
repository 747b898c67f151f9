//! From the start of a process to its first token.

use std::ffi::OsStr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use host_test::mock::Mock;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use crate::SCOPE;
use crate::report::Report;
use crate::timing::{median, milliseconds};

pub(crate) async fn run(mock: &Mock, report: &mut Report) -> Result<()> {
    report.section("process start to first token, the mock's signing included");
    let command = std::env::current_exe()?.with_file_name("token-broker");
    if !command.exists() {
        report.skip("token-broker get --raw", "`cargo build --release -p token-broker-host` makes it");
        return Ok(());
    }
    let cache = tempfile::tempdir()?;
    let get = async || {
        let mut get = Command::new(&command);
        get.args(["get", "--raw", "--scope", SCOPE]).env_clear().env("XDG_CACHE_HOME", cache.path());
        get.envs(mock.imds_env());
        first_token(get).await
    };
    report.figure("first run ever: compiled, and kept precompiled", milliseconds(get().await?), "ms");
    let mut times = Vec::new();
    for _ in 0..STARTS {
        times.push(get().await?);
    }
    report.promise("later runs", milliseconds(median(times)), 5.0, "ms");
    Ok(())
}

/// How long a command takes until the token is on its stdout.
pub(crate) async fn first_token(mut command: Command) -> Result<Duration> {
    let start = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let mut first = [0; 16];
    let mut stdout = child.stdout.take();
    let read = match &mut stdout {
        Some(stdout) => stdout.read(&mut first).await?,
        None => 0,
    };
    let time = start.elapsed();
    let name = command.as_std().get_program().to_owned();
    ensure!(first.starts_with(b"eyJ") && read > 0, "{} gave no token", OsStr::new(&name).display());
    drop(stdout);
    child.wait().await?;
    Ok(time)
}

const STARTS: usize = 41;
