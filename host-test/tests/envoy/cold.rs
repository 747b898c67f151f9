//! The first requests, for which there is no token yet.

use std::time::Duration;

use mock_identity::{Answer, Endpoint, Fault};
use serde_json::json;

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

#[tokio::test]
async fn a_request_that_waits_on_another_worker_has_the_token_that_was_fetched_there() {
    let stage = Stage::new(json!({})).await;
    stage.mock.fault(Fault::new(Endpoint::Imds, Answer::AsUsual).delayed(Duration::from_millis(1500)));
    let responses = stage.get_at_once(20).await;
    assert!(responses.iter().all(|response| response.status == 200));
    let log = stage.envoy.log();
    let events = ["fetched a token", "took a token from the store"];
    assert_eq!(events.map(|event| log.matches(event).count()), [1, 1]);
    assert!(log.find(events[0]) < log.find(events[1]), "{log}");
    assert_eq!(stage.fetches(), 1);
}
