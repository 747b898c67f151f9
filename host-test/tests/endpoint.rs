//! The endpoints of ours with Azure's own SDKs as their clients: the command `token-broker serve`, and the component in
//! wasmtime's command line and in a host that lends it a store.
#![allow(clippy::disallowed_methods, reason = "tests of programs start them")]

#[path = "endpoint/clients.rs"]
mod clients;
#[path = "endpoint/identity_binding.rs"]
mod identity_binding;
#[path = "endpoint/store.rs"]
mod store;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use host_test::endpoint::{self, Program};
use host_test::fleet::Got;
use host_test::serve::Reuse;
use mock_identity::{Answer, Endpoint, Environment, Fault, Identity, Mock, MockConfig};
use test_support::sdk::Sdk;
use token_broker_host::MemoryStore;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use clients::{get_token, herd};
use store::shared;

const ARM: &str = "https://management.azure.com/.default";
const VAULT: &str = "https://vault.azure.net/.default";
const SECRET: &str = "s3ntinel-of-the-endpoint";
const IMDS_REQUEST: &str =
    "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net";
const NOBODY: &str = "99999999-9999-4999-8999-999999999999";

/// Crowds of processes one at a time: each needs the machine for itself.
static MACHINE: Mutex<()> = Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn both_sdks_get_every_identitys_token_by_both_protocols_from_the_command() {
    let mock = mock().await;
    let command = serve(&platform(&mock)).await;
    every_identity(&mock, &command.imds_env(), &command.app_service_env(SECRET)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sdks_get_every_identitys_token_by_both_protocols_from_wasmtime() {
    let mock = mock().await;
    let command = wasmtime(&platform(&mock)).await;
    every_identity(&mock, &command.imds_env(), &command.app_service_env(SECRET)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_in_pieces_is_read_whole_in_wasmtime() {
    let mock = mock().await;
    let command = wasmtime(&platform(&mock)).await;
    mock.fault(Fault::new(Endpoint::Imds, Answer::Chunked).forever());
    let seen = get_token(Sdk::Python, &mock, &command.imds_env(), &["managed-identity", ARM]).await;
    assert_eq!(seen["claims"]["appid"], *identity(&mock, "system").client_id, "{seen}");
    assert_eq!(mock.counters().of(Endpoint::Imds).requests, 1);
}

async fn every_identity(mock: &Mock, imds: &Environment, app_service: &Environment) {
    let orders = identity(mock, "orders");
    let chosen = [
        (identity(mock, "system"), vec![]),
        (orders, vec!["client_id", &orders.client_id]),
        (orders, vec!["object_id", &orders.object_id]),
        (orders, vec!["resource_id", &orders.resource_id]),
    ];
    for (of, choice) in chosen {
        let arguments = [&["managed-identity", ARM], &choice[..]].concat();
        let asked = Sdk::ALL.into_iter().flat_map(|sdk| {
            [imds, app_service].map(|environment| get_token(sdk, mock, environment, &arguments))
        });
        for seen in join_all(asked).await {
            assert_eq!(seen["claims"]["appid"], *of.client_id, "{arguments:?}: {seen}");
            let (expiry, understood) = (&seen["claims"]["exp"], &seen["expires_on"]);
            assert!(expiry.as_u64().unwrap().abs_diff(understood.as_u64().unwrap()) <= 5, "{seen}");
        }
    }
    // Four identities were asked for by four clients each, and there are two.
    let requests = mock.counters().of(Endpoint::Imds).requests;
    assert!((4..=4 * 4).contains(&requests), "{requests}");
}

/// What the SDKs show is what their user has to go by.
#[tokio::test(flavor = "multi_thread")]
async fn both_sdks_show_the_reason_and_the_remedy_at_once() {
    let mock = mock().await;
    let mut policy = platform(&mock);
    policy.push(("TOKEN_BROKER_ALLOWED_SCOPES", "https://vault.azure.net".to_owned()));
    let (open, closed) = (serve(&platform(&mock)).await, serve(&policy).await);
    let nowhere = serve(&vec![("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential".to_owned())]).await;
    let (unset, in_wasmtime) = (serve(&mock.env(Endpoint::Imds)).await, wasmtime(&policy).await);
    let mut wrong_secret = open.app_service_env(SECRET);
    wrong_secret[1].1 = "not-the-secret-of-it".to_owned();
    let nobody = ["managed-identity", ARM, "client_id", NOBODY];
    let nobodys_secret = ["managed-identity", VAULT, "client_id", NOBODY];
    let system = &["managed-identity", ARM][..];
    for (environment, arguments, words) in [
        (open.imds_env(), &nobody[..], "az vm identity assign"),
        (open.app_service_env(SECRET), &nobody[..], "az vm identity assign"),
        (open.imds_env(), &["managed-identity", "https://nowhere.example/.default"][..], "AADSTS500011"),
        (closed.imds_env(), system, "denied: "),
        (closed.app_service_env(SECRET), system, "TOKEN_BROKER_ALLOWED_SCOPES"),
        (in_wasmtime.imds_env(), system, "TOKEN_BROKER_ALLOWED_SCOPES"),
        (in_wasmtime.app_service_env(SECRET), &nobodys_secret[..], "az vm identity assign"),
        (nowhere.imds_env(), system, "AZURE_CLIENT_SECRET"),
        (wrong_secret, system, "X-IDENTITY-HEADER is missing or wrong"),
        (unset.app_service_env(SECRET), system, "TOKEN_BROKER_ENDPOINT_SECRET is not set"),
    ] {
        for seen in get_tokens(&mock, &environment, arguments).await {
            assert!(seen["error"].is_string(), "{seen}");
            assert!(seen["message"].as_str().unwrap().contains(words), "{words} is not in {seen}");
        }
    }
    // Each client asked once.
    for (command, answers) in [
        (&open, serde_json::json!({ "400": 6, "401": 2 })),
        (&closed, serde_json::json!({ "403": 4 })),
        (&nowhere, serde_json::json!({ "400": 2 })),
        (&unset, serde_json::json!({ "403": 2 })),
    ] {
        assert_eq!(command.answers().await.unwrap(), answers);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sdks_come_again_when_a_failure_passes_by_itself() {
    for (answer, status) in [
        (Answer::retry_after(429, "1"), "429"),
        (Answer::status(503), "503"),
        (Answer::Empty, "503"),
        (Answer::Truncated, "503"),
    ] {
        for sdk in Sdk::ALL {
            let mock = mock().await;
            let mut environment = platform(&mock);
            // No time for a retry of the broker's own.
            environment.push(("TOKEN_BROKER_BUDGET_MS", "1000".to_owned()));
            let command = serve(&environment).await;
            mock.fault(Fault::new(Endpoint::Imds, answer.clone()));
            let seen = get_token(sdk, &mock, &command.imds_env(), &["managed-identity", ARM]).await;
            assert_eq!(seen["claims"]["appid"], *identity(&mock, "system").client_id, "{seen}");
            let answers = command.answers().await.unwrap();
            assert!(answers[status].as_u64() >= Some(1) && answers["200"] == 1, "{answers}");
            assert_eq!(mock.counters().of(Endpoint::Imds).requests, 2);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn default_azure_credential_of_both_sdks_finds_the_endpoint() {
    let mock = mock().await;
    let command = serve(&platform(&mock)).await;
    for seen in get_tokens(&mock, &command.imds_env(), &["default", ARM]).await {
        assert_eq!(seen["claims"]["appid"], *identity(&mock, "system").client_id, "{seen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_processes_at_once_cost_the_command_one_request() {
    let _alone = MACHINE.lock().await;
    let mock = mock().await;
    let command = serve(&platform(&mock)).await;
    served(&mock, &herd(&command.imds_env()).await);
    assert_eq!(mock.counters().of(Endpoint::Imds).requests, 1);
    assert_eq!(command.answers().await.unwrap(), serde_json::json!({ "200": 64 }));
}

/// With the options of the README, which keep an instance for long: what begins beside it does so because it was busy.
#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_processes_at_once_cost_wasmtime_one_request_for_each_instance_at_most() {
    let _alone = MACHINE.lock().await;
    let mock = mock().await;
    let command = wasmtime(&platform(&mock)).await;
    served(&mock, &herd(&command.imds_env()).await);
    let requests = mock.counters().of(Endpoint::Imds).requests;
    let log = command.end().await.unwrap();
    assert!(!log.contains("eyJ") && !log.contains("s3ntinel"), "a secret is in the log");
    let instances = log.matches("an instance began").count() as u64;
    println!("{requests} requests of {instances} instances");
    assert!((1..=instances).contains(&requests) && instances <= 64, "{requests} requests of {instances}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_processes_and_an_instance_for_each_cost_one_request_where_the_host_has_a_store() {
    let _alone = MACHINE.lock().await;
    let mock = mock().await;
    let one_each = Reuse { requests: 1, ..Reuse::default() };
    let server = shared(&mock, one_each, Arc::new(MemoryStore::default()), KEY).await;
    served(&mock, &herd(&vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST", server.url())]).await);
    assert_eq!((server.instances(), mock.counters().of(Endpoint::Imds).requests), (64, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_the_store_is_not_used_and_each_instance_asks() {
    let mock = mock().await;
    let one_each = Reuse { requests: 1, ..Reuse::default() };
    let server = shared(&mock, one_each, Arc::new(MemoryStore::default()), "").await;
    let environment = vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST", server.url())];
    for seen in get_tokens(&mock, &environment, &["managed-identity", ARM]).await {
        assert!(seen["claims"].is_object(), "{seen}");
    }
    assert_eq!((server.instances(), mock.counters().of(Endpoint::Imds).requests), (2, 2));
}

/// Before they have asked, while the token is fetched, in the middle of the answer, and with a body that never ends.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_leave_at_any_moment_end_no_instance() {
    let one = Reuse { requests: usize::MAX, concurrent: usize::MAX, idle: Duration::from_secs(3600) };
    for delay in [Duration::ZERO, Duration::from_millis(50)] {
        let mock = mock().await;
        mock.fault(Fault::new(Endpoint::Imds, Answer::AsUsual).delayed(delay));
        let server = shared(&mock, one, Arc::new(MemoryStore::default()), "").await;
        let get = format!("GET {IMDS_REQUEST} HTTP/1.1\r\nHost: localhost\r\nMetadata: true\r\n");
        let leaves = [
            (get.clone(), 0),
            (format!("{get}\r\n"), 0),
            (format!("{get}\r\n"), 1),
            (format!("{get}Content-Length: 100\r\n\r\nx"), 0),
            (format!("{get}Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"), 1),
            ("GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 1),
        ];
        let leave = async |(sent, read): &(String, usize)| {
            let mut stream = TcpStream::connect(server.url().trim_start_matches("http://")).await.unwrap();
            stream.write_all(sent.as_bytes()).await.unwrap();
            stream.read_exact(&mut vec![0; *read]).await.unwrap();
        };
        for leaving in &leaves {
            join_all((0..64).map(|_| leave(leaving))).await;
            let mut stream = TcpStream::connect(server.url().trim_start_matches("http://")).await.unwrap();
            stream.write_all(format!("{get}Connection: close\r\n\r\n").as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("access_token"), "{leaving:?}");
        }
        assert_eq!(server.traps(), Vec::<String>::new());
    }
}

#[test]
fn the_command_that_is_tested_is_that_of_the_documentation() {
    let arguments = endpoint::wasmtime_serve().unwrap();
    assert_eq!(arguments.first().map(String::as_str), Some("serve"), "{arguments:?}");
    assert!(arguments.iter().any(|argument| argument == "--max-instance-reuse-count"), "{arguments:?}");
}

/// The result of each SDK.
async fn get_tokens(mock: &Mock, environment: &Environment, arguments: &[&str]) -> Vec<serde_json::Value> {
    join_all(Sdk::ALL.into_iter().map(|sdk| get_token(sdk, mock, environment, arguments))).await
}

async fn serve(environment: &Environment) -> Program {
    Program::token_broker(environment, None).await.unwrap()
}

async fn wasmtime(environment: &Environment) -> Program {
    // Its instances are counted by what they log.
    let environment = [&environment[..], &[("TOKEN_BROKER_LOG", "debug".to_owned())]].concat();
    Program::wasmtime(&environment, None).await.unwrap()
}

async fn mock() -> Mock {
    Mock::start(MockConfig::default()).await.unwrap()
}

/// Where the broker behind an endpoint asks, and what clients of App Service's protocol show.
fn platform(mock: &Mock) -> Environment {
    [mock.env(Endpoint::Imds), vec![("TOKEN_BROKER_ENDPOINT_SECRET", SECRET.to_owned())]].concat()
}

fn identity<'a>(mock: &'a Mock, name: &str) -> &'a Identity {
    mock.config().identities.iter().find(|identity| identity.name == name).expect("a configured identity")
}

#[track_caller]
fn served(mock: &Mock, got: &[Got]) {
    assert_eq!(got.len(), 64);
    for got in got {
        let token = got.token.as_deref().unwrap_or_else(|| panic!("{:?}", got.error));
        mock.verify(token, "https://management.azure.com").unwrap();
    }
}

const KEY: &str = "dGhlIGtleSBvZiBhIGZsZWV0IGluIGl0cyB0ZXN0cyE=";
