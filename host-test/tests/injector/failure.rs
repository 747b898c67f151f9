//! No token: an answer that is not the service's, and nothing sent.

use mock_identity::{Answer, Endpoint, Fault, Mock, MockConfig};

use crate::stage::{IMDS, Stage, request};
use crate::{SECRET, VAULT};

#[tokio::test]
async fn without_a_token_nothing_is_sent_and_the_answer_says_why() {
    let mock = Mock::start(MockConfig::default()).await.unwrap();
    mock.fault(Fault::new(Endpoint::Imds, Answer::status(400)));
    let stage = Stage::new(mock.env(Endpoint::Imds));
    stage.network.lead(VAULT, mock.url());
    let mut application = stage.application().await;
    let answer = application.get(SECRET).await;
    let problem = answer.problem();
    assert_eq!((answer.status, problem["kind"].as_str()), (503, Some("unavailable")), "{problem}");
    assert_eq!((&problem["source"], &problem["code"]), (&"imds".into(), &"invalid_request".into()));
    assert_eq!(problem["type"], "urn:token-broker:unavailable");
    assert_eq!((problem["source_status"].as_u64(), answer.header("retry-after")), (Some(400), None));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(problem["remedy"].as_str().unwrap().contains("az vm identity assign"), "{problem}");
    assert!(problem["correlation_id"].is_string(), "{problem}");
    assert!(stage.network.seen(VAULT).is_empty());
    let [line] = stage.lines("had no token for a request").try_into().unwrap();
    assert_eq!((line["level"].as_str(), line["kind"].as_str()), (Some("warn"), Some("unavailable")));
}

#[tokio::test]
async fn a_throttled_application_is_told_when_to_come_back() {
    let stage = Stage::new([("TOKEN_BROKER_BUDGET_MS", "1000".to_owned())]);
    stage.network.answer(IMDS, |_| {
        http::Response::builder().status(429).header("retry-after", "77").body("{}".to_owned()).unwrap()
    });
    let mut application = stage.application().await;
    let answer = application.get(SECRET).await;
    assert_eq!((answer.status, answer.problem()["kind"].as_str()), (503, Some("throttled")));
    assert_eq!(answer.header("retry-after"), Some("77"));
    assert_eq!(answer.problem()["retry_after_ms"], 77_000);
    assert!(stage.network.seen(VAULT).is_empty());
}

#[tokio::test]
async fn what_the_policy_does_not_allow_is_forbidden() {
    for (variable, value) in [
        ("TOKEN_BROKER_ALLOWED_SCOPES", "https://storage.azure.com"),
        ("TOKEN_BROKER_ALLOWED_IDENTITIES", "11112222-bbbb-3333-cccc-4444dddd5555"),
    ] {
        let stage = Stage::with_imds(&[(variable, value)]);
        let mut application = stage.application().await;
        let answer = application.get(SECRET).await;
        let problem = answer.problem();
        assert_eq!((answer.status, problem["kind"].as_str()), (403, Some("denied")));
        assert_eq!(answer.header("retry-after"), None);
        assert!(problem["detail"].as_str().unwrap().contains(variable), "{problem}");
        assert_eq!(stage.network.count(), 0);
    }
}

#[tokio::test]
async fn a_configuration_that_cannot_be_used_stops_every_request() {
    for (variable, value) in [
        ("TOKEN_BROKER_INJECT", "my.vault.azure.net"),
        ("TOKEN_BROKER_INJECT_OTHERS", "deny"),
        ("TOKEN_BROKER_LOG", "loud"),
        ("IDENTITY_ENDPOINT", "127.0.0.1:41741"),
        ("AZURE_AUTHORITY_HOST", "http://login.example"),
    ] {
        let stage = Stage::with_imds(&[(variable, value)]);
        stage.network.answer("https://other.example", |_| http::Response::default());
        let mut application = stage.application().await;
        for url in [SECRET, "https://other.example/", "http://127.0.0.1:1/"] {
            let answer = application.get(url).await;
            let problem = answer.problem();
            assert_eq!((answer.status, problem["kind"].as_str()), (503, Some("misconfigured")));
            assert!(problem["detail"].as_str().unwrap().contains(variable), "{problem}");
        }
        assert_eq!(stage.network.count(), 0);
        assert_eq!(stage.lines("had no token for a request").len(), 3);
    }
}

#[tokio::test]
async fn a_host_that_cannot_be_reached_is_the_hosts_error_and_no_answer_of_ours() {
    let stage = Stage::with_imds(&[("TOKEN_BROKER_LOG", "info")]);
    let mut application = stage.application().await;
    let error = application.send(&request("GET", SECRET)).await.unwrap_err();
    assert_eq!(error, "ErrorCode::DestinationNotFound");
    let [line] = stage.lines("sent a request with a token").try_into().unwrap();
    assert_eq!(line["status"], "the address cannot be reached");
}

#[tokio::test]
async fn a_token_in_the_words_of_the_host_is_not_logged() {
    let stage = Stage::with_imds(&[("TOKEN_BROKER_LOG", "info")]);
    stage.network.fail("https://my.vault.azure.net", "sent Bearer eyJhbGci.eyJhdWQi.c2ln");
    let mut application = stage.application().await;
    application.send(&request("GET", SECRET)).await.unwrap_err();
    let [line] = stage.lines("sent a request with a token").try_into().unwrap();
    let status = line["status"].as_str().unwrap();
    assert!(status.starts_with("sent ") && !status.contains("eyJ"), "{status}");
}
