//! The endpoints of ours as programs, which serve tokens to Azure's SDKs: `token-broker serve`, and the component in
//! wasmtime's command line.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result};
use mock_identity::Environment;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::hosts;

/// A program that serves; it ends when dropped
pub struct Program {
    process: Child,
    url: String,
    log: JoinHandle<String>,
}

impl Program {
    /// `token-broker serve` on a free port, with nothing of this environment in its own; on one core of the machine only, if
    /// one is named
    ///
    /// # Errors
    /// When `cargo build --release -p token-broker-cli` has not been run, or the program does not begin.
    pub async fn token_broker(environment: &Environment, core: Option<usize>) -> Result<Self> {
        let mut command = on(core, &token_broker()?);
        command.args(["serve", "--listen", "127.0.0.1:0"]).env_clear().envs(environment.iter().cloned());
        command.env("XDG_CACHE_HOME", target("tmp/cache-of-user"));
        let mut process = start(&mut command)?;
        let log = collect(process.stderr.take().context("a child without its pipe")?);
        let mut line = String::new();
        let stdout = process.stdout.take().context("a child without its pipe")?;
        BufReader::new(stdout).read_line(&mut line).await?;
        let url = line.split(' ').next().filter(|url| url.starts_with("http://"));
        let url = url.with_context(|| format!("token-broker serve said {line}"))?.to_owned();
        Ok(Self { process, url, log })
    }

    /// `wasmtime serve` as docs/endpoint.md has it, but for the port, which is a free one, and with more variables
    ///
    /// # Errors
    /// When `cargo xtask setup` and `cargo xtask build` have not been run, or the program does not begin.
    pub async fn wasmtime(environment: &Environment, core: Option<usize>) -> Result<Self> {
        let mut command = on(core, &hosts::wasmtime());
        command.env_clear();
        let mut arguments = wasmtime_serve()?;
        let component = arguments.pop().context("the command has no component")?;
        for argument in arguments {
            command.arg(if argument.starts_with("127.0.0.1:") { "127.0.0.1:0" } else { &argument });
        }
        for (name, value) in environment {
            command.args(["--env", &format!("{name}={value}")]);
        }
        let mut process = start(command.arg(target("..").join(component)))?;
        let mut stderr = BufReader::new(process.stderr.take().context("a child without its pipe")?);
        let mut line = String::new();
        stderr.read_line(&mut line).await?;
        let url = line.trim_end().trim_end_matches('/').strip_prefix("Serving HTTP on ");
        let url = url.with_context(|| format!("wasmtime serve said {line}"))?.to_owned();
        Ok(Self { process, url, log: collect(stderr) })
    }

    /// Its URL, without a slash at the end
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What a client sets that speaks IMDS's protocol
    pub fn imds_env(&self) -> Environment {
        vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST", self.url.clone())]
    }

    /// What a client sets that speaks App Service's
    pub fn app_service_env(&self, secret: &str) -> Environment {
        vec![("IDENTITY_ENDPOINT", format!("{}/msi/token", self.url)), ("IDENTITY_HEADER", secret.to_owned())]
    }

    /// How many answers of each status `token-broker serve` has given
    ///
    /// # Errors
    /// When it does not say.
    pub async fn answers(&self) -> Result<Value> {
        let mut stream = TcpStream::connect(self.url.trim_start_matches("http://")).await?;
        stream.write_all(b"GET /stats HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (_, body) = answer.split_once("\r\n\r\n").context("not HTTP")?;
        Ok(serde_json::from_str::<Value>(body)?["answers"].take())
    }

    /// The memory that it has needed at most, in bytes
    ///
    /// # Errors
    /// When the system does not say.
    pub fn memory(&self) -> Result<u64> {
        let status = format!("/proc/{}/status", self.process.id().context("it has ended")?);
        let status = std::fs::read_to_string(status)?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1024)
    }

    /// End it; all that it logged
    ///
    /// # Errors
    /// When the system does not let us.
    pub async fn end(mut self) -> Result<String> {
        self.process.kill().await?;
        Ok(self.log.await?)
    }
}

/// The arguments of `wasmtime serve` in docs/endpoint.md
///
/// # Errors
/// When there are none.
pub fn wasmtime_serve() -> Result<Vec<String>> {
    let page = std::fs::read_to_string(target("../docs/endpoint.md"))?;
    let (_, command) = page.split_once("$ wasmtime serve").context("docs/endpoint.md has no such command")?;
    let mut text = "serve".to_owned();
    for line in command.lines() {
        text.push_str(line.trim_end_matches('\\'));
        if !line.ends_with('\\') {
            break;
        }
    }
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

fn on(core: Option<usize>, program: &Path) -> Command {
    let Some(core) = core else { return Command::new(program) };
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", &core.to_string()]).arg(program);
    command
}

fn start(command: &mut Command) -> Result<Child> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let program = command.as_std().get_program().display().to_string();
    let why = || format!("{program} cannot be started; `cargo xtask setup` brings the hosts");
    command.spawn().with_context(why)
}

fn collect(mut stderr: impl AsyncRead + Unpin + Send + 'static) -> JoinHandle<String> {
    tokio::spawn(async move {
        let mut log = Vec::new();
        // What has been read until a pipe breaks is what there is.
        let _ = stderr.read_to_end(&mut log).await;
        String::from_utf8_lossy(&log).into_owned()
    })
}

fn token_broker() -> Result<PathBuf> {
    hosts::artefact("token-broker-core.wasm")?;
    hosts::built("token-broker", "token-broker-cli")
}

fn target(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target").join(path)
}
