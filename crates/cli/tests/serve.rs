//! The command `token-broker serve` against the mock platform, as a service manager and clients see it.

#![allow(clippy::disallowed_methods, reason = "the bans are the core's; a test starts processes")]

#[path = "serve/process.rs"]
mod process;

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use futures_util::future::join_all;
use mock_identity::{Answer as Reply, Endpoint, Fault, Mock, MockConfig};
use rustix::process::Signal;
use serde_json::Value;
use test_support::port::Port;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use process::{METADATA, Serving, VAULT, command, get, unix};

const SECRET: &str = "s3ntinel-of-the-endpoint";
const APP_SERVICE: &str = "/msi/token?api-version=2019-08-01&resource=https%3A%2F%2Fvault.azure.net";

async fn mock() -> Mock {
    Mock::start(MockConfig::default()).await.unwrap()
}

/// The mock, and the command that has it as IMDS.
async fn served() -> (Mock, Serving) {
    let mock = mock().await;
    let serving = Serving::start(&mock).await;
    (mock, serving)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_line_says_where_it_listens_and_what_clients_set() {
    let (mock, serving) = served().await;
    let url = serving.url();
    assert_eq!(serving.announced, format!("{url} AZURE_POD_IDENTITY_AUTHORITY_HOST={url}"));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    let args = ["--listen", "127.0.0.1:0", "--secret-file", file.path().to_str().unwrap()];
    let serving = Serving::with(&mock.env(Endpoint::Imds), &args).await;
    let url = serving.url();
    let variables = format!("AZURE_POD_IDENTITY_AUTHORITY_HOST={url} IDENTITY_ENDPOINT={url}/msi/token");
    assert_eq!(serving.announced, format!("{url} {variables}"));
    let answer = serving.get(APP_SERVICE, &[("x-identity-header", SECRET)]).await;
    mock.verify(answer.body["access_token"].as_str().unwrap(), "https://vault.azure.net").unwrap();
    assert_eq!(serving.get(APP_SERVICE, &[("x-identity-header", "another-secret-of-16")]).await.status, 401);
    assert!(!serving.end().await.1.contains("s3ntinel"));
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_at_once_and_clients_later_cost_one_request() {
    let (mock, serving) = served().await;
    let answers = join_all((0..64).map(|_| serving.vault_token())).await;
    for answer in answers {
        assert_eq!((answer.status, &answer.body["token_type"]), (200, &"Bearer".into()));
        mock.verify(answer.body["access_token"].as_str().unwrap(), "https://vault.azure.net").unwrap();
    }
    assert_eq!(serving.vault_token().await.status, 200);
    assert_eq!(mock.counters().of(Endpoint::Imds).requests, 1);
    let statistics = serving.get("/stats", &[]).await.body;
    assert_eq!((&statistics["answers"]["200"], &statistics["broker"]["fetches"]), (&65.into(), &1.into()));
    let (status, log) = serving.end().await;
    assert!(status.success(), "{status}");
    assert!(!log.contains("eyJ"), "a token is in the log");
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let given: Vec<Value> = lines.filter(|line| line["event"] == "gave out a token").collect();
    assert_eq!(given.len(), 65);
    assert!(given.iter().all(|line| line["client"].as_str().unwrap().starts_with("127.0.0.1:")), "{given:?}");
    assert_eq!(given[0]["audience"], "https://vault.azure.net");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_is_the_clients_to_choose_and_a_failure_is_told_with_its_remedy() {
    let (mock, serving) = served().await;
    let target = |id: &str| format!("{VAULT}&client_id={id}");
    let orders = "11112222-bbbb-3333-cccc-4444dddd5555";
    let answer = serving.get(&target(orders), &[METADATA]).await;
    let claims =
        mock.verify(answer.body["access_token"].as_str().unwrap(), "https://vault.azure.net").unwrap();
    assert_eq!(claims.appid, orders);
    let answer = serving.get(&target("99999999-9999-4999-8999-999999999999"), &[METADATA]).await;
    let text = answer.description();
    assert_eq!((answer.status, &answer.body["error"]), (400, &"invalid_request".into()));
    assert!(text.contains("Identity not found") && text.contains("az vm identity assign"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_its_end_is_a_503_that_clients_repeat_and_one_in_chunks_is_read() {
    for (answer, status) in [
        (Reply::Chunked, 200),
        (Reply::Empty, 503),
        (Reply::Closed, 503),
        (Reply::Truncated, 503),
        (Reply::TruncatedChunks, 503),
        (Reply::TruncatedUnsized, 503),
    ] {
        let mock = mock().await;
        // No time for a retry of the broker's own.
        let serving = Serving::start_with(&mock, &[("TOKEN_BROKER_BUDGET_MS", "1000")]).await;
        mock.fault(Fault::new(Endpoint::Imds, answer.clone()));
        let answered = serving.vault_token().await;
        assert_eq!(answered.status, status, "{answer:?}: {answered:?}");
        assert_eq!(mock.counters().of(Endpoint::Imds).requests, 1, "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_and_configuration_hold_for_every_client() {
    let mock = mock().await;
    let policy = ("TOKEN_BROKER_ALLOWED_SCOPES", "https://storage.azure.com");
    let serving = Serving::start_with(&mock, &[policy]).await;
    let answer = serving.vault_token().await;
    assert_eq!((answer.status, &answer.body["error"]), (403, &"access_denied".into()));
    assert!(answer.description().contains("TOKEN_BROKER_ALLOWED_SCOPES"));
    let (_, log) = serving.end().await;
    assert!(log.contains("gave out no token") && log.contains("denied"), "{log}");
    let variables = [policy, ("TOKEN_BROKER_TIMEOUT_MS", "soon"), ("TOKEN_BROKER_LOG", "warn")];
    let serving = Serving::start_with(&mock, &variables).await;
    let answer = serving.vault_token().await;
    assert!(answer.description().contains("TOKEN_BROKER_TIMEOUT_MS"), "{answer:?}");
    assert_eq!((serving.end().await.1, mock.requests().len()), (String::new(), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_platform_is_told_on_with_the_time_to_come_back() {
    let mock = mock().await;
    mock.fault(Fault::new(Endpoint::Imds, Reply::retry_after(429, "120")).forever());
    let serving = Serving::start(&mock).await;
    let answer = serving.vault_token().await;
    assert_eq!(answer.status, 429);
    assert!(answer.head.contains("\r\nretry-after: 120\r\n"), "{}", answer.head);
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_end_what_is_under_way_is_answered_and_nobody_is_let_in() {
    let mock = mock().await;
    mock.fault(Fault::new(Endpoint::Imds, Reply::AsUsual).delayed(Duration::from_millis(700)));
    let serving = Serving::start(&mock).await;
    let address = serving.url().strip_prefix("http://").unwrap().to_owned();
    let asked = tokio::spawn(get(serving.connect().await, VAULT, &[METADATA]));
    let idle = serving.connect().await;
    mock.arrived(Endpoint::Imds, 1).await;
    serving.signal(Signal::INT);
    let answer = asked.await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let (status, _) = serving.ended().await;
    assert!(status.success(), "{status}");
    assert!(TcpStream::connect(&address).await.is_err());
    drop(idle);
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_for_this_machine_and_hold_nothing_secret() {
    let mock = mock().await;
    let serving = Serving::start_with(&mock, &[("TOKEN_BROKER_ENDPOINT_SECRET", SECRET)]).await;
    assert_eq!(serving.get(VAULT, &[]).await.status, 400);
    assert_eq!(serving.vault_token().await.status, 200);
    let statistics = serving.get("/stats", &[]).await;
    assert_eq!(statistics.body["answers"], serde_json::json!({ "200": 1, "400": 1 }));
    let text = statistics.body.to_string();
    assert!(!text.contains("eyJ") && !text.contains("s3ntinel"), "{text}");
    assert_eq!(serving.get("/stats", &[("x-forwarded-for", "10.0.0.1")]).await.status, 400);
    assert_eq!(serving.get("/stats", &[("host", "rebound.example")]).await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_too_large_is_refused_and_its_connection_closed() {
    let (_mock, serving) = served().await;
    let mut stream = serving.connect().await;
    let request = format!("GET {VAULT}&x={} HTTP/1.1\r\n\r\n", "a".repeat(100_000));
    // It may be cut off before it has been written.
    _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    _ = stream.read_to_end(&mut answer).await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(serving.vault_token().await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_would_ask_itself_says_so() {
    let port = Port::reserve().unwrap();
    for name in [format!("127.0.0.1:{}", port.number()), format!("localhost:{}", port.number())] {
        let environment = [("AZURE_POD_IDENTITY_AUTHORITY_HOST", format!("http://{name}"))];
        let serving = Serving::with(&environment, &["--listen", &port.address().to_string()]).await;
        let answer = serving.vault_token().await;
        assert_eq!(answer.status, 400, "{answer:?}");
        let why = "AZURE_POD_IDENTITY_AUTHORITY_HOST of the broker names this endpoint";
        assert!(answer.description().contains(why), "{answer:?}");
        serving.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_is_for_its_user_and_knows_who_asks() {
    let mock = mock().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    // One that a process has left behind.
    drop(UnixListener::bind(&path).unwrap());
    let serving = Serving::with(&mock.env(Endpoint::Imds), &["--unix", path.to_str().unwrap()]).await;
    assert_eq!(serving.announced, format!("unix:{}", path.display()));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let answer = unix(&path, VAULT, &[METADATA, ("host", "whatever.example")]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(unix(&path, "/stats", &[]).await.body["answers"]["200"], 1);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    let (status, log) = serving.end().await;
    assert!(status.success() && !path.exists());
    let client = format!("\"client\":\"uid {} pid {}\"", rustix::process::getuid(), std::process::id());
    assert!(log.contains(&client), "{client} is not in {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_take_anothers_place_or_let_others_in_does_not_begin() {
    let mock = mock().await;
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let _living = UnixListener::bind(of("living")).unwrap();
    std::fs::write(of("file"), "precious").unwrap();
    std::fs::write(of("empty"), "\n").unwrap();
    std::fs::write(of("short"), "short").unwrap();
    std::fs::write(of("secret"), SECRET).unwrap();
    let without = mock.env(Endpoint::Imds);
    let with_secret = [without.clone(), vec![("TOKEN_BROKER_ENDPOINT_SECRET", SECRET.to_owned())]].concat();
    for (environment, args, says) in [
        (&without, ["--unix", &of("living")], "another process"),
        (&without, ["--unix", &of("file")], "a file is there"),
        (&without, ["--unix", &of("no/folder")], "cannot listen on"),
        (&without, ["--listen", "0.0.0.0:0"], "--allow-remote"),
        (&without, ["--listen", "[::]:0"], "--allow-remote"),
        (&without, ["--secret-file", &of("none")], "No such file"),
        (&without, ["--secret-file", &of("empty")], "empty is empty; fix: "),
        (&without, ["--secret-file", &of("short")], "short is not a usable secret; fix: "),
        (&with_secret, ["--secret-file", &of("secret")], "use one of them"),
    ] {
        let output = command(environment, &args).output().await.unwrap();
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), line.lines().count()), (Some(3), 1), "{args:?}: {line}");
        assert!(line.contains(says) && !line.contains("s3ntinel"), "{args:?}: {line}");
        assert_eq!(line.matches("; fix: ").count(), 1, "{args:?}: {line}");
    }
    assert_eq!(std::fs::read_to_string(of("file")).unwrap(), "precious");
    let args = ["--listen", "0.0.0.0:0", "--allow-remote"];
    let serving = Serving::with(&mock.env(Endpoint::Imds), &args).await;
    assert!(serving.announced.starts_with("http://0.0.0.0:"), "{}", serving.announced);
}

/// A pipe holds 64 KiB, and each answer has a line of some hundred bytes.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_holds_up_neither_an_answer_nor_the_end() {
    let mock = mock().await;
    let serving = Serving::unread(&mock).await;
    for _ in 0..1000 {
        assert_eq!(serving.vault_token().await.status, 200);
    }
    assert!(serving.end().await.0.success());
}
