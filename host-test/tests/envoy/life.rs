//! Tokens that end while requests come.

use std::num::NonZeroU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use host_test::envoy::Seen;
use host_test::mock::{Answer, Endpoint, Fault, Mock, MockConfig};
use serde_json::{Value, json};

use crate::stage::{Stage, VAULT, problem, until};

/// Tokens of five minutes and two seconds are due for a renewal after two.
#[tokio::test]
async fn under_load_a_token_is_renewed_before_its_end_and_no_request_fails() {
    let stage = living(302).await;
    let began = tokio::time::Instant::now();
    let mut requests = 0;
    while began.elapsed() < Duration::from_secs(7) {
        let responses = stage.get_at_once(8).await;
        assert!(responses.iter().all(|response| response.status == 200));
        requests += responses.len();
    }
    let seen = stage.upstream.take_seen();
    assert_eq!(seen.len(), requests);
    let mut tokens: Vec<_> = seen.iter().map(|seen| seen.token().unwrap()).collect();
    tokens.sort();
    tokens.dedup();
    tokens.iter().for_each(|token| _ = stage.mock.verify(token, VAULT).unwrap());
    // At the start and after each two seconds.
    assert_eq!(tokens.len() as u64, stage.fetches());
    assert!((3..=4).contains(&tokens.len()), "{}", tokens.len());
}

#[tokio::test]
async fn while_the_source_fails_a_token_serves_until_its_end_and_not_a_second_longer() {
    let stage = living(4).await;
    assert_eq!(stage.get().await.status, 200);
    stage.mock.fault(Fault::new(Endpoint::Imds, Answer::status(403)).forever());
    until(async || stage.get().await.status != 200).await;
    let ended = SystemTime::now();
    let problem = problem(&stage.get().await);
    assert_eq!(problem["kind"], "rejected", "{problem}");
    let seen = stage.upstream.take_seen();
    assert!(seen.len() > 10, "{}", seen.len());
    assert!(seen.iter().all(|other| other.token() == seen[0].token()));
    // The clock of the last request is between these.
    let since_its_end = ended.duration_since(UNIX_EPOCH).unwrap().as_secs() as i64 - end(&seen[0]);
    assert!((0..=1).contains(&since_its_end), "{since_its_end}");
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
