//! Tokens that end while requests come.

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use host_test::envoy::Seen;
use mock_identity::{Answer, Endpoint, Fault, Mock, MockConfig};
use serde_json::{Value, json};

use crate::stage::{Stage, VAULT, problem, until};

/// Tokens of five minutes and two seconds are due for a renewal after two.
#[tokio::test]
async fn under_load_a_token_is_renewed_before_its_end_and_no_request_fails() {
    let stage = living(302).await;
    let (mut requests, mut seen, mut tokens) = (0, 0, BTreeSet::new());
    until(async || {
        let responses = stage.get_at_once(8).await;
        assert!(responses.iter().all(|response| response.status == 200));
        requests += responses.len();
        let reached = stage.upstream.take_seen();
        seen += reached.len();
        tokens.extend(reached.iter().map(|seen| seen.token().unwrap()));
        tokens.len() == 3
    })
    .await;
    assert_eq!(seen, requests);
    tokens.iter().for_each(|token| _ = stage.mock.verify(token, VAULT).unwrap());
    // Each is used, but for one that may have come since.
    assert!((3..=4).contains(&stage.fetches()), "{}", stage.fetches());
}

#[tokio::test]
async fn while_the_source_fails_a_token_serves_until_its_end_and_not_a_second_longer() {
    let stage = living(4).await;
    assert_eq!(stage.get().await.status, 200);
    stage.mock.fault(Fault::new(Endpoint::Imds, Answer::status(403)).forever());
    let (mut last_served, mut refused) = (0, 0);
    until(async || {
        let asked = now();
        let is_served = stage.get().await.status == 200;
        (last_served, refused) = if is_served { (asked, 0) } else { (last_served, now()) };
        !is_served
    })
    .await;
    let problem = problem(&stage.get().await);
    assert_eq!(problem["kind"], "rejected", "{problem}");
    let seen = stage.upstream.take_seen();
    assert!(seen.iter().all(|other| other.token() == seen[0].token()));
    let end = end(&seen[0]);
    assert!(last_served < end, "asked at {last_served} and served with a token until {end}");
    assert!(refused >= end, "refused at {refused} with a token until {end}");
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

/// When a token ends, which it has by now
fn end(seen: &Seen) -> i64 {
    let token = seen.token().unwrap();
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice::<Value>(&claims).unwrap()["exp"].as_i64().unwrap()
}

async fn living(seconds: u64) -> Stage {
    let mut config = MockConfig::default();
    config.imds.token_lifetime_seconds = NonZeroU64::new(seconds).unwrap();
    Stage::with_one_worker(Mock::start(config).await.unwrap(), json!({ "budget_ms": 1500 })).await
}
