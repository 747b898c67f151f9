//! Azure's own Python SDK as a client of the mock platform: what it accepts as Azure, we may test against.
#![allow(clippy::disallowed_methods, reason = "tests of programs start them")]

#[path = "sdk/endpoints.rs"]
mod endpoints;
#[path = "sdk/entra.rs"]
mod entra;

use std::{path::PathBuf, process::Stdio, time::Duration};

use host_test::mock::{Answer, Counts, Endpoint, Fault, Identity, IdentityKind, Mock, MockConfig};
use serde_json::Value;
use tokio::{process::Command, time::timeout};

// Tokens, by the instance metadata service

#[tokio::test]
async fn managed_identity_credential_gets_the_system_assigned_identity_by_imds() {
    let mock = mock().await;
    let seen = get_token(&mock, mock.imds_env(), &["managed-identity", ARM]).await;
    assert_token_of(&seen, identity(&mock, "system"));
    assert_eq!(mock.counters().of(Endpoint::Imds), answered(1));
    assert_eq!(query(&mock), format!("api-version=2018-02-01&resource={ARM_RESOURCE}"));
}

#[tokio::test]
async fn managed_identity_credential_gets_a_user_assigned_identity_by_each_id_by_imds() {
    let mock = mock().await;
    let orders = identity(&mock, "orders");
    for (kind, id, parameter) in ids(orders, "msi_res_id") {
        mock.reset();
        let seen = get_token(&mock, mock.imds_env(), &["managed-identity", ARM, kind, id]).await;
        assert_token_of(&seen, orders);
        assert_eq!(mock.counters().of(Endpoint::Imds), answered(1));
        assert_eq!(query(&mock), format!("api-version=2018-02-01&resource={ARM_RESOURCE}&{parameter}={id}"));
    }
}

#[tokio::test]
async fn default_azure_credential_gets_both_kinds_of_identity_by_imds() {
    let mock = mock().await;
    let seen = get_token(&mock, mock.imds_env(), &["default", ARM]).await;
    assert_token_of(&seen, identity(&mock, "system"));
    let reports = identity(&mock, "reports");
    let seen = get_token(&mock, mock.imds_env(), &["default", ARM, "client_id", &reports.client_id]).await;
    assert_token_of(&seen, reports);
    let mut env = mock.imds_env();
    env.push(("AZURE_CLIENT_ID", reports.client_id.clone()));
    assert_token_of(&get_token(&mock, env, &["default", ARM]).await, reports);
    assert_eq!(mock.counters().of(Endpoint::Imds), answered(3));
}

#[tokio::test]
async fn the_only_user_assigned_identity_stands_in_for_the_system_assigned_one() {
    let mut config = MockConfig::default();
    config.identities.retain(|identity| identity.name == "orders");
    let mock = Mock::start(config).await.unwrap();
    let seen = get_token(&mock, mock.imds_env(), &["managed-identity", ARM]).await;
    assert_token_of(&seen, identity(&mock, "orders"));
}

// Tokens, by App Service

#[tokio::test]
async fn managed_identity_credential_gets_the_system_assigned_identity_by_app_service() {
    let mock = mock().await;
    let seen = get_token(&mock, mock.app_service_env(), &["managed-identity", ARM]).await;
    assert_token_of(&seen, identity(&mock, "system"));
    assert_eq!(mock.counters().of(Endpoint::AppService), answered(1));
    assert_eq!(mock.counters().of(Endpoint::Imds), Counts::default());
    assert_eq!(mock.requests()[0].headers["x-identity-header"], "(not shown)");
}

#[tokio::test]
async fn managed_identity_credential_gets_a_user_assigned_identity_by_each_id_by_app_service() {
    let mock = mock().await;
    let orders = identity(&mock, "orders");
    for (kind, id, parameter) in ids(orders, "mi_res_id") {
        mock.reset();
        let seen = get_token(&mock, mock.app_service_env(), &["managed-identity", ARM, kind, id]).await;
        assert_token_of(&seen, orders);
        assert_eq!(mock.counters().of(Endpoint::AppService), answered(1));
        assert_eq!(query(&mock), format!("api-version=2019-08-01&resource={ARM_RESOURCE}&{parameter}={id}"));
    }
}

#[tokio::test]
async fn default_azure_credential_gets_both_kinds_of_identity_by_app_service() {
    let mock = mock().await;
    let seen = get_token(&mock, mock.app_service_env(), &["default", ARM]).await;
    assert_token_of(&seen, identity(&mock, "system"));
    let reports = identity(&mock, "reports");
    let seen =
        get_token(&mock, mock.app_service_env(), &["default", ARM, "client_id", &reports.client_id]).await;
    assert_token_of(&seen, reports);
    assert_eq!(mock.counters().of(Endpoint::AppService), answered(2));
}

// Refusals

#[tokio::test]
async fn an_unknown_identity_is_unavailable_in_the_words_of_imds() {
    let mock = mock().await;
    let seen = get_token(&mock, mock.imds_env(), &["managed-identity", ARM, "client_id", NOBODY]).await;
    assert_error(&seen, "unavailable", "(invalid_request) Identity not found");
    assert_eq!(mock.counters().of(Endpoint::Imds), refused(1));
}

#[tokio::test]
async fn several_user_assigned_identities_and_no_choice_are_refused_in_the_words_of_imds() {
    let mut config = MockConfig::default();
    config.identities.retain(|identity| identity.kind == IdentityKind::UserAssigned);
    let mock = Mock::start(config).await.unwrap();
    let seen = get_token(&mock, mock.imds_env(), &["managed-identity", ARM]).await;
    assert_error(&seen, "unavailable", "Multiple user assigned identities exist");
}

#[tokio::test]
async fn an_unknown_audience_is_refused_in_the_words_of_entra() {
    let mock = mock().await;
    let scope = "https://nowhere.example/.default";
    let seen = get_token(&mock, mock.imds_env(), &["managed-identity", scope]).await;
    assert_error(&seen, "unavailable", "(invalid_resource) AADSTS500011");
    assert_eq!(mock.counters().of(Endpoint::Imds), refused(1));
}

#[tokio::test]
async fn default_azure_credential_passes_on_what_imds_said() {
    let mock = mock().await;
    let seen = get_token(&mock, mock.imds_env(), &["default", ARM, "client_id", NOBODY]).await;
    assert_error(&seen, "failed", "(invalid_request) Identity not found");
    assert_eq!(mock.counters().of(Endpoint::Imds), refused(1));
}

#[tokio::test]
async fn a_wrong_identity_header_is_refused_by_app_service() {
    let mock = mock().await;
    let mut env = mock.app_service_env();
    env[1].1 = "wrong".to_owned();
    let seen = get_token(&mock, env, &["managed-identity", ARM]).await;
    assert_error(&seen, "unavailable", "401");
    assert_eq!(mock.counters().of(Endpoint::AppService), refused(1));
}

#[tokio::test]
async fn an_unknown_identity_is_refused_in_the_words_of_app_service() {
    let mock = mock().await;
    let seen =
        get_token(&mock, mock.app_service_env(), &["managed-identity", ARM, "client_id", NOBODY]).await;
    assert_error(&seen, "unavailable", "No User Assigned or Delegated Managed Identity found");
    assert_eq!(mock.counters().of(Endpoint::AppService), refused(1));
}

// Failures

#[tokio::test]
async fn one_failure_of_imds_of_any_transient_kind_is_retried() {
    for answer in [
        Answer::status(404),
        Answer::status(410),
        Answer::status(500),
        Answer::retry_after(429, "1"),
        Answer::Reset,
    ] {
        let mock = mock().await;
        mock.fault(Fault::new(Endpoint::Imds, answer.clone()));
        let seen = get_token(&mock, mock.imds_env(), &["managed-identity", ARM]).await;
        assert_token_of(&seen, identity(&mock, "system"));
        let counts = mock.counters().of(Endpoint::Imds);
        assert_eq!((counts.requests, counts.tokens, counts.faults), (2, 1, 1), "{answer:?}");
    }
}

#[tokio::test]
async fn one_failure_of_app_service_is_retried() {
    let mock = mock().await;
    mock.fault(Fault::new(Endpoint::AppService, Answer::status(500)));
    let seen = get_token(&mock, mock.app_service_env(), &["managed-identity", ARM]).await;
    assert_token_of(&seen, identity(&mock, "system"));
    assert_eq!(
        mock.counters().of(Endpoint::AppService),
        Counts { requests: 2, tokens: 1, refused: 1, faults: 1 }
    );
}

#[tokio::test]
async fn something_else_in_the_place_of_imds_is_not_taken_for_it() {
    let docker =
        "connecting to 169.254.169.254:80: A socket operation was attempted to an unreachable network";
    for (answer, kind, words) in [
        (Answer::body(403, "text/plain", docker), "unavailable", "authentication unavailable"),
        (Answer::Html, "unavailable", "authentication unavailable"),
        (Answer::Garbage, "failed", "JSON is invalid"),
    ] {
        let mock = mock().await;
        mock.fault(Fault::new(Endpoint::Imds, answer.clone()).forever());
        let seen = get_token(&mock, mock.imds_env(), &["managed-identity", ARM]).await;
        assert_error(&seen, kind, words);
        assert_eq!(mock.counters().of(Endpoint::Imds).requests, 1, "{answer:?}");
    }
}

#[tokio::test]
async fn the_sdk_does_not_notice_another_identitys_token() {
    let mock = mock().await;
    mock.fault(Fault::new(Endpoint::Imds, Answer::WrongIdentity));
    let orders = identity(&mock, "orders").client_id.clone();
    let seen = get_token(&mock, mock.imds_env(), &["managed-identity", ARM, "client_id", &orders]).await;
    assert_token_of(&seen, identity(&mock, "system"));
}

// The vault

#[tokio::test]
async fn the_secret_client_answers_the_challenge_and_reads_the_secret() {
    let mock = mock_with_tls().await;
    let seen = get_secret(&mock, "MySecret").await;
    assert_eq!((&seen["name"], &seen["value"]), (&"MySecret".into(), &"the secret of the mock vault".into()));
    assert_eq!(mock.counters().of(Endpoint::Imds), answered(1));
    let vault = mock.counters().of(Endpoint::KeyVault);
    assert_eq!((vault.requests, vault.refused), (2, 1), "a challenge, then the secret");
}

#[tokio::test]
async fn the_secret_client_hears_that_there_is_no_such_secret() {
    let mock = mock_with_tls().await;
    let seen = get_secret(&mock, "Other").await;
    assert_eq!((&seen["error"], &seen["status"]), (&"SecretNotFound".into(), &404.into()));
}

// Running the scripts

async fn mock() -> Mock {
    Mock::start(MockConfig::default()).await.unwrap()
}

async fn mock_with_tls() -> Mock {
    let mut config = MockConfig::default();
    config.listen_tls = Some(config.listen);
    Mock::start(config).await.unwrap()
}

async fn get_token(mock: &Mock, env: Vec<(&'static str, String)>, arguments: &[&str]) -> Value {
    run("get_token.py", mock, env, arguments).await
}

async fn get_secret(mock: &Mock, name: &str) -> Value {
    let url = mock.tls_url().unwrap();
    let port = url.rsplit(':').next().unwrap();
    let authority = std::env::temp_dir().join(format!("mock-identity-ca-{port}.pem"));
    std::fs::write(&authority, mock.ca_pem().unwrap()).unwrap();
    let seen = run("get_secret.py", mock, mock.imds_env(), &[url, authority.to_str().unwrap(), name]).await;
    std::fs::remove_file(&authority).unwrap();
    seen
}

/// What a script of `sdk/` prints, run with nothing of this environment in its own
async fn run(script: &str, mock: &Mock, env: Vec<(&'static str, String)>, arguments: &[&str]) -> Value {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("../target/venv/bin/python");
    assert!(python.exists(), "{} is missing: run `cargo xtask setup`", python.display());
    let program = Command::new(python)
        .arg(root.join("sdk").join(script))
        .args(arguments)
        .env_clear()
        .env("MOCK_URL", mock.url())
        .envs(env)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(DEADLINE, program).await.expect("the script ends in time").unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script} failed: {errors}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{script}: {error}: {errors}"))
}

fn identity<'a>(mock: &'a Mock, name: &str) -> &'a Identity {
    mock.config().identities.iter().find(|identity| identity.name == name).expect("a configured identity")
}

/// The ids of an identity, as the SDK names them and as they go on the wire
fn ids<'a>(identity: &'a Identity, resource_id: &'static str) -> [(&'static str, &'a str, &'static str); 3] {
    [
        ("client_id", &identity.client_id, "client_id"),
        ("object_id", &identity.object_id, "object_id"),
        ("resource_id", &identity.resource_id, resource_id),
    ]
}

/// The query of the first request
fn query(mock: &Mock) -> String {
    let request = mock.requests().into_iter().next().expect("a request");
    let pairs: Vec<String> = request.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

#[track_caller]
fn assert_token_of(seen: &Value, identity: &Identity) {
    let claims = &seen["claims"];
    assert_eq!(claims["appid"], *identity.client_id, "{seen}");
    assert_eq!((&claims["oid"], &claims["sub"]), (&Value::from(&*identity.object_id), &claims["oid"]));
    assert_eq!(claims["xms_mirid"], *identity.resource_id);
    assert_eq!((&claims["aud"], &seen["token_type"]), (&ARM_RESOURCE.into(), &"Bearer".into()));
    let (expiry, understood) = (claims["exp"].as_u64().unwrap(), seen["expires_on"].as_u64().unwrap());
    assert!(understood.abs_diff(expiry) <= 5, "{understood} is not {expiry}");
    let refresh = seen["refresh_on"].as_u64().unwrap();
    assert!(expiry.abs_diff(refresh + 43_200) <= 5, "half of the lifetime of 24 hours");
}

#[track_caller]
fn assert_error(seen: &Value, kind: &str, words: &str) {
    assert_eq!(seen["error"], kind, "{seen}");
    assert!(seen["message"].as_str().unwrap().contains(words), "{seen}");
}

fn answered(requests: u64) -> Counts {
    Counts { requests, tokens: requests, ..Counts::default() }
}

fn refused(requests: u64) -> Counts {
    Counts { requests, refused: requests, ..Counts::default() }
}

const DEADLINE: Duration = Duration::from_secs(60);
const ARM: &str = "https://management.azure.com/.default";
const ARM_RESOURCE: &str = "https://management.azure.com";
const NOBODY: &str = "99999999-9999-9999-9999-999999999999";
