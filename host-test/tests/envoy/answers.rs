//! Whatever IMDS answers, the client gets a clear word, and the worker lives.

use std::time::Duration;

use mock_identity::{Answer, Endpoint, Fault, Mock, MockConfig};
use serde_json::json;

use crate::stage::{Stage, problem};

#[tokio::test]
async fn each_bad_answer_is_told_by_its_kind_and_the_next_request_works() {
    let mock = Mock::start(MockConfig::default()).await.unwrap();
    let identity = json!({ "client_id": mock.config().identities[1].client_id });
    let rule = |(nth, audience): (usize, &&str)| json!({ "authority": format!("{nth}.example"), "scope": audience, "identity": identity });
    let audiences: Vec<&str> = AUDIENCES.split_whitespace().collect();
    let rules: Vec<_> = audiences.iter().enumerate().map(rule).collect();
    let limits = json!({ "rules": rules, "timeout_ms": 1000, "budget_ms": 1500 });
    let stage = Stage::with(mock, limits).await;
    let imds = |answer| Fault::new(Endpoint::Imds, answer);
    let cases = [
        (imds(Answer::status(500)), "transient", "got 500"),
        // Not one of Envoy's own.
        (imds(Answer::status(503)), "transient", "got 503"),
        (imds(Answer::status(400)), "rejected", "got 400"),
        (imds(Answer::status(404)), "transient", "got 404"),
        (imds(Answer::Garbage), "protocol", "is not a token response in JSON"),
        (imds(Answer::Redirect("http://evil.example/".to_owned())), "protocol", "a redirect"),
        (imds(Answer::WrongIdentity), "protocol", "the token of another identity"),
        (imds(Answer::Empty), "transient", "an empty body"),
        (imds(Answer::Truncated), "transient", "incomplete"),
        (imds(Answer::TruncatedChunks), "transient", "incomplete"),
        (imds(Answer::TruncatedUnsized), "transient", "incomplete"),
        (imds(Answer::Closed), "transient", "lost the connection"),
        // Envoy itself gives up on it, and tells no more than of one that is cut.
        (imds(Answer::Oversize), "transient", "incomplete"),
        (imds(Answer::Reset), "transient", "lost the connection"),
        (imds(Answer::SlowDrip), "transient", "in time"),
        (imds(Answer::AsUsual).delayed(Duration::from_secs(5)), "transient", "in time"),
        // Last, since no source is looked for again for a while.
        (imds(Answer::Html), "unavailable", "is not JSON"),
    ];
    let mut remedies = 0;
    for (nth, (fault, kind, words)) in cases.into_iter().enumerate() {
        let what = format!("{fault:?}");
        stage.mock.fault(fault);
        let response = stage.get_for(&format!("{nth}.example")).await;
        let problem = problem(&response);
        let told = (problem["kind"].as_str().unwrap(), response.header("x-token-broker"));
        assert_eq!(told, (kind, kind), "{what}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{what}: {problem}");
        let is_told = response.headers.contains_key("retry-after");
        assert_eq!(is_told, ["transient", "throttled"].contains(&kind), "{what}");
        if let Some(remedy) = problem.get("remedy") {
            remedies += 1;
            let logged = remedy.to_string();
            assert!(stage.envoy.log().contains(logged.trim_matches('"')), "{what}: {logged}");
        }
        assert!(stage.upstream.take_seen().is_empty(), "{what}: nothing goes on without a token");
        // Another token of the same source.
        let good = stage.get_for(&format!("{}.example", audiences.len() - 1)).await;
        assert_eq!(good.status, 200, "after {what}: {}", good.text());
        stage.claims(&stage.only_seen(), audiences[audiences.len() - 1]);
    }
    assert!(remedies > 2, "{remedies}");
    assert_eq!(stage.envoy.stats("wasm.token-filter.").await.unwrap()["vm_reload"], 0);
}

#[tokio::test]
async fn a_throttled_source_is_left_alone_for_as_long_as_it_says() {
    let stage = Stage::new(json!({})).await;
    stage.mock.fault(Fault::new(Endpoint::Imds, Answer::retry_after(429, "600")));
    for _ in 0..3 {
        let response = stage.get().await;
        assert_eq!(problem(&response)["kind"], "throttled");
        let wait: u64 = response.header("retry-after").parse().unwrap();
        assert!((590..=600).contains(&wait), "{wait}");
    }
    assert_eq!(stage.fetches(), 1);
    assert_eq!(stage.envoy.metric("failures.throttled").await.unwrap(), 1);
}

#[tokio::test]
async fn an_upgrade_of_imds_is_waited_out() {
    let stage = Stage::new(json!({ "deadline_ms": 20_000 })).await;
    stage.mock.fault(Fault::new(Endpoint::Imds, Answer::status(410)));
    let responses = stage.get_at_once(10).await;
    assert!(responses.iter().all(|response| response.status == 200));
    assert_eq!(stage.fetches(), 2);
}

/// More than there are cases; the last is for what works.
const AUDIENCES: &str = "https://vault.azure.net https://storage.azure.com https://management.azure.com \
    https://servicebus.azure.net https://eventhubs.azure.net https://eventgrid.azure.net https://cosmos.azure.com \
    https://redis.azure.com https://cognitiveservices.azure.com https://search.azure.com \
    https://appconfig.azure.com https://monitor.azure.com https://graph.microsoft.com \
    https://batch.core.windows.net https://iothubs.azure.net https://kusto.kusto.windows.net \
    https://containerregistry.azure.net https://database.windows.net";
