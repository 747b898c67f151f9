//! Requests that wait for a token: until when, and what becomes of them and of the fetch.

use std::time::Duration;

use bytes::Bytes;
use host_test::envoy::{self, cluster};
use http::Request;
use mock_identity::{Answer, Endpoint, Fault, Mock, MockConfig};
use serde_json::json;
use test_support::port::Port;

use crate::stage::{Stage, configuration, problem, until};

#[tokio::test]
async fn a_request_waits_until_its_deadline_and_the_late_answer_serves_the_next() {
    let stage = Stage::new(json!({ "deadline_ms": 300 })).await;
    stage.mock.fault(slow(Duration::from_millis(1500)));
    let response = stage.get().await;
    let problem = problem(&response);
    assert_eq!((&problem["kind"], response.header("retry-after")), (&json!("transient"), "1"));
    assert!(problem["detail"].as_str().unwrap().contains("no token came within 300 ms"), "{problem}");
    until(async || stage.envoy.log().contains("fetched a token")).await;
    assert_eq!(stage.get().await.status, 200);
    assert_eq!(stage.fetches(), 1);
}

#[tokio::test]
async fn a_client_that_hangs_up_is_forgotten_and_the_answer_is_not_lost() {
    let stage = Stage::new(json!({})).await;
    stage.mock.fault(slow(Duration::from_secs(4)));
    tokio::select! {
        _ = stage.get_at_once(5) => panic!("they are answered before they hang up"),
        () = until(async || stage.envoy.metric("waiting").await.unwrap() == 5) => {}
    }
    assert_eq!(stage.fetches(), 1);
    // One that comes meanwhile joins the fetch, on whichever worker.
    assert_eq!(stage.get().await.status, 200);
    assert_eq!((stage.fetches(), stage.upstream.take_seen().len()), (1, 1));
    until(async || stage.envoy.metric("waiting").await.unwrap() == 0).await;
    // Only what went on is a hit.
    until(async || stage.envoy.metric("hits").await.unwrap() == 1).await;
}

#[tokio::test]
async fn a_body_waits_with_its_request() {
    let stage = Stage::new(json!({})).await;
    stage.mock.fault(slow(Duration::from_millis(500)));
    // More than Envoy buffers.
    let request = Request::post("/").body(Bytes::from(vec![b'x'; 4 << 20])).unwrap();
    assert_eq!(envoy::send(stage.address, request).await.unwrap().status, 200);
    assert_eq!(stage.only_seen().body_length, 4 << 20);
}

#[tokio::test]
async fn a_source_that_is_not_there_is_told_at_the_deadline_and_found_when_it_comes() {
    let mock = Mock::start(MockConfig::default()).await.unwrap();
    let port = Port::reserve().unwrap();
    let gone = port.address();
    let filter = |deadline: u64| {
        let source = json!({ "imds": { "cluster": "gone", "endpoint": port.url() } });
        let limits = json!({ "source": source, "deadline_ms": deadline, "budget_ms": 3000 });
        envoy::token_filter("vm", &configuration(&mock, limits), &[])
    };
    let filters = [filter(20_000)];
    let stage =
        Stage::of_filters(mock, &filters, |bootstrap| bootstrap.and_cluster(cluster("gone", gone))).await;
    let response = stage.get().await;
    let problem = problem(&response);
    assert_eq!(problem["kind"], "transient");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("got no connection") && detail.contains("remote connection failure"), "{detail}");
    let come = Mock::start(MockConfig { listen: gone, ..MockConfig::default() }).await.unwrap();
    until(async || stage.get().await.status == 200).await;
    assert_eq!(come.counters().of(Endpoint::Imds).requests, 1);
}

#[tokio::test]
async fn without_a_token_a_request_goes_on_only_if_the_configuration_says_so() {
    let stage = Stage::new(json!({ "on_failure": "forward" })).await;
    stage.mock.fault(Fault::new(Endpoint::Imds, Answer::status(400)).forever());
    assert_eq!(stage.get().await.status, 200);
    assert!(stage.only_seen().all("authorization").is_empty());
    assert_eq!(stage.envoy.metric("forwarded_without_token").await.unwrap(), 1);
    // What a client claims itself does not go on where a token would be in its place.
    let request = Request::get("/").header("authorization", "Bearer one");
    assert_eq!(stage.send(request.header("authorization", "Bearer two")).await.status, 200);
    assert!(stage.only_seen().all("authorization").is_empty());
    assert_eq!(stage.envoy.metric("refused").await.unwrap(), 0);
}

fn slow(by: Duration) -> Fault {
    Fault::new(Endpoint::Imds, Answer::AsUsual).delayed(by)
}
