//! Files that a process keeps fresh.

use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mock_identity::{Answer, Endpoint, Fault, ImdsConfig, MockConfig, TokenClaims};
use serde_json::Value;

use crate::harness::{Cli, VAULT, text};
use crate::write::{Folder, terminate};

/// A platform whose tokens live for some seconds.
async fn short_lived(seconds: u64) -> Cli {
    let imds = ImdsConfig {
        token_lifetime_seconds: seconds.try_into().unwrap(),
        requests_per_second: None,
        older_form: false,
    };
    Cli::at(MockConfig { imds, ..MockConfig::default() }).await.with("TOKEN_BROKER_BUDGET_MS", "500")
}

/// `get --watch` as a process; killed when dropped.
struct Watching {
    process: Option<Child>,
}

impl Watching {
    /// Once it has written its files.
    async fn start(cli: &Cli, folder: &Folder, files: &[&str], args: &[&str]) -> Self {
        let paths: Vec<String> = files.iter().map(|name| folder.file(name)).collect();
        let files = paths.iter().flat_map(|path| ["--write", path]);
        let args: Vec<&str> = ["get", "--scope", VAULT, "--watch"]
            .into_iter()
            .chain(files)
            .chain(args.iter().copied())
            .collect();
        let process = cli.command(&args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let watching = Self { process: Some(process) };
        let is_there = |path: &String| fs::exists(path.split(',').next().unwrap()).unwrap();
        until(|| paths.iter().all(is_there)).await;
        watching
    }

    /// Have it end as a service manager does. The lines that it logged.
    async fn end(mut self) -> Vec<Value> {
        let process = self.process.take().unwrap();
        terminate(&process);
        let output = tokio::task::spawn_blocking(move || process.wait_with_output().unwrap()).await.unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(!said.contains("eyJ"), "a token is in {said}");
        said.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            _ = process.kill();
            _ = process.wait();
        }
    }
}

async fn until(is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("it does not come about");
}

fn events(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["event"].as_str().unwrap()).collect()
}

fn claims(cli: &Cli, token: &str) -> TokenClaims {
    cli.mock.verify(token, "https://vault.azure.net").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_is_replaced_before_its_token_ends_and_each_change_is_told() {
    let (cli, folder) = (short_lived(6).await, Folder::new());
    let told = format!("echo told >>{}", folder.file("told"));
    let files = ["token", "header,format=bearer"];
    let watching = Watching::start(&cli, &folder, &files, &["--exec", &told]).await;
    let mut seen = vec![folder.read("token")];
    while seen.len() < 3 {
        let last = seen.last().unwrap();
        until(|| folder.read("token") != *last).await;
        let token = folder.read("token");
        // Whole, and good for longer than it takes to read it.
        claims(&cli, &token);
        seen.push(token);
    }
    // The two are renewed at times of their own.
    let header = folder.read("header");
    until(|| folder.read("header") != header).await;
    until(|| folder.read("told").lines().count() >= 3).await;
    let header = folder.read("header");
    claims(&cli, header.strip_prefix("Bearer ").unwrap());
    let lines = watching.end().await;
    assert_eq!(folder.names(), ["header", "token", "told"]);
    let written: Vec<_> = lines.iter().filter(|line| line["event"] == "wrote a token").collect();
    let written_to = |name: &str| written.iter().filter(|line| line["file"] == folder.file(name)).count();
    assert!(written_to("token") >= 3 && written_to("header") >= 2, "{lines:?}");
    assert!(
        written.iter().all(|line| line["file"].is_string() && line["token_sha256"].is_string()),
        "{written:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn while_renewals_fail_a_file_stays_until_its_token_ends_and_comes_back_afterwards() {
    let (cli, folder) = (short_lived(6).await, Folder::new());
    cli.mock.fault(Fault::new(Endpoint::Imds, Answer::status(500)).after(1).forever());
    let watching = Watching::start(&cli, &folder, &["token"], &[]).await;
    let token = folder.read("token");
    let end = claims(&cli, &token).exp;
    until(|| fs::read_to_string(folder.file("token")).map_or(true, |content| content != token)).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!(now >= end && folder.names().is_empty(), "{now} {end} {:?}", folder.names());
    assert!(cli.requests() > 1);
    cli.mock.reset();
    until(|| folder.names() == ["token"]).await;
    claims(&cli, &folder.read("token"));
    let lines = watching.end().await;
    let events = events(&lines);
    assert_eq!(
        events.iter().filter(|event| **event == "removed a token that has expired").count(),
        1,
        "{events:?}"
    );
    assert!(events.contains(&"could not fetch a token"), "{events:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_cannot_be_written_or_told_is_logged_and_tried_again() {
    let (cli, folder) = (short_lived(6).await, Folder::new());
    let watching = Watching::start(&cli, &folder, &["token"], &["--exec", "exit 7"]).await;
    fs::rename(folder.file("token"), folder.file("kept")).unwrap();
    fs::create_dir(folder.file("token")).unwrap();
    cli.mock.arrived(Endpoint::Imds, 3).await;
    fs::remove_dir(folder.file("token")).unwrap();
    until(|| fs::exists(folder.file("token")).unwrap()).await;
    claims(&cli, &folder.read("token"));
    let lines = watching.end().await;
    for (event, words) in [
        ("could not write a token", "it is a directory; fix: "),
        ("could not tell a change", "--exec `exit 7` failed: exit status: 7; fix: "),
    ] {
        let errors: Vec<_> = lines.iter().filter(|line| line["event"] == event).collect();
        assert!(!errors.is_empty(), "{lines:?}");
        assert!(errors.iter().all(|line| line["error"].as_str().unwrap().contains(words)), "{errors:?}");
    }
    assert_eq!(folder.names(), ["kept", "token"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_someone_else_removes_is_written_again_with_the_token_that_there_is() {
    let (cli, folder) = (Cli::new().await, Folder::new());
    let watching = Watching::start(&cli, &folder, &["token"], &[]).await;
    let token = folder.read("token");
    fs::remove_file(folder.file("token")).unwrap();
    until(|| fs::exists(folder.file("token")).unwrap()).await;
    assert_eq!((folder.read("token"), cli.requests()), (token, 1));
    assert_eq!(events(&watching.end().await).iter().filter(|event| **event == "wrote a token").count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_level_of_the_log_is_kept_to() {
    let (cli, folder) = (Cli::new().await.with("TOKEN_BROKER_LOG", "warn"), Folder::new());
    let watching = Watching::start(&cli, &folder, &["token"], &[]).await;
    assert!(watching.end().await.is_empty());
    assert_eq!((folder.names(), cli.requests()), (vec!["token".to_owned()], 1));
}
