//! The store in Redis by itself: what the contract says of a store

use std::time::Duration;

use host_test::fleet::Redis;
use token_broker_host::{RedisStore, Store as _, StoreError};

use crate::until;

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_value_is_put_over_another_or_only_where_none_is() {
    let redis = Redis::start().await.unwrap();
    let store = RedisStore::new(&redis.url()).unwrap();
    assert_eq!(store.get("k").await, Ok(None));
    assert_eq!(store.add("k", vec![0, 255], MINUTE).await, Ok(true));
    assert_eq!(store.add("k", vec![2], MINUTE).await, Ok(false));
    assert_eq!(store.get("k").await, Ok(Some(vec![0, 255])));
    assert_eq!(store.set("k", vec![3], MINUTE).await, Ok(()));
    assert_eq!(store.get("k").await, Ok(Some(vec![3])));
}

#[tokio::test]
async fn a_value_is_removed_by_its_owner_alone() {
    let redis = Redis::start().await.unwrap();
    let store = RedisStore::new(&redis.url()).unwrap();
    store.add("k", vec![1], MINUTE).await.unwrap();
    assert_eq!(store.delete("k", &[2]).await, Ok(()));
    assert_eq!(store.get("k").await, Ok(Some(vec![1])));
    assert_eq!(store.delete("k", &[1]).await, Ok(()));
    assert_eq!(store.get("k").await, Ok(None));
    assert_eq!(store.delete("k", &[1]).await, Ok(()), "removing nothing is no error");
}

#[tokio::test]
async fn a_value_ends() {
    let redis = Redis::start().await.unwrap();
    let store = RedisStore::new(&redis.url()).unwrap();
    store.set("k", vec![1], Duration::from_millis(20)).await.unwrap();
    until(async || store.add("k", vec![2], Duration::ZERO).await == Ok(true)).await;
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
