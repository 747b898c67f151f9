//! The command `token-broker serve` as a process, and what a client without an SDK sees of it.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use mock_identity::{Endpoint, Mock};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::{TcpStream, UnixStream};
use tokio::process::{Child, ChildStderr, Command};
use tokio::task::JoinHandle;

/// A process that serves.
pub(crate) struct Serving {
    process: Child,
    log: JoinHandle<String>,
    /// Its stderr, where nobody reads it.
    _unread: Option<ChildStderr>,
    /// The one line that it prints.
    pub(crate) announced: String,
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn description(&self) -> &str {
        self.body["error_description"].as_str().unwrap()
    }
}

/// The command with nothing in its environment but what is given.
pub(crate) fn command(environment: &[(&'static str, String)], args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_token-broker"));
    command.arg("serve").args(args).env_clear().envs(environment.iter().cloned());
    command.env("XDG_CACHE_HOME", Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache-of-user"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

impl Serving {
    /// On a free port, with the mock as IMDS.
    pub(crate) async fn start(mock: &Mock) -> Self {
        Self::start_with(mock, &[]).await
    }

    /// The same with more variables.
    pub(crate) async fn start_with(mock: &Mock, variables: &[(&'static str, &str)]) -> Self {
        let variables = variables.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let environment: Vec<_> = mock.env(Endpoint::Imds).into_iter().chain(variables).collect();
        Self::with(&environment, &["--listen", "127.0.0.1:0"]).await
    }

    pub(crate) async fn with(environment: &[(&'static str, String)], args: &[&str]) -> Self {
        let mut process = command(environment, args).spawn().unwrap();
        let mut stderr = process.stderr.take().unwrap();
        let log = tokio::spawn(async move {
            let mut log = String::new();
            stderr.read_to_string(&mut log).await.unwrap();
            log
        });
        Self::announced(process, log, None).await
    }

    /// One whose log nobody reads.
    pub(crate) async fn unread(mock: &Mock) -> Self {
        let mut process = command(&mock.env(Endpoint::Imds), &["--listen", "127.0.0.1:0"]).spawn().unwrap();
        let stderr = process.stderr.take();
        Self::announced(process, tokio::spawn(async { String::new() }), stderr).await
    }

    async fn announced(mut process: Child, log: JoinHandle<String>, unread: Option<ChildStderr>) -> Self {
        let mut announced = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut announced).await.unwrap();
        if announced.is_empty() {
            panic!("it did not begin: {}", log.await.unwrap());
        }
        Self { process, log, _unread: unread, announced: announced.trim_end().to_owned() }
    }

    pub(crate) fn url(&self) -> &str {
        self.announced.split(' ').next().unwrap()
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.url().strip_prefix("http://").unwrap()).await.unwrap()
    }

    pub(crate) async fn get(&self, target: &str, headers: &[(&str, &str)]) -> Answer {
        get(self.connect().await, target, headers).await
    }

    /// As a client of IMDS's protocol asks for the vault's token.
    pub(crate) async fn vault_token(&self) -> Answer {
        self.get(VAULT, &[METADATA]).await
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.process.id().unwrap().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Have it end as a service manager does; how it ended, and all that it logged.
    pub(crate) async fn end(self) -> (ExitStatus, String) {
        self.signal(Signal::TERM);
        self.ended().await
    }

    pub(crate) async fn ended(mut self) -> (ExitStatus, String) {
        (self.process.wait().await.unwrap(), self.log.await.unwrap())
    }
}

pub(crate) async fn unix(path: &PathBuf, target: &str, headers: &[(&str, &str)]) -> Answer {
    get(UnixStream::connect(path).await.unwrap(), target, headers).await
}

pub(crate) async fn get(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    target: &str,
    headers: &[(&str, &str)],
) -> Answer {
    let mut request = format!("GET {target} HTTP/1.1\r\nconnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "host") {
        request.push_str("host: localhost\r\n");
    }
    headers.iter().for_each(|(name, value)| request.push_str(&format!("{name}: {value}\r\n")));
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: serde_json::from_str(body).unwrap_or_default() }
}

pub(crate) const METADATA: (&str, &str) = ("metadata", "true");
pub(crate) const VAULT: &str =
    "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net";
