//! The first requests, for which there is no token yet.

use std::time::Duration;

use futures_util::future::join_all;
use host_test::mock::{Answer, Endpoint, Fault};
use serde_json::{Value, json};

use crate::stage::{Stage, VAULT, until};

#[tokio::test]
async fn a_cold_start_with_forty_requests_on_two_workers_is_one_fetch_and_forty_times_200() {
    let stage = Stage::new(json!({})).await;
    let responses = stage.get_at_once(40).await;
    assert!(responses.iter().all(|response| response.status == 200));
    assert_eq!(stage.fetches(), 1);
    for seen in stage.upstream.take_seen() {
        stage.claims(&seen, VAULT);
    }
    let metric = async |name| stage.envoy.metric(name).await.unwrap();
    assert_eq!(metric("hits").await, 40);
    assert_eq!(metric("fetches").await, 1);
    // The other worker took its token from what they share.
    assert_eq!(metric("store_hits").await, 1);
    assert_eq!(metric("waiting").await, 0);
    until(async || metric("hits").await == 40).await;
}

/// Without word of it, a worker would look every half second by then.
#[tokio::test]
async fn whoever_waits_on_another_worker_has_the_token_as_soon_as_it_is_there() {
    let scopes = [VAULT, "https://storage.azure.com", "https://management.azure.com"];
    let rules: Vec<_> = scopes
        .iter()
        .zip(0..)
        .map(|(scope, nth)| json!({ "authority": format!("{nth}.example"), "scope": scope }))
        .collect();
    let stage = Stage::new(json!({ "rules": rules })).await;
    let mut waits = Vec::new();
    for nth in 0..scopes.len() {
        stage.mock.fault(Fault::new(Endpoint::Imds, Answer::AsUsual).delayed(Duration::from_millis(1500)));
        let host = format!("{nth}.example");
        let responses = join_all((0..20).map(|_| stage.get_for(&host))).await;
        assert!(responses.iter().all(|response| response.status == 200));
        let log = stage.envoy.log();
        let [fetched, taken] =
            ["fetched a token", "took a token from the store"].map(|event| last(&log, event));
        waits.push(taken - fetched);
    }
    assert_eq!(stage.fetches(), scopes.len() as u64);
    waits.sort();
    // The median: the machine may have had something else to do.
    assert!(waits[1] < 50, "{waits:?} ms");
}

/// When the log last tells of an event, in milliseconds.
fn last(log: &str, event: &str) -> i64 {
    let line = log.lines().rfind(|line| line.contains(event)).unwrap();
    let record: Value = serde_json::from_str(&line[line.find('{').unwrap()..]).unwrap();
    record["time"].as_i64().unwrap()
}
