//! The store in Redis by itself

use std::time::Duration;

use host_test::fleet::Redis;
use token_broker_host::{RedisStore, Store as _, StoreError, test_kit};
use tokio::time::Instant;

use crate::until;

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn it_does_what_a_store_must() {
    let redis = Redis::start().await.unwrap();
    test_kit::check_store(&RedisStore::new(&redis.url()).unwrap()).await;
}

#[tokio::test]
async fn with_tls_the_server_is_known_by_its_authority_and_by_no_other() {
    let (redis, other) = (Redis::start().await.unwrap(), Redis::start().await.unwrap());
    let store = RedisStore::trusting(&redis.tls_url(), redis.authority().unwrap()).unwrap();
    store.set("k", vec![1], MINUTE).await.unwrap();
    assert_eq!(store.get("k").await, Ok(Some(vec![1])));
    let mistaken = RedisStore::trusting(&redis.tls_url(), other.authority().unwrap()).unwrap();
    assert!(matches!(mistaken.get("k").await, Err(StoreError::Unavailable(_))));
    let public = RedisStore::new(&redis.tls_url()).unwrap();
    assert!(matches!(public.get("k").await, Err(StoreError::Unavailable(_))));
    let error = RedisStore::trusting(&redis.url(), "no PEM").unwrap_err().to_string();
    assert!(!error.contains("of-the-fleet"), "{error}");
}

#[tokio::test]
async fn a_password_that_was_wrong_is_tried_again() {
    let redis = Redis::start().await.unwrap();
    let store = RedisStore::new(&redis.url_with_password("later")).unwrap();
    assert!(matches!(store.get("k").await, Err(StoreError::AccessDenied(_))));
    redis.set_password("later").await.unwrap();
    until(async || store.get("k").await == Ok(None)).await;
}

#[tokio::test]
async fn a_server_that_stood_still_is_found_again_and_meanwhile_costs_less_than_the_broker_waits() {
    let redis = Redis::start().await.unwrap();
    let store = RedisStore::new(&redis.url()).unwrap();
    store.set("k", vec![1], MINUTE).await.unwrap();
    redis.stand_still(true).unwrap();
    // Nothing but the store's own limits ends this wait, and on this clock nothing else takes time.
    tokio::time::pause();
    let began = Instant::now();
    let answer = store.get("k").await;
    assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    assert!(began.elapsed() <= Duration::from_millis(500), "{:?}", began.elapsed());
    tokio::time::resume();
    redis.stand_still(false).unwrap();
    until(async || store.get("k").await == Ok(Some(vec![1]))).await;
}

#[tokio::test]
async fn a_value_that_would_fill_the_memory_is_not_read_whole() {
    let redis = Redis::start().await.unwrap();
    let store = RedisStore::new(&redis.url()).unwrap();
    store.set("k", vec![1; 1_000_000], MINUTE).await.unwrap();
    assert_eq!(store.get("k").await.unwrap().map(|value| value.len()), Some(64 * 1024 + 1));
}

#[tokio::test]
async fn a_wrong_password_is_told_from_a_redis_that_is_gone_and_neither_shows_the_password() {
    let mut redis = Redis::start().await.unwrap();
    let store = RedisStore::new(&redis.url_with_password("hunter2")).unwrap();
    let error = store.get("k").await.unwrap_err();
    assert!(matches!(&error, StoreError::AccessDenied(words) if !words.contains("hunter2")), "{error:?}");
    let store = RedisStore::new(&redis.url()).unwrap();
    assert_eq!(store.get("k").await, Ok(None));
    redis.kill().await.unwrap();
    let error = store.get("k").await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    redis.restart().await.unwrap();
    until(async || store.get("k").await == Ok(None)).await;
    let error = RedisStore::new("http://user:hunter2@redis.example").unwrap_err().to_string();
    assert!(error.contains("rediss://") && !error.contains("hunter2"), "{error}");
}
