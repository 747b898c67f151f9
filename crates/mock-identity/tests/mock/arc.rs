//! The agent of Azure Arc: its challenge, its keys and its echo.

use std::{fs, path::Path};

use mock_identity::{Answer, ArcConfig, Counts, Endpoint, Fault, Mock, MockConfig};
use serde_json::json;
use tempfile::TempDir;

use crate::client::{METADATA, Received, SYSTEM, VAULT, assert_log_is_without, get, post, text};

async fn agent(user_assigned: bool) -> (Mock, TempDir) {
    let keys = tempfile::tempdir().unwrap();
    let arc = ArcConfig { user_assigned, ..ArcConfig::with_keys_in(keys.path()) };
    let config = MockConfig { arc: Some(arc), ..MockConfig::default() };
    (Mock::start(config).await.unwrap(), keys)
}

fn target(parameters: &str) -> String {
    format!("/arc/metadata/identity/oauth2/token?api-version=2020-06-01&resource={VAULT}{parameters}")
}

/// The key that a challenge leads to
fn key(challenge: &Received) -> String {
    assert_eq!(challenge.status, 401, "{}", challenge.text());
    let file = challenge.headers["www-authenticate"].strip_prefix("Basic realm=").expect("a realm");
    fs::read_to_string(file).unwrap()
}

/// Both requests
async fn ask(mock: &Mock, parameters: &str) -> Received {
    let target = target(parameters);
    let key = key(&get(mock, &target, &METADATA).await);
    get(mock, &target, &[METADATA[0], ("Authorization", &format!("Basic {key}"))]).await
}

fn files(directory: &Path) -> usize {
    fs::read_dir(directory).unwrap().count()
}

#[tokio::test]
async fn arc_challenges_with_a_key_file_and_answers_every_client_that_can_read_it() {
    let (mock, keys) = agent(true).await;
    let challenge = get(&mock, &target(""), &METADATA).await;
    assert_eq!(
        challenge.json(),
        json!({ "error": "unauthorized_client", "error_description": "Missing Basic Authorization header",
                "error_codes": [401] })
    );
    let realm = challenge.headers["www-authenticate"].strip_prefix("Basic realm=").unwrap().to_owned();
    let realm = Path::new(&realm);
    assert_eq!((realm.parent(), realm.extension().unwrap().to_str()), (Some(keys.path()), Some("key")));
    let key = key(&challenge);
    let answer = get(&mock, &target(""), &[METADATA[0], ("Authorization", &format!("Basic {key}"))]).await;
    let body = answer.json();
    let claims = mock.verify(text(&body, "access_token"), VAULT).unwrap();
    assert_eq!((claims.appid.as_str(), text(&body, "expires_on")), (SYSTEM, claims.exp.to_string().as_str()));
    assert!(text(&body, "expires_in").parse::<u64>().unwrap() > 86_390);
    assert!(body["ext_expires_in"].is_u64() && body.get("client_id").is_none());
    assert_eq!(files(keys.path()), 0);
    assert_eq!(mock.counters().of(Endpoint::Arc), Counts { requests: 2, tokens: 1, refused: 1, faults: 0 });
    assert_log_is_without(&mock, &[&key, text(&body, "access_token")]);
}

#[tokio::test]
async fn arc_makes_a_new_key_for_each_challenge_and_refuses_those_that_were_used() {
    let (mock, keys) = agent(true).await;
    let used = key(&get(&mock, &target(""), &METADATA).await);
    let header = format!("Basic {used}");
    let with_used = [METADATA[0], ("Authorization", header.as_str())];
    assert_eq!(get(&mock, &target(""), &with_used).await.status, 200);
    let again = get(&mock, &target(""), &with_used).await;
    assert_eq!(text(&again.json(), "error_description"), "Invalid Basic Authorization header");
    assert_ne!(key(&again), used);
    for wrong in ["Basic", "Basic ", "Bearer x", "Basic  x", "Basic wrong"] {
        let answer = get(&mock, &target(""), &[METADATA[0], ("Authorization", wrong)]).await;
        assert_ne!(key(&answer), used, "{wrong}");
    }
    assert_eq!(files(keys.path()), 6);
    drop(mock);
}

#[tokio::test]
async fn arc_echoes_the_id_that_it_was_asked_for() {
    let (mock, _keys) = agent(true).await;
    let orders = mock.config().identities[1].clone();
    for (name, id) in [
        ("client_id", orders.client_id.to_uppercase()),
        ("object_id", orders.object_id.clone()),
        ("msi_res_id", orders.resource_id.clone()),
    ] {
        let body = ask(&mock, &format!("&{name}={id}")).await.json();
        assert_eq!(text(&body, name), id);
        assert_eq!(mock.verify(text(&body, "access_token"), VAULT).unwrap().appid, orders.client_id);
    }
    let ignored = ask(&mock, &format!("&mi_res_id={}", orders.resource_id)).await.json();
    assert_eq!(mock.verify(text(&ignored, "access_token"), VAULT).unwrap().appid, SYSTEM);
    assert!(ignored.get("mi_res_id").is_none());
}

#[tokio::test]
async fn arc_says_which_identity_it_does_not_have_after_the_challenge() {
    let (mock, _keys) = agent(true).await;
    let unknown = ask(&mock, "&client_id=99999999-0000-0000-0000-000000000000").await;
    assert_eq!((unknown.status, text(&unknown.json(), "error")), (404, "identity_not_found"));
    let two = ask(&mock, "&client_id=a&object_id=b").await;
    assert_eq!((two.status, text(&two.json(), "error")), (400, "invalid_request"));
}

#[tokio::test]
async fn an_old_arc_agent_answers_for_the_system_assigned_identity_without_an_echo() {
    let (mock, _keys) = agent(false).await;
    let orders = mock.config().identities[1].client_id.clone();
    let body = ask(&mock, &format!("&client_id={orders}")).await.json();
    assert_eq!(mock.verify(text(&body, "access_token"), VAULT).unwrap().appid, SYSTEM);
    assert!(body.get("client_id").is_none());
}

#[tokio::test]
async fn arc_refuses_what_is_no_request_of_its_before_it_writes_a_key() {
    let (mock, keys) = agent(true).await;
    let path = "/arc/metadata/identity/oauth2/token";
    for (answer, status, words) in [
        (get(&mock, &target(""), &[]).await, 400, "Required metadata header"),
        (get(&mock, &format!("{path}?resource={VAULT}"), &METADATA).await, 400, "'api-version' is missing"),
        (get(&mock, &format!("{path}?api-version=2018-02-01"), &METADATA).await, 400, "not supported"),
        (post(&mock, &target(""), &METADATA, "").await, 405, "Only GET"),
    ] {
        assert_eq!(answer.status, status);
        assert!(text(&answer.json(), "error_description").contains(words), "{}", answer.text());
    }
    assert_eq!(files(keys.path()), 0);
}

#[tokio::test]
async fn arc_is_there_only_if_it_is_configured() {
    let mock = crate::client::mock().await;
    assert_eq!(get(&mock, &target(""), &METADATA).await.status, 404);
    assert!(mock.env(Endpoint::Arc).is_empty());
    let (mock, _keys) = agent(true).await;
    let url = mock.url();
    assert_eq!(
        mock.env(Endpoint::Arc),
        [
            ("IDENTITY_ENDPOINT", format!("{url}/arc/metadata/identity/oauth2/token")),
            ("IMDS_ENDPOINT", url.to_owned())
        ]
    );
    mock.fault(Fault::new(Endpoint::Arc, Answer::status(404)));
    assert_eq!(text(&get(&mock, &target(""), &METADATA).await.json(), "error"), "identity_not_found");
}

#[tokio::test]
async fn a_key_directory_that_cannot_be_is_named() {
    let keys = tempfile::tempdir().unwrap();
    fs::write(keys.path().join("file"), "").unwrap();
    let impossible = keys.path().join("file/below");
    let arc = Some(ArcConfig::with_keys_in(&impossible));
    let error = Mock::start(MockConfig { arc, ..MockConfig::default() }).await.err().expect("an error");
    let named = format!("cannot write to arc.key-directory {}: ", impossible.display());
    assert!(error.to_string().starts_with(&named), "{error}");
    let arc = Some(ArcConfig::with_keys_in(Path::new("tokens")));
    let error = Mock::start(MockConfig { arc, ..MockConfig::default() }).await.err().expect("an error");
    assert_eq!(error.to_string(), "arc.key-directory tokens is not absolute");
}
