//! AWS: botocore with the file of `token-broker get --watch`.

use std::fs;
use std::process::Stdio;
use std::sync::Arc;

use serde_json::Value;
use test_support::sdk::Sdk;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

use crate::stage::{AUDIENCE, Run, Watch, platform, until};
use crate::sts::Sts;

#[tokio::test(flavor = "multi_thread")]
async fn botocore_takes_the_token_that_is_in_the_file_when_it_needs_one() {
    let mock = Arc::new(platform(6).await);
    let (sts, run) = (Sts::aws(&mock).await, Run::new());
    let file = run.path("token");
    let _watch = Watch::start(&mock, AUDIENCE, &file, "").await;
    let mut client = Botocore::start(&run, &sts).await;
    assert_eq!(client.method, "assume-role-with-web-identity");
    let token = || fs::read_to_string(&file).unwrap();
    for fetch in 1..=3 {
        let got = client.get().await;
        assert!(
            got["session_token"].as_str().is_some_and(|session| session.starts_with("session of ")),
            "{got}"
        );
        let sent = sts.sent("WebIdentityToken");
        assert_eq!(sent.len(), fetch);
        until(async || token() != sent[fetch - 1]).await;
    }
    let mut sent = sts.sent("WebIdentityToken");
    sent.dedup();
    assert_eq!(sent.len(), 3, "a token was taken from elsewhere than the file");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_end_in_the_file_would_go_to_aws_with_the_token() {
    let mock = Arc::new(platform(86_400).await);
    let (sts, run) = (Sts::aws(&mock).await, Run::new());
    let file = run.path("token");
    drop(Watch::start(&mock, AUDIENCE, &file, "").await);
    let token = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{token}\n")).unwrap();
    let got = Botocore::start(&run, &sts).await.get().await;
    assert!(got["error"].as_str().unwrap_or_default().contains("InvalidIdentityToken"), "{got}");
    assert_eq!(sts.sent("WebIdentityToken"), [format!("{token}\n")]);
}

/// A program with credentials from botocore.
struct Botocore {
    _process: Child,
    asks: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    /// How botocore gets credentials.
    method: String,
}

impl Botocore {
    /// With the example's configuration.
    async fn start(run: &Run, sts: &Sts) -> Self {
        let mut script = Sdk::Python.script("aws_refresh");
        script.env("AWS_CONFIG_FILE", run.example("aws.ini", &[])).env("AWS_ENDPOINT_URL_STS", sts.url());
        script.env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_SHARED_CREDENTIALS_FILE", run.path("none"));
        let mut process =
            script.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let (asks, answers) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let answers = BufReader::new(answers).lines();
        let mut client = Self { _process: process, asks, answers, method: String::new() };
        client.method = client.answer().await["method"].as_str().unwrap_or_default().to_owned();
        client
    }

    /// Credentials, as a request to a service needs them.
    async fn get(&mut self) -> Value {
        self.asks.write_all(b"\n").await.unwrap();
        self.answer().await
    }

    async fn answer(&mut self) -> Value {
        serde_json::from_str(&self.answers.next_line().await.unwrap().expect("the program has ended"))
            .unwrap()
    }
}
