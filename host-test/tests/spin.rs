//! `token-broker-spin.wasm` on a host with Spin's key-value stores and variables.

#![allow(missing_docs, reason = "the names of the tests say what they prove")]

#[path = "spin/stage.rs"]
mod stage;

use std::time::Duration;

use tokio::time::{Instant, advance};

use host_test::fleet::Redis;
use host_test::spin::Spin;
use stage::Stage;

#[tokio::test(start_paused = true)]
async fn instances_that_start_at_once_make_one_request_and_later_ones_none() {
    let stage = Stage::new(sharing());
    let (mut one, mut other) = (stage.instance().await, stage.instance().await);
    let (first, second) = tokio::join!(one.token(), other.token());
    assert_eq!(first, Ok("sentinel-1".to_owned()));
    assert_eq!(second, first);
    assert_eq!(stage.instance().await.token().await, first);
    assert_eq!(stage.imds.requests(), 1);

    let (one, other) = (one.stats().await, other.stats().await);
    assert_eq!((one.fetches + other.fetches, one.lease_waits + other.lease_waits), (1, 1));
    assert_eq!((one.store_errors + other.store_errors, one.store_tampered + other.store_tampered), (0, 0));
    let kept = stage.spin.entries("default");
    assert_eq!(kept.len(), 2, "the token, and the lease, which has ended");
    for (key, value) in kept {
        assert!(key.starts_with("token-broker-"), "{key}");
        assert!(!value.windows(8).any(|bytes| bytes == b"sentinel"), "not sealed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_has_ended_stays_in_the_store_and_is_not_used() {
    let stage = Stage::new(sharing());
    assert_eq!(stage.instance().await.token().await, Ok("sentinel-1".to_owned()));
    advance(Duration::from_secs(3600)).await;
    assert_eq!(stage.spin.entries("default").len(), 2);

    let mut later = stage.instance().await;
    assert_eq!(later.token().await, Ok("sentinel-2".to_owned()));
    assert_eq!(stage.imds.requests(), 2);
    let stats = later.stats().await;
    assert_eq!((stats.store_misses, stats.store_hits, stats.lease_waits), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_lease_of_an_instance_that_died_ends_although_the_store_ends_nothing() {
    let stage = Stage::new(sharing());
    ask_and_die(&stage).await;
    assert_eq!(stage.spin.entries("default").len(), 1, "its lease");

    let (began, mut next) = (Instant::now(), stage.instance().await);
    tokio::join!(
        async {
            stage.imds.asked().await;
            assert!(began.elapsed() >= Duration::from_secs(4), "{:?}", began.elapsed());
            stage.imds.answer();
        },
        async { assert_eq!(next.token().await, Ok("sentinel-2".to_owned())) },
    );
    let stats = next.stats().await;
    assert_eq!((stats.lease_waits, stats.lease_takeovers), (1, 1));
}

/// Each fetch takes a lease and ends it, and Spin takes no handle back.
#[tokio::test(start_paused = true)]
async fn an_instance_that_has_used_up_its_handles_goes_on_sharing() {
    let stage = Stage::new(sharing());
    let mut instance = stage.instance().await;
    for fetch in 1..=200 {
        assert_eq!(instance.token().await, Ok(format!("sentinel-{fetch}")));
        assert_eq!(stage.instance().await.token().await, Ok(format!("sentinel-{fetch}")));
        advance(Duration::from_secs(3600)).await;
    }
    let stats = instance.stats().await;
    assert_eq!((stats.fetches, stats.store_errors), (200, 0));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_another_wrote_over_is_not_ours() {
    let stage = Stage::new(sharing());
    stage.spin.write_over_next(&anothers_lease().await);
    let (began, mut instance) = (Instant::now(), stage.instance().await);
    assert_eq!(instance.token().await, Ok("sentinel-1".to_owned()));
    assert!(began.elapsed() >= Duration::from_secs(5), "it waited for the other: {:?}", began.elapsed());
    let stats = instance.stats().await;
    assert_eq!((stats.fetches, stats.lease_waits, stats.lease_takeovers), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_instance_ends_no_lease_but_its_own() {
    let stage = Stage::new(sharing());
    stage.imds.hold();
    let mut instance = stage.instance().await;
    let others = entry(stage.now_ms(), 5000, b"another");
    let (token, ()) = tokio::join!(instance.token(), async {
        stage.imds.asked().await;
        stage.spin.write_over("default", &others);
        stage.imds.answer();
    });
    assert_eq!(token, Ok("sentinel-1".to_owned()));
    let kept = stage.spin.entries("default");
    assert_eq!(kept.len(), 2, "the token, and the lease of the other");
    assert!(kept.values().any(|value| *value == others));
}

#[tokio::test(start_paused = true)]
async fn settings_and_the_store_to_use_are_variables_of_spin() {
    let spin = sharing().with_store("tokens").with_variable("token_broker_store", "tokens");
    let stage = Stage::new(spin.with_variable("token_broker_allowed_scopes", "https://storage.azure.com"));
    let denied = stage.instance().await.token().await.unwrap_err();
    assert!(denied.contains("TOKEN_BROKER_ALLOWED_SCOPES"), "{denied}");

    let stage = Stage::new(sharing().with_store("tokens").with_variable("token_broker_store", "tokens"));
    stage.instance().await.token().await.unwrap();
    assert_eq!((stage.spin.entries("tokens").len(), stage.spin.entries("default").len()), (2, 0));
    let asked_for = stage.spin.asked_for();
    assert!(asked_for.iter().any(|name| name == "azure_client_id"), "{asked_for:?}");
}

#[tokio::test]
async fn instances_share_through_a_redis_that_the_variable_names_by_its_url() {
    let redis = Redis::start().await.unwrap();
    let stage =
        Stage::new(sharing().with_variable("token_broker_store", &redis.url()).with_redis(&redis.url()));
    let (mut one, mut other) = (stage.instance().await, stage.instance().await);
    let (first, second) = tokio::join!(one.token(), other.token());
    assert_eq!((first.as_deref(), &second), (Ok("sentinel-1"), &first));
    assert_eq!(stage.instance().await.token().await, first);
    assert_eq!(stage.imds.requests(), 1);
    assert_eq!(redis.names().await.unwrap().len(), 1, "the token; the lease has ended");
    assert!(stage.spin.entries("default").is_empty());
    assert_eq!(other.stats().await.store_errors, 0);
}

#[tokio::test(start_paused = true)]
async fn a_redis_that_the_manifest_does_not_allow_is_told_without_its_password() {
    let stage =
        Stage::new(sharing().with_variable("token_broker_store", "redis://user:hunter2@redis.example"));
    assert_eq!(stage.instance().await.token().await, Ok("sentinel-1".to_owned()));
    let log = stage.log();
    assert!(log.contains("redis://redis.example") && log.contains("allowed_outbound_hosts"), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
}

#[tokio::test(start_paused = true)]
async fn a_variable_that_cannot_be_looked_up_is_told_and_nothing_is_sent() {
    let stage = Stage::new(sharing().with_broken_variable("token_broker_allowed_scopes"));
    let error = stage.instance().await.token().await.unwrap_err();
    assert!(error.contains("Misconfigured") && error.contains("vault is sealed"), "{error}");
    assert_eq!(stage.imds.requests(), 0);
}

#[tokio::test(start_paused = true)]
async fn without_a_store_an_instance_serves_itself_and_says_what_the_manifest_lacks() {
    let stage = Stage::new(Spin::default().with_variable("token_broker_store_key", KEY));
    let began = Instant::now();
    assert_eq!(stage.instance().await.token().await, Ok("sentinel-1".to_owned()));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let log = stage.log();
    assert!(log.contains(r#"key_value_stores = [\"default\"]"#), "{log}");
    assert!(!log.contains("sentinel") && !log.contains(KEY), "{log}");
}

/// As an instance of another machine of this deployment puts it at the beginning
async fn anothers_lease() -> Vec<u8> {
    let elsewhere = Stage::new(sharing());
    ask_and_die(&elsewhere).await;
    elsewhere.spin.entries("default").into_values().next().unwrap()
}

/// An instance that asks IMDS, which holds its answer, and is gone then.
async fn ask_and_die(stage: &Stage) {
    stage.imds.hold();
    let mut instance = stage.instance().await;
    tokio::select! {
        answer = instance.token() => panic!("it was answered: {answer:?}"),
        () = stage.imds.asked() => {}
    }
}

fn sharing() -> Spin {
    Spin::default().with_store("default").with_variable("token_broker_store_key", KEY)
}

/// An entry as the adapter writes it.
fn entry(put_at: u64, ttl: u64, value: &[u8]) -> Vec<u8> {
    [&put_at.to_be_bytes(), &ttl.to_be_bytes(), value].concat()
}

const KEY: &str = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3I=";
