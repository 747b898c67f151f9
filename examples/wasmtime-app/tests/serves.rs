//! The program itself, with the built components, against the mock platform.

#![allow(missing_docs, reason = "the names of the tests say what they prove")]
#![allow(clippy::disallowed_methods, reason = "the bans are the core's; a test starts programs")]

use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use mock_identity::{Endpoint, Mock, MockConfig};
use rustix::process::{Pid, Signal, kill_process};
use test_support::port::Port;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

#[tokio::test]
async fn requests_to_fresh_instances_cost_one_token_request_and_the_server_ends_in_order() {
    let mock = Mock::start(MockConfig::default()).await.unwrap();
    let app = App::start(&mock, mock.url()).await;
    let answers = futures_util::future::join_all((0..REQUESTS).map(|_| app.get())).await;
    for answer in answers {
        let answer = answer.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("MySecret: "), "{answer}");
    }
    let counters = mock.counters();
    assert_eq!(counters.of(Endpoint::Imds).requests, 1);
    // Each instance is new, and asks the vault once which token it takes.
    assert_eq!(counters.of(Endpoint::KeyVault).requests, 2 * REQUESTS);
    let address = app.address.clone();
    assert!(app.end().await.success());
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_vault_that_refuses_is_told_to_the_client_and_the_server_goes_on() {
    let mock = Mock::start(MockConfig::default()).await.unwrap();
    let closed = Port::reserve().unwrap();
    let app = App::start(&mock, &closed.url()).await;
    for _ in 0..2 {
        let answer = app.get().await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("key-vault: "), "{answer}");
    }
    assert_eq!(mock.counters().of(Endpoint::Imds).requests, 0);
    assert!(app.end().await.success());
}

/// The program, listening.
struct App {
    process: Child,
    address: String,
}

impl App {
    async fn start(mock: &Mock, vault: &str) -> Self {
        let components = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/components"));
        let mut process = Command::new(env!("CARGO_BIN_EXE_wasmtime-app"))
            .env_clear()
            .envs(mock.env(Endpoint::Imds))
            .env("KEY_VAULT_COMPONENT", components.join("key-vault.wasm"))
            .env("KEY_VAULT_URL", vault)
            .env("LISTEN", "127.0.0.1:0")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = lines.next_line().await.unwrap().expect("it says where it listens");
        let address = line.strip_prefix("listening on http://").unwrap().to_owned();
        Self { process, address }
    }

    async fn get(&self) -> io::Result<String> {
        let mut stream = TcpStream::connect(&self.address).await?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: app\r\nconnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    async fn end(mut self) -> ExitStatus {
        let id = self.process.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)).unwrap();
        kill_process(id, Signal::INT).unwrap();
        self.process.wait().await.unwrap()
    }
}

const REQUESTS: u64 = 20;
