//! `token-injector.wasm`: tokens on the requests of an application that never sees one.

#![allow(missing_docs, reason = "the names of the tests say what they prove")]
#![allow(clippy::disallowed_methods, reason = "the bans are the core's; a test has a clock and files")]

#[path = "injector/cancel.rs"]
mod cancel;
#[path = "injector/challenge.rs"]
mod challenge;
#[path = "injector/failure.rs"]
mod failure;
#[path = "injector/hand_over.rs"]
mod hand_over;
#[path = "injector/hostile.rs"]
mod hostile;
#[allow(dead_code, reason = "it serves the tests of Spin's store too")]
#[path = "injector/network.rs"]
mod network;
#[path = "injector/spin.rs"]
mod spin;
#[path = "injector/stage.rs"]
mod stage;
#[path = "injector/stream.rs"]
mod stream;

use std::time::Duration;

use mock_identity::{Endpoint, Mock, MockConfig};

use stage::{Stage, request};

const VAULT: &str = "https://my.vault.azure.net";
const SECRET: &str = "https://my.vault.azure.net/secrets/MySecret?api-version=7.4";

#[tokio::test]
async fn an_application_reads_a_secret_with_a_token_that_it_does_not_see() {
    let mock = Mock::start(MockConfig::default()).await.unwrap();
    let stage = Stage::new(mock.env(Endpoint::Imds));
    stage.network.lead(VAULT, mock.url());
    let mut application = stage.application().await;
    for _ in 0..3 {
        let answer = application.get(SECRET).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.body.contains("the secret of the mock vault"));
    }
    assert_eq!(mock.counters().of(Endpoint::Imds).requests, 1);
    stage.log();
}

#[tokio::test]
async fn a_rule_may_be_for_plain_http_on_this_machine() {
    let mock = Mock::start(MockConfig::at_two_addresses()).await.unwrap();
    let vault = mock.also_url().unwrap();
    let rule = format!("{vault}=https://vault.azure.net/.default");
    let stage = Stage::new(mock.env(Endpoint::Imds).into_iter().chain([("TOKEN_BROKER_INJECT", rule)]));
    let mut application = stage.application().await;
    let answer = application.get(&format!("{vault}/secrets/MySecret?api-version=7.4")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    // The same server, but as the broker's own endpoint.
    let answer = application.get(&format!("{}/secrets/MySecret?api-version=7.4", mock.url())).await;
    assert_eq!((answer.status, answer.problem()["kind"].as_str()), (403, Some("denied")));
}

#[tokio::test]
async fn hundreds_of_requests_at_once_cost_one_token() {
    let mock = Mock::start(MockConfig::default()).await.unwrap();
    let stage = Stage::new(mock.env(Endpoint::Imds));
    stage.network.lead(VAULT, mock.url());
    let mut application = stage.application().await;
    let answers = application.send_at_once(&request("GET", SECRET), 300).await;
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap().status == 200));
    let counters = mock.counters();
    assert_eq!((counters.of(Endpoint::Imds).requests, counters.of(Endpoint::KeyVault).requests), (1, 300));
}

#[tokio::test]
async fn a_rule_names_whose_token_it_is() {
    let mock = Mock::start(MockConfig::default()).await.unwrap();
    let client_id = |name: &str| {
        mock.config().identities.iter().find(|identity| identity.name == name).unwrap().client_id.clone()
    };
    let rules = format!(
        "+orders.vault.azure.net=https://vault.azure.net;client-id={} \
         reports.vault.azure.net=https://vault.azure.net;client-id={}",
        client_id("orders"),
        client_id("reports"),
    );
    let stage = Stage::new(mock.env(Endpoint::Imds).into_iter().chain([("TOKEN_BROKER_INJECT", rules)]));
    let mut application = stage.application().await;
    for name in ["orders", "reports", "system"] {
        let vault = format!("https://{name}.vault.azure.net");
        stage.network.lead(&vault, mock.url());
        for _ in 0..2 {
            let answer = application.get(&format!("{vault}/secrets/MySecret?api-version=7.4")).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        for seen in stage.network.seen(&vault) {
            let token = seen.authorization().unwrap().strip_prefix("Bearer ").unwrap();
            assert_eq!(mock.verify(token, "https://vault.azure.net").unwrap().appid, client_id(name));
        }
    }
    assert_eq!(mock.counters().of(Endpoint::Imds).requests, 3);
}

#[tokio::test]
async fn each_service_gets_its_own_token_as_it_wants_to_be_shown_it() {
    let stage = Stage::with_imds(&[]);
    let mut application = stage.application().await;
    for (origin, audience, authorization) in [
        (VAULT, "https://vault.azure.net", "Bearer sentinel-1"),
        ("https://a.blob.core.windows.net", "https://storage.azure.com", "Bearer sentinel-2"),
        (
            "https://a.documents.azure.cn",
            "https://cosmos.azure.cn",
            "type%3Daad%26ver%3D1.0%26sig%3Dsentinel-3",
        ),
        ("https://a.queue.core.windows.net", "https://storage.azure.com", "Bearer sentinel-2"),
    ] {
        stage.network.answer(origin, |_| http::Response::default());
        assert_eq!(application.get(&format!("{origin}/")).await.status, 200);
        assert_eq!(stage.network.seen(origin)[0].authorization(), Some(authorization), "{origin}");
        let asked = stage.network.seen(stage::IMDS);
        let encoded = audience.replace(':', "%3A").replace('/', "%2F");
        assert!(asked.iter().any(|seen| seen.path.ends_with(&format!("resource={encoded}"))), "{asked:?}");
    }
}

#[tokio::test]
async fn a_request_that_brings_its_own_credential_is_left_as_it_is_unless_the_rule_replaces_it() {
    let stage = Stage::with_imds(&[("TOKEN_BROKER_INJECT", "+b.example=https://b;replace")]);
    let (storage, other) = ("https://a.blob.core.windows.net", "https://b.example");
    stage.network.answer(storage, |_| http::Response::default());
    stage.network.answer(other, |_| http::Response::default());
    let mut application = stage.application().await;
    let own = |url: &str| request("GET", url).with_header("Authorization", "SharedKey a:b");
    application.send(&own(storage)).await.unwrap();
    application.get(&format!("{storage}/c/b?sv=2025-01-05&sig=abc")).await;
    application.send(&own(other)).await.unwrap();
    let shown = |origin: &str| -> Vec<_> {
        let seen = stage.network.seen(origin);
        seen.iter().map(|seen| seen.authorization().map(str::to_owned)).collect()
    };
    assert_eq!(shown(storage), [Some("SharedKey a:b".to_owned()), None]);
    assert_eq!(shown(other), [Some("Bearer sentinel-1".to_owned())]);
}

#[tokio::test]
async fn a_request_without_a_rule_passes_untouched_or_is_refused_as_configured() {
    for (others, status) in [("", 200), ("refuse", 403)] {
        let variables =
            [("TOKEN_BROKER_INJECT", "+known.example=none"), ("TOKEN_BROKER_INJECT_OTHERS", others)];
        let stage = Stage::with_imds(&variables);
        stage.network.answer("https://known.example", |_| http::Response::default());
        stage.network.answer("https://other.example", |_| http::Response::default());
        let mut application = stage.application().await;
        let get = |url: &str| request("GET", url).with_header("x-own", "1");
        assert_eq!(application.send(&get("https://known.example/a?b=c")).await.unwrap().status, 200);
        assert_eq!(application.send(&get("https://other.example/a?b=c")).await.unwrap().status, status);
        for seen in stage.network.seen("https://known.example") {
            assert_eq!((seen.path.as_str(), seen.authorization()), ("/a?b=c", None));
            assert_eq!(seen.headers["x-own"], "1");
        }
        assert!(stage.network.seen(stage::IMDS).is_empty());
    }
}

#[tokio::test]
async fn what_the_application_set_arrives_with_the_token_beside_it() {
    let stage = Stage::with_vault(&[]);
    let mut application = stage.application().await;
    let sent = request("PROPFIND", &format!("{VAULT}/a/b?c=d&e"))
        .with_header("x-twice", "1")
        .with_header("x-twice", "2")
        .with_header("accept", "application/json");
    application.send(&sent).await.unwrap();
    let [seen] = stage.network.seen(VAULT).try_into().unwrap();
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("PROPFIND", "/a/b?c=d&e"));
    assert_eq!(seen.headers.get_all("x-twice").iter().collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(seen.headers["accept"], "application/json");
    assert_eq!(seen.headers.get_all("authorization").iter().collect::<Vec<_>>(), ["Bearer sentinel-1"]);
}

#[tokio::test]
async fn a_token_is_shown_while_it_is_fresh_and_never_after_its_end() {
    let stage = Stage::with_vault(&[]);
    let mut application = stage.application().await;
    let mut shown = async || {
        assert_eq!(application.get(VAULT).await.status, 200);
        stage.network.seen(VAULT).last().unwrap().authorization().unwrap().to_owned()
    };
    assert_eq!(shown().await, "Bearer sentinel-1");
    // The broker refreshes it at half of its day, or up to a tenth of that earlier.
    stage.advance(Duration::from_secs(38_000));
    assert_eq!(shown().await, "Bearer sentinel-1");
    assert_eq!(stage.network.seen(stage::IMDS).len(), 1);
    stage.advance(Duration::from_secs(5_300));
    assert_eq!(shown().await, "Bearer sentinel-1", "good enough while its successor is fetched");
    assert_eq!(shown().await, "Bearer sentinel-2");
    assert_eq!(stage.network.seen(stage::IMDS).len(), 2);
    stage.advance(Duration::from_secs(200_000));
    assert_eq!(shown().await, "Bearer sentinel-3");
}

#[tokio::test]
async fn each_request_with_a_token_is_told_without_its_path_and_its_body() {
    let variables =
        [("TOKEN_BROKER_LOG", "debug"), ("AZURE_CLIENT_ID", "11112222-bbbb-3333-cccc-4444dddd5555")];
    let stage = Stage::with_imds(&variables);
    stage.network.answer(VAULT, |_| http::Response::builder().status(404).body(String::new()).unwrap());
    stage.network.answer("https://other.example", |_| http::Response::default());
    let mut application = stage.application().await;
    let body = stage::Body::Text("sentinel-body".to_owned());
    application.send(&request("PUT", &format!("{VAULT}/sentinel?sentinel=1")).with_body(body)).await.unwrap();
    application.get("https://other.example/sentinel?sentinel=1").await;
    let [line] = stage.lines("sent a request with a token").try_into().unwrap();
    assert_eq!(line["level"], "info");
    assert!(line["time"].as_u64().unwrap() > 1_700_000_000_000);
    for (name, value) in [
        ("host", "my.vault.azure.net"),
        ("rule", "*.vault.azure.net"),
        ("audience", "https://vault.azure.net"),
        ("identity", "the identity with client id 11112222-bbbb-3333-cccc-4444dddd5555"),
        ("token_sha256", &token_broker_sha256("sentinel-1")),
        ("status", "404"),
    ] {
        assert_eq!(line[name], value, "{line}");
    }
    assert!(line["duration_ms"].as_str().unwrap().parse::<u64>().is_ok());
    let [passed] = stage.lines("passed a request on without a token").try_into().unwrap();
    assert_eq!((passed["level"].as_str(), passed["host"].as_str()), (Some("debug"), Some("other.example")));
}

fn token_broker_sha256(token: &str) -> String {
    use sha2::{Digest as _, Sha256};
    Sha256::digest(token).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}
