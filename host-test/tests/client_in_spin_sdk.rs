//! The client crate in a handler made with Spin's SDK, composed with the broker and served by wasmtime's command line.
//! The SDK is built on another wit-bindgen than the client, and its executor waits for the client's calls.

#![allow(missing_docs, reason = "the names of the tests say what they prove")]
#![allow(clippy::disallowed_methods, reason = "the bans are the core's; a test runs programs")]

use std::process::Stdio;
use std::time::Duration;

use futures_util::future::join_all;
use host_test::hosts;
use mock_identity::{Answer, Endpoint, Fault, Mock, MockConfig};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

#[tokio::test]
async fn a_handler_gets_a_token_and_gets_it_again_from_memory() {
    let app = App::serve().await;
    app.ask("/again").await.unwrap();
    assert_eq!(app.requests(), 1);
}

#[tokio::test]
async fn calls_that_wait_at_once_share_a_request() {
    let app = App::serve().await;
    app.slow_down();
    app.ask("/at-once").await.unwrap();
    assert_eq!(app.requests(), 1);
}

/// In how many instances they wait is for wasmtime to decide.
#[tokio::test]
async fn handlers_that_wait_at_once_are_all_served() {
    let app = App::serve().await;
    app.slow_down();
    let answers = join_all((0..10).map(|_| app.ask("/"))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

#[tokio::test]
async fn a_call_that_is_given_up_leaves_its_fetch_to_the_next() {
    let app = App::serve().await;
    app.slow_down();
    app.ask("/after-giving-up").await.unwrap();
    assert_eq!(app.requests(), 1, "the next call goes on with it");
}

#[tokio::test]
async fn a_handler_is_told_why_there_is_no_token_and_the_remedy() {
    let app = App::serve().await;
    app.mock.fault(Fault::new(Endpoint::Imds, Answer::status(400)));
    let error = app.ask("/").await.unwrap_err();
    assert!(error.starts_with("unavailable: ") && error.contains("az vm identity assign"), "{error}");
}

struct App {
    mock: Mock,
    address: String,
    _server: Child,
}

impl App {
    async fn serve() -> Self {
        let mock = Mock::start(MockConfig::default()).await.unwrap();
        let component = hosts::artefact("spin-consumer-composed.wasm").unwrap();
        let mut wasmtime = Command::new(hosts::wasmtime());
        wasmtime.args(["serve", "-S", "cli", "--addr", "127.0.0.1:0"]);
        for (name, value) in mock.env(Endpoint::Imds) {
            wasmtime.arg("--env").arg(format!("{name}={value}"));
        }
        let mut server = wasmtime.arg(component).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(server.stderr.take().unwrap()).lines();
        let first = lines.next_line().await.unwrap().unwrap();
        let address =
            first.strip_prefix("Serving HTTP on http://").expect(&first).trim_end_matches('/').to_owned();
        Self { mock, address, _server: server }
    }

    /// IMDS takes longer than a handler has patience.
    fn slow_down(&self) {
        self.mock
            .fault(Fault::new(Endpoint::Imds, Answer::AsUsual).delayed(Duration::from_millis(200)).forever());
    }

    fn requests(&self) -> u64 {
        self.mock.counters().of(Endpoint::Imds).requests
    }

    /// When the token ends that a handler got, or why it got none.
    async fn ask(&self, path: &str) -> Result<u64, String> {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let request =
            format!("GET {path}?https://vault.azure.net/.default HTTP/1.0\r\nHost: {}\r\n\r\n", self.address);
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        match head.split(' ').nth(1) {
            Some("200") => Ok(body.parse().unwrap()),
            _ => Err(body.to_owned()),
        }
    }
}
